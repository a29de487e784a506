"""Where masks are lost before they reach attention, and a copy that keeps them."""

from keras_attn_xai.capture.masks.lint import MaskLeak, check_masks
from keras_attn_xai.capture.masks.repair import repair_masks

__all__ = ["MaskLeak", "check_masks", "repair_masks"]
