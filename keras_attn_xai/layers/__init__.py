"""Attention layers whose weights always come out and whose masks are always right."""

from keras_attn_xai.layers import normalizers, positions, weights_regularizers
from keras_attn_xai.layers.attention_layer import AttentionLayer
from keras_attn_xai.layers.bahdanau import BahdanauAttention
from keras_attn_xai.layers.beam_search import Hypotheses, beam_search, greedy_decode
from keras_attn_xai.layers.decoder import AttentionDecoder
from keras_attn_xai.layers.hierarchical import HierarchicalAttention
from keras_attn_xai.layers.luong import LuongAttention
from keras_attn_xai.layers.multi_head import MultiHeadAttention
from keras_attn_xai.layers.pooling import AttentionPooling
from keras_attn_xai.layers.scaled_dot_product import ScaledDotProductAttention

__all__ = [
    "AttentionDecoder",
    "AttentionLayer",
    "AttentionPooling",
    "BahdanauAttention",
    "HierarchicalAttention",
    "Hypotheses",
    "LuongAttention",
    "MultiHeadAttention",
    "ScaledDotProductAttention",
    "beam_search",
    "greedy_decode",
    "normalizers",
    "positions",
    "weights_regularizers",
]
