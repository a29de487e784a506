"""Whether two arrays rise together: correlations of ranks and of values, pure functions of (B, S) and a mask.

Every measure is per row; `keras_attn_xai.metrics.bootstrap_interval` turns rows into a mean with an interval.
"""

import numpy as np
from scipy import stats

from keras_attn_xai.metrics.rows import masked_rows, quotient

BLOCK = 2**19  # numbers of a block of rows, each held once as a float and a few times as a small integer


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

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        NaN at a position to compare; infinite numbers have an order and are taken.

    Notes
    -----
    ``(agreeing - opposed) / sqrt(pairs untied in a * pairs untied in b)``. All pairs are looked at, S (S - 1) / 2 of
    them in every row, many rows at a time.

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
    a, b, mask = masked_rows(mask, a, b, finite=False)
    agreeing, untied, untied_too = signs_of_pairs(a, b, mask)
    return quotient(agreeing, np.sqrt(untied * untied_too))


def spearman(a, b, *, mask=None):
    """Spearman's rho: the correlation of the ranks of two rows.

    Parameters
    ----------
    a, b : float arrays (B, S)
    mask : bool array (B, S), optional
        True is a position to compare.

    Returns
    -------
    float array (B,)
        In [-1, 1]; 1 is the same order, -1 the reverse, 0 no relation. NaN as for `kendall_tau`.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        NaN at a position to compare.

    Notes
    -----
    Tied positions share the mean of their ranks. One position that moves far costs more here than in `kendall_tau`.

    References
    ----------
    Spearman 1904, "The proof and measurement of association between two things".

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import spearman
    >>> spearman(np.array([[1, 2, 3]]), np.array([[30, 10, 20]]))
    array([-0.5])
    """
    a, b, mask = masked_rows(mask, a, b, finite=False)
    ranks = [stats.rankdata(np.where(mask, one, np.nan), axis=1, nan_policy="omit") for one in (a, b)]
    return pearson(*ranks, mask=mask)


def pearson(a, b, *, mask=None):
    """Pearson's correlation of two rows.

    Parameters
    ----------
    a, b : float arrays (B, S)
    mask : bool array (B, S), optional
        True is a position to compare.

    Returns
    -------
    float array (B,)
        In [-1, 1]; 1 where one row is a rising straight line of the other, -1 a falling one. NaN where a row has fewer
        than two positions or is constant.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        NaN or infinite numbers at a position to compare.

    Notes
    -----
    One large value can decide it; for rows with a few large values and many small ones, as attention is, see
    `spearman`.

    References
    ----------
    Pearson 1895, "Note on regression and inheritance in the case of two parents".

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import pearson
    >>> pearson(np.array([[0.0, 1.0, 2.0]]), np.array([[5.0, 3.0, 1.0]]))
    array([-1.])
    """
    a, b, mask = masked_rows(mask, a, b)
    return _cosine(*(_centred(_scaled(one), mask) for one in (a, b)))


def cosine(a, b, *, mask=None):
    """Cosine of the angle between two rows.

    Parameters
    ----------
    a, b : float arrays (B, S)
    mask : bool array (B, S), optional
        True is a position to compare.

    Returns
    -------
    float array (B,)
        In [-1, 1], in [0, 1] where nothing is below 0; 1 is the same direction. NaN where a row is all zeros.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        NaN or infinite numbers at a position to compare.

    Notes
    -----
    Nothing is subtracted, so that two rows without negative numbers are never far from 1: compare with the cosine
    of a shuffled row, not with 0.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import cosine
    >>> cosine(np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]]))  # 24 / 25
    array([0.96])
    """
    a, b, _ = masked_rows(mask, a, b)
    return _cosine(_scaled(a), _scaled(b))


def signs_of_pairs(a, b, mask):
    """How the pairs of positions of each row are ordered in two arrays.

    Parameters
    ----------
    a, b : float or int arrays (B, S)
    mask : bool array (B, S)

    Returns
    -------
    float array (3, B)
        Pairs in the same order less pairs in the opposite one; pairs untied in ``a``; pairs untied in ``b``.
    """
    rows, positions = a.shape
    found = np.zeros((3, rows))
    step = max(1, BLOCK // max(1, positions))
    for start in range(0, rows, step):
        # positions first, so that all pairs of one distance lie side by side in memory
        block = [np.ascontiguousarray(one[start : start + step].T) for one in (a, b, mask)]
        found[:, start : start + step] = _signs_of_block(*block)
    return found


def _signs_of_block(a, b, mask):
    """`signs_of_pairs` of arrays (S, B): every distance of two positions in turn."""
    sums = np.zeros((3, *a.shape), np.int32)
    for distance in range(1, len(a)):
        compared = (mask[distance:] & mask[:-distance]).view(np.int8)
        first, second = (_signs(one[distance:], one[:-distance]) * compared for one in (a, b))
        pairs = slice(len(a) - distance)
        sums[0, pairs] += first * second
        sums[1, pairs] += np.abs(first)
        sums[2, pairs] += np.abs(second)
    return sums.sum(1)


def _signs(later, earlier):
    """1, 0 or -1 in a byte, also of infinite numbers."""
    return (later > earlier).view(np.int8) - (later < earlier).view(np.int8)


def _scaled(values):
    """Rows with 1 as their largest magnitude, so that no square is too large or too small for a float."""
    largest = np.abs(values).max(1, keepdims=True, initial=0.0)
    return np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)


def _centred(values, mask):
    """Rows less their mean. A constant row that is scaled is 1 or -1, so that rounding leaves nothing of it."""
    count = np.maximum(mask.sum(1, keepdims=True), 1)
    return np.where(mask, values - values.sum(1, keepdims=True) / count, 0.0)


def _cosine(a, b):
    dot, first, second = (np.einsum("bs,bs->b", x, y) for x, y in ((a, b), (a, a), (b, b)))
    return np.clip(quotient(dot, np.sqrt(first * second)), -1, 1)
