"""Numbers about attention and attribution: pure functions of arrays and records, one number per row or head."""

from keras_attn_xai.metrics.agreement import AgreementTable, agreement, row_agreement
from keras_attn_xai.metrics.bootstrap import Interval, bootstrap_interval
from keras_attn_xai.metrics.concentration import attention_of_set, entropy, gini
from keras_attn_xai.metrics.correlations import cosine, kendall_tau, pearson, spearman
from keras_attn_xai.metrics.curves import (
    FRACTIONS,
    aopc,
    area_under_curve,
    comprehensiveness,
    normalized_aopc,
    sufficiency,
)
from keras_attn_xai.metrics.distributions import jensen_shannon, total_variation
from keras_attn_xai.metrics.faithfulness import faithfulness_correlation, infidelity, max_sensitivity, sensitivity_n
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
from keras_attn_xai.metrics.truth import TruthScore, score_against_truth

__all__ = [
    "FRACTIONS",
    "AgreementTable",
    "Interval",
    "TruthScore",
    "agreement",
    "aopc",
    "area_under_curve",
    "attention_of_set",
    "bootstrap_interval",
    "comprehensiveness",
    "cosine",
    "entropy",
    "faithfulness_correlation",
    "feature_agreement",
    "gini",
    "head_distance",
    "head_entropy",
    "infidelity",
    "jaccard_at_k",
    "jensen_shannon",
    "kendall_tau",
    "max_sensitivity",
    "normalized_aopc",
    "pearson",
    "rank_agreement",
    "rank_biased_overlap",
    "row_agreement",
    "score_against_truth",
    "sensitivity_n",
    "sign_agreement",
    "signed_rank_agreement",
    "spearman",
    "sufficiency",
    "top_k_kendall_distance",
    "top_k_overlap",
    "total_variation",
]
