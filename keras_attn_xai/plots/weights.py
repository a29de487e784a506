"""What of a map's weights is drawn: heads and queries brought to one, padding left out."""

import numpy as np

from keras_attn_xai.alignment import align
from keras_attn_xai.derived.maps import reduce_heads
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.records import Attribution, Explanation, Provenance


def drawn_weights(seen, heads):
    """What is drawn of a map of one row.

    Parameters
    ----------
    seen : AttentionMap
        Of one row.
    heads : {"mean", "max", "min"} or int

    Returns
    -------
    tuple
        Weights (T, S) of the real queries and keys, the labels of both, and the name of the reduction.
    """
    weights, reduced = reduce_heads(seen.dense(), heads)
    queries, keys = np.flatnonzero(seen.query_mask[0]), np.flatnonzero(seen.mask[0])
    require_any(queries)
    require_any(keys)
    names = [seen.query_labels[0][i] for i in queries], [seen.key_labels[0][i] for i in keys]
    return weights[0][np.ix_(queries, keys)], *names, reduced


def heads_said(reduced):
    """The reduction of heads in words.

    Parameters
    ----------
    reduced : str

    Returns
    -------
    str
    """
    return reduced if reduced.startswith("head ") else f"heads: {reduced}"


def on_keys(seen, heads, query):
    """A map of one row as one number for each of its keys, by the reductions of `align`.

    Parameters
    ----------
    seen : AttentionMap
        Of one row.
    heads, query
        See `keras_attn_xai.align`.

    Returns
    -------
    Alignment
        With the map's keys as the ruler, and without SHAP.
    """
    zero, none, keys = np.zeros(1), np.zeros(1, int), seen.key_labels
    empty = Attribution(np.zeros(seen.mask.shape), zero, zero, none, "output", "none", none, keys, seen.mask)
    return align(Explanation((seen,), (empty,), keys, Provenance("none")), heads=heads, query=query)


def require_any(positions):
    """Raise where nothing is real.

    Parameters
    ----------
    positions : sequence
        The real ones.
    """
    if not len(positions):
        raise ArgumentError("Expected a row with real positions; received one that is nothing but padding.")
