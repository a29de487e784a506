"""Attention out of Keras models, also those we did not write, and into them."""

from keras_attn_xai.capture.changes import permute, set_to, temperature, uniform, zero
from keras_attn_xai.capture.expose import expose_attention
from keras_attn_xai.capture.intervene import intervene
from keras_attn_xai.capture.maps import capture_attention
from keras_attn_xai.capture.masks.lint import MaskLeak, check_masks
from keras_attn_xai.capture.masks.repair import repair_masks

__all__ = [
    "MaskLeak",
    "capture_attention",
    "check_masks",
    "expose_attention",
    "intervene",
    "permute",
    "repair_masks",
    "set_to",
    "temperature",
    "uniform",
    "zero",
]
