"""Numbers about attention and attribution: pure functions of arrays and records, one number per row or head."""

from keras_attn_xai.metrics.bootstrap import Interval, bootstrap_interval
from keras_attn_xai.metrics.correlations import cosine, kendall_tau, pearson, spearman
from keras_attn_xai.metrics.distributions import jensen_shannon, total_variation
from keras_attn_xai.metrics.heads import head_distance, head_entropy
from keras_attn_xai.metrics.top_positions import (
    feature_agreement,
    jaccard_at_k,
    rank_agreement,
    rank_biased_overlap,
    sign_agreement,
    signed_rank_agreement,
    top_k_kendall_distance,
    top_k_overlap,
)

__all__ = [
    "Interval",
    "bootstrap_interval",
    "cosine",
    "feature_agreement",
    "head_distance",
    "head_entropy",
    "jaccard_at_k",
    "jensen_shannon",
    "kendall_tau",
    "pearson",
    "rank_agreement",
    "rank_biased_overlap",
    "sign_agreement",
    "signed_rank_agreement",
    "spearman",
    "top_k_kendall_distance",
    "top_k_overlap",
    "total_variation",
]
