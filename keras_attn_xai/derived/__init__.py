"""Maps made from maps: what several layers, the values or a gradient add to the weights; arrays alone, no model."""

from keras_attn_xai.derived.gradients import attention_times_gradient
from keras_attn_xai.derived.paths import attention_flow, rollout
from keras_attn_xai.derived.propagation import generic_attention
from keras_attn_xai.derived.value_norms import value_norm_weighted

__all__ = ["attention_flow", "attention_times_gradient", "generic_attention", "rollout", "value_norm_weighted"]
