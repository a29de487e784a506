"""What the pictures share: a page, axes in its colours, named ticks, colour bars, and one row of a record."""

import numpy as np

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.plots.canvas import Canvas, CanvasAxes
from keras_attn_xai.plots.fonts import legible, short
from keras_attn_xai.plots.of_shap import is_of_shap
from keras_attn_xai.plots.theme import DARK, LIGHT, diverging, rising

NAMED = 60  # more positions than this along an axis are named by some
SMALL = 6.5  # points, the smallest name


def sheet(fig, dark, size, *, layout="constrained"):
    """A figure to draw several panels on.

    Parameters
    ----------
    fig : matplotlib.figure.Figure or None
        By default a new one, outside pyplot.
    dark : bool
    size : (float, float)
        Inches.
    layout : str, default "constrained"

    Returns
    -------
    tuple
        The figure, of that size and with that layout, and the theme.
    """
    theme = DARK if dark else LIGHT
    fig = Canvas() if fig is None else fig
    if hasattr(fig, "set_layout_engine"):  # a figure within a figure has neither
        fig.set_size_inches(*size)
        fig.set_layout_engine(layout)
    fig.set_facecolor(theme.page)
    return fig, theme


def single(ax, dark, size):
    """Axes for one picture.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        By default those of a new figure outside pyplot.
    dark : bool
        The figure of given axes becomes dark too.
    size : (float, float)
        Inches of a new figure.

    Returns
    -------
    tuple
        The axes, in the theme's colours, and the theme.
    """
    theme = DARK if dark else LIGHT
    if ax is None:
        ax = sheet(None, dark, size)[0].add_subplot(axes_class=CanvasAxes)
    elif dark:
        ax.figure.set_facecolor(theme.page)
    return dress(ax, theme), theme


def dress(ax, theme):
    """Axes in a theme's colours.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    theme : Theme

    Returns
    -------
    matplotlib.axes.Axes
        The same.
    """
    ax.set_facecolor(theme.page)
    ax.tick_params(colors=theme.faint, labelcolor=theme.ink, labelsize=9)
    for side, spine in ax.spines.items():
        spine.set_color(theme.faint)
        spine.set_visible(side in ("left", "bottom"))
    return ax


def title(ax, text, theme, *, size=10.5, weight="normal"):
    """A heading at the left of axes; never mathematics.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    text : str
    theme : Theme
    size : float, default 10.5
    weight : str, default "normal"
    """
    (text,), families = legible([text])
    plain = {"fontweight": weight, "fontfamily": families, "parse_math": False}
    ax.set_title(text, loc="left", fontsize=size, color=theme.ink, **plain)


def axis_label(axis, text, theme):
    """What lies along an axis.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
    text : str
    theme : Theme
    """
    (text,), families = legible([text])
    axis.set_label_text(text, fontsize=9, color=theme.faint, fontfamily=families, parse_math=False)


def name_positions(axis, labels, theme, *, most=NAMED):
    """Ticks with names at 0, 1, ...: all of them while there is room, else evenly some.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
    labels : sequence of str
    theme : Theme
    most : int, default 60
    """
    upright = axis.axis_name == "x"
    box = axis.axes.get_window_extent()
    room = 72 / axis.axes.figure.dpi * (box.width if upright else box.height)
    step = max(1, int(np.ceil(len(labels) / max(1, min(most, room // SMALL)))))
    shown = np.arange(0, len(labels), step)
    size = float(np.clip(0.8 * room / max(1, len(shown)), SMALL - 1, 9))
    names, families = legible([short(labels[i]) for i in shown])
    rotation = {"rotation": 90} if upright and (len(names) > 12 or max(map(len, names), default=0) > 4) else {}
    axis.set_ticks(shown, names, fontsize=size, fontfamily=families, parse_math=False, color=theme.ink, **rotation)
    axis.set_tick_params(length=0 if step == 1 else 2)


def draw_matrix(ax, values, theme, *, signed=False, largest=None):
    """Numbers as colours: from 0 upwards, or with signs and the page at 0.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    values : float array (T, S)
    theme : Theme
    signed : bool, default False
    largest : float, optional
        The end of the scale; by default the largest magnitude.

    Returns
    -------
    matplotlib.image.AxesImage
    """
    largest = np.abs(values).max(initial=0.0) if largest is None else largest
    largest = float(largest) or 1.0
    ends = {"vmin": -largest if signed else 0.0, "vmax": largest, "cmap": (diverging if signed else rising)(theme)}
    image = ax.imshow(values, aspect="auto", interpolation="nearest", **ends)
    for spine in ax.spines.values():
        spine.set_visible(True)
    return image


def colour_bar(image, ax, label, theme, *, beside=None):
    """The scale of an image, at the right of axes.

    Parameters
    ----------
    image : matplotlib.cm.ScalarMappable
    ax : matplotlib.axes.Axes
    label : str
    theme : Theme
    beside : matplotlib.axes.Axes, optional
        Where to draw it; by default ``ax`` gives way.

    Returns
    -------
    matplotlib.colorbar.Colorbar
    """
    place = {"cax": beside} if beside is not None else {"ax": ax, "pad": 0.02, "fraction": 0.05, "aspect": 30}
    bar = image.axes.figure.colorbar(image, **place)
    bar.outline.set_edgecolor(theme.faint)
    bar.ax.set_facecolor(theme.page)  # behind colours that let it through
    bar.ax.tick_params(colors=theme.faint, labelcolor=theme.ink, labelsize=8)
    axis_label(bar.ax.yaxis, label, theme)
    return bar


def one_row(record, row):
    """A row of a record, as a record of one row.

    Parameters
    ----------
    record : AttentionMap, Attribution, Interactions or Explanation
    row : int

    Returns
    -------
    the record's own type

    Raises
    ------
    ArgumentError
        A row that does not exist.
    """
    require_row(row, len(record))
    return record[int(row)]


def require_row(row, rows):
    """Raise where there is no such row.

    Parameters
    ----------
    row : int
    rows : int
    """
    if isinstance(row, bool) or not isinstance(row, (int, np.integer)) or not -rows <= row < rows:
        rule = (
            f"0 to {rows - 1}, one of {rows} rows"
            if rows > 1
            else "0, the only row"
            if rows
            else "of a record with rows"
        )
        raise ArgumentError(f"row must be {rule}; received {row!r}.")


def require_record(record, kinds, advice):
    """Raise where a picture was given something else.

    Parameters
    ----------
    record : object
    kinds : tuple of types
    advice : str
        Where to look instead.
    """
    if is_of_shap(record):
        raise ArgumentError(
            "A shap.Explanation has no attention to draw; plot_tokens, plot_series, plot_image and plot_interactions "
            f"draw what it has. {advice}"
        )
    if not isinstance(record, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ArgumentError(f"Expected {names}; received {type(record).__name__}. {advice}")
