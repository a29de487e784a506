"""The contract every attention layer keeps: call forms, masks, outputs, configuration."""

from typing import NamedTuple

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.layers import arguments, functional, normalizers, top_weights, weights_regularizers
from keras_attn_xai.layers.keras_mask import attach_mask, refuse_tuple_inside_sequential
from keras_attn_xai.layers.quantized_parts import RebuildsQuantizedParts
from keras_attn_xai.layers.runtime_check import require_a_key_per_row

WEIGHTS_KINDS = ("weights", "scores", "dropped")


class Attended(NamedTuple):
    """What one pass of attention computed, before a layer chooses its outputs.

    With ``top_k`` the last axis of scores, weights and dropped is k, and ``indices`` says which keys they are of.
    """

    context: object  # (B, T, V)
    scores: object  # (B, T, S), before the normaliser; (B, H, T, S) with heads
    weights: object  # the same shape, after it
    dropped: object  # the same shape, after dropout: what met the values
    indices: object = None  # (B, T, k) integers
    positions: object = None  # (B, T, 1), where a layer with a window looked


class AttentionLayer(RebuildsQuantizedParts):
    """Base of the attention layers: subclasses say how a query scores a key.

    Call it as ``layer(query)``, ``layer(query, value)`` or ``layer(query, value, key)``, or with the
    same tensors in one list. ``value=None`` is self-attention.

    Parameters
    ----------
    normalizer : {"softmax", "sparsemax", "entmax15", "entmax", "sigmoid"} or Normalizer, default "softmax"
        What makes scores into weights; an instance of `layers.normalizers` may carry a temperature or learn.
    return_weights : bool, default True
        True: the layer returns ``(context, weights)``. False: the context alone, which is what the
        middle of a Sequential needs. The context is the same either way.
    weights_kind : {"weights", "scores", "dropped"}, default "weights"
        What the second output is: after the normaliser, before it, or after dropout.
    fully_masked : {"zero", "uniform", "error"}, default "zero"
        The weights of a row whose keys are all masked: zeros, ``1/S``, or an exception
        (raised eagerly and in TensorFlow graphs; where XLA drops assertions it acts as "zero").
    top_k : int, optional
        Return only the k largest weights of each query, largest first, and which keys they are of, as a third
        output. The context is still that of all keys. Queries are handled in blocks, so that weights for all
        pairs are never held at once.
    block_size : int, optional
        Queries handled at a time where that saves memory; by default chosen from the shapes.
    weights_regularizer : keras.regularizers.Regularizer or str, optional
        A loss on the weights of each call; see `layers.weights_regularizers`.
    dropout : float in [0, 1), default 0.0
        Fraction of the weights dropped in training.
    seed : int, optional
        Seed of the dropout.

    Call arguments
    --------------
    query : tensor (B, T, D)
    value : tensor (B, S, V), default: the query
    key : tensor (B, S, K), default: the value
    mask : bool tensor (B, T), or a list of one per input
        Masks of the inputs in their order, as Keras passes them.
    query_mask : bool tensor (B, T)
        Becomes the mask of the context. It does not change weights: a padded query still gets a row.
    value_mask, key_mask : bool tensor (B, S)
        True keeps a key; a masked key gets weight 0.
    attention_mask : bool tensor (B, T, S) or (1, T, S)
        True lets the query see the key.
    projected_keys : tensor (B, S, U), optional
        What ``project_keys(key)`` gave before, so that a decoder computes it once for all its steps.
    score_bias : float tensor (B, T, S), (1, T, S) or (T, S)
        Added to the scores before the normaliser: a position bias, or an additive mask, where ``-inf``
        removes a key.
    lengths : int tensor (B,)
        True lengths of the values; the same as a ``value_mask`` that keeps the first ones.
    use_causal_mask : bool, default False
        Query t sees keys 0 to t.
    training : bool, optional

    Returns
    -------
    context : tensor (B, T, V)
    weights : tensor (B, T, S)
        Only with ``return_weights=True``. Rows sum to 1 (but for a sigmoid), or to 0 when every key is masked.

    indices : int tensor (B, T, k)
        Only with ``top_k``; the weights are then (B, T, k).

    Raises
    ------
    ShapeError
        A wrong rank, or sizes that do not fit one another.
    MaskError
        A mask that is not boolean, or of a shape that could mean two things.
    """

    heads = None  # how many, in layers whose weights have an axis for them
    fixed_features: tuple[str, ...] = ()  # which of query, value and key have weights made for their features

    def __init__(
        self,
        *,
        normalizer="softmax",
        return_weights=True,
        weights_kind="weights",
        fully_masked="zero",
        top_k=None,
        block_size=None,
        weights_regularizer=None,
        dropout=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        arguments.require_choice("weights_kind", weights_kind, WEIGHTS_KINDS)
        arguments.require_choice("fully_masked", fully_masked, functional.FULLY_MASKED)
        if not 0 <= dropout < 1:
            raise ArgumentError(f"dropout must be in [0, 1); received {dropout!r}.")
        for name, count in (("top_k", top_k), ("block_size", block_size)):
            if count is not None:
                arguments.require_positive_integer(name, count)
        if top_k is not None and dropout > 0:
            raise ArgumentError(
                f"top_k={top_k} needs dropout=0.0, because blocks are computed twice; received {dropout}."
            )
        if top_k is not None and weights_regularizer is not None:
            raise ArgumentError(
                f"top_k={top_k} leaves out weights, and weights_regularizer needs all; give one of them."
            )
        self.supports_masking = True
        self.features_built = {}
        self.normalizer = normalizers.get(normalizer)
        self.return_weights = bool(return_weights)
        self.weights_kind = weights_kind
        self.fully_masked = fully_masked
        self.top_k = top_k
        self.block_size = block_size
        self.weights_regularizer = weights_regularizers.get(weights_regularizer)
        self.dropout = dropout
        self.seed = seed
        if dropout > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def __call__(self, query, value=None, key=None, **kwargs):
        """Read the masks off the tensors, then call; the inputs keep theirs."""
        query, value, key, kwargs = arguments.canonical(self, query, value, key, kwargs)
        outputs = super().__call__(query, value, key, **kwargs)
        attach_mask(outputs[0] if self.return_weights else outputs, kwargs["query_mask"])
        return outputs

    def call(
        self,
        query,
        value=None,
        key=None,
        *,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        projected_keys=None,
        score_bias=None,
        use_causal_mask=False,
        training=None,
        **options,
    ):
        value = query if value is None else value
        key = value if key is None else key
        kept = functional.merge_masks(value_mask, key_mask)  # (B, S)
        mask = functional.merge_masks(
            None if value_mask is None else ops.expand_dims(value_mask, 1),
            None if key_mask is None else ops.expand_dims(key_mask, 1),
            attention_mask,
        )  # broadcastable to (B, T, S)
        attended = self.attend(
            query,
            value,
            self.project_keys(key) if projected_keys is None else projected_keys,
            mask=mask,
            kept=kept,
            score_bias=score_bias,
            use_causal_mask=use_causal_mask,
            training=training,
            **options,  # call arguments of a subclass
        )
        self.penalise(attended.weights, query_mask)
        return self.outputs_of(attended)

    def readable(self, value, kept):
        """Values (B, S, V) without what stands in positions that ``kept`` (B, S), or None, does not keep."""
        return functional.without_padding(value, kept, fully_masked=self.fully_masked)

    def attend(
        self, query, value, keys, *, mask=None, kept=None, score_bias=None, use_causal_mask=False, training=None
    ):
        """One pass over complete inputs; everything computed on the way comes back.

        Capture wraps this method, so it runs on every call whatever the layer returns.

        Parameters
        ----------
        query : tensor (B, T, D)
        value : tensor (B, S, V)
        keys : tensor (B, S, U)
            As `project_keys` returns them.
        mask : bool tensor broadcastable to (B, T, S), optional
        kept : bool tensor (B, S), optional
            Positions that are no padding: what the value holds elsewhere is not read.
        score_bias, use_causal_mask, training
            As in the call.

        Returns
        -------
        Attended
        """
        rows = ops.expand_dims(ops.arange(ops.shape(query)[-2]), 1)  # (T, 1)
        value = self.readable(value, kept)

        def block(queries, rows, keys, value, mask=None, score_bias=None):
            if use_causal_mask:
                mask = functional.merge_masks(mask, functional.causal_mask(rows, keys))
            return self.attend_block(
                queries, value, keys, rows=rows, mask=mask, score_bias=score_bias, training=training
            )

        if self.top_k is None:
            return block(query, rows, keys, value, mask, score_bias)
        return Attended(*top_weights.attend(self, block, query, rows, keys, value, mask, score_bias))

    def attend_block(self, query, value, keys, *, rows, mask=None, score_bias=None, training=None):
        """Attention of some queries, whose positions are ``rows`` (T, 1), over all keys."""
        scores = self.score(query, keys)
        scores, weights, dropped = self.weigh(scores, mask, score_bias=score_bias, training=training)
        return Attended(functional.weighted_sum(dropped, value), scores, weights, dropped)

    def weigh(self, scores, mask=None, *, score_bias=None, training=None):
        """Scores as they meet the normaliser, the weights, and the weights after dropout."""
        if score_bias is not None:
            scores, mask = functional.add_bias(scores, score_bias, mask)
        if self.fully_masked == "error" and mask is not None:
            mask = require_a_key_per_row(mask, self.name)
        weights = self.normalizer(scores, attention_mask=mask, fully_masked=self.fully_masked)
        return scores, weights, self.drop(weights, training)

    def drop(self, weights, training):
        """The weights after dropout."""
        if not training or self.dropout == 0:
            return weights
        return keras.random.dropout(weights, self.dropout, seed=self.seed_generator)

    def penalise(self, weights, query_mask=None):
        """Add the loss of the weights; padded queries do not count."""
        if self.weights_regularizer is not None:
            self.add_loss(weights_regularizers.penalty(self.weights_regularizer, weights, query_mask))

    def outputs_of(self, attended):
        """What the layer returns of an `Attended`."""
        if not self.return_weights:
            return attended.context
        shown = (attended.context, getattr(attended, self.weights_kind))
        return shown if self.top_k is None else (*shown, attended.indices)

    def project_keys(self, key):
        """Keys (B, S, K) as `score` takes them, (B, S, U): by default themselves."""
        return key

    def score(self, query, keys):
        """Scores (B, T, S) of queries (B, T, D) against projected keys (B, S, U)."""
        raise NotImplementedError(f"{type(self).__name__} must define score(query, keys).")

    def build(self, query_shape, value_shape=None, key_shape=None):
        value_shape = query_shape if value_shape is None else value_shape
        key_shape = value_shape if key_shape is None else key_shape
        self.check_features(query_shape, value_shape, key_shape)
        self.build_score(query_shape, key_shape)
        self.fix_features(query=query_shape, value=value_shape, key=key_shape)
        self.build_normalizer(self.weights_shape(query_shape, value_shape))
        self.built = True

    def fix_features(self, **shapes):
        """Remember the features that weights have been made for."""
        self.features_built = {name: shape[-1] for name, shape in shapes.items() if name in self.fixed_features}

    def check_features(self, query_shape, value_shape, key_shape):
        """Refuse features that do not fit the weights or one another; the key's shape may be None, if it is unknown."""
        arguments.check_features(self, query=query_shape, value=value_shape, key=key_shape)

    def build_normalizer(self, weights_shape):
        """Make the normaliser's variables; one that serves several layers has them already."""
        if not self.normalizer.built:
            self.normalizer.build(weights_shape)

    def build_score(self, query_shape, key_shape):
        """Create and build the sublayers the score needs; by default there are none."""

    def compute_mask(self, inputs, previous_mask=None):
        mask = previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
        further = len(self.output_dtypes()) - 1
        return (mask, *[None] * further) if self.return_weights else mask

    def compute_output_shape(self, query_shape, value_shape=None, key_shape=None):
        if isinstance(query_shape[0], (list, tuple)):
            query_shape, value_shape = (*query_shape, None)[:2]
        value_shape = query_shape if value_shape is None else value_shape
        context = (*query_shape[:2], self.context_size(query_shape, value_shape))
        weights = self.weights_shape(query_shape, value_shape)
        if not self.return_weights:
            return context
        if self.top_k is None:
            return context, weights
        weights = (*weights[:-1], self.top_k)
        return context, weights, weights

    def context_size(self, query_shape, value_shape):
        """Features of the context: by default those of the values."""
        return value_shape[-1]

    def weights_shape(self, query_shape, value_shape):
        """Shape of the weights: (B, T, S), or with heads (B, H, T, S)."""
        return (*query_shape[:2], value_shape[1])

    def compute_output_spec(self, query, value=None, key=None, **kwargs):
        return self.specs_of(self.compute_output_shape(query.shape, None if value is None else value.shape))

    def specs_of(self, shapes):
        """Symbolic outputs of the shapes `compute_output_shape` gives."""
        if not self.return_weights:
            return keras.KerasTensor(shapes, dtype=self.compute_dtype)
        refuse_tuple_inside_sequential(self)
        dtypes = self.output_dtypes()
        return tuple(keras.KerasTensor(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True))

    def output_dtypes(self):
        """Dtypes of context, weights and what else comes out with them."""
        dtypes = (self.compute_dtype, self.compute_dtype)
        return dtypes if self.top_k is None else (*dtypes, "int32")

    def get_config(self):
        return {
            **super().get_config(),
            "normalizer": keras.saving.serialize_keras_object(self.normalizer),
            "return_weights": self.return_weights,
            "weights_kind": self.weights_kind,
            "fully_masked": self.fully_masked,
            "top_k": self.top_k,
            "block_size": self.block_size,
            "weights_regularizer": keras.regularizers.serialize(self.weights_regularizer),
            "dropout": self.dropout,
            "seed": self.seed,
        }
