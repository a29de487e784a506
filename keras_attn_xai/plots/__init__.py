"""Records in, pictures out. Nothing here shows a window or changes matplotlib's global state."""

from keras_attn_xai.plots.alignment import plot_alignment
from keras_attn_xai.plots.audit import plot_audit
from keras_attn_xai.plots.curves import plot_curves
from keras_attn_xai.plots.heads import plot_heads
from keras_attn_xai.plots.heatmap import plot_heatmap, plot_interactions
from keras_attn_xai.plots.image import plot_image
from keras_attn_xai.plots.rollout import plot_rollout
from keras_attn_xai.plots.scatter import plot_scatter
from keras_attn_xai.plots.series import plot_series
from keras_attn_xai.plots.side_by_side import plot_side_by_side
from keras_attn_xai.plots.tokens import plot_tokens

__all__ = [
    "plot_alignment",
    "plot_audit",
    "plot_curves",
    "plot_heads",
    "plot_heatmap",
    "plot_image",
    "plot_interactions",
    "plot_rollout",
    "plot_scatter",
    "plot_series",
    "plot_side_by_side",
    "plot_tokens",
]
