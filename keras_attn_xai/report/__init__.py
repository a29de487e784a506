"""Explanations on disk, and the page a person opens."""

from keras_attn_xai.report.bundle import load_explanation, save_explanation
from keras_attn_xai.report.page import write_report

__all__ = ["load_explanation", "save_explanation", "write_report"]
