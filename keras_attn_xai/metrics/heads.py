"""What each head does, from its weights alone: how widely it looks, and how far."""

import numpy as np
from scipy.special import entr

from keras_attn_xai.errors import ArgumentError, ShapeError


def head_entropy(map, *, normalized=False):
    """How evenly each head spreads its weights: the entropy of a query's weights, mean over the queries.

    Parameters
    ----------
    map : AttentionMap
    normalized : bool, default False
        Divide by the logarithm of the number of real keys.

    Returns
    -------
    float array (B, H)
        In nats, from 0 (all on one key) to log S (the same on every key); in [0, 1] when ``normalized``.
        NaN where no query counts and, when ``normalized``, where there is one key alone.

    Raises
    ------
    ArgumentError
        Weights below 0.

    Notes
    -----
    ``-sum_s a_s log a_s``, with each query's weights divided by their sum, so that those of a map with ``indices``
    or of a gate are shares too. Queries that are padding, and queries without any weight, do not count. A causal
    mask lowers the most that a query can reach; ``normalized`` divides all queries by the same number.

    References
    ----------
    Vig and Belinkov 2019, "Analyzing the structure of attention in a transformer language model"
    (arXiv:1906.04284).

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap
    >>> from keras_attn_xai.metrics import head_entropy
    >>> seen = AttentionMap("att", [[[[0.5, 0.5]], [[1.0, 0.0]]]], [["?"]], [["a", "b"]])
    >>> head_entropy(seen, normalized=True)
    array([[1., 0.]])
    """
    found = np.array([_entropies(weights) for weights in _rows(map)]).reshape(map.weights.shape[:3])
    mean = _mean(found, map.query_mask[:, None] & ~np.isnan(found))
    if not normalized:
        return mean
    most = np.log(np.maximum(map.mask.sum(1), 1))[:, None]
    return np.divide(mean, most, out=np.full(mean.shape, np.nan), where=most > 0)


def head_distance(map):
    """How far each head looks: the distance of query and key, mean over all pairs by their weights.

    Parameters
    ----------
    map : AttentionMap
        Of self-attention, so that queries and keys are the same positions.

    Returns
    -------
    float array (B, H)
        In positions, from 0 (each on itself) to T - 1. NaN where no query has any weight.

    Raises
    ------
    ArgumentError
        Weights below 0.
    ShapeError
        As many queries as keys were expected.

    Notes
    -----
    ``sum_ts a_ts |t - s| / sum_ts a_ts`` over the queries t that are no padding.

    References
    ----------
    Vig and Belinkov 2019, "Analyzing the structure of attention in a transformer language model"
    (arXiv:1906.04284), who look at earlier keys alone.

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap
    >>> from keras_attn_xai.metrics import head_distance
    >>> words = [["a", "b", "c"]]
    >>> back = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]  # 2, 1 and 1 away
    >>> head_distance(AttentionMap("att", [[back]], words, words)).round(3)
    array([[1.333]])
    """
    queries, keys = map.weights.shape[2], map.mask.shape[1]
    if queries != keys:
        raise ShapeError(
            f"Distances need self-attention, as many queries as keys; '{map.name}' has {queries} queries "
            f"and {keys} keys."
        )
    apart = np.abs(np.subtract.outer(np.arange(queries), np.arange(keys)))
    total, weighted = np.zeros((2, *map.weights.shape[:2]))
    for row, (weights, counted) in enumerate(zip(_rows(map), map.query_mask, strict=True)):
        weights = weights[:, counted]
        total[row], weighted[row] = weights.sum((1, 2)), (weights * apart[counted]).sum((1, 2))
    return np.divide(weighted, total, out=np.full(total.shape, np.nan), where=total > 0)


def _rows(map):
    """The weights of each row, (H, T, S), in float64."""
    weights = map.dense()
    if weights.size and weights.min() < 0:
        raise ArgumentError(f"Weights are shares and at least 0; '{map.name}' has some down to {weights.min():.3g}.")
    return (row.astype(np.float64) for row in weights)


def _entropies(weights):
    """Entropy of each query, (H, T) from (H, T, S); NaN of a query without weight."""
    total = weights.sum(2, keepdims=True)
    shares = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return np.where(total[:, :, 0] > 0, entr(shares).sum(2), np.nan)


def _mean(values, counted):
    """Mean over the last axis where ``counted``; NaN where nothing is."""
    count = counted.sum(-1)
    return np.divide(np.where(counted, values, 0).sum(-1), count, out=np.full(count.shape, np.nan), where=count > 0)
