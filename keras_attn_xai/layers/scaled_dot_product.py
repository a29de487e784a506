"""Scaled dot-product attention with an optional score bias."""

import math

import keras

from keras_attn_xai.errors import ShapeError
from keras_attn_xai.layers import arguments, functional, positions
from keras_attn_xai.layers.attention_layer import AttentionLayer


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class ScaledDotProductAttention(AttentionLayer):
    """Attention ``softmax(Q K^T / sqrt(D) + bias) V`` without projections.

    Parameters
    ----------
    scale : float, optional
        Factor of the products; by default ``1 / sqrt(D)``.
    position_bias : {None, "alibi", "relative"} or PositionBias, default None
        Added to the scores; see `layers.positions`.
    normalizer, return_weights, weights_kind, fully_masked, top_k, block_size, weights_regularizer, dropout, seed
        See `AttentionLayer`, also for the other call arguments.

    Call arguments
    --------------
    score_bias : float tensor (B, T, S), (1, T, S) or (T, S), optional
        The bias of the formula.

    Returns
    -------
    context : tensor (B, T, V)
    weights : tensor (B, T, S)
        In [0, 1]; rows sum to 1, or to 0 when every key is masked.

    Raises
    ------
    ShapeError
        Query and key differ in size, or the bias does not fit (B, T, S).

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need" (arXiv:1706.03762), eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers import ScaledDotProductAttention
    >>> layer = ScaledDotProductAttention()
    >>> context, weights = layer(np.zeros((1, 1, 4)), np.zeros((1, 2, 4)), score_bias=np.log([[1.0, 3.0]]))
    >>> np.round(weights, 3)  # equal scores, so the bias alone decides: 1 to 3
    array([[[0.25, 0.75]]], dtype=float32)
    """

    def __init__(self, *, scale=None, position_bias=None, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.position_bias = positions.get(position_bias)

    def check_features(self, query_shape, value_shape, key_shape):
        if not arguments.same_features(query_shape, key_shape):
            raise ShapeError(
                f"{self.name}: query and key must have one size; received {tuple(query_shape)} and {tuple(key_shape)}."
            )

    def build_score(self, query_shape, key_shape):
        if self.position_bias is not None and not self.position_bias.built:
            self.position_bias.build(None)

    def attend_block(self, query, value, keys, *, rows, score_bias=None, **options):
        score_bias = positions.total(self.position_bias, rows, keys, score_bias)
        return super().attend_block(query, value, keys, rows=rows, score_bias=score_bias, **options)

    def score(self, query, keys):
        scale = 1 / math.sqrt(query.shape[-1]) if self.scale is None else self.scale
        return functional.dot_scores(query, keys, scale=scale)

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "position_bias": keras.saving.serialize_keras_object(self.position_bias),
        }
