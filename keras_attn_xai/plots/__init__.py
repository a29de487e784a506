"""Records in, pictures out. Nothing here shows a window or changes matplotlib's global state."""

from keras_attn_xai.plots.heatmap import plot_heatmap, plot_interactions
from keras_attn_xai.plots.side_by_side import plot_side_by_side
from keras_attn_xai.plots.tokens import plot_tokens

__all__ = ["plot_heatmap", "plot_interactions", "plot_side_by_side", "plot_tokens"]
