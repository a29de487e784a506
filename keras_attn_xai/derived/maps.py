"""What the derived maps share: maps checked, heads brought to one, and a new map with the right labels and masks."""

import numpy as np

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.records import AttentionMap


def same_rows(maps, method):
    """The maps as a tuple, once they are maps of the same rows.

    Parameters
    ----------
    maps : sequence of AttentionMap
    method : str
        Who asks, for the message.

    Returns
    -------
    tuple of AttentionMap
    """
    if isinstance(maps, AttentionMap):
        raise ArgumentError(f"{method} takes a sequence of maps, from input to output; received one map. Pass [map].")
    maps = tuple(maps)
    if not maps:
        raise ArgumentError(f"{method} needs at least one attention map; received none.")
    for one in maps:
        if not isinstance(one, AttentionMap):
            raise ArgumentError(f"{method} takes a sequence of AttentionMap; received {type(one).__name__} in it.")
    if len({len(one) for one in maps}) > 1:
        rows = ", ".join(f"'{one.name}' {len(one)}" for one in maps)
        raise ShapeError(f"{method} needs maps of the same rows; received maps of different numbers of rows: {rows}.")
    return maps


def self_attention(maps, method):
    """The maps as a tuple, once all are square and of one size.

    Parameters
    ----------
    maps : sequence of AttentionMap
    method : str

    Returns
    -------
    tuple of AttentionMap
    """
    maps = same_rows(maps, method)
    shapes = [positions(one) for one in maps]
    size = next((queries for queries, keys in shapes if queries == keys), None)
    wrong = [f"'{one.name}' {shape}" for one, shape in zip(maps, shapes, strict=True) if shape != (size, size)]
    if wrong:
        known = "T = S" if size is None else f"T = S = {size}"
        raise ShapeError(
            f"{method} needs maps of self-attention over the same positions, {known}; these (T, S) do not fit: "
            f"{', '.join(wrong)}. Leave them out, or see generic_attention for several streams."
        )
    return maps


def positions(one):
    """The numbers of queries and keys of a map, (T, S)."""
    return one.weights.shape[2], one.mask.shape[1]


def reduce_heads(weights, heads):
    """Many heads to one.

    Parameters
    ----------
    weights : float array (B, H, T, S)
    heads : {"mean", "max", "min"} or int

    Returns
    -------
    tuple
        Weights (B, T, S), and the reduction's name.
    """
    if heads in ("mean", "max", "min"):
        return getattr(weights, heads)(axis=1), heads
    if isinstance(heads, (int, np.integer)) and -weights.shape[1] <= heads < weights.shape[1]:
        return weights[:, heads], f"head {heads}"
    raise ArgumentError(f"heads must be 'mean', 'max', 'min' or one of {weights.shape[1]} heads; received {heads!r}.")


def new_map(name, weights, *, query, key):
    """A map of one head.

    Parameters
    ----------
    name : str
    weights : float array (B, T, S)
        Queries that are padding become exactly 0.
    query, key : tuples (labels, mask)
        Of the stream of queries, and of that of keys.

    Returns
    -------
    AttentionMap
    """
    weights = np.where(query[1][:, None, :, None], weights[:, None], 0)
    weights.setflags(write=False)
    return AttentionMap(name, weights, query[0], key[0], query[1], key[1])


def queries_of(one):
    """Labels and mask of a map's queries."""
    return one.query_labels, one.query_mask


def keys_of(one):
    """Labels and mask of a map's keys."""
    return one.key_labels, one.mask
