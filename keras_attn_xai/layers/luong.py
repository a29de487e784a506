"""Multiplicative attention and its relatives as Luong, Pham and Manning wrote them."""

import keras

from keras_attn_xai.errors import ShapeError
from keras_attn_xai.layers import arguments, functional
from keras_attn_xai.layers.projected_attention import ProjectedAttention

SCORES = ("dot", "general", "concat")


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class LuongAttention(ProjectedAttention):
    """Global attention with one of Luong's three scores.

    =========  ================================  ===========================
    score      formula                           sizes
    =========  ================================  ===========================
    "dot"      ``h_t^T h_s``                     query and key alike
    "general"  ``h_t^T W_a h_s``                 any
    "concat"   ``v_a^T tanh(W_a [h_t; h_s])``    any; ``units`` hidden units
    =========  ================================  ===========================

    Parameters
    ----------
    score : {"dot", "general", "concat"}, default "dot"
    units : int, optional
        Hidden units of "concat"; by default the size of the query.
    use_bias : bool, default False
        Add a bias inside the tanh of "concat" (the paper has none).
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, \
    kernel_constraint, bias_constraint
        As in ``keras.layers.Dense``; for W_a and v_a alike.
    normalizer, return_weights, weights_kind, fully_masked, top_k, block_size, dropout, seed
        See `AttentionLayer`, also for the call arguments.

    Returns
    -------
    context : tensor (B, T, V)
    weights : tensor (B, T, S)
        In [0, 1]; rows sum to 1, or to 0 when every key is masked.

    Notes
    -----
    "concat" is additive attention with ``W_a = [W_1 W_2]``: the two halves are kept apart, so the
    concatenation of every query with every key is never built.

    References
    ----------
    Luong, Pham and Manning 2015, "Effective approaches to attention-based neural machine
    translation" (arXiv:1508.04025), section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers import LuongAttention
    >>> query, value = np.array([[[10.0, 0.0]]]), np.array([[[10.0, 0.0], [0.0, 10.0]]])
    >>> context, weights = LuongAttention("dot")(query, value)
    >>> np.round(np.array(weights), 3)  # the first key is the query itself
    array([[[1., 0.]]], dtype=float32)
    """

    def __init__(self, score="dot", *, units=None, **kwargs):
        super().__init__(**kwargs)
        arguments.require_choice("score", score, SCORES)
        self.score_kind = score
        self.units = None if units is None else arguments.require_positive_integer("units", units)

    def build_score(self, query_shape, key_shape):
        if self.score_kind == "dot" and query_shape[-1] != key_shape[-1]:
            raise ShapeError(
                f"{self.name}: score='dot' needs query and key of one size; received {tuple(query_shape)} and "
                f"{tuple(key_shape)}. score='general' learns a matrix between them."
            )
        if self.score_kind == "general":
            self.key_dense = self.projection(query_shape[-1], "key", key_shape)  # W_a
        if self.score_kind == "concat":
            units = self.units or query_shape[-1]
            self.query_dense = self.projection(units, "query", query_shape, use_bias=self.use_bias)  # left half of W_a
            self.key_dense = self.projection(units, "key", key_shape)  # right half of W_a
            self.score_dense = self.projection(1, "score", (None, None, None, units))  # v_a

    def project_keys(self, key):
        return key if self.score_kind == "dot" else self.key_dense(key)

    def score(self, query, keys):
        if self.score_kind != "concat":
            return functional.dot_scores(query, keys)
        v = self.vector_of(self.score_dense, keys.shape[-1])
        return functional.additive_scores(self.query_dense(query), keys, v, block_size=self.block_size)

    def get_config(self):
        return {**super().get_config(), "score": self.score_kind, "units": self.units}
