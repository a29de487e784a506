"""How the answer moves while the strongest players leave, and while they come."""

import numpy as np

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.plots.fonts import legible
from keras_attn_xai.plots.panels import axis_label, dress, sheet, title

KINDS = {
    "deletion": "Deletion: the strongest leave (falling fast is good)",
    "insertion": "Insertion: the strongest come (rising fast is good)",
}
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (9, 3)), (0, (2, 4)))
BANDS = 4  # of more methods the intervals stand at the markers
CHANCE = (0, (1, 3))  # of random orders, which are faint besides
MARKERS = "os^vDPX*<>"  # more than colours, so that the eighth differs from the first


def plot_curves(table, *, unit=None, dark=False, fig=None):
    """Deletion and insertion curves of several explanations, with intervals where they are known.

    Parameters
    ----------
    table : FaithfulnessTable or sequence of curves
        What `keras_attn_xai.auditing.faithfulness` found. A curve of your own is any object with ``method``, ``kind``
        ("deletion" or "insertion"), ``fractions`` and ``mean`` (F,), and if you know them ``low`` and ``high`` (F,).
    unit : str, optional
        Of the target; by default the table's.
    dark : bool, default False
    fig : matplotlib.figure.Figure, optional
        Draw here (its size is set to fit); by default a new figure outside pyplot.

    Returns
    -------
    matplotlib.figure.Figure
        Axes labelled "deletion" and "insertion", those that there are; ``ax.lines`` are the curves in the order of the
        table, ``ax.collections`` the bands between low and high, of more than 4 methods their intervals at the markers,
        which take turns. The legend has the area under each curve with its 95 % interval, where the table has it.

    Raises
    ------
    ArgumentError
        No curves, or one of another kind.
    ShapeError
        A mean, low or high of another length than the fractions.

    References
    ----------
    Petsiuk, Das and Saenko 2018, RISE (arXiv:1806.07421).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from keras_attn_xai import plots
    >>> curve = SimpleNamespace(method="attention", kind="deletion", fractions=[0.0, 0.5, 1.0], mean=[3.0, 1.0, 0.0])
    >>> plots.plot_curves([curve]).axes[0].lines[0].get_ydata().tolist()
    [3.0, 1.0, 0.0]
    """
    curves = [_checked(one) for one in _curves_of(table)]
    kinds = [kind for kind in KINDS if any(one["kind"] == kind for one in curves)]
    methods = list(dict.fromkeys(one["method"] for one in curves))
    methods.sort(key=_by_chance)  # so that no colour is spent on a random order
    fig, theme = sheet(fig, dark, (5.2 * len(kinds), 3.6 + 0.2 * len(methods)))
    areas = {(row.method, row.measure): row for row in getattr(table, "rows", ())}
    unit = unit or getattr(table, "unit", None)
    for ax, kind in zip(fig.subplots(1, len(kinds), squeeze=False, sharey=True)[0], kinds, strict=True):
        dress(ax, theme).set_label(kind)
        shown = [one for one in curves if one["kind"] == kind]
        for one in shown:
            _draw(ax, one, methods.index(one["method"]), len(methods), theme)
        said = [_area_said(one["method"], areas.get((one["method"], f"{kind}_area"))) for one in shown]
        _legend(ax, said, theme)
        title(ax, KINDS[kind], theme)
        axis_label(ax.xaxis, f"share of players {'taken away' if kind == 'deletion' else 'put back'}", theme)
        ax.set_xlim(0, 1)
    axis_label(fig.axes[0].yaxis, "mean target" + (f" ({unit})" if unit else ""), theme)
    return fig


def _curves_of(table):
    curves = tuple(getattr(table, "curves", table))
    if not curves:
        raise ArgumentError("Expected deletion or insertion curves; received none. `faithfulness` measures them.")
    return curves


def _checked(curve):
    """A curve as a dict of arrays of one length."""
    if getattr(curve, "kind", None) not in KINDS:
        raise ArgumentError(
            f"A curve has a kind, 'deletion' or 'insertion'; received {type(curve).__name__} with "
            f"{getattr(curve, 'kind', None)!r}."
        )
    found = {"method": str(curve.method), "kind": curve.kind, "fractions": np.asarray(curve.fractions, float)}
    for name in ("mean", "low", "high"):
        given = getattr(curve, name, None)
        found[name] = None if given is None else np.asarray(given, float)
        if given is not None and found[name].shape != found["fractions"].shape:
            raise ShapeError(
                f"{name} of '{curve.method}' must have a number for each of {found['fractions'].shape} fractions; "
                f"received {found[name].shape}."
            )
    return found


def _by_chance(method):
    return method.startswith("random")


def _draw(ax, curve, place, count, theme):
    """A line with its band; markers take turns along it, so that lines on one another can be told apart."""
    chance, points = _by_chance(curve["method"]), len(curve["fractions"])
    colour = theme.faint if chance else theme.lines[place % len(theme.lines)]
    every = max(1, min(points // 3, max(4, points // 6)))
    plain = {
        "color": colour,
        "linestyle": CHANCE if chance else DASHES[(place + place // len(DASHES)) % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
        "markevery": (place % every, every),
        "markeredgecolor": theme.page,
        "markeredgewidth": 0.6,
    }
    ax.plot(curve["fractions"], curve["mean"], linewidth=1.6, markersize=6.5, clip_on=False, **plain)
    if curve["low"] is None or curve["high"] is None:
        return
    if count <= BANDS:
        ax.fill_between(curve["fractions"], curve["low"], curve["high"], color=colour, alpha=0.13, linewidth=0)
    else:
        at = slice(place % every, None, every)
        ends = (curve[name][at] for name in ("fractions", "low", "high"))
        ax.vlines(*ends, color=colour, alpha=0.55, linewidth=1.2, clip_on=False)


def _area_said(method, row):
    """A line of the legend."""
    if row is None:
        return method
    return f"{method}: area {row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]"


def _legend(ax, said, theme):
    said, families = legible(said)
    below = {"loc": "upper left", "bbox_to_anchor": (0, -0.17), "frameon": False, "labelcolor": theme.ink}
    legend = ax.legend(ax.lines, said, prop={"family": families, "size": 8.5}, handlelength=3.2, **below)
    for text in legend.get_texts():
        text.set_parse_math(False)
