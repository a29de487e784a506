"""A text set in lines, every word on a tint of its own."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

PAD = 2.5  # points of tint around a word
GAP = 6.0  # points between tints
LINE = 1.9  # line height in font sizes


def set_lines(fig, words, *, width, size):
    """Break words into lines that fit.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        Only its renderer is used, for the widths of words.
    words : sequence of str
    width : float
        Width of a line in points; a longer word is shortened with an ellipsis.
    size : float
        Font size in points.

    Returns
    -------
    list of (str, float, int)
        For each word what to write, its left edge in points and its line, counted from 0.
    """
    renderer = FigureCanvasAgg(fig).get_renderer()
    points = 72 / fig.dpi

    def measure(word):
        """Width in points."""
        text = Text(0, 0, word, fontsize=size, figure=fig, parse_math=False)
        return text.get_window_extent(renderer).width * points

    placed, left, line = [], 0.0, 0
    for word in words:
        own = measure(word)
        while own > width - 2 * PAD and len(word) > 2:
            word = word[: max(1, int(len(word) * (width - 2 * PAD) / own) - 2)] + "…"
            own = measure(word)
        if left > 0 and left + own + 2 * PAD > width:
            left, line = 0.0, line + 1
        placed.append((word, left, line))
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
    for (word, left, line), colour in zip(placed, colours, strict=True):
        ax.text(
            left + PAD,
            (lines - line - 0.5) * LINE * size,
            word,
            fontsize=size,
            color=ink,
            va="center_baseline",
            parse_math=False,
            bbox={"boxstyle": f"square,pad={PAD / size}", "facecolor": colour, "edgecolor": "none"},
        )
    ax.set_ylim(0, lines * LINE * size)
    ax.axis("off")
