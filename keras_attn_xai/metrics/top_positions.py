"""Whether two arrays agree on the largest positions: pure functions of two arrays (B, S) and a mask.

Ties go to the earlier position, so that what is the k-th largest is never open.
"""

import numpy as np

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics.correlations import signs_of_pairs
from keras_attn_xai.metrics.rows import masked_rows, quotient, ranks_from_the_top


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

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        A k below 1, or NaN at a position to compare.

    Notes
    -----
    Two rows of n positions that have nothing to do with each other share k / n on average.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import top_k_overlap
    >>> top_k_overlap(np.array([[4, 3, 2, 1]]), np.array([[1, 4, 3, 2]]), k=2)
    array([0.5])
    """
    a, b, mask = masked_rows(mask, a, b, finite=False)
    first, second, kept = _ranks(a, b, mask, k)
    return quotient(_in_both(first, second, kept).sum(1), kept)


def jaccard_at_k(a, b, *, k=3, mask=None):
    """The k largest positions in common, as a share of all that are among the k largest of either.

    Parameters
    ----------
    a, b : float arrays (B, S)
    k : int, default 3
        A row with fewer positions is compared on all it has.
    mask : bool array (B, S), optional

    Returns
    -------
    float array (B,)
        In [0, 1]; 1 means the same k positions. NaN for a row without positions. ``o / (2 - o)`` of a `top_k_overlap`
        of o, and so never above it.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        A k below 1, or NaN at a position to compare.

    References
    ----------
    Jaccard 1912, "The distribution of the flora in the alpine zone".

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import jaccard_at_k
    >>> jaccard_at_k(np.array([[4, 3, 2, 1]]), np.array([[1, 4, 3, 2]]), k=2)  # 1 of 3
    array([0.33333333])
    """
    a, b, mask = masked_rows(mask, a, b, finite=False)
    first, second, kept = _ranks(a, b, mask, k)
    common = _in_both(first, second, kept).sum(1)
    return quotient(common, 2 * kept - common)


def rank_biased_overlap(a, b, *, p=0.9, mask=None):
    """Overlap of the largest 1, 2, 3, ... positions, with less and less weight further down.

    Parameters
    ----------
    a, b : float arrays (B, S)
    p : float, default 0.9
        The probability that a reader goes on to the next position; of a small p the first few decide.
    mask : bool array (B, S), optional

    Returns
    -------
    float array (B,)
        In (0, 1]; 1 means the same order. The reverse order is the lowest, and not 0, because all positions are in both
        lists in the end: p of two positions, less of more. NaN for a row without positions.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        A p outside of 0 to 1, or NaN at a position to compare.

    Notes
    -----
    The extrapolated form of the paper, RBO_ext, over all n positions of a row. With X_d positions in common among the
    first d, it is ``X_n / n p^n + (1 - p) / p sum_d X_d / d p^d``.

    References
    ----------
    Webber, Moffat and Zobel 2010, "A similarity measure for indefinite rankings" (doi:10.1145/1852102.1852106).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import rank_biased_overlap
    >>> rank_biased_overlap(np.array([[2, 1]]), np.array([[1, 2]]), p=0.8)  # 0.8^2 + 0.2 / 0.8 (0 + 0.8^2)
    array([0.8])
    """
    if not 0 < p < 1:
        raise ArgumentError(f"p must lie between 0 and 1, as 0.9; received {p!r}.")
    a, b, mask = masked_rows(mask, a, b, finite=False)
    rows, positions = mask.shape
    deeper = np.maximum(*(ranks_from_the_top(one, mask) for one in (a, b)))
    entering = np.zeros((rows, positions))  # how many positions are in both lists from this depth on
    np.add.at(entering, (np.arange(rows)[:, None], deeper), 1)
    depth = np.arange(1, positions + 1)
    size = mask.sum(1)
    terms = np.where(depth <= size[:, None], entering.cumsum(1) / depth * p**depth, 0.0)
    return np.where(size > 0, p ** size.astype(float) + (1 - p) / p * terms.sum(1), np.nan)


def top_k_kendall_distance(a, b, *, k=3, mask=None):
    """Kendall distance of the two lists of the k largest positions.

    Parameters
    ----------
    a, b : float arrays (B, S)
    k : int, default 3
        A row with fewer positions is compared on all it has.
    mask : bool array (B, S), optional

    Returns
    -------
    float array (B,)
        In [0, 1]; 0 means the same k positions in the same order, 1 the most that a row of so many positions allows.
        NaN where a row has fewer than two positions.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        A k below 1, or NaN at a position to compare.

    Notes
    -----
    The paper's K^(p) with p = 1/2: of all pairs of positions in either list, 1 for a pair in opposite order, where a
    position in a list stands before one that is not, and 1/2 for a pair that is in one list alone. Divided by the most
    it can be, ``k (k + 2 u - 1) / 2``, where n positions let ``u = min(k, n - k)`` of a list be missing in the other.

    References
    ----------
    Fagin, Kumar and Sivakumar 2003, "Comparing top k lists" (doi:10.1137/S0895480102412856).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import top_k_kendall_distance
    >>> one = np.array([[4, 3, 2, 1]])
    >>> top_k_kendall_distance(one, np.array([[3, 4, 2, 1]]), k=2)  # one swap: 1 of at most 2 * (2 + 4 - 1) / 2
    array([0.2])
    >>> top_k_kendall_distance(one, np.array([[1, 2, 3, 4]]), k=2)
    array([1.])
    """
    a, b, mask = masked_rows(mask, a, b, finite=False)
    first, second, kept = _ranks(a, b, mask, k)
    listed = (first < kept[:, None]) | (second < kept[:, None])
    few = np.argsort(~listed, axis=1, kind="stable")[:, : 2 * k]  # no row lists more
    first, second, listed = (np.take_along_axis(one, few, axis=1) for one in (first, second, listed))
    below = kept[:, None]  # where all that is in no list stands, behind the last of it
    agreeing, _, _ = signs_of_pairs(np.minimum(first, below), np.minimum(second, below), listed)
    size, missing = listed.sum(1), np.minimum(kept, mask.sum(1) - kept)
    return quotient(size * (size - 1) / 2 - agreeing, kept * (kept + 2 * missing - 1))


def feature_agreement(a, b, *, k=3, mask=None):
    """Share of the k largest magnitudes that two attributions have in common.

    Parameters
    ----------
    a, b : float arrays (B, S)
        Signed.
    k : int, default 3
        A row with fewer positions is compared on all it has.
    mask : bool array (B, S), optional

    Returns
    -------
    float array (B,)
        In [0, 1]; 1 means the same k positions, whatever their order and signs. NaN for a row without positions.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        A k below 1, or NaN at a position to compare.

    References
    ----------
    Krishna et al. 2022, "The disagreement problem in explainable machine learning" (arXiv:2202.01602).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import feature_agreement
    >>> feature_agreement(np.array([[-4, 3, 2, 1]]), np.array([[2, 4, 3, -1]]), k=2)
    array([0.5])
    """
    a, b, mask = masked_rows(mask, a, b, finite=False)
    return _agreeing(a, b, mask, k)


def rank_agreement(a, b, *, k=3, mask=None):
    """Share of the k largest magnitudes that two attributions have in common at the same rank.

    Parameters
    ----------
    a, b : float arrays (B, S)
        Signed.
    k : int, default 3
        A row with fewer positions is compared on all it has.
    mask : bool array (B, S), optional

    Returns
    -------
    float array (B,)
        In [0, 1]; 1 means the same k positions in the same order, whatever their signs. Never above
        `feature_agreement`. NaN for a row without positions.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        A k below 1, or NaN at a position to compare.

    References
    ----------
    Krishna et al. 2022, "The disagreement problem in explainable machine learning" (arXiv:2202.01602).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import rank_agreement
    >>> rank_agreement(np.array([[4, 3, 1, 2]]), np.array([[-4, 1, 2, 3]]), k=2)
    array([0.5])
    """
    a, b, mask = masked_rows(mask, a, b, finite=False)
    return _agreeing(a, b, mask, k, ranked=True)


def sign_agreement(a, b, *, k=3, mask=None):
    """Share of the k largest magnitudes that two attributions have in common with the same sign.

    Parameters
    ----------
    a, b : float arrays (B, S)
        Signed.
    k : int, default 3
        A row with fewer positions is compared on all it has.
    mask : bool array (B, S), optional

    Returns
    -------
    float array (B,)
        In [0, 1]; 1 means the same k positions with the same signs, whatever their order. Never above
        `feature_agreement`. NaN for a row without positions.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        A k below 1, or NaN at a position to compare.

    References
    ----------
    Krishna et al. 2022, "The disagreement problem in explainable machine learning" (arXiv:2202.01602).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import sign_agreement
    >>> sign_agreement(np.array([[-4, 3, 2, 1]]), np.array([[4, 5, 2, -1]]), k=2)
    array([0.5])
    """
    a, b, mask = masked_rows(mask, a, b, finite=False)
    return _agreeing(a, b, mask, k, signed=True)


def signed_rank_agreement(a, b, *, k=3, mask=None):
    """Share of the k largest magnitudes in common at the same rank with the same sign.

    Parameters
    ----------
    a, b : float arrays (B, S)
        Signed.
    k : int, default 3
        A row with fewer positions is compared on all it has.
    mask : bool array (B, S), optional

    Returns
    -------
    float array (B,)
        In [0, 1]; 1 means the same k positions in the same order with the same signs. Never above `rank_agreement` and
        `sign_agreement`. NaN for a row without positions.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        A k below 1, or NaN at a position to compare.

    References
    ----------
    Krishna et al. 2022, "The disagreement problem in explainable machine learning" (arXiv:2202.01602).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import signed_rank_agreement
    >>> signed_rank_agreement(np.array([[-4, 3, 2, 1]]), np.array([[4, 3, 2, -1]]), k=2)
    array([0.5])
    """
    a, b, mask = masked_rows(mask, a, b, finite=False)
    return _agreeing(a, b, mask, k, ranked=True, signed=True)


def _agreeing(a, b, mask, k, *, ranked=False, signed=False):
    first, second, kept = _ranks(np.abs(a), np.abs(b), mask, k)
    agreeing = _in_both(first, second, kept)
    if ranked:
        agreeing &= first == second
    if signed:
        agreeing &= np.sign(a) == np.sign(b)
    return quotient(agreeing.sum(1), kept)


def _ranks(a, b, mask, k):
    """Ranks of both, (B, S), and how many of the largest there are to compare, (B,)."""
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise ArgumentError(f"k must be a positive integer; received {k!r}.")
    return ranks_from_the_top(a, mask), ranks_from_the_top(b, mask), np.minimum(k, mask.sum(1))


def _in_both(first, second, kept):
    return (first < kept[:, None]) & (second < kept[:, None])
