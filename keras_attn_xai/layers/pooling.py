"""Attention that pools: a sequence becomes one vector, and says which positions it took it from."""

# A pooling has one input where other attention has a query, a value and a key.
# mypy: disable-error-code="override"

import math

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError, MaskError, ShapeError
from keras_attn_xai.layers import arguments, functional
from keras_attn_xai.layers.attention_layer import Attended
from keras_attn_xai.layers.keras_mask import attached_mask
from keras_attn_xai.layers.projected_attention import ProjectedAttention

SCORES = ("location", "feedforward", "gated", "multi_hop", "query")
ONE_WEIGHT = SCORES[:3]  # the scores that give a position one weight, not one a hop or head


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class AttentionPooling(ProjectedAttention):
    """A sequence, or a bag of instances, pooled into one vector by learned weights.

    =============  ==========================================  ===========  ===========
    score          formula                                     context      weights
    =============  ==========================================  ===========  ===========
    "location"     ``w^T x_i``                                 (B, V)       (B, S)
    "feedforward"  ``u^T tanh(W x_i + b)``                     (B, V)       (B, S)
    "gated"        ``w^T (tanh(V x_i) * sigmoid(U x_i))``      (B, V)       (B, S)
    "multi_hop"    ``W_2 tanh(W_1 x_i)``, a row for each hop   (B, R, V)    (B, R, S)
    "query"        ``q_h^T W_k x_i / sqrt(U)`` for each head   (B, V)       (B, H, S)
    =============  ==========================================  ===========  ===========

    The context is ``sum_i a_i x_i``; that of "query" is ``W_o [sum_i a_hi W_v x_i]``, the heads side by side.

    Parameters
    ----------
    score : {"location", "feedforward", "gated", "multi_hop", "query"}, default "feedforward"
    units : int, optional
        Hidden units that score a position, by default as many as the inputs have features; with "query"
        the size of a head, by default the features shared out among the heads. "location" has none.
    hops : int, default 4
        Rows of weights of "multi_hop", R above.
    num_heads : int, default 4
        Heads of "query", H above.
    weighted_sequence : bool, default False
        True: the context is not summed, ``c_i = a_i x_i`` (B, S, V), and keeps the mask of the inputs.
        Only with "location", "feedforward" and "gated", which give each position one weight.
    use_bias : bool, default False
        Add a bias inside the tanh (as Yang et al. do) and the sigmoid, to the score of "location", and to the
        projections of "query".
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, \
    kernel_constraint, bias_constraint
        As in ``keras.layers.Dense``; for every projection alike, the kernel's also for the learned queries.
    normalizer, return_weights, weights_kind, fully_masked, top_k, block_size, weights_regularizer, dropout, seed
        See `AttentionLayer`. A pooling has so few queries that ``block_size`` changes nothing.

    Call arguments
    --------------
    inputs : tensor (B, S, V)
        A sequence of positions, or a bag of instances in any order.
    mask : bool tensor (B, S)
        True keeps a position; a masked one gets weight 0. By default the mask the inputs carry.
    lengths : int tensor (B,)
        True lengths; the same as a ``mask`` that keeps the first positions.
    training : bool, optional

    Returns
    -------
    context : tensor (B, V), (B, R, V) or (B, S, V)
        See the table; the last with ``weighted_sequence=True``.
    weights : tensor (B, S), (B, R, S) or (B, H, S)
        Only with ``return_weights=True``. In [0, 1]; rows sum to 1 (but for a sigmoid), or to 0 when every position
        is masked.
    indices : int tensor (B, k), (B, R, k) or (B, H, k)
        Only with ``top_k``; the weights then have the same shape.

    Raises
    ------
    ArgumentError
        An unknown score, or a weighted sequence with several weights a position.
    ShapeError
        Inputs that are not (B, S, V), or lengths that are not (B,).
    MaskError
        A mask that is not boolean, or not (B, S).

    Notes
    -----
    "feedforward" with ``units=1`` is the form of Raffel and Ellis up to the factor u. "query" is the multi-head
    attention inside PMA, without its residual, row-wise layers and layer norm.

    References
    ----------
    "location": Felbo et al. 2017 (DeepMoji, arXiv:1708.00524), section 3. "feedforward": Yang et al. 2016,
    "Hierarchical attention networks for document classification" (doi:10.18653/v1/N16-1174), eq. 5 to 7; Raffel and
    Ellis 2015 (arXiv:1512.08756), section 1.2; over bags, Ilse, Tomczak and Welling 2018 (arXiv:1802.04712), eq. 7
    and 8. "gated": the same, eq. 9. "multi_hop": Lin et al. 2017 (arXiv:1703.03130), eq. 6 and 7. "query": Lee et al.
    2019 (Set Transformer, arXiv:1810.00825), eq. 11.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> layer = AttentionPooling("location", kernel_initializer="ones")
    >>> context, weights = layer(np.array([[[0.0, 1.0], [1.0, 0.0], [9.0, 9.0]]]), lengths=[2])
    >>> np.array(weights)  # two equal scores share the weight; the third position is padding
    array([[0.5, 0.5, 0. ]], dtype=float32)
    >>> np.array(context)
    array([[0.5, 0.5]], dtype=float32)
    """

    fixed_features = ("inputs",)

    def __init__(self, score="feedforward", *, units=None, hops=4, num_heads=4, weighted_sequence=False, **kwargs):
        super().__init__(**kwargs)
        arguments.require_choice("score", score, SCORES)
        if weighted_sequence and score not in ONE_WEIGHT:
            raise ArgumentError(
                f"weighted_sequence=True needs one weight a position, which {', '.join(map(repr, ONE_WEIGHT))} give; "
                f"received score={score!r}, which has several."
            )
        self.score_kind = score
        self.units = None if units is None else arguments.require_positive_integer("units", units)
        self.hops = arguments.require_positive_integer("hops", hops)
        self.num_heads = arguments.require_positive_integer("num_heads", num_heads)
        self.weighted_sequence = bool(weighted_sequence)

    def __call__(self, inputs, mask=None, lengths=None, **kwargs):
        """Read the mask off the inputs, then call; the inputs keep theirs."""
        arguments.refuse_return_attention_scores(self, kwargs)
        (inputs,) = arguments.tensors(self, arguments.only_input(inputs))
        if len(inputs.shape) != 3:
            raise ShapeError(
                f"{self.name}: inputs must have shape (batch, positions, features); received {tuple(inputs.shape)} of "
                f"dtype {keras.backend.standardize_dtype(inputs.dtype)}."
            )
        arguments.check_features(self, inputs=inputs.shape)
        if lengths is not None:
            refuse_mask_beside_lengths(self, mask)
            mask = arguments.first_ones(self, lengths, inputs)
        mask = fitting_mask(self, mask, inputs, ("batch", "positions"))
        # past AttentionLayer.__call__, which brings a query and its values into one form
        return keras.layers.Layer.__call__(self, inputs, mask=mask, **kwargs)

    def call(self, inputs, mask=None, training=None):
        attended = self.attend(inputs, mask=mask, training=training)
        self.penalise(self.as_map(attended.weights))
        return self.outputs_of(attended)

    def attend(self, inputs, *, mask=None, training=None):
        """Pool, and keep all that was computed on the way.

        Capture wraps this method, so it runs on every call whatever the layer returns.

        Parameters
        ----------
        inputs : tensor (B, S, V) or (B, N, S, V)
            Of the second each (S, V) is pooled by itself, as are the sentences of a document, each with its words;
            that takes a score with one weight a position.
        mask : bool tensor (B, S) or (B, N, S), optional
        training : bool, optional

        Returns
        -------
        Attended
            Context and weights as the layer returns them; (B, N, V) and (B, N, S) for inputs (B, N, S, V).
        """
        value = self.readable(inputs, mask)
        if mask is not None:
            mask = ops.expand_dims(mask, (1, 2) if self.score_kind == "query" else -2)
        kinds = self.weigh(self.position_scores(inputs), mask, training=training)  # scores, weights, dropped
        context = self.pool(kinds[-1], value)
        if self.score_kind != "multi_hop":  # no hops, so the axis of the queries has one place
            kinds = [ops.squeeze(kind, -2) for kind in kinds]
            context = context if self.weighted_sequence else ops.squeeze(context, -2)
        if self.top_k is None:
            return Attended(context, *kinds)
        indices = ops.cast(ops.top_k(kinds[1], self.top_k)[1], "int32")
        scores, weights, dropped = (ops.take_along_axis(kind, indices, axis=-1) for kind in kinds)
        return Attended(context, scores, weights, dropped, indices)

    def as_map(self, weights):
        """Weights of `attend` as a map (B, H, T, S), where T is 1, the hops, or the N sequences of a row."""
        if self.score_kind == "query":
            return ops.expand_dims(weights, 2)
        return ops.expand_dims(weights, (1, 2) if len(weights.shape) == 2 else 1)

    def position_scores(self, inputs):
        """Scores (B, 1, S) of the positions, with hops (B, R, S), with heads (B, H, 1, S)."""
        if self.score_kind == "query":
            query = ops.expand_dims(ops.cast(self.query, self.compute_dtype), 1)  # (H, 1, U)
            return functional.dot_scores(query, self.key_dense(inputs), scale=1 / math.sqrt(query.shape[-1]))
        return ops.swapaxes(self.score_dense(self.hidden(inputs)), -1, -2)

    def hidden(self, inputs):
        """What the last matrix of the score reads, (B, S, U)."""
        if self.score_kind == "location":
            return inputs
        hidden = ops.tanh(self.hidden_dense(inputs))
        return hidden * ops.sigmoid(self.gate_dense(inputs)) if self.score_kind == "gated" else hidden

    def pool(self, weights, value):
        """The context of weights that are shaped as `position_scores` gives them."""
        if self.weighted_sequence:
            return ops.swapaxes(weights, -1, -2) * value
        if self.score_kind != "query":
            return functional.weighted_sum(weights, value)
        heads = functional.weighted_sum(weights, self.value_dense(value))  # (B, H, 1, U)
        return self.output_dense(heads)

    def build(self, inputs_shape):
        if self.score_kind == "query":
            self.build_heads(inputs_shape)
        else:
            self.build_hidden(inputs_shape)
        self.build_normalizer(self.scores_shape(inputs_shape))
        self.fix_features(inputs=inputs_shape)
        self.built = True

    def build_hidden(self, inputs_shape):
        """The matrices of a score that reads one position at a time."""
        last_shape, is_location = inputs_shape, self.score_kind == "location"
        if not is_location:
            last_shape = (*inputs_shape[:-1], self.units or inputs_shape[-1])
            self.hidden_dense = self.projection(last_shape[-1], "hidden", inputs_shape, use_bias=self.use_bias)
        if self.score_kind == "gated":
            self.gate_dense = self.projection(last_shape[-1], "gate", inputs_shape, use_bias=self.use_bias)
        rows = self.hops if self.score_kind == "multi_hop" else 1
        self.score_dense = self.projection(rows, "score", last_shape, use_bias=self.use_bias and is_location)

    def build_heads(self, inputs_shape):
        """The learned queries, and the projections around them."""
        features = inputs_shape[-1]
        size = self.units or max(1, features // self.num_heads)
        self.query = self.add_weight(
            name="query",
            shape=(self.num_heads, size),
            initializer=keras.initializers.get(keras.initializers.serialize(self.kernel_initializer)),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        by_head = ("bsv,vhu->bhsu", (self.num_heads, None, size), "hu")
        self.key_dense = self.einsum_projection(*by_head, "key", inputs_shape)
        self.value_dense = self.einsum_projection(*by_head, "value", inputs_shape)
        self.output_dense = self.einsum_projection(
            "bhtu,huv->btv", (None, features), "v", "output", (None, self.num_heads, None, size)
        )

    def scores_shape(self, inputs_shape):
        """Shape of what `position_scores` gives."""
        if self.score_kind == "query":
            return inputs_shape[0], self.num_heads, 1, inputs_shape[-2]
        return *inputs_shape[:-2], self.hops if self.score_kind == "multi_hop" else 1, inputs_shape[-2]

    def compute_mask(self, inputs, previous_mask=None):
        return super().compute_mask(inputs, previous_mask if self.weighted_sequence else None)

    def compute_output_shape(self, inputs_shape):
        batch, positions, features = inputs_shape
        rows = {"multi_hop": (self.hops,), "query": (self.num_heads,)}.get(self.score_kind, ())
        vectors = (positions,) if self.weighted_sequence else rows if self.score_kind == "multi_hop" else ()
        context = (batch, *vectors, features)
        if not self.return_weights:
            return context
        if self.top_k is None:
            return context, (batch, *rows, positions)
        if positions is not None and positions < self.top_k:
            raise ShapeError(f"{self.name}: top_k={self.top_k} of {positions} positions; ask for as many as there are.")
        return context, (batch, *rows, self.top_k), (batch, *rows, self.top_k)

    def compute_output_spec(self, inputs, mask=None, training=None):
        return self.specs_of(self.compute_output_shape(inputs.shape))

    def get_config(self):
        return {
            **super().get_config(),
            "score": self.score_kind,
            "units": self.units,
            "hops": self.hops,
            "num_heads": self.num_heads,
            "weighted_sequence": self.weighted_sequence,
        }


def refuse_mask_beside_lengths(layer, mask):
    """Raise when the same was said twice, perhaps differently."""
    if mask is not None:
        raise MaskError(f"{layer.name}: lengths= is short for a mask=; pass one of the two.")


def fitting_mask(layer, mask, inputs, axes):
    """The mask that was given, else the one the inputs carry, once it is boolean and has the first axes of the inputs.

    Parameters
    ----------
    layer : keras.Layer
        Named in messages.
    mask : bool tensor, or None
    inputs : tensor
    axes : tuple of str
        Names of the mask's axes.

    Returns
    -------
    bool tensor, or None

    Raises
    ------
    MaskError
        Another dtype, rank or size.
    """
    mask = attached_mask(inputs) if mask is None else arguments.as_tensor(mask)
    if mask is None:
        return None
    dtype, shape, expected = keras.backend.standardize_dtype(mask.dtype), tuple(mask.shape), inputs.shape[: len(axes)]
    if dtype != "bool" or len(shape) != len(axes) or not all(map(arguments.agree, shape, expected)):
        raise MaskError(
            f"{layer.name}: mask must be boolean, True keeps, of shape ({', '.join(axes)}) = {tuple(expected)}; "
            f"received dtype {dtype} of shape {shape}. For 0/1 masks pass mask.astype(bool)."
        )
    return mask
