"""Is the attention of a model an explanation of it? Tests that need the model."""

from keras_attn_xai.auditing.adversarial import adversarial_attention
from keras_attn_xai.auditing.attention_robustness import robustness
from keras_attn_xai.auditing.attention_tests import (
    AttentionTest,
    erasure_test,
    permutation_test,
    seed_variance,
    uniform_test,
)
from keras_attn_xai.auditing.battery import audit
from keras_attn_xai.auditing.coalition_orders import attention_order, leave_one_out, random_order
from keras_attn_xai.auditing.diagnostic import diagnostic_mlp
from keras_attn_xai.auditing.faithfulness_table import FaithfulnessTable, faithfulness
from keras_attn_xai.auditing.randomization import cascading_randomization, randomized_copy, weight_randomization
from keras_attn_xai.auditing.record import Audit
from keras_attn_xai.auditing.retraining import uniform_retrained

__all__ = [
    "AttentionTest",
    "Audit",
    "FaithfulnessTable",
    "adversarial_attention",
    "attention_order",
    "audit",
    "cascading_randomization",
    "diagnostic_mlp",
    "erasure_test",
    "faithfulness",
    "leave_one_out",
    "permutation_test",
    "random_order",
    "randomized_copy",
    "robustness",
    "seed_variance",
    "uniform_retrained",
    "uniform_test",
    "weight_randomization",
]
