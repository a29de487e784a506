"""Multiplicative attention and its relatives as Luong, Pham and Manning wrote them."""

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.layers import arguments, functional
from keras_attn_xai.layers.attention_layer import Attended
from keras_attn_xai.layers.projected_attention import ProjectedAttention

SCORES = ("dot", "general", "concat")
WINDOWS = (None, "monotonic", "predictive")


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class LuongAttention(ProjectedAttention):
    """Global and local attention with one of Luong's three scores.

    =========  ================================  ===========================
    score      formula                           sizes
    =========  ================================  ===========================
    "dot"      ``h_t^T h_s``                     query and key alike
    "general"  ``h_t^T W_a h_s``                 any
    "concat"   ``v_a^T tanh(W_a [h_t; h_s])``    any; ``units`` hidden units
    =========  ================================  ===========================

    ============  ==========================================  ==================================================
    window        centre p_t                                  weights
    ============  ==========================================  ==================================================
    None                                                      over all keys
    "monotonic"   ``t``                                       over the keys s with ``|s - p_t| <= D``
    "predictive"  ``S sigmoid(v_p^T tanh(W_p h_t))``          the same, times ``exp(-(s - p_t)^2 / (2 (D/2)^2))``
    ============  ==========================================  ==================================================

    Positions and the length S count the keys that the mask keeps, so padding moves nothing.

    Parameters
    ----------
    score : {"dot", "general", "concat"}, default "dot"
    units : int, optional
        Hidden units of "concat" and of a predicted centre; by default the size of the query.
    window : {None, "monotonic", "predictive"}, default None
    window_width : int, default 10
        D, how far a window reaches to each side.
    renormalize : bool, default False
        True divides the weights of "predictive" by their sum; as published, the Gaussian comes after the
        softmax, and rows sum to less than 1.
    return_positions : bool, default False
        True adds the centres p_t as a last output.
    attentional_vector : int, optional
        Units of ``tanh(W_c [c_t; h_t])``, which then takes the place of the context.
    use_bias : bool, default False
        Add a bias inside the tanh of "concat" (the paper has none).
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, \
    kernel_constraint, bias_constraint
        As in ``keras.layers.Dense``; for W_a and v_a alike.
    normalizer, return_weights, weights_kind, fully_masked, top_k, block_size, weights_regularizer, dropout, seed
        See `AttentionLayer`, also for the call arguments.

    Returns
    -------
    context : tensor (B, T, V)
    weights : tensor (B, T, S)
        In [0, 1]; rows sum to 1 (less in a predictive window), or to 0 when no key is left: all masked, or the
        window ends before the first.
    positions : tensor (B, T)
        Only with ``return_positions=True``.

    Notes
    -----
    "concat" is additive attention with ``W_a = [W_1 W_2]``: the two halves are kept apart, so the
    concatenation of every query with every key is never built.

    References
    ----------
    Luong, Pham and Manning 2015, "Effective approaches to attention-based neural machine
    translation" (arXiv:1508.04025), sections 3.1 and 3.2, eq. 5 to 10.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers import LuongAttention
    >>> query, value = np.array([[[10.0, 0.0]]]), np.array([[[10.0, 0.0], [0.0, 10.0]]])
    >>> context, weights = LuongAttention("dot")(query, value)
    >>> np.round(np.array(weights), 3)  # the first key is the query itself
    array([[[1., 0.]]], dtype=float32)
    """

    def __init__(
        self,
        score="dot",
        *,
        units=None,
        window=None,
        window_width=10,
        renormalize=False,
        return_positions=False,
        attentional_vector=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        arguments.require_choice("score", score, SCORES)
        arguments.require_choice("window", window, WINDOWS)
        for name, size in (("units", units), ("attentional_vector", attentional_vector)):
            if size is not None:
                arguments.require_positive_integer(name, size)
        if return_positions and window is None:
            raise ArgumentError("return_positions=True needs a window; without one a query has no position.")
        self.score_kind = score
        self.units = units
        self.window = window
        self.window_width = arguments.require_positive_integer("window_width", window_width)
        self.renormalize = bool(renormalize)
        self.return_positions = bool(return_positions)
        self.attentional_vector = attentional_vector
        scored, vector = score != "dot", attentional_vector is not None
        of_query = scored or vector or window == "predictive"
        self.fixed_features = ("query",) * of_query + ("key",) * scored + ("value",) * vector

    def build(self, query_shape, value_shape=None, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        units = self.units or query_shape[-1]
        if self.window == "predictive":
            self.centre_dense = self.projection(units, "centre", query_shape)  # W_p
            self.centre_score_dense = self.projection(1, "centre_score", (None, None, units))  # v_p
        if self.attentional_vector is not None:
            sizes = query_shape[-1] + (query_shape if value_shape is None else value_shape)[-1]
            self.context_dense = self.projection(self.attentional_vector, "context", (None, None, sizes))  # W_c

    def check_features(self, query_shape, value_shape, key_shape):
        super().check_features(query_shape, value_shape, key_shape)
        if self.score_kind == "dot" and not arguments.same_features(query_shape, key_shape):
            raise ShapeError(
                f"{self.name}: score='dot' needs query and key of one size; received {tuple(query_shape)} and "
                f"{tuple(key_shape)}. score='general' learns a matrix between them."
            )

    def build_score(self, query_shape, key_shape):
        if self.score_kind == "general":
            self.key_dense = self.projection(query_shape[-1], "key", key_shape)  # W_a
        if self.score_kind == "concat":
            units = self.units or query_shape[-1]
            self.query_dense = self.projection(units, "query", query_shape, use_bias=self.use_bias)  # left half of W_a
            self.key_dense = self.projection(units, "key", key_shape)  # right half of W_a
            self.score_dense = self.projection(1, "score", (None, None, None, units))  # v_a

    def project_keys(self, key):
        return key if self.score_kind == "dot" else super().project_keys(key)

    def score(self, query, keys):
        if self.score_kind != "concat":
            return functional.dot_scores(query, keys)
        v = self.vector_of(self.score_dense, keys.shape[-1])
        return functional.additive_scores(self.query_dense(query), keys, v, block_size=self.block_size)

    def attend(self, query, value, keys, **options):
        attended = super().attend(query, value, keys, **options)
        if self.attentional_vector is None:
            return attended
        both = ops.concatenate([attended.context, ops.cast(query, attended.context.dtype)], axis=-1)
        return attended._replace(context=ops.tanh(self.context_dense(both)))

    def attend_block(self, query, value, keys, *, rows, mask=None, score_bias=None, training=None):
        if self.window is None:
            return super().attend_block(
                query, value, keys, rows=rows, mask=mask, score_bias=score_bias, training=training
            )
        place, length = functional.key_places(keys, mask)
        centre = self.centre(query, rows, length)  # (B, T, 1)
        apart = place - centre  # (B, T, S)
        mask = functional.merge_masks(mask, ops.less_equal(ops.abs(apart), float(self.window_width)))
        scores = self.score(query, keys)
        if score_bias is not None:
            scores, mask = functional.add_bias(scores, score_bias, mask)
        scores, weights, _ = self.weigh(scores, mask)
        if self.window == "predictive":
            weights = self.bell(weights, apart, mask)
        dropped = self.drop(weights, training)
        context = functional.weighted_sum(dropped, value)
        return Attended(context, scores, weights, dropped, positions=ops.cast(centre, context.dtype))

    def centre(self, query, rows, length):
        """Where the window of each query is centred: (B, T, 1), in positions of the keys."""
        if self.window == "monotonic":
            return ops.cast(rows, length.dtype) + ops.zeros_like(ops.cast(query[..., :1], length.dtype))
        share = ops.sigmoid(self.centre_score_dense(ops.tanh(self.centre_dense(query))))
        return length * ops.cast(share, length.dtype)

    def bell(self, weights, apart, mask):
        """Weights times the Gaussian around the centre, with D/2 as its standard deviation."""
        bell = ops.exp(-ops.square(apart) / (2 * (self.window_width / 2) ** 2))
        if self.fully_masked == "uniform":  # a row without a key has no centre and stays 1/S
            bell = ops.where(ops.any(mask, axis=-1, keepdims=True), bell, 1)
        favoured = ops.cast(weights, apart.dtype) * bell
        if self.renormalize:
            total = ops.sum(favoured, axis=-1, keepdims=True)
            favoured = ops.where(total > 0, favoured / ops.where(total > 0, total, 1), favoured)
        return ops.cast(favoured, weights.dtype)

    def outputs_of(self, attended):
        outputs = super().outputs_of(attended)
        return (*outputs, attended.positions[..., 0]) if self._shows_positions else outputs

    @property
    def _shows_positions(self):
        return self.return_positions and self.return_weights

    def compute_output_shape(self, query_shape, value_shape=None, key_shape=None):
        shapes = super().compute_output_shape(query_shape, value_shape, key_shape)
        return (*shapes, shapes[0][:2]) if self._shows_positions else shapes

    def output_dtypes(self):
        return (*super().output_dtypes(), *[self.compute_dtype] * self._shows_positions)

    def context_size(self, query_shape, value_shape):
        return self.attentional_vector or super().context_size(query_shape, value_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "score": self.score_kind,
            "units": self.units,
            "window": self.window,
            "window_width": self.window_width,
            "renormalize": self.renormalize,
            "return_positions": self.return_positions,
            "attentional_vector": self.attentional_vector,
        }
