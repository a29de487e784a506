"""Numbers about attention and attribution: pure functions of arrays and records, one number per row or head."""

from keras_attn_xai.metrics.agreement import kendall_tau, top_k_overlap
from keras_attn_xai.metrics.bootstrap import Interval, bootstrap_interval
from keras_attn_xai.metrics.heads import head_distance, head_entropy

__all__ = ["Interval", "bootstrap_interval", "head_distance", "head_entropy", "kendall_tau", "top_k_overlap"]
