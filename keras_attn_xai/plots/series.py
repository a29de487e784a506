"""A signal with attention as a band behind it, where there is any, and SHAP as bars below."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import date2num

from keras_attn_xai.alignment import Alignment, align
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.plots.fonts import ending, legible, short
from keras_attn_xai.plots.of_shap import attribution_of
from keras_attn_xai.plots.panels import axis_label, colour_bar, dress, require_record, require_row, sheet, title
from keras_attn_xai.plots.theme import tint
from keras_attn_xai.plots.weights import heads_said, require_any
from keras_attn_xai.plots.words import sign_legend, signs
from keras_attn_xai.records import Attribution, Explanation

NAMED = 7  # more features than this are drawn alike and not named
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (9, 3)), (0, (2, 4)))


def plot_series(seen, signal, *, times=None, time_unit=None, names=None, row=0, dark=False, fig=None):
    """A signal over a band of attention, with bars of SHAP below, on one ruler of steps.

    Parameters
    ----------
    seen : Explanation, Alignment, Attribution or shap.Explanation
        With steps as players; of another map or other reductions, ``align(explanation, map="...", query="last")``. Of
        an attribution, of what shap explained, and of an explanation without maps there is no band of attention. Values
        (B, T, F) are added up over the features.
    signal : float array (T,) or (T, F)
        What the model read of that row.
    times : numbers or datetime64 (T,), optional
        Rising; by default the steps are counted from 0.
    time_unit : str, optional
        Of times that are numbers: "s", "days".
    names : sequence of F str, optional
        Of the features; more than 7 are drawn alike, without names.
    row : int, default 0
    dark : bool, default False
    fig : matplotlib.figure.Figure, optional
        Draw here (its size is set to fit); by default a new figure outside pyplot.

    Returns
    -------
    matplotlib.figure.Figure
        Axes labelled "signal", with the lines and in ``collections[0].get_array()`` the attention if there is any, and
        "SHAP", whose ``patches`` are the bars. Steps that are padding are not drawn.

    Raises
    ------
    ArgumentError
        Another record, a row that does not exist, times that do not rise, or a unit without times that are numbers.
    ShapeError
        A signal, times or names that do not fit the steps.
    RecordError
        A ``shap.Explanation`` of several outputs.

    Examples
    --------
    >>> from keras_attn_xai import plots
    >>> from keras_attn_xai.alignment import Alignment
    >>> seen = Alignment(
    ...     attention=[[0.25, 0.75]], attribution=[[1.0, -2.0]], mask=[[True, True]], labels=(("0", "1"),), map="att",
    ...     heads="mean", query="last",
    ... )
    >>> figure = plots.plot_series(seen, [3.0, 5.0])
    >>> [float(bar.get_height()) for bar in figure.axes[1].patches]
    [1.0, -2.0]
    """
    seen = attribution_of(seen)
    require_record(seen, (Explanation, Alignment, Attribution), "What moved each step is needed.")
    moved, mask, unit, attention, said = _on_steps(seen, row)
    keep = np.flatnonzero(mask)
    require_any(keep)
    lines, names = _features(signal, names, len(mask))
    x, along = _times(times, time_unit, len(mask))
    x, edges = x[keep], _edges(x[keep])
    fig, theme = sheet(fig, dark, (9.0, 4.4))
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _lines(above, x, lines[keep], names, theme)
    moved = moved[keep]
    below.bar(x, moved, width=np.diff(edges), color=signs(theme, moved), linewidth=0)
    below.axhline(0, color=theme.faint, linewidth=0.6)
    for ax, label in ((above, "signal"), (below, "SHAP")):
        dress(ax, theme).set_label(label)
    axis_label(below.yaxis, f"SHAP ({unit})" if unit else "SHAP", theme)
    below.set_xlim(edges[0], edges[-1])
    if along is None:
        below.xaxis.axis_date()
    else:
        axis_label(below.xaxis, along, theme)
    _name_signs(below, theme)
    title(above, "The signal" if said is None else f"Attention behind the signal: {said}", theme)
    if attention is not None:
        colour_bar(_band(above, edges, attention[keep], theme), above, "attention", theme)
    return fig


def _on_steps(seen, row):
    """Of one row: SHAP (T,), bool (T,) and the unit where it is known; attention (T,) and what it is, or None."""
    require_row(row, len(seen))
    if isinstance(seen, Alignment):
        ruler, unit = seen, None
    else:
        shown = seen[int(row)]
        moved = shown.attribution if isinstance(shown, Explanation) else shown
        row, unit = 0, moved.unit
        if isinstance(shown, Attribution) or not shown.attention:
            values, mask = (one[0].reshape(one.shape[1], -1) for one in (moved.values, moved.mask))
            return values.sum(1), mask.any(1), unit, None, None
        ruler = align(shown)
    said = f"{ending(ruler.map, 40)}, {heads_said(ruler.heads)}, {ruler.query}"
    return ruler.attribution[row], ruler.mask[row], unit, ruler.attention[row], said


def _features(signal, names, steps):
    """The signal (T, F) and a name for each feature, or none."""
    lines = np.asarray(signal)
    if lines.ndim not in (1, 2) or len(lines) != steps or lines.dtype.kind not in "iufb":
        raise ShapeError(
            f"signal must be numbers of one row, ({steps},) or ({steps}, F), a step for each position of the ruler; "
            f"received {lines.dtype} {lines.shape}."
        )
    lines = lines.reshape(steps, -1)
    if names is not None and len(names) != lines.shape[1]:
        raise ShapeError(f"Expected a name for each of {lines.shape[1]} features; received {len(names)}.")
    if names is None and lines.shape[1] > 1:
        names = [f"feature {i}" for i in range(lines.shape[1])]
    return lines, names


def _times(times, unit, steps):
    """Places along the ruler (T,), and what lies along it, None for dates."""
    times = None if times is None else np.asarray(times)
    dated = times is not None and times.dtype.kind == "M"
    if unit is not None and (times is None or dated):
        other = "no times" if times is None else f"times {times.dtype}"
        raise ArgumentError(f"time_unit is of times= that are numbers; received {unit!r} and {other}.")
    if times is None:
        return np.arange(steps, dtype=float), "step"
    if times.shape != (steps,) or not (dated or times.dtype.kind in "iuf"):
        raise ShapeError(f"times must be numbers or datetime64 ({steps},); received {times.dtype} {times.shape}.")
    x = date2num(times) if dated else times.astype(float)
    if not (np.diff(x) > 0).all():
        raise ArgumentError("times must rise from step to step; received some that fall, stay the same or are NaN.")
    return x, None if dated else f"time ({unit})" if unit else "time"


def _edges(x):
    """Where one step ends and the next begins, (T + 1,)."""
    if len(x) == 1:
        return np.array([x[0] - 0.5, x[0] + 0.5])
    between = (x[1:] + x[:-1]) / 2
    return np.concatenate([[2 * x[0] - between[0]], between, [2 * x[-1] - between[-1]]])


def _band(ax, edges, attention, theme):
    """Attention from top to bottom of the axes, behind everything."""
    shades = LinearSegmentedColormap.from_list("band", [theme.page, tint(theme, theme.attention, 0.75)])
    largest = float(attention.max()) or 1.0
    tall = {"transform": ax.get_xaxis_transform(), "zorder": 0, "linewidth": 0, "rasterized": True}
    return ax.pcolormesh(edges, [0, 1], attention[None], cmap=shades, vmin=0, vmax=largest, **tall)


def _lines(ax, x, lines, names, theme):
    """The features, told apart by colour and dashes while there are few."""
    count = lines.shape[1]
    colours = (theme.ink, *theme.lines[1:])  # the first is attention's own
    for i, line in enumerate(lines.T):
        plain = {"color": theme.ink, "alpha": 0.4, "linewidth": 0.7}
        if count <= NAMED:
            plain = {"color": colours[i], "linestyle": DASHES[i], "linewidth": 1.4}
        ax.plot(x, line, marker="." if len(x) <= 60 and count <= NAMED else None, **plain)
    if names is not None and count <= NAMED:
        said, families = legible([short(str(name), 24) for name in names])
        box = {"facecolor": theme.page, "edgecolor": "none", "framealpha": 0.8, "labelcolor": theme.ink}
        legend = ax.legend(ax.lines, said, loc="best", ncols=2, prop={"family": families, "size": 8}, **box)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _name_signs(ax, theme):
    for (text, colour), left in zip(sign_legend(theme), (0, 110), strict=True):
        above = {"xytext": (left, 3), "textcoords": "offset points", "fontsize": 9, "fontweight": "bold"}
        ax.annotate(text, (0, 1), xycoords="axes fraction", color=colour, **above)
