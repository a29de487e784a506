"""Attention out of Keras models, also those we did not write, and into them."""

from keras_attn_xai.capture.changes import permute, set_to, temperature, uniform, zero
from keras_attn_xai.capture.expose import expose_attention
from keras_attn_xai.capture.intervene import intervene
from keras_attn_xai.capture.maps import capture_attention

__all__ = [
    "capture_attention",
    "expose_attention",
    "intervene",
    "permute",
    "set_to",
    "temperature",
    "uniform",
    "zero",
]
