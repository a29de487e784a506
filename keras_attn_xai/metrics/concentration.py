"""How few positions hold the most of one array (B, S): pure functions of it and a mask."""

import numpy as np
from scipy.special import entr

from keras_attn_xai.metrics.rows import flags, masked_rows, quotient, shares


def entropy(a, *, mask=None):
    """Entropy of each row's shares, as a part of the most it can be.

    Parameters
    ----------
    a : float array (B, S)
        At least 0; each row is divided by its sum.
    mask : bool array (B, S), optional
        True is a position that counts.

    Returns
    -------
    float array (B,)
        In [0, 1]; 0 is all on one position, 1 the same on every one. NaN where a row is all zeros or has fewer than two
        positions.

    Raises
    ------
    ShapeError
        Not rows of positions, or a mask of another shape.
    ArgumentError
        Numbers below 0, NaN or infinite ones at a position that counts.

    Notes
    -----
    ``-sum_s a_s log a_s / log n`` over the n positions of a row. `head_entropy` is the same of every head and query of
    a map.

    References
    ----------
    Shannon 1948, "A mathematical theory of communication" (doi:10.1002/j.1538-7305.1948.tb01338.x).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import entropy
    >>> entropy(np.array([[0.5, 0.5, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))  # log 2 / log 4, log 4 / log 4
    array([0.5, 1. ])
    """
    a, mask = masked_rows(mask, a)
    most = np.log(np.maximum(mask.sum(1), 1))
    return np.clip(quotient(entr(shares(a, "entropy")).sum(1), most), 0, 1)


def gini(a, *, mask=None):
    """Gini coefficient of each row: how unequal its shares are.

    Parameters
    ----------
    a : float array (B, S)
        At least 0.
    mask : bool array (B, S), optional
        True is a position that counts.

    Returns
    -------
    float array (B,)
        From 0 (the same on every position) to 1 - 1/n (all on one of n). NaN where a row is all zeros or has no
        position.

    Raises
    ------
    ShapeError
        Not rows of positions, or a mask of another shape.
    ArgumentError
        Numbers below 0, NaN or infinite ones at a position that counts.

    Notes
    -----
    ``sum_i (2 i - n - 1) a_i / (n sum_i a_i)`` over a row's n positions, the smallest first. Rows of different lengths
    have different largest values.

    References
    ----------
    Hurley and Rickard 2009, "Comparing measures of sparsity" (arXiv:0811.4706).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import gini
    >>> gini(np.array([[0.0, 0.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0]]))
    array([0.75, 0.  ])
    """
    a, mask = masked_rows(mask, a)
    count = mask.sum(1)
    ordered = np.sort(shares(a, "gini"), axis=1)  # masked positions are 0 and add nothing wherever they stand
    place = np.arange(1, mask.shape[1] + 1) - (mask.shape[1] - count)[:, None]
    return quotient(((2 * place - count[:, None] - 1) * ordered).sum(1), count)


def attention_of_set(a, flagged, *, mask=None):
    """Attention that a set of positions gets together.

    Parameters
    ----------
    a : float array (B, S)
    flagged : bool array (B, S)
        True is a position of the set, as each word of a list.
    mask : bool array (B, S), optional
        True is a position that counts.

    Returns
    -------
    float array (B,)
        In the unit of ``a``; of weights that sum to 1, in [0, 1]. 0 where no position is flagged.

    Raises
    ------
    ShapeError
        Not rows of positions, or flags or a mask of another shape.
    ArgumentError
        NaN or infinite numbers at a position that counts.

    Notes
    -----
    ``sum_s a_s flagged_s``. Little of it says little: attention can be trained away from words that still decide the
    answer, which is what the paper shows.

    References
    ----------
    Pruthi et al. 2020, "Learning to deceive with attention-based explanations" (arXiv:1909.07913).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics import attention_of_set
    >>> attention_of_set(np.array([[0.5, 0.25, 0.25]]), np.array([[True, False, True]]))
    array([0.75])
    """
    a, mask = masked_rows(mask, a)
    return np.where(flags("flagged", flagged, mask.shape), a, 0.0).sum(1)
