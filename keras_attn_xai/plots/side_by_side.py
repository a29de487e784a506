"""The signature picture: one text tinted twice, by attention and by SHAP, over bars on one ruler."""

from unicodedata import east_asian_width

import numpy as np

from keras_attn_xai.alignment import align
from keras_attn_xai.answer import answer
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import row_agreement
from keras_attn_xai.plots.canvas import Canvas
from keras_attn_xai.plots.fonts import legible, right_to_left, short
from keras_attn_xai.plots.panels import require_record
from keras_attn_xai.plots.theme import DARK, LIGHT
from keras_attn_xai.plots.words import LINE, draw_words, set_lines, sign_legend, signs, tints
from keras_attn_xai.records import Explanation

WIDTH = 9.0  # inches
MARGIN = 0.45  # inches on either side
SIZE = 11.0  # points
NAMED = 45  # more words than this are numbered under the bars instead of named
BAR_HEIGHT = 1.05  # inches of a bar panel


def plot_side_by_side(
    explanation,
    *,
    map=None,
    heads="mean",
    query="mean over unmasked",
    merge=None,
    class_names=None,
    dark=False,
    fig=None,
):
    """One text tinted twice, by attention and by SHAP, with bars on one ruler.

    Parameters
    ----------
    explanation : Explanation
        Of one row: ``explanation[3]``.
    map, heads, query, merge
        Which attention, and how it is brought onto the ruler; see `keras_attn_xai.align`.
    class_names : sequence of str, optional
        A name for each class of the model's output.
    dark : bool, default False
    fig : matplotlib.figure.Figure, optional
        Draw here (its size is set to fit); by default a new figure outside pyplot.

    Returns
    -------
    matplotlib.figure.Figure
        Four axes, top to bottom: tinted words and bars of attention, bars and tinted words of SHAP; from right to left
        where the words are written so.
        Save it with ``figure.savefig(path)``.

    Raises
    ------
    ArgumentError
        Another record, not one row, or no map that fits.

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap, Attribution, Explanation, Provenance, plots
    >>> words = [["a", "fine", "film"]]
    >>> moved = Attribution(
    ...     values=[[0.0, 2.0, 1.0]], base=[0.0], output=[3.0], target=[1], unit="log-odds", method="exact",
    ...     evaluations=[8], player_labels=words,
    ... )
    >>> seen = AttentionMap("att", [[[[0.1, 0.6, 0.3]]]], [["query"]], words)
    >>> figure = plots.plot_side_by_side(Explanation((seen,), (moved,), words, Provenance("m")))
    >>> [float(bar.get_height()) for bar in figure.axes[1].patches]
    [0.1, 0.6, 0.3]
    """
    require_record(explanation, (Explanation,), "What AttentionExplainer explains has both.")
    if len(explanation) != 1:
        raise ArgumentError(f"Expected an explanation of one row; received {len(explanation)}. Pass explanation[i].")
    said = answer(explanation.attribution, class_names)
    alignment = align(explanation, map=map, heads=heads, query=query, merge=merge)
    keep = alignment.mask[0]
    words = [" ".join(label.split()) for label, real in zip(alignment.labels[0], keep, strict=True) if real]
    attention, moved = alignment.attention[0, keep], alignment.attribution[0, keep]
    theme = DARK if dark else LIGHT
    fig = Canvas() if fig is None else fig
    placed = set_lines(fig, words, width=(WIDTH - 2 * MARGIN) * 72, size=SIZE)
    top, bars, mirror, bottom = _panels(fig, theme, placed, words)
    unit = explanation.attribution.unit
    draw_words(top, placed, tints(theme, attention, signed=False), size=SIZE, ink=theme.ink)
    draw_words(bottom, placed, tints(theme, moved, signed=True), size=SIZE, ink=theme.ink)
    _bars(bars, attention, [theme.attention] * len(words), "attention", theme)
    if len(words) > 1 and abs(attention.sum() - 1) < 1e-3:
        bars.axhline(1 / len(words), color=theme.faint, linewidth=0.8, linestyle=(0, (4, 3)))
        bars.annotate(
            "dashed: every word the same",
            (1, 1),
            xycoords="axes fraction",
            ha="right",
            fontsize=SIZE - 4,
            color=theme.faint,
        )
    _bars(mirror, moved, signs(theme, moved), f"SHAP ({unit})", theme)
    _name_positions(mirror, words, theme)
    if right_to_left(words):
        mirror.invert_xaxis()
    (said,), families = legible([f"The model says: {said}"])
    plain = {"loc": "left", "pad": 30, "parse_math": False, "fontfamily": families}
    top.set_title(said, fontsize=SIZE + 2, color=theme.ink, fontweight="bold", **plain)
    _heading(top, "Where the model looked: attention", theme)
    _heading(bottom, f"What moved the answer: SHAP, in {unit}", theme, sign_legend(theme))
    under = {"fontsize": SIZE - 1.5, "color": theme.faint, "parse_math": False}
    fig.text(MARGIN / WIDTH, 0.16 / fig.get_figheight(), caption(alignment), **under)
    return fig


def caption(alignment):
    """How far the two agree on one row, in words.

    Parameters
    ----------
    alignment : Alignment
        Of one row.

    Returns
    -------
    str
    """
    (tau,), (shared,) = row_agreement(alignment, measures=("kendall_tau", "top_k_overlap")).values()
    order = "no order to compare" if np.isnan(tau) else f"Kendall tau {tau:+.2f}"
    compared = min(3, int(alignment.mask.sum()))
    same = 0 if np.isnan(shared) else round(shared * compared)
    return (
        f"Attention against |SHAP|: {order} (1: same order, 0: unrelated); "
        f"{same} of the {compared} strongest words in common.\n"
        f"Attention map '{alignment.map}', heads: {alignment.heads}, query: {alignment.query}."
    )


def _panels(fig, theme, placed, words):
    """Four axes stacked top to bottom, in inches, and the page behind them."""
    text = (placed[-1][2] + 1 if placed else 1) * LINE * SIZE / 72
    named = len(words) <= NAMED
    ruler = 0.1 + 0.06 * min(16, max(map(len, words), default=1)) if named and not _side_by_side(words) else 0.3
    heights = {"title": 0.75, "top": text, "a": 0.12, "bars": BAR_HEIGHT, "b": 0.1, "mirror": BAR_HEIGHT}
    heights |= {"ruler": ruler + 0.4, "bottom": text, "caption": 0.62}
    total = sum(heights.values())
    fig.set_size_inches(WIDTH, total)
    fig.set_facecolor(theme.page)
    axes, edge = {}, total
    for name, height in heights.items():
        edge -= height
        if name in ("top", "bars", "mirror", "bottom"):
            box = (MARGIN / WIDTH, edge / total, 1 - 2 * MARGIN / WIDTH, height / total)
            axes[name] = fig.add_axes(box, label=name)
            axes[name].set_facecolor(theme.page)
    for name in ("top", "bottom"):
        axes[name].set_xlim(0, (WIDTH - 2 * MARGIN) * 72)
    axes["bars"].sharex(axes["mirror"])
    return axes["top"], axes["bars"], axes["mirror"], axes["bottom"]


def _bars(ax, values, colours, label, theme):
    ax.bar(np.arange(len(values)), values, color=colours, width=0.8)
    ax.axhline(0, color=theme.faint, linewidth=0.6)
    ax.set_xlim(-0.6, max(len(values), 8) - 0.4)
    largest = np.abs(values).max(initial=0.0)
    ax.set_ylabel(f"{label}\nlargest {largest:.2g}", fontsize=SIZE - 3.5, color=theme.faint)
    ax.yaxis.set_label_coords(-0.012, 0.5)
    ax.set_yticks([])
    ax.tick_params(axis="x", length=0, labelbottom=False)
    for side in ax.spines.values():
        side.set_visible(False)


def _name_positions(ax, words, theme):
    """The ruler both panels share: words while they fit, numbers beyond."""
    ax.tick_params(axis="x", labelbottom=True, colors=theme.ink)
    if len(words) <= NAMED:
        names, families = legible(map(short, words))
        plain = {"rotation": 0 if _side_by_side(words) else 90, "parse_math": False, "fontfamily": families}
        ax.set_xticks(np.arange(len(words)), names, fontsize=SIZE - 3, **plain)
    else:
        ax.set_xlabel("position", fontsize=SIZE - 3, color=theme.faint)
        ax.tick_params(axis="x", labelsize=SIZE - 3)


def _side_by_side(words):
    """Whether names have room under the bars without being turned; letters of East Asia are twice as wide."""
    room = (WIDTH - 2 * MARGIN) / max(len(words), 8)
    wide = [sum(1 + (east_asian_width(letter) in "WF") for letter in short(word)) for word in words]
    return 0.085 * max(wide, default=0) <= room


def _heading(ax, text, theme, parts=()):
    """A line above a text, with coloured words after it."""
    ax.annotate(
        text,
        (0, 1),
        xytext=(0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=SIZE,
        color=theme.ink,
    )
    offset = 330
    for part, colour in parts:
        ax.annotate(
            part, (0, 1), xytext=(offset, 8), xycoords="axes fraction", textcoords="offset points", fontsize=SIZE - 1,
            color=colour, fontweight="bold",
        )  # fmt: skip
        offset += 105
