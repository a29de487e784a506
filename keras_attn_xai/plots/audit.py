"""An audit on one page: the verdict, what speaks for and against it, and faithfulness beside the baselines."""

import textwrap

import numpy as np

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.plots.fonts import legible, short
from keras_attn_xai.plots.panels import axis_label, dress, sheet, title

MEASURES = {
    "comprehensiveness": "Drop without the strongest (higher is better)",
    "sufficiency": "Drop with the strongest alone (lower is better)",
}
WIDTH, LINE, BAR = 9.6, 0.19, 0.27  # inches of the page, of a line of text and of a bar
LETTERS = 124  # of a line
MARKS = {"for": "+", "against": "−", "neither": "○"}


def plot_audit(audit, *, dark=False, fig=None):
    """The verdict of an audit, each check with its numbers, and how faithful each order is.

    Parameters
    ----------
    audit : Audit
        What `keras_attn_xai.auditing.audit` found.
    dark : bool, default False
    fig : matplotlib.figure.Figure, optional
        Draw here (its size is set to fit); by default a new figure outside pyplot.

    Returns
    -------
    matplotlib.figure.Figure
        The first axes has the verdict as its title and the checks as texts: + speaks for reading attention as an
        explanation, − against it, ○ neither. Where there is a table of faithfulness, two more, labelled
        "comprehensiveness" and "sufficiency": a bar for each order with its 95 % interval, and a dashed line at what a
        random order reaches.

    Raises
    ------
    ArgumentError
        Something that is no audit.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from keras_attn_xai import plots
    >>> check = SimpleNamespace(name="agreement", speaks="for", sentence="Both agree.")
    >>> figure = plots.plot_audit(SimpleNamespace(verdict="partly", checks=(check,), untested=(), tables={}))
    >>> figure.axes[0].get_title(loc="left"), [text.get_text() for text in figure.axes[0].texts[:2]]
    ('Verdict: partly', ['+', 'Both agree.'])
    """
    if not all(hasattr(audit, name) for name in ("verdict", "checks", "tables")):
        raise ArgumentError(f"Expected an Audit; received {type(audit).__name__}. `audit(model, x, ...)` makes one.")
    lines = _lines(audit)
    bars = _bars_of(audit)
    methods = max((len(rows) for rows in bars.values()), default=0)
    tall = [0.7 + LINE * sum(len(text) for _, text in lines)] + [0.75 + BAR * methods] * bool(bars)
    fig, theme = sheet(fig, dark, (WIDTH, sum(tall)))
    above, *below = fig.subfigures(len(tall), 1, height_ratios=tall, squeeze=False)[:, 0]
    top = above.add_subplot()
    _write(top, lines, theme)
    title(top, f"Verdict: {audit.verdict}", theme, size=13, weight="bold")
    places = below[0].subplots(1, len(bars), squeeze=False)[0] if bars else ()
    for ax, (measure, rows) in zip(places, bars.items(), strict=True):
        dress(ax, theme).set_label(measure)
        _draw_bars(ax, rows, theme)
        title(ax, MEASURES[measure], theme, size=9.5)
        axis_label(ax.xaxis, getattr(audit.tables["faithfulness"], "unit", ""), theme)
    return fig


def _lines(audit):
    """Marks and wrapped sentences: (mark, list of lines)."""
    said = [(one.speaks, one.sentence) for one in audit.checks]
    said += [("", textwrap.shorten(f"Not tested: {one}", 2 * LETTERS)) for one in getattr(audit, "untested", ())]
    said.append(("", "+ speaks for reading attention as an explanation, − against it, ○ neither."))
    return [(speaks, textwrap.wrap(legible([sentence])[0][0], LETTERS)) for speaks, sentence in said]


def _bars_of(audit):
    """Rows of the table of faithfulness by measure, the methods in its order."""
    rows = getattr(audit.tables.get("faithfulness"), "rows", ())
    found = {measure: [row for row in rows if row.measure == measure] for measure in MEASURES}
    return {measure: rows for measure, rows in found.items() if rows}


def _write(ax, lines, theme):
    """One line under another, in a coordinate that counts them."""
    ax.axis("off")
    ax.set_xlim(0, 1)
    ax.set_ylim(max(1, sum(len(text) for _, text in lines)), 0)
    colours = {"for": theme.toward, "against": theme.against, "neither": theme.faint, "": theme.faint}
    at = 0.0
    for speaks, sentence in lines:
        if speaks:
            ax.text(0, at, MARKS[speaks], color=colours[speaks], fontsize=12, fontweight="bold", va="top")
        plain = {"color": theme.ink if speaks else theme.faint, "fontfamily": legible(sentence)[1]}
        ax.text(0.025, at, "\n".join(sentence), fontsize=9, va="top", parse_math=False, **plain)
        at += len(sentence)


def _draw_bars(ax, rows, theme):
    """A bar a method, its interval, and a line at the random order."""
    places = np.arange(len(rows))
    mean = np.array([row.mean for row in rows])
    ends = np.abs(np.array([[row.low for row in rows], [row.high for row in rows]]) - mean)
    colours = [_colour(row.method, theme) for row in rows]
    ax.barh(places, mean, color=colours, height=0.7, linewidth=0)
    ax.errorbar(mean, places, xerr=ends, fmt="none", ecolor=theme.ink, elinewidth=1, capsize=2.5)
    names, families = legible([short(row.method, 24) for row in rows])
    ax.set_yticks(places, names, fontsize=8.5, fontfamily=families, parse_math=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.axvline(0, color=theme.faint, linewidth=0.6)
    for row in rows:
        if row.method.startswith("random"):
            ax.axvline(row.mean, color=theme.ink, linewidth=0.9, linestyle=(0, (4, 3)))


def _colour(method, theme):
    if method.startswith("random"):
        return theme.faint
    return theme.attention if method.startswith("attention") else theme.lines[3]
