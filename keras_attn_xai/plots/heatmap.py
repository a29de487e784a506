"""Numbers of pairs of positions: the weights of one row, query by key, and its SHAP interactions."""

import numpy as np

from keras_attn_xai.plots.fonts import ending
from keras_attn_xai.plots.of_shap import interactions_of
from keras_attn_xai.plots.panels import (
    axis_label,
    colour_bar,
    draw_matrix,
    name_positions,
    one_row,
    require_record,
    single,
    title,
)
from keras_attn_xai.plots.weights import drawn_weights, heads_said, require_any
from keras_attn_xai.records import AttentionMap, Interactions


def plot_heatmap(attention_map, *, row=0, heads="mean", ax=None, dark=False):
    """The weights of one row as colours, queries down and keys along.

    Parameters
    ----------
    attention_map : AttentionMap
        Weights (B, H, T, S), of a derived map as well; of the k largest alone, the others are drawn as 0.
    row : int, default 0
    heads : {"mean", "max", "min"} or int, default "mean"
        How the heads become one.
    ax : matplotlib.axes.Axes, optional
        Draw here; by default on a new figure outside pyplot.
    dark : bool, default False

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.images[0].get_array()`` has the weights (T, S) of the real queries and keys; padding is not drawn. The
        scale begins at 0. Of more than 60 positions some are named.

    Raises
    ------
    ArgumentError
        No AttentionMap, a row or a head that does not exist, or a row that is nothing but padding.

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap, plots
    >>> seen = AttentionMap("att", [[[[0.25, 0.75]], [[0.75, 0.25]]]], [["the end"]], [["the", "end"]])
    >>> plots.plot_heatmap(seen, heads=1).images[0].get_array().tolist()
    [[0.75, 0.25]]
    """
    require_record(attention_map, (AttentionMap,), "Take one of explanation.attention.")
    seen = one_row(attention_map, row)
    weights, queries, keys, reduced = drawn_weights(seen, heads)
    ax, theme = single(ax, dark, size_of(queries, keys))
    image = draw_matrix(ax, weights, theme)
    name_positions(ax.yaxis, queries, theme)
    name_positions(ax.xaxis, keys, theme)
    axis_label(ax.yaxis, "query", theme)
    axis_label(ax.xaxis, "key", theme)
    title(ax, f"{ending(seen.name)}, {heads_said(reduced)}", theme)
    colour_bar(image, ax, "attention", theme)
    return ax


def plot_interactions(interactions, *, row=0, ax=None, dark=False):
    """What pairs of players of one row moved together, as colours with signs.

    Parameters
    ----------
    interactions : Interactions or shap.Explanation
        Of ``explainer.interactions(x)``, or of shap's TreeExplainer with ``interactions=True``, of one output.
    row : int, default 0
    ax : matplotlib.axes.Axes, optional
        Draw here; by default on a new figure outside pyplot.
    dark : bool, default False

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.images[0].get_array()`` has the values (M, M) of the real players: half of what a pair moved beside the
        diagonal, on it what a player does by itself. The scale is the same on both sides of 0.

    Raises
    ------
    ArgumentError
        No Interactions, a row that does not exist, or one without players.
    RecordError
        A ``shap.Explanation`` without values of pairs (B, M, M).

    Examples
    --------
    >>> from keras_attn_xai import plots
    >>> from keras_attn_xai.records import Interactions
    >>> together = Interactions(
    ...     values=[[[1.0, 2.0], [2.0, 0.0]]], base=[0.0], output=[5.0], target=[0], unit="output", method="exact",
    ...     evaluations=[4], player_labels=[["not", "bad"]],
    ... )
    >>> plots.plot_interactions(together).images[0].get_clim()
    (-2.0, 2.0)
    """
    interactions = interactions_of(interactions)
    require_record(interactions, (Interactions,), "Ask the explainer: explainer.interactions(x).")
    shown = one_row(interactions, row)
    keep = np.flatnonzero(shown.mask[0])
    require_any(keep)
    values, labels = shown.values[0][np.ix_(keep, keep)], [shown.player_labels[0][i] for i in keep]
    ax, theme = single(ax, dark, size_of(labels, labels))
    image = draw_matrix(ax, values, theme, signed=True)
    name_positions(ax.yaxis, labels, theme)
    name_positions(ax.xaxis, labels, theme)
    title(ax, f"SHAP interactions of {shown.players}, {shown.method}", theme)
    colour_bar(image, ax, f"half of each pair ({shown.unit})", theme)
    return ax


def size_of(down, along):
    """Inches of a figure for a matrix and the names at its sides.

    Parameters
    ----------
    down, along : sequence of str
        The names.

    Returns
    -------
    tuple of two floats
    """
    left, below = (0.08 * min(16, max(map(len, names), default=0)) for names in (down, along))
    width = np.clip(1.6 + 0.32 * len(along), 3.5, 8.5) + left
    return float(width), float(np.clip(1.0 + 0.32 * len(down), 1.6, 7.5) + below)
