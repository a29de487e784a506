"""How far attention and attribution agree: pure functions of two arrays (B, S) and a mask.

Every measure is per row; `keras_attn_xai.metrics.bootstrap_interval` turns rows into a mean with an interval.
"""

import numpy as np
from scipy import stats

from keras_attn_xai.errors import ArgumentError, ShapeError


def kendall_tau(a, b, *, mask=None):
    """Kendall's tau-b between two rankings of the same positions, row by row.

    Parameters
    ----------
    a, b : float arrays (B, S)
        For attention against attribution pass ``abs(attribution)``: attention has no sign.
    mask : bool array (B, S), optional
        True is a position to compare.

    Returns
    -------
    float array (B,)
        In [-1, 1]; 1 is the same order, -1 the reverse, 0 no relation. NaN where a row has fewer than
        two positions or is constant, because then it has no order.

    References
    ----------
    Kendall 1945, "The treatment of ties in ranking problems"; used for attention by Jain and Wallace
    2019 (arXiv:1902.10186), section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import kendall_tau
    >>> kendall_tau(np.array([[0.1, 0.2, 0.7]]), np.array([[1.0, 2.0, 3.0]]))
    array([1.])
    """
    a, b, mask = _rows(a, b, mask)
    return np.array([_tau(x[keep], y[keep]) for x, y, keep in zip(a, b, mask, strict=True)])


def top_k_overlap(a, b, *, k=3, mask=None):
    """Share of the k largest positions that two arrays have in common, row by row.

    Parameters
    ----------
    a, b : float arrays (B, S)
    k : int, default 3
        A row with fewer positions is compared on all it has.
    mask : bool array (B, S), optional

    Returns
    -------
    float array (B,)
        In [0, 1]; 1 means the same k positions. NaN for a row without positions. Ties go to the
        earlier position.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import top_k_overlap
    >>> top_k_overlap(np.array([[4, 3, 2, 1]]), np.array([[1, 4, 3, 2]]), k=2)
    array([0.5])
    """
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise ArgumentError(f"k must be a positive integer; received {k!r}.")
    a, b, mask = _rows(a, b, mask)
    kept = np.minimum(k, mask.sum(1))
    first, second = (_rank(np.where(mask, x, -np.inf)) < kept[:, None] for x in (a, b))
    shared = (first & second & mask).sum(1)
    return np.divide(shared, kept, out=np.full(len(a), np.nan), where=kept > 0)


def _tau(x, y):
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return np.nan
    return stats.kendalltau(x, y).statistic


def _rank(x):
    """0 for the largest of a row, 1 for the next; ties to the earlier position."""
    order = np.argsort(-x, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(x.shape[1])[None], axis=1)
    return ranks


def _rows(a, b, mask):
    a, b = np.asarray(a, float), np.asarray(b, float)
    mask = np.ones(a.shape, bool) if mask is None else np.asarray(mask)
    if a.ndim != 2 or a.shape != b.shape or a.shape != mask.shape or mask.dtype != bool:
        raise ShapeError(
            f"Expected two arrays (rows, positions) and a boolean mask of one shape; received {a.shape}, {b.shape} "
            f"and {mask.shape} of dtype {mask.dtype}."
        )
    return a, b, mask
