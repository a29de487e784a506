"""Background rows out of a data set: a few that stand for all of it."""

import numpy as np
from scipy.cluster.hierarchy import leaves_list, ward
from sklearn.cluster import KMeans

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.layers.arguments import require_choice


def choose_background(x, count=100, *, how="sample", seed=0):
    """Background rows for `AttentionExplainer` from a data set, usually the training data.

    Parameters
    ----------
    x : array (N, ...), or a list, tuple or dict of arrays, one per input of the model
        Of several inputs the same rows are taken of each.
    count : int, default 100
        R, the rows to take; every row where N is not larger. Explaining costs R times the model.
    how : {"sample", "kmeans", "mean"}, default "sample"
        "sample": rows drawn without replacement. "kmeans": rows drawn from clusters of the data, of each cluster as
        many as its share of the data, so that R rows stand for clustered data better than R drawn ones. "mean": one
        row, the mean, whatever ``count`` is. Token ids, as all integers, can only be drawn.
    seed : int, default 0
        Of the draw and the clusters; NumPy's own generator is left as it was.

    Returns
    -------
    array (R, ...), or a list, tuple or dict of them, as ``x``
        In dtype and axes as the data; for "sample" in the order of the data.

    Raises
    ------
    ShapeError
        No rows, or inputs with different numbers of rows.
    ArgumentError
        NaN or infinity, something other than numbers, or integers that are to be averaged.

    Notes
    -----
    A background here has no weights: each of its rows counts the same. Means of clusters would count a cluster of three
    rows as much as one of three thousand, so "kmeans" returns rows of the data: the data are put in order, cluster by
    cluster, near ones side by side, and from the middle of each outwards; R rows are taken at even distances from a
    drawn start. Each row of the data is as likely as any other, and a cluster with a share p of the data has R p rows,
    rounded up or down. There are R clusters. Numbers are divided by their standard deviation, one for each place along
    the last axis (feature, channel), so that no unit decides.

    A mean row is often one that the data do not have, nor anything like it; it is cheap, and no more.

    References
    ----------
    Madow 1949, "On the theory of systematic sampling, II" (doi:10.1214/aoms/1177729988).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.choose_background import choose_background
    >>> data = np.repeat([[0.0], [7.0]], [75, 25], axis=0)  # three quarters and a quarter
    >>> np.sort(choose_background(data, 4, how="kmeans"), axis=0).tolist()
    [[0.0], [0.0], [0.0], [7.0]]
    >>> choose_background(data, how="mean").tolist()
    [[1.75]]
    """
    require_choice("how", how, ("sample", "kmeans", "mean"))
    _require_integer("count", count, 1, None)
    _require_integer("seed", seed, 0, 2**32 - 1)
    parts = _arrays(x)
    if how != "sample":
        _require_floats(parts, how)
    if how == "mean":
        found = {name: _mean(array) for name, array in parts.items()}
    else:
        rows = len(next(iter(parts.values())))
        draw = {"sample": _sampled, "kmeans": _from_clusters}[how]
        at = draw(parts, rows, count, seed) if rows > count else np.arange(rows)
        found = {name: array[at] for name, array in parts.items()}
    if isinstance(x, dict):
        return found
    values = list(found.values())
    return (tuple(values) if isinstance(x, tuple) else values) if _is_several(x) else values[0]


def _sampled(parts, rows, count, seed):
    """Row numbers (R,), drawn without replacement, in order."""
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def _from_clusters(parts, rows, count, seed):
    """Row numbers (R,) at even distances along the data, ordered by cluster."""
    points = np.concatenate([_scaled(array) for array in parts.values()], axis=1)
    clusters = min(count, len(np.unique(points, axis=0)))
    fitted = KMeans(clusters, n_init=1, random_state=seed).fit(points)
    own, centres = fitted.labels_, fitted.cluster_centers_
    outwards = np.square(points - centres[own]).sum(1)
    start = np.random.default_rng(seed).random()
    return np.lexsort((outwards, _side_by_side(centres)[own]))[((np.arange(count) + start) * rows / count).astype(int)]


def _side_by_side(centres):
    """A place (K,) for each cluster, with near ones together: a group of clusters has its share of the rows too."""
    return np.argsort(leaves_list(ward(centres))) if len(centres) > 1 else np.zeros(1, int)


def _scaled(array):
    """Numbers (N, F), in standard deviations of what stands at one place of the last axis."""
    array = array.astype(np.float64)
    spread = array.std(axis=tuple(range(max(array.ndim - 1, 1))))
    return (array / np.where(spread > 0, spread, 1)).reshape(len(array), -1)


def _mean(array):
    return array.mean(0, keepdims=True, dtype=np.float64).astype(array.dtype)


def _arrays(x):
    """Name to array, checked: numbers, finite, with one number of rows."""
    several = {f"x[{i}]": one for i, one in enumerate(x)} if _is_several(x) else {"x": x}
    parts = {name: _array(name, one) for name, one in (x if isinstance(x, dict) else several).items()}
    counts = {len(array) for array in parts.values()}
    if len(counts) != 1 or 0 in counts:
        raise ShapeError(
            "Expected arrays (N, ...) with one number of rows, at least one; received "
            f"{', '.join(f'{name}: {array.shape}' for name, array in parts.items()) or 'no array'}."
        )
    return parts


def _array(name, given):
    try:
        array = np.asarray(given)
    except ValueError:
        array = np.array(None)
    if array.ndim == 0 or array.dtype.kind not in "iufb":
        raise ArgumentError(
            f"choose_background takes rows of numbers (N, ...) of one shape; '{name}' has shape {array.shape}, dtype "
            f"{array.dtype}. Turn texts into padded ids first, with keras_attn_xai.text.tokenize."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ArgumentError(
            f"The background must be finite; '{name}' has {int((~np.isfinite(array)).sum())} NaN or infinite numbers "
            f"in shape {array.shape}. Fill them in or leave those rows out."
        )
    return array


def _is_several(x):
    """Whether a list or tuple holds arrays, one per input, and not the numbers of one."""
    return isinstance(x, (list, tuple)) and len(x) > 0 and all(hasattr(one, "shape") and one.shape for one in x)


def _require_floats(parts, how):
    for name, array in parts.items():
        if array.dtype.kind != "f":
            raise ArgumentError(
                f"how='{how}' averages; '{name}' is {array.dtype}, and a mean of ids is no id. Take how='sample', or, "
                "if these are amounts, x.astype('float32')."
            )


def _require_integer(name, given, least, most):
    fits = isinstance(given, (int, np.integer)) and not isinstance(given, bool)
    if not fits or given < least or (most is not None and given > most):
        until = "" if most is None else f" to {most}"
        raise ArgumentError(f"{name} must be an integer from {least}{until}; received {given!r}.")
