"""How far two rows are apart as distributions over positions: pure functions of two arrays (B, S) and a mask."""

import numpy as np
from scipy.special import rel_entr

from keras_attn_xai.metrics.rows import masked_rows, shares


def jensen_shannon(a, b, *, mask=None):
    """Jensen-Shannon divergence of two rows, each divided by its sum.

    Parameters
    ----------
    a, b : float arrays (B, S)
        At least 0. For attention against attribution pass ``abs(attribution)``.
    mask : bool array (B, S), optional
        True is a position to compare.

    Returns
    -------
    float array (B,)
        In nats, from 0 (the same shares) to log 2 = 0.693 (no position in common). NaN where a row is all zeros.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        Numbers below 0, NaN or infinite ones at a position to compare.

    Notes
    -----
    ``KL(p | m) / 2 + KL(q | m) / 2`` with ``m = (p + q) / 2``. SciPy's ``jensenshannon`` is its square root.

    References
    ----------
    Lin 1991, "Divergence measures based on the Shannon entropy" (doi:10.1109/18.61115); used for attention by Jain and
    Wallace 2019 (arXiv:1902.10186), section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import jensen_shannon
    >>> jensen_shannon(np.array([[1.0, 0.0], [1.0, 3.0]]), np.array([[0.0, 1.0], [2.0, 6.0]])).round(3)
    array([0.693, 0.   ])
    """
    p, q, some = _distributions("jensen_shannon", a, b, mask)
    middle = (p + q) / 2
    found = np.clip((rel_entr(p, middle) + rel_entr(q, middle)).sum(1) / 2, 0, np.log(2))
    return np.where(some, found, np.nan)


def total_variation(a, b, *, mask=None):
    """Total variation distance of two rows, each divided by its sum.

    Parameters
    ----------
    a, b : float arrays (B, S)
        At least 0; also the probabilities of C classes, before and after a change.
    mask : bool array (B, S), optional
        True is a position to compare.

    Returns
    -------
    float array (B,)
        From 0 (the same shares) to 1 (no position in common): the share that would have to move. NaN where a row is all
        zeros.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        Numbers below 0, NaN or infinite ones at a position to compare.

    Notes
    -----
    ``sum_s |p_s - q_s| / 2``.

    References
    ----------
    Used for outputs by Jain and Wallace 2019, "Attention is not explanation" (arXiv:1902.10186).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import total_variation
    >>> total_variation(np.array([[0.75, 0.25]]), np.array([[0.5, 0.5]]))
    array([0.25])
    """
    p, q, some = _distributions("total_variation", a, b, mask)
    return np.where(some, np.minimum(np.abs(p - q).sum(1) / 2, 1), np.nan)


def _distributions(measure, a, b, mask):
    """Two distributions (B, S), and whether a row has any position, (B,)."""
    a, b, mask = masked_rows(mask, a, b)
    return shares(a, measure), shares(b, measure), mask.any(1)
