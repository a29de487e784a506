"""Every head of every layer, as small heat maps on one scale."""

import numpy as np

from keras_attn_xai.derived.maps import same_rows
from keras_attn_xai.plots.fonts import ending
from keras_attn_xai.plots.panels import axis_label, colour_bar, draw_matrix, dress, require_row, sheet, title
from keras_attn_xai.plots.weights import require_any
from keras_attn_xai.records import AttentionMap


def plot_heads(maps, *, row=0, dark=False, fig=None):
    """The heads of all layers for one row, layers down and heads along, on one scale of colours.

    Parameters
    ----------
    maps : sequence of AttentionMap, or one
        ``explanation.attention``; layers may have different numbers of heads and positions.
    row : int, default 0
    dark : bool, default False
    fig : matplotlib.figure.Figure, optional
        Draw here (its size is set to fit); by default a new figure outside pyplot.

    Returns
    -------
    matplotlib.figure.Figure
        One axes a head, layer after layer, labelled "name head 0"; ``ax.images[0].get_array()`` has the weights (T, S)
        of the real queries and keys. The last axes is the scale, from 0 to the largest weight of all.

    Raises
    ------
    ArgumentError
        No maps, a row that does not exist, or one that is nothing but padding.
    ShapeError
        Maps of different rows.

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap, plots
    >>> seen = AttentionMap("att", [[[[0.25, 0.75]], [[0.5, 0.5]]]], [["the end"]], [["the", "end"]])
    >>> [ax.get_label() for ax in plots.plot_heads(seen).axes[:2]]
    ['att head 0', 'att head 1']
    """
    maps = same_rows([maps] if isinstance(maps, AttentionMap) else maps, "plot_heads")
    require_row(row, len(maps[0]))
    layers = [_real_weights(one[int(row)]) for one in maps]
    most = max(map(len, layers))
    fig, theme, grid, beside = _panels(fig, dark, [ending(one.name) for one in maps], most)
    largest = max(one.max() for one in layers)
    for axes, one, weights in zip(grid, maps, layers, strict=True):
        for head, ax in enumerate(axes):
            if head >= len(weights):
                ax.remove()
                continue
            dress(ax, theme).set_label(f"{one.name} head {head}")
            image = draw_matrix(ax, weights[head], theme, largest=largest)
            ax.set(xticks=[], yticks=[])
            if one is maps[0]:
                title(ax, f"head {head}", theme, size=8)
        axis_label(axes[0].yaxis, ending(one.name), theme)
        axes[0].yaxis.label.set(rotation=0, ha="right", va="center")
    colour_bar(image, None, "attention", theme, beside=beside)
    return fig


def _panels(fig, dark, names, most):
    """Square panels, placed in inches (dozens would wait long for a layout of their own), and axes for the scale."""
    side = min(1.5, 10 / most, 13 / len(names))
    left, right, top = 0.15 + 0.08 * max(map(len, names)), 0.75, 0.3
    width, height = left + side * most + right, top + max(1.2, side * len(names)) + 0.1
    fig, theme = sheet(fig, dark, (width, height), layout="none")
    edges = {"left": left / width, "right": 1 - right / width, "top": 1 - top / height, "bottom": 0.1 / height}
    grid = fig.subplots(len(names), most, squeeze=False, gridspec_kw={**edges, "wspace": 0.12, "hspace": 0.12})
    beside = fig.add_axes((edges["right"] + 0.1 / width, edges["bottom"], 0.12 / width, edges["top"] - edges["bottom"]))
    return fig, theme, grid, beside


def _real_weights(seen):
    """Weights (H, T, S) of the real queries and keys of one row."""
    queries, keys = np.flatnonzero(seen.query_mask[0]), np.flatnonzero(seen.mask[0])
    require_any(queries)
    require_any(keys)
    return seen.dense()[0][:, queries][:, :, keys]
