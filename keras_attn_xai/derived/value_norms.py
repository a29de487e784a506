"""How long the vectors are that a query takes from each key: weights and values together."""

import numpy as np

from keras_attn_xai.derived.maps import keys_of, new_map, queries_of
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.records import AttentionMap

BLOCK = 2**22  # numbers held at a time where vectors of several heads are summed


def value_norm_weighted(map, *, heads="each"):
    """Norms of the weighted value vectors, instead of the weights alone.

    Parameters
    ----------
    map : AttentionMap
        With ``values`` (B, H, S, D).
    heads : {"each", "sum"}, default "each"
        The norm of each head's own vector, or of the sum of the heads' vectors, in which heads can cancel.

    Returns
    -------
    AttentionMap
        ``"value_norm_weighted/<the map's name>"``, (B, H, T, S), or (B, 1, T, S) with "sum". In the unit of the
        layer's output, at least 0; rows do not sum to 1. Queries that are padding are 0.

    Raises
    ------
    ArgumentError
        A map without values, or an unknown ``heads``.

    Notes
    -----
    ``||alpha f(x)||`` and ``||sum over heads of alpha f(x)||``, where f(x) is a head's value vector after its part of
    the output projection. A key with a large weight and a short vector adds little: special tokens are often of that
    kind. It speaks about the output of one layer, not about the model's, and leaves out the residual connection.
    "sum" takes B T S H D multiplications, in blocks of queries.

    References
    ----------
    Kobayashi, Kuribayashi, Yokoi and Inui 2020, "Attention is not only a weight: analyzing transformers with vector
    norms" (arXiv:2004.10102).

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap
    >>> from keras_attn_xai.derived import value_norm_weighted
    >>> seen = AttentionMap("mha", [[[[0.9, 0.1]]]], [["?"]], [["[CLS]", "film"]], values=[[[[0.0, 0.1], [3.0, 4.0]]]])
    >>> value_norm_weighted(seen).weights
    array([[[[0.09, 0.5 ]]]])
    """
    if map.values is None:
        raise ArgumentError(f"'{map.name}' has no value vectors; capture_attention(..., values=True) brings them.")
    name = f"value_norm_weighted/{map.name}"
    weights = map.dense()
    if heads == "sum":
        return new_map(name, _norms_of_sums(weights, map.values), query=queries_of(map), key=keys_of(map))
    if heads != "each":
        raise ArgumentError(f"heads must be 'each' or 'sum'; received {heads!r}.")
    lengths = np.sqrt(np.einsum("bhsd,bhsd->bhs", map.values, map.values))
    norms = np.abs(weights) * lengths[:, :, None]
    norms *= map.query_mask[:, None, :, None]
    norms.setflags(write=False)
    return AttentionMap(name, norms, map.query_labels, map.key_labels, map.query_mask, map.mask)


def _norms_of_sums(weights, values):
    """Norms (B, T, S) of the heads' vectors summed, a block of queries at a time."""
    rows, _, queries, keys = weights.shape
    norms = np.zeros((rows, queries, keys), np.result_type(weights, values))
    block = max(1, BLOCK // max(1, keys * values.shape[3]))
    for row in range(rows):
        vectors = values[row].swapaxes(0, 1)  # (S, H, D)
        for start in range(0, queries, block):
            summed = weights[row, :, start : start + block].transpose(2, 1, 0) @ vectors  # (S, block, D)
            norms[row, start : start + block] = np.sqrt(np.einsum("std,std->ts", summed, summed))
    return norms
