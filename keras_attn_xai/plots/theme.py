"""Colours of the pictures, light and dark; told apart by colour-blind readers too."""

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb


@dataclass(frozen=True)
class Theme:
    """A page and the colours on it.

    Blue and vermilion are Okabe and Ito's; purple stands apart from both in hue and lightness. `lines` are theirs too,
    and every line has dashes or a marker of its own beside.
    """

    page: str
    ink: str
    faint: str
    attention: str
    strongest: str  # attention at its largest, where a colour is the only thing to read
    toward: str
    against: str
    lines: tuple[str, ...]


LIGHT = Theme(
    "#ffffff", "#1b1b1f", "#6b6b76", "#6a4fb3", "#26145e", "#d55e00", "#0072b2",
    ("#6a4fb3", "#d55e00", "#0072b2", "#009e73", "#b8860b", "#c0558f", "#3a3a42"),
)  # fmt: skip
DARK = Theme(
    "#16161a", "#ececf1", "#9a9aa8", "#9d84f0", "#efeaff", "#f0803c", "#4aa8e0",
    ("#9d84f0", "#f0803c", "#4aa8e0", "#2fc79b", "#e8c04a", "#e58fc0", "#d0d0da"),
)  # fmt: skip
STRONGEST = 0.72  # of the colour in a tint, so that ink stays readable on it


def tint(theme, colour, strength):
    """The page with ``strength`` in [0, 1] of a colour laid over it, as red, green and blue.

    Examples
    --------
    >>> from keras_attn_xai.plots.theme import LIGHT, tint
    >>> tint(LIGHT, "#000000", 0)
    (1.0, 1.0, 1.0)
    """
    share = STRONGEST * min(max(float(strength), 0.0), 1.0)
    return tuple((1 - share) * page + share * ink for page, ink in zip(to_rgb(theme.page), to_rgb(colour), strict=True))


def rising(theme):
    """Colours of attention, from the page at 0 to the strongest.

    Parameters
    ----------
    theme : Theme

    Returns
    -------
    matplotlib.colors.Colormap
    """
    return LinearSegmentedColormap.from_list("attention", [theme.page, theme.attention, theme.strongest])


def diverging(theme):
    """Colours of signed numbers, the page in the middle.

    Parameters
    ----------
    theme : Theme

    Returns
    -------
    matplotlib.colors.Colormap
    """
    return LinearSegmentedColormap.from_list("signed", [theme.against, theme.page, theme.toward])


def clear(colours, *, middle):
    """Colours that let through what is behind them where the number is 0.

    Parameters
    ----------
    colours : matplotlib.colors.Colormap
    middle : float
        Where 0 is on the scale, 0 to 1.

    Returns
    -------
    matplotlib.colors.Colormap
    """
    places = np.linspace(0, 1, 256)
    shades = colours(places)
    shades[:, 3] = STRONGEST * np.minimum(1, 1.5 * np.abs(places - middle) / max(middle, 1 - middle))
    return ListedColormap(shades, name=f"clear {colours.name}")
