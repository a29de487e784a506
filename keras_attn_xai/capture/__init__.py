"""Attention out of Keras models, also those we did not write."""

from keras_attn_xai.capture.expose import expose_attention

__all__ = ["expose_attention"]
