"""Attention against the magnitude of SHAP, every position of every row."""

import numpy as np

from keras_attn_xai.alignment import Alignment, align
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import bootstrap_interval, row_agreement
from keras_attn_xai.plots.fonts import ending
from keras_attn_xai.plots.panels import axis_label, colour_bar, require_record, single, title
from keras_attn_xai.plots.theme import rising
from keras_attn_xai.plots.weights import heads_said
from keras_attn_xai.plots.words import signs
from keras_attn_xai.records import Explanation

MANY = 2000  # points; of more, their density is drawn
CELLS = 45  # of the density, along the ruler of attention


def plot_scatter(seen, *, ax=None, dark=False):
    """Attention against the magnitude of SHAP, a point for each position of each row.

    Parameters
    ----------
    seen : Explanation or Alignment
        Of all rows of a data set; of another map or other reductions, ``align(explanation, map="...", heads="max")``.
    ax : matplotlib.axes.Axes, optional
        Draw here; by default on a new figure outside pyplot.
    dark : bool, default False

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.collections[0].get_offsets()`` are the positions (N, 2) of attention and magnitude. Beyond 2,000 points it
        is a density, whose ``get_array()`` counts positions. The title has Kendall's tau within rows, its mean over
        rows and the 95 % interval.

    Raises
    ------
    ArgumentError
        Another record, no positions, or an explanation that cannot be aligned.

    Notes
    -----
    The tau of a row compares its own positions. Points of all rows lie in one picture, where long rows, whose weights
    are smaller, lie further to the left.

    Examples
    --------
    >>> from keras_attn_xai import plots
    >>> from keras_attn_xai.alignment import Alignment
    >>> seen = Alignment(
    ...     attention=[[0.25, 0.75]], attribution=[[1.0, -2.0]], mask=[[True, True]], labels=(("a", "film"),),
    ...     map="att", heads="mean", query="first",
    ... )
    >>> plots.plot_scatter(seen).collections[0].get_offsets().tolist()
    [[0.25, 1.0], [0.75, 2.0]]
    """
    require_record(seen, (Explanation, Alignment), "Attention and SHAP of the same rows are needed.")
    ruler = align(seen) if isinstance(seen, Explanation) else seen
    unit = f" in {seen.attribution.unit}" if isinstance(seen, Explanation) else ""
    if not ruler.mask.any():
        raise ArgumentError(f"Expected rows with real positions; received {len(ruler)} rows without.")
    attention, moved = ruler.attention[ruler.mask], ruler.attribution[ruler.mask]
    ax, theme = single(ax, dark, (5.6, 4.4))
    if len(attention) > MANY:
        density = ax.hexbin(attention, np.abs(moved), gridsize=CELLS, mincnt=1, cmap=rising(theme), linewidths=0)
        density.set_clim(0, None)
        colour_bar(density, ax, "positions", theme)
    else:
        plain = {"s": 16, "alpha": 0.75, "linewidths": 0, "clip_on": False}
        ax.scatter(attention, np.abs(moved), c=signs(theme, moved), **plain)
        _name_signs(ax, theme)
    ax.set_xlim(0, None)
    ax.set_ylim(0, 1.15 * (np.abs(moved).max() or 1.0))  # room for what the colours mean
    axis_label(ax.xaxis, f"weights of {ending(ruler.map)}, {heads_said(ruler.heads)}, {ruler.query}", theme)
    axis_label(ax.yaxis, f"|SHAP|{unit}", theme)
    title(ax, f"Kendall tau within a row: {_order(ruler)}", theme)
    return ax


def _order(ruler):
    """Tau and its interval in words."""
    found = bootstrap_interval(row_agreement(ruler, measures=["kendall_tau"])["kendall_tau"])
    if not found.rows:
        return "no order to compare"
    rows = f"{found.rows} row{'s' if found.rows > 1 else ''}"
    interval = "" if np.isnan(found.low) else f" [{found.low:+.2f}, {found.high:+.2f}]"
    return f"{found.mean:+.2f}{interval}, {rows}"


def _name_signs(ax, theme):
    for text, colour, height in (("for the answer", theme.toward, 1.0), ("against it", theme.against, 0.94)):
        where = {"xycoords": "axes fraction", "ha": "right", "va": "top", "fontsize": 8.5}
        ax.annotate(f"● {text}", (1, height), color=colour, fontweight="bold", **where)
