"""Records in, pictures out. Nothing here shows a window or changes matplotlib's global state."""

from keras_attn_xai.plots.side_by_side import plot_side_by_side

__all__ = ["plot_side_by_side"]
