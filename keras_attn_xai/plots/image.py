"""A picture beside what was attended to in it, and what moved the answer."""

import math

import numpy as np

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.plots.fonts import ending
from keras_attn_xai.plots.of_shap import attribution_of
from keras_attn_xai.plots.panels import colour_bar, dress, one_row, require_record, sheet, title
from keras_attn_xai.plots.theme import clear, diverging, rising
from keras_attn_xai.plots.weights import heads_said, on_keys
from keras_attn_xai.records import AttentionMap, Attribution, Explanation

PALE = 0.35  # of the picture under a veil, the rest is page


def plot_image(
    seen,
    image,
    *,
    grid=None,
    regions=None,
    row=0,
    heads="mean",
    query="mean over unmasked",
    dark=False,
    fig=None,
):
    """A picture, its patches as attention weighs them, and its patches as SHAP does.

    Parameters
    ----------
    seen : Explanation, AttentionMap, Attribution or shap.Explanation
        Of an explanation the last map whose keys are the patches of a grid, and its attribution; of what shap explained
        values (B, height, width, channels) of one output, or (B, M) with ``regions``.
    image : array (height, width), (height, width, 1), or (height, width, 3)
        Of that row; integers 0 to 255, floats 0 to 1. Other numbers are brought to 0 to 1.
    grid : (int, int), optional
        Rows and columns of the patches that are keys; by default a square. One key more, in front, is a class token
        and is not drawn.
    regions : int array (height, width), optional
        Where the players are groups: the index array they were explained with; -1 belongs to none.
    row : int, default 0
    heads, query
        How heads and queries become one; see `keras_attn_xai.align`. With a class token, "first" is what it attends to.
    dark : bool, default False
    fig : matplotlib.figure.Figure, optional
        Draw here (its size is set to fit); by default a new figure outside pyplot.

    Returns
    -------
    matplotlib.figure.Figure
        Axes labelled "picture", "attention" and "SHAP", of which one is left out where there is nothing to draw. In the
        last two ``images[1].get_array()`` has a number for each pixel, that of its patch, over the pale picture.

    Raises
    ------
    ArgumentError
        Another record, a row that does not exist, or a map whose keys are no grid.
    ShapeError
        An image, a grid or regions that do not fit.
    RecordError
        A ``shap.Explanation`` of several outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai import Attribution, plots
    >>> moved = Attribution(
    ...     values=[[[1.0, -2.0]]], base=[0.0], output=[-1.0], target=[0], unit="output", method="exact",
    ...     evaluations=[4], player_labels=[["patch 0, 0", "patch 0, 1"]], players="patches",
    ... )
    >>> plots.plot_image(moved, np.zeros((1, 4))).axes[1].images[1].get_array().tolist()
    [[1.0, 1.0, -2.0, -2.0]]
    """
    seen = attribution_of(seen)
    require_record(seen, (Explanation, AttentionMap, Attribution), "plot_image draws records.")
    shown = one_row(seen, row)
    picture = _colours(image)
    size = picture.shape[:2]
    panels = []
    chosen = _map_of(shown, grid)
    if chosen is not None:
        ruler = on_keys(chosen, heads, query)
        rows, columns = grid_of(chosen, grid)
        patches = ruler.attention[0, -rows * columns :].reshape(rows, columns)
        said = f"{ending(chosen.name, 18)}, {heads_said(ruler.heads)}"
        panels.append(("attention", to_pixels(patches, size), False, said, f"attention, {ruler.query}"))
    moved = shown if isinstance(shown, Attribution) else getattr(shown, "attribution", None)
    if moved is not None:
        values = _values_of(moved, size, regions)
        panels.append(("SHAP", values, True, f"SHAP of {moved.players}", f"SHAP ({moved.unit})"))
    side = min(max(2.6 * size[0] / size[1], 1.0), 7.0)
    fig, theme = sheet(fig, dark, (3.3 * (1 + len(panels)), side + 0.4))
    axes = fig.subplots(1, 1 + len(panels), squeeze=False)[0]
    _frame(axes[0], "picture", "The picture", theme).imshow(picture, interpolation="nearest")
    pale = PALE * picture.mean(2, keepdims=True) + (1 - PALE) * (0.0 if dark else 1.0)
    for ax, (name, values, signed, said, bar) in zip(axes[1:], panels, strict=True):
        _frame(ax, name, said, theme).imshow(np.repeat(pale, 3, axis=2), interpolation="nearest")
        colour_bar(_veil(ax, values, signed, theme), ax, bar, theme)
    return fig


def grid_of(seen, grid):
    """Rows and columns of the patches that are a map's keys.

    Parameters
    ----------
    seen : AttentionMap
    grid : (int, int) or None

    Returns
    -------
    (int, int)

    Raises
    ------
    ArgumentError
        Keys that are no grid.
    """
    keys = seen.mask.shape[1]
    found = [grid] if grid is not None else [(math.isqrt(count),) * 2 for count in (keys, keys - 1)]
    for rows, columns in found:
        if rows * columns and keys - rows * columns in (0, 1):
            return int(rows), int(columns)
    wanted = f"{grid[0]} x {grid[1]} = {grid[0] * grid[1]}" if grid is not None else "a square of"
    raise ArgumentError(
        f"The keys of '{seen.name}' must be {wanted} patches, or one more for a class token in front; it has {keys}. "
        "Pass grid=(rows, columns)."
    )


def to_pixels(patches, size):
    """The number of each pixel's patch; patches as `players="patches"` cuts them.

    Parameters
    ----------
    patches : float array (rows, columns)
    size : (int, int)
        Height and width.

    Returns
    -------
    float array (height, width)

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.plots.image import to_pixels
    >>> to_pixels(np.array([[1.0, 2.0]]), (1, 3))
    array([[1., 1., 2.]])
    """
    at = [np.arange(side) * most // side for side, most in zip(size, patches.shape, strict=True)]
    return patches[np.ix_(*at)]


def _map_of(shown, grid):
    """The map to draw: the last that is a grid."""
    if isinstance(shown, AttentionMap):
        return shown
    if isinstance(shown, Attribution) or not shown.attention:
        return None
    for one in reversed(shown.attention):
        try:
            grid_of(one, grid)
        except ArgumentError:
            continue
        return one
    return grid_of(shown.attention[-1], grid)  # says what would fit


def _colours(image):
    """The picture as floats (height, width, 3) in [0, 1]."""
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size or array.dtype.kind not in "iufb":
        raise ShapeError(
            "image must be of one row, (height, width), (height, width, 1) or (height, width, 3); received "
            f"{np.asarray(image).dtype} {np.shape(image)}."
        )
    shades = array.astype(float) / (255 if array.dtype == np.uint8 else 1)
    if array.dtype.kind in "iu" and array.dtype != np.uint8 and array.min() >= 0 and 1 < array.max() <= 255:
        shades /= 255
    low, high = shades.min(), shades.max()
    if low < 0 or high > 1:
        shades = (shades - low) / (high - low if high > low else 1)
    return np.repeat(shades, 3, axis=2) if array.shape[2] == 1 else shades


def _values_of(moved, size, regions):
    """SHAP as a number for each pixel."""
    values = moved.values[0]
    if regions is not None:
        return _of_regions(values.ravel(), np.asarray(regions), size)
    if values.ndim == 1:
        raise ShapeError(
            f"Expected values of patches, (B, rows, columns); received {moved.players} {moved.values.shape}. Pass "
            "regions=, the index array of the players."
        )
    patches = values.reshape(*values.shape[:2], -1).sum(2)  # channels add up
    if patches.shape[0] > size[0] or patches.shape[1] > size[1]:
        raise ShapeError(f"Expected an image of at least {patches.shape} pixels, one a patch; received {size}.")
    return to_pixels(patches, size)


def _of_regions(values, regions, size):
    """The number of each pixel's group, 0 where it has none."""
    groups = np.unique(regions[regions >= 0]) if regions.dtype.kind in "iu" else np.zeros(0)
    if regions.shape != size or len(groups) != len(values):
        raise ShapeError(
            f"regions must be integers {size} with {len(values)} groups, one a value; received {regions.dtype} "
            f"{regions.shape} with {len(groups)}."
        )
    return np.where(regions >= 0, values[np.searchsorted(groups, np.maximum(regions, groups[0]))], 0.0)


def _frame(ax, name, said, theme):
    dress(ax, theme).set_label(name)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    title(ax, said, theme)
    return ax


def _veil(ax, values, signed, theme):
    """Numbers over a picture: the nearer to 0, the clearer."""
    largest = float(np.abs(values).max()) or 1.0
    shades = clear(diverging(theme) if signed else rising(theme), middle=0.5 if signed else 0.0)
    return ax.imshow(values, cmap=shades, vmin=-largest if signed else 0.0, vmax=largest, interpolation="nearest")
