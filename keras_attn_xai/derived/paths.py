"""From a position of the last layer back to the input, along the paths that the weights of all layers leave open.

Shapes: B rows, L layers, T positions.
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from keras_attn_xai.derived.maps import keys_of, new_map, queries_of, reduce_heads, self_attention
from keras_attn_xai.errors import ArgumentError

FINEST = 2**30  # steps of the largest total capacity out of a position; flows are counted in int32


def rollout(maps, *, residual="half", heads="mean"):
    """Attention rollout: the weights of all layers multiplied, so that rows speak about the input's positions.

    Parameters
    ----------
    maps : sequence of AttentionMap
        Of self-attention, T = S, from input to output.
    residual : {"half", "add", None}, default "half"
        How the residual connection counts: ``0.5 A + 0.5 I``; ``A + I`` with each row divided by its sum, the same
        where rows of A sum to 1; or not at all.
    heads : {"mean", "max", "min"} or int, default "mean"
        How the heads of a layer become one. With "max" and "min" rows no longer sum to 1.

    Returns
    -------
    AttentionMap
        ``"rollout"``, one head, (B, 1, T, T): queries of the last map, keys of the first. At least 0; rows sum to 1
        if those of every map do. Queries that are padding are 0.

    Raises
    ------
    ArgumentError
        No maps, or an unknown ``residual`` or ``heads``.
    ShapeError
        Maps of different rows, or one that is not of self-attention over the same positions.

    Notes
    -----
    ``A_L ... A_2 A_1``. A row is a mixture of positions under the assumption that layers only mix and add: value
    vectors, layer normalisation and feed-forward blocks are left out, and it knows no target.

    References
    ----------
    Abnar and Zuidema 2020, "Quantifying attention flow in transformers" (arXiv:2005.00928). Fusing heads by "max"
    and "min": Gildenblat 2020, "Exploring explainability for vision transformers".

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap
    >>> from keras_attn_xai.derived import rollout
    >>> words = [["a", "b"]]
    >>> one, two = (AttentionMap(name, [[[[1.0, 0.0], [1.0, 0.0]]]], words, words) for name in ("one", "two"))
    >>> rollout([one, two]).weights[0, 0]  # half of b stays in each layer
    array([[1.  , 0.  ],
           [0.75, 0.25]])
    """
    maps = self_attention(maps, "rollout")
    product = _layer(maps[0], residual, heads)
    for one in maps[1:]:
        product = _layer(one, residual, heads) @ product
    return new_map("rollout", product, query=queries_of(maps[-1]), key=keys_of(maps[0]))


def attention_flow(maps, *, residual="half", heads="mean", queries=None):
    """Attention flow: the most that can flow from a position of the last layer to one of the input.

    Parameters
    ----------
    maps : sequence of AttentionMap
        Of self-attention, T = S, from input to output.
    residual : {"half", "add", None}, default "half"
        As in `rollout`.
    heads : {"mean", "max", "min"} or int, default "mean"
    queries : int or sequence of ints, optional
        The positions of the last layer to compute; by default all.

    Returns
    -------
    AttentionMap
        ``"attention_flow"``, one head, (B, 1, T or the number of ``queries``, T). At least 0, at most what leaves
        the query in the last layer (1 where rows sum to 1) and at most what reaches the key in the first. Rows do
        not sum to 1: each number is a flow of its own; divide a row by its sum to compare shares. Queries that are
        padding are 0.

    Raises
    ------
    ArgumentError
        No maps, weights below 0, queries that do not exist, or an unknown ``residual`` or ``heads``.
    ShapeError
        Maps of different rows, or one that is not of self-attention over the same positions.

    Notes
    -----
    The graph has a node for each position of each layer and the weights as capacities; the number is its maximum flow
    from the query's node to the key's. One flow is computed for each row, query that is no padding and key that a
    path leads to, in a graph of (L - 2) T^2 + 2 T edges. That is slow, of the order of T^4 L for a row: choose
    ``queries`` for long texts. With more than a few layers all flows come close to the most that the query and the key
    let through. Capacities are rounded to 2^-30 of the largest sum of a row, so a flow is off by at most half of
    that for each edge of its narrowest cut. What rollout leaves out is left out here as well.

    References
    ----------
    Abnar and Zuidema 2020, "Quantifying attention flow in transformers" (arXiv:2005.00928).

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap
    >>> from keras_attn_xai.derived import attention_flow
    >>> words = [["a", "b"]]
    >>> one, two = (AttentionMap(name, [[[[1.0, 0.0], [1.0, 0.0]]]], words, words) for name in ("one", "two"))
    >>> attention_flow([one, two], queries=1).weights[0, 0]  # by way of a 0.5, by way of b 0.5; b to b at most 0.5
    array([[1. , 0.5]])
    """
    maps = self_attention(maps, "attention_flow")
    labels, mask = queries_of(maps[-1])
    chosen = _chosen(queries, mask.shape[1])
    layers = np.stack([_layer(one, residual, heads).astype(np.float64) for one in maps], axis=1)  # (B, L, T, T)
    if layers.size and layers.min() < 0:
        raise ArgumentError(f"attention_flow needs weights of at least 0; received some down to {layers.min():.3g}.")
    flows = np.zeros((len(layers), len(chosen), mask.shape[1]))
    for row, one in enumerate(layers):
        real = mask[row, chosen]
        flows[row, real] = _flows(one, chosen[real])
    some = tuple(tuple(row[query] for query in chosen) for row in labels)
    return new_map("attention_flow", flows, query=(some, mask[:, chosen]), key=keys_of(maps[0]))


def _layer(one, residual, heads):
    """Weights (B, T, T) of one layer with its residual connection."""
    weights = reduce_heads(one.dense(), heads)[0]
    identity = np.eye(weights.shape[-1], dtype=weights.dtype)
    if residual is None:
        return weights
    if residual == "half":
        return (weights + identity) / 2
    if residual == "add":
        total = weights + identity
        return total / total.sum(-1, keepdims=True)
    raise ArgumentError(f"residual must be 'half', 'add' or None; received {residual!r}.")


def _chosen(queries, size):
    """Query positions (N,), counted from 0."""
    if queries is None:
        return np.arange(size)
    given = np.atleast_1d(np.asarray(queries))
    if given.ndim != 1 or given.dtype.kind not in "iu" or not ((given >= -size) & (given < size)).all():
        raise ArgumentError(f"queries must be positions of {size} (0 to {size - 1}); received {queries!r}.")
    return given % size


def _flows(layers, queries):
    """Maximum flows (N, T) from ``queries`` of the last layer to the input, from capacities (L, T, T)."""
    if len(layers) == 1:
        return layers[0, queries]
    steps = FINEST / max(1.0, layers.sum(-1).max())
    capacities = np.rint(layers * steps).astype(np.int32)
    graph, open_ways = _graph(*capacities.shape[:2]), _open(capacities)
    middle = capacities[-2:0:-1].ravel()  # from the last layer down
    flows = np.zeros((len(queries), layers.shape[1]))
    for place, query in enumerate(queries):
        for key in np.flatnonzero(open_ways[query]):
            graph.data = np.concatenate([capacities[-1, query], middle, capacities[0, :, key]])
            flows[place, key] = maximum_flow(graph, 0, graph.shape[0] - 1).flow_value / steps
    return flows


def _open(capacities):
    """Whether any path leads from a query to a key, (T, T)."""
    ways = capacities[0] > 0
    for layer in capacities[1:]:
        ways = (layer > 0).astype(np.float32) @ ways > 0
    return ways


def _graph(layers, size):
    """The edges of one flow, their capacities to be filled in: the query, (L - 1) T nodes from above, the key."""
    inner = (layers - 1) * size
    below = 1 + size * np.arange(1, layers - 1).repeat(size)  # the first node that each node above the lowest leads to
    between = np.add.outer(below, np.arange(size)).ravel()
    indices = np.concatenate([np.arange(size) + 1, between, np.full(size, inner + 1)]).astype(np.int32)
    edges = np.concatenate([np.full(1 + inner - size, size), np.ones(size, int), [0]])
    starts = np.concatenate([[0], np.cumsum(edges)]).astype(np.int32)
    return csr_array((np.zeros(len(indices), np.int32), indices, starts), shape=(inner + 2, inner + 2))
