"""Attention layers whose weights always come out and whose masks are always right."""

from keras_attn_xai.layers import normalizers
from keras_attn_xai.layers.attention_layer import AttentionLayer
from keras_attn_xai.layers.bahdanau import BahdanauAttention
from keras_attn_xai.layers.luong import LuongAttention
from keras_attn_xai.layers.scaled_dot_product import ScaledDotProductAttention

__all__ = ["AttentionLayer", "BahdanauAttention", "LuongAttention", "ScaledDotProductAttention", "normalizers"]
