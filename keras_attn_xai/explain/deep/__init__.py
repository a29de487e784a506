"""Attributions by gradients: DeepLIFT through attention, and expected gradients, of any function TensorFlow can trace.

``graph`` runs a traced function on a row and its reference side by side, ``rules`` has what each type of
operation does to a multiplier, ``walk`` goes back, ``engine`` and ``expected_gradients`` are called by users.
"""

from keras_attn_xai.explain.deep.engine import Deep
from keras_attn_xai.explain.deep.expected_gradients import ExpectedGradients
from keras_attn_xai.explain.deep.preflight import Preflight, preflight
from keras_attn_xai.explain.deep.result import InputAttributions

__all__ = ["Deep", "ExpectedGradients", "InputAttributions", "Preflight", "preflight"]
