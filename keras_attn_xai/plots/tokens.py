"""One text tinted once."""

import numpy as np

from keras_attn_xai.plots.of_shap import attribution_of
from keras_attn_xai.plots.panels import one_row, require_record, single, title
from keras_attn_xai.plots.weights import heads_said, on_keys, require_any
from keras_attn_xai.plots.words import LINE, draw_words, set_lines, sign_legend, tints
from keras_attn_xai.records import AttentionMap, Attribution

WIDTH = 9.0  # inches of a new figure
SIZE, LEAST = 11.0, 3.0  # points


def plot_tokens(record, *, row=0, heads="mean", query="mean over unmasked", ax=None, dark=False):
    """One text with every word tinted, by SHAP or by attention.

    Parameters
    ----------
    record : Attribution, AttentionMap or shap.Explanation
        ``explanation.attribution``, one of ``explanation.attention``, or a derived map; or what shap explained, of one
        output.
    row : int, default 0
    heads, query
        Of a map: how heads and queries become one; see `keras_attn_xai.align`.
    ax : matplotlib.axes.Axes, optional
        Draw here, with smaller letters where the text would not fit; by default on a new figure outside pyplot.
    dark : bool, default False

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.texts`` are the words. The strongest tint is the largest magnitude, which the title has; padding is not
        drawn.

    Raises
    ------
    ArgumentError
        Another record, or a row, head or query that does not exist.
    RecordError
        A ``shap.Explanation`` of several outputs.

    Notes
    -----
    A text in Arabic or Hebrew begins at the right; letters are joined and ordered by matplotlib, from version 3.11 on.

    Examples
    --------
    >>> from keras_attn_xai import Attribution, plots
    >>> moved = Attribution(
    ...     values=[[0.0, 2.0, -1.0]], base=[0.0], output=[1.0], target=[1], unit="log-odds", method="exact",
    ...     evaluations=[8], player_labels=[["a", "fine", "film"]],
    ... )
    >>> ax = plots.plot_tokens(moved)
    >>> [text.get_text() for text in ax.texts[:3]], ax.get_title(loc="left")
    (['a', 'fine', 'film'], 'SHAP of tokens in log-odds, largest 2')
    """
    record = attribution_of(record)
    require_record(record, (Attribution, AttentionMap), "plot_side_by_side draws an Explanation.")
    shown = one_row(record, row)
    signed = isinstance(shown, Attribution)
    values, words, said = _of_attribution(shown) if signed else _of_map(shown, heads, query)
    require_any(words)
    ax, placed, size, theme = _place(ax, dark, words)
    draw_words(ax, placed, tints(theme, values, signed=signed), size=size, ink=theme.ink)
    title(ax, f"{said}, largest {np.abs(values).max():.2g}", theme)
    if signed:
        for (text, colour), left in zip(sign_legend(theme), (0, 110), strict=True):
            below = {"xytext": (left, -12), "textcoords": "offset points", "va": "top"}
            ax.annotate(text, (0, 0), xycoords="axes fraction", fontsize=9, color=colour, fontweight="bold", **below)
    return ax


def _of_attribution(shown):
    """Values, words and a title."""
    keep = shown.mask[0].ravel()
    words = [label for label, real in zip(shown.player_labels[0], keep, strict=True) if real]
    return shown.values[0].ravel()[keep], words, f"SHAP of {shown.players} in {shown.unit}"


def _of_map(shown, heads, query):
    """The same of a map, by the reductions of `align`."""
    ruler = on_keys(shown, heads, query)
    keep = ruler.mask[0]
    words = [label for label, real in zip(ruler.labels[0], keep, strict=True) if real]
    return ruler.attention[0, keep], words, f"{shown.name}, {heads_said(ruler.heads)}, query: {ruler.query}"


def _place(ax, dark, words):
    """Axes, the words placed on them, their size in points, and the theme."""
    if ax is None:
        ax, theme = single(None, dark, (WIDTH, 2.0))
        width = (WIDTH - 0.2) * 72
        placed, size = set_lines(ax.figure, words, width=width, size=SIZE), SIZE
        ax.figure.set_size_inches(WIDTH, 0.75 + _height(placed, size) / 72)
    else:
        ax, theme = single(ax, dark, None)
        box = ax.get_window_extent()
        width, height = (72 / ax.figure.dpi * side for side in (box.width, box.height))
        for size in np.arange(SIZE, LEAST - 0.5, -0.5):
            placed = set_lines(ax.figure, words, width=width, size=size)
            if _height(placed, size) <= height:
                break
    ax.set_xlim(0, width)
    return ax, placed, float(size), theme


def _height(placed, size):
    """Points of all lines."""
    return (placed[-1][2] + 1) * LINE * size
