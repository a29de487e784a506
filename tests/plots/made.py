"""Maps made by hand for the pictures, every axis a prime."""

import numpy as np

from keras_attn_xai import AttentionMap


def attention_map(rows=2, heads=3, queries=5, keys=7, *, padding=(0, 0), name="encoder/att", seed=0):
    """Weights that sum to 1, with ``padding`` more queries and keys in the last places."""
    draw = np.random.default_rng(seed)
    masks = [np.arange(real + more) < real for real, more in zip((queries, keys), padding, strict=True)]
    weights = draw.random((rows, heads, *map(len, masks))) * masks[0][:, None] * masks[1]
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-9)
    names = [[f"{letter}{i}" for i in range(len(mask))] for letter, mask in zip("qk", masks, strict=True)]
    tiled = [np.broadcast_to(mask, (rows, len(mask))) for mask in masks]
    return AttentionMap(name, weights, [names[0]] * rows, [names[1]] * rows, tiled[0], tiled[1])


def names_along(axis):
    """The tick labels of an axis."""
    return [label.get_text() for label in axis.get_ticklabels()]


def png(picture):
    """Draw axes or a figure; a warning would be an error."""
    figure = getattr(picture, "figure", picture)
    return figure._repr_png_()
