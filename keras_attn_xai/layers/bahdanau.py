"""Additive attention as Bahdanau, Cho and Bengio wrote it."""

import math

import keras
from keras import ops

from keras_attn_xai.layers import arguments, functional
from keras_attn_xai.layers.projected_attention import ProjectedAttention


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class BahdanauAttention(ProjectedAttention):
    """Additive attention, ``e_ts = v^T tanh(W s_t + U h_s)``.

    Query and key may have different sizes; W and U bring them to ``units``.

    Parameters
    ----------
    units : int
        Size of the hidden layer that scores a key.
    use_bias : bool, default False
        Add a bias inside the tanh (the paper has none).
    normalize : bool, default False
        True scores with ``g v / ||v||`` and learns the length g, from ``1 / sqrt(units)`` on.
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, \
    kernel_constraint, bias_constraint
        As in ``keras.layers.Dense``; for W, U and v alike.
    normalizer, return_weights, weights_kind, fully_masked, top_k, block_size, weights_regularizer, dropout, seed
        See `AttentionLayer`, also for the call arguments.

    Returns
    -------
    context : tensor (B, T, V)
    weights : tensor (B, T, S)
        In [0, 1]; rows sum to 1, or to 0 when every key is masked.

    References
    ----------
    Bahdanau, Cho and Bengio 2015, "Neural machine translation by jointly learning to align and
    translate" (arXiv:1409.0473), section 3.1 and appendix A.1.2; the normalised form: Salimans and Kingma 2016,
    "Weight normalization" (arXiv:1602.07868), eq. 2.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers import BahdanauAttention
    >>> layer = BahdanauAttention(units=11)
    >>> context, weights = layer(np.ones((2, 5, 3)), np.ones((2, 7, 4)))
    >>> tuple(context.shape), tuple(weights.shape)
    ((2, 5, 4), (2, 5, 7))
    >>> bool(np.allclose(weights, 1 / 7))  # equal keys share the weight
    True
    """

    def __init__(self, units, *, normalize=False, **kwargs):
        super().__init__(**kwargs)
        self.normalize = bool(normalize)
        self.units = arguments.require_positive_integer("units", units)

    def build_score(self, query_shape, key_shape):
        self.query_dense = self.projection(self.units, "query", query_shape, use_bias=self.use_bias)  # W
        self.key_dense = self.projection(self.units, "key", key_shape)  # U
        self.score_dense = self.projection(1, "score", (None, None, None, self.units))  # v

        if self.normalize:
            length = keras.initializers.Constant(1 / math.sqrt(self.units))
            self.length = self.add_weight(name="length", shape=(), initializer=length)  # g

    def score(self, query, keys):
        v = self.vector_of(self.score_dense, keys.shape[-1])
        if self.normalize:
            v = ops.cast(self.length, v.dtype) * v / ops.norm(v)
        return functional.additive_scores(self.query_dense(query), keys, v, block_size=self.block_size)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "normalize": self.normalize}
