"""Is the attention of a model an explanation of it? Tests that need the model."""

from keras_attn_xai.auditing.coalition_orders import attention_order, leave_one_out, random_order
from keras_attn_xai.auditing.faithfulness_table import FaithfulnessTable, faithfulness

__all__ = ["FaithfulnessTable", "attention_order", "faithfulness", "leave_one_out", "random_order"]
