"""Layer by layer: what a position rests on, as the weights are multiplied."""

import numpy as np

from keras_attn_xai.derived import rollout
from keras_attn_xai.derived.maps import self_attention
from keras_attn_xai.plots.fonts import ending
from keras_attn_xai.plots.heatmap import size_of
from keras_attn_xai.plots.panels import (
    axis_label,
    colour_bar,
    draw_matrix,
    name_positions,
    require_row,
    single,
    title,
)
from keras_attn_xai.plots.weights import heads_said, on_keys, require_any


def plot_rollout(maps, *, row=0, query="mean over unmasked", residual="half", heads="mean", ax=None, dark=False):
    """Attention rollout of one row after each layer, layers down and the input's positions along.

    Parameters
    ----------
    maps : sequence of AttentionMap
        Of self-attention, from input to output.
    row : int, default 0
    query : {"mean over unmasked", "max over unmasked", "first", "last"} or int, default "mean over unmasked"
        The position that is followed, 0 or "first" for a class token in front; see `keras_attn_xai.align`.
    residual, heads
        See `keras_attn_xai.derived.rollout`.
    ax : matplotlib.axes.Axes, optional
        Draw here; by default on a new figure outside pyplot.
    dark : bool, default False

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.images[0].get_array()`` (L, S): line i is the rollout of the first i + 1 maps, at the real positions.

    Raises
    ------
    ArgumentError
        No maps, or a row, query or reduction that does not exist.
    ShapeError
        Maps of different rows, or one that is not of self-attention over the same positions.

    References
    ----------
    Abnar and Zuidema 2020, "Quantifying attention flow in transformers" (arXiv:2005.00928).

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap, plots
    >>> words = [["a", "b"]]
    >>> maps = [AttentionMap(name, [[[[1.0, 0.0], [1.0, 0.0]]]], words, words) for name in ("one", "two")]
    >>> plots.plot_rollout(maps, query=1).images[0].get_array().tolist()  # half of b stays in each layer
    [[0.5, 0.5], [0.75, 0.25]]
    """
    maps = self_attention(maps, "plot_rollout")
    require_row(row, len(maps[0]))
    shown = [one[int(row)] for one in maps]
    layers = [rollout(shown[: last + 1], residual=residual, heads=heads) for last in range(len(shown))]
    followed = [on_keys(one, "mean", query) for one in layers]
    keep = np.flatnonzero(shown[0].mask[0])
    require_any(keep)
    values = np.stack([one.attention[0, keep] for one in followed])
    names, keys = (
        [f"{place} {ending(one.name, 14)}" for place, one in enumerate(shown, 1)],
        [shown[0].key_labels[0][i] for i in keep],
    )
    said = f"Rollout, {heads_said(heads if isinstance(heads, str) else f'head {heads}')}, {followed[0].query}"
    width, height = size_of(names, keys)
    ax, theme = single(ax, dark, (max(width, 1.2 + 0.085 * len(said)), height))
    image = draw_matrix(ax, values, theme)
    name_positions(ax.yaxis, names, theme)
    name_positions(ax.xaxis, keys, theme)
    axis_label(ax.yaxis, "after layer", theme)
    title(ax, said, theme)
    colour_bar(image, ax, "rests on", theme)
    return ax
