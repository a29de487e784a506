"""A text set in lines, every word on a tint of its own."""

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from keras_attn_xai.plots.fonts import legible, right_to_left
from keras_attn_xai.plots.theme import tint

PAD = 2.5  # points of tint around a word
GAP = 6.0  # points between tints
LINE = 1.9  # line height in font sizes


def set_lines(fig, words, *, width, size):
    """Break words into lines that fit.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        Only its resolution is used, for the widths of words.
    words : sequence of str
    width : float
        Width of a line in points; a longer word is shortened with an ellipsis.
    size : float
        Font size in points.

    Returns
    -------
    list of (str, float, int)
        For each word what to write, its left edge in points and its line, counted from 0. Lines of a script that is
        written from right to left begin at the right.
    """
    words, families = legible(words)
    renderer, font = RendererAgg(1, 1, fig.dpi), FontProperties(family=families, size=size)

    def measure(word):
        """Width in points."""
        return renderer.get_text_width_height_descent(word, font, ismath=False)[0] * 72 / fig.dpi if word else 0.0

    placed, left, line, mirrored = [], 0.0, 0, right_to_left(words)
    for word in words:
        own = measure(word)
        while own > width - 2 * PAD and len(word) > 2:
            word = word[: max(1, int(len(word) * (width - 2 * PAD) / own) - 2)] + "…"
            own = measure(word)
        if left > 0 and left + own + 2 * PAD > width:
            left, line = 0.0, line + 1
        placed.append((word, width - left - own - 2 * PAD if mirrored else left, line))
        left += own + 2 * PAD + GAP
    return placed


def draw_words(ax, placed, colours, *, size, ink):
    """Draw what `set_lines` placed onto axes whose unit is the point.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    placed : list
        From `set_lines`.
    colours : sequence of colours
        The tint behind each word.
    size : float
    ink : colour
    """
    lines = placed[-1][2] + 1 if placed else 1
    families = legible([word for word, _, _ in placed])[1]
    for (word, left, line), colour in zip(placed, colours, strict=True):
        ax.text(
            left + PAD,
            (lines - line - 0.5) * LINE * size,
            word,
            fontsize=size,
            fontfamily=families,
            color=ink,
            va="center_baseline",
            parse_math=False,
            bbox={"boxstyle": f"square,pad={PAD / size}", "facecolor": colour, "edgecolor": "none"},
        )
    ax.set_ylim(0, lines * LINE * size)
    ax.axis("off")


def strength(values):
    """Magnitudes as a share of the largest.

    Parameters
    ----------
    values : float array (S,)

    Returns
    -------
    float array (S,)
        In [0, 1].
    """
    largest = np.abs(values).max(initial=0.0)
    return np.abs(values) / largest if largest > 0 else np.zeros(len(values))


def tints(theme, values, *, signed):
    """The colour behind each word.

    Parameters
    ----------
    theme : Theme
    values : float array (S,)
    signed : bool
        Two colours for two signs; else that of attention.

    Returns
    -------
    list of colours
    """
    colours = signs(theme, values) if signed else [theme.attention] * len(values)
    return [tint(theme, colour, share) for colour, share in zip(colours, strength(values), strict=True)]


def signs(theme, values):
    """The colour of each value's sign.

    Parameters
    ----------
    theme : Theme
    values : float array (S,)

    Returns
    -------
    list of colours
    """
    return [theme.toward if value > 0 else theme.against for value in values]


def sign_legend(theme):
    """What the two colours mean: a text and its colour, twice.

    Parameters
    ----------
    theme : Theme

    Returns
    -------
    tuple of two (str, colour)
    """
    return (("■ for the answer", theme.toward), ("■ against it", theme.against))
