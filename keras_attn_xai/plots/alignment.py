"""Which words of the source each word of the target was made from: attention, SHAP beside it, the truth outlined."""

import numpy as np
from matplotlib.patches import Rectangle

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.plots.fonts import ending
from keras_attn_xai.plots.heatmap import size_of
from keras_attn_xai.plots.of_shap import attribution_of
from keras_attn_xai.plots.panels import (
    axis_label,
    colour_bar,
    draw_matrix,
    dress,
    name_positions,
    one_row,
    require_record,
    sheet,
    title,
)
from keras_attn_xai.plots.weights import drawn_weights, heads_said
from keras_attn_xai.records import AttentionMap, Attribution, Explanation


def plot_alignment(attention_map, steps=None, *, row=0, heads="mean", gold=None, dark=False, fig=None):
    """Cross-attention of one row, target down and source along, with the SHAP values of each target step beside it.

    Parameters
    ----------
    attention_map : AttentionMap
        Weights (B, H, T, S): queries are the target's positions, keys the source's.
    steps : sequence of Explanation, Attribution or shap.Explanation, optional
        One for each target position, or for each real one of the row: what moved that output, values (B, S).
    row : int, default 0
        Of the map, and of every step.
    heads : {"mean", "max", "min"} or int, default "mean"
    gold : bool array (T, S), optional
        True is a pair of positions that belong together; outlined in both panels.
    dark : bool, default False
    fig : matplotlib.figure.Figure, optional
        Draw here (its size is set to fit); by default a new figure outside pyplot.

    Returns
    -------
    matplotlib.figure.Figure
        Axes labelled "attention" and, with ``steps``, "SHAP"; ``ax.images[0].get_array()`` has the numbers (T, S) of
        the real positions, ``ax.patches`` the outlined pairs.

    Raises
    ------
    ArgumentError
        Another record, or a row or head that does not exist, in the map or in a step.
    ShapeError
        Steps that are not one for each target position, or values or gold of another shape than the map.

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap, plots
    >>> seen = AttentionMap("cross", [[[[0.75, 0.25], [0.0, 1.0]]]], [["ein", "Film"]], [["a", "film"]])
    >>> figure = plots.plot_alignment(seen, gold=[[True, False], [False, True]])
    >>> [patch.get_xy() for patch in figure.axes[0].patches]
    [(-0.5, -0.5), (0.5, 0.5)]
    """
    require_record(attention_map, (AttentionMap,), "Take the map of cross-attention from explanation.attention.")
    seen = one_row(attention_map, row)
    weights, queries, keys, reduced = drawn_weights(seen, heads)
    real = np.ix_(np.flatnonzero(seen.query_mask[0]), np.flatnonzero(seen.mask[0]))
    panels = [("attention", weights, False, f"{ending(seen.name)}, {heads_said(reduced)}", "attention")]
    if steps is not None:
        values, unit = _values_of(steps, seen, row)
        panels.append(("SHAP", values[real], True, "SHAP of each target step", f"SHAP ({unit})"))
    outlined = _outlined(gold, seen)[real]
    width, height = size_of(queries, keys)
    fig, theme = sheet(fig, dark, (min(width * len(panels), 12.0), height))
    for ax, (name, matrix, signed, said, bar) in zip(
        fig.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        dress(ax, theme).set_label(name)
        colour_bar(draw_matrix(ax, matrix, theme, signed=signed), ax, bar, theme)
        name_positions(ax.yaxis, queries, theme)
        name_positions(ax.xaxis, keys, theme)
        title(ax, said, theme)
        axis_label(ax.xaxis, "source", theme)
        for target, source in np.argwhere(outlined).tolist():
            ax.add_patch(_outline(source, target, theme, max(weights.shape)))
    axis_label(fig.axes[0].yaxis, "target", theme)
    return fig


def _values_of(steps, seen, row):
    """SHAP values (T, S), zeros at padding, and their unit."""
    steps = [one.attribution if isinstance(one, Explanation) else attribution_of(one) for one in steps]
    for one in steps:
        require_record(one, (Attribution,), "Explain the model once for each target step.")
    queries, keys = seen.query_mask[0], seen.mask.shape[1]
    if len(steps) not in (len(queries), queries.sum()) or not steps:
        raise ShapeError(
            f"Expected one attribution for each of {len(queries)} target positions, or of the row's {queries.sum()} "
            f"real ones; received {len(steps)}."
        )
    without = [place for place, one in enumerate(steps) if not -len(one) <= row < len(one)]
    if without:
        raise ArgumentError(
            f"Every step must have row {row}, which the map has; step {without[0]} has {len(steps[without[0]])} rows. "
            "Explain the rows of the map for each target step."
        )
    rows = [one_row(one, row).values for one in steps]
    wrong = [("B", *one.shape[1:]) for one in rows if one.shape[1:] != (keys,)]
    if wrong:
        shape = ", ".join(map(str, wrong[0]))
        raise ShapeError(f"Expected values over the map's {keys} source positions, (B, {keys}); received ({shape}).")
    values = np.zeros((len(queries), keys))
    values[np.flatnonzero(queries) if len(steps) < len(queries) else slice(None)] = np.concatenate(rows)
    return values, steps[0].unit


def _outlined(gold, seen):
    """Pairs to outline, bool (T, S)."""
    shape = seen.query_mask.shape[1], seen.mask.shape[1]
    if gold is None:
        return np.zeros(shape, bool)
    gold = np.asarray(gold)
    if gold.shape != shape or gold.dtype != bool:
        raise ShapeError(f"gold must be bool {shape}, as the map's (T, S); received {gold.dtype} {gold.shape}.")
    return gold


def _outline(source, target, theme, cells):
    """A frame, in the one colour that neither panel has."""
    line = {"edgecolor": theme.lines[3], "linewidth": min(2.2, 60 / cells), "clip_on": False}
    return Rectangle((source - 0.5, target - 0.5), 1, 1, fill=False, **line)
