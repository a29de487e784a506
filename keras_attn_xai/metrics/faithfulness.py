"""Whether an explanation foretells what a change of the input does: arrays that somebody measured, no model.

Every row was changed N times. A change is a subset of positions switched off, or what was subtracted from each
position; a drop is the target of the row less that of the changed row.
"""

import numpy as np

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics.correlations import pearson
from keras_attn_xai.metrics.rows import masked_rows, measured, quotient


def faithfulness_correlation(values, subsets, drops, *, mask=None):
    """Correlation of what subsets of positions add up to with how far the target falls without them.

    Parameters
    ----------
    values : float array (B, S)
        Attribution, signed.
    subsets : bool array (N, S) or (B, N, S)
        True is a position switched off: N random subsets, the same for all rows or of each row its own.
    drops : float array (B, N)
        The target of the row less that without the subset.
    mask : bool array (B, S), optional
        True is a position that counts; the others add nothing to any subset.

    Returns
    -------
    float array (B,)
        In [-1, 1]; higher is better, 1 where the drop is a rising straight line of the sum. NaN where all drops or all
        sums are the same.

    Raises
    ------
    ShapeError
        Arrays that do not fit.
    ArgumentError
        NaN or infinite numbers.

    Notes
    -----
    ``corr_N(sum_{s in subset} values_s, drop)``. The paper draws subsets of one size and replaces their positions by a
    baseline; `sensitivity_n` is the same figure and holds the caller to one size.

    References
    ----------
    Bhatt, Weller and Moura 2020, "Evaluating and aggregating feature-based model explanations" (arXiv:2005.00631).

    Examples
    --------
    >>> from keras_attn_xai.metrics import faithfulness_correlation
    >>> one_off = [[True, False, False], [False, True, False], [False, False, True]]
    >>> faithfulness_correlation([[3.0, 2.0, 1.0]], one_off, [[30.0, 20.0, 10.0]])
    array([1.])
    """
    values, mask = masked_rows(mask, values)
    return _correlation(values, _changes("subsets", subsets, mask, kind="b"), drops)


def sensitivity_n(values, subsets, drops, *, mask=None):
    """Correlation of what random subsets of n positions add up to with how far the target falls without them.

    Parameters
    ----------
    values : float array (B, S)
        Attribution, signed.
    subsets : bool array (N, S) or (B, N, S)
        True is a position switched off, n of them in every subset of a row.
    drops : float array (B, N)
        The target of the row less that without the subset.
    mask : bool array (B, S), optional
        True is a position that counts; n counts those alone.

    Returns
    -------
    float array (B,)
        In [-1, 1]; higher is better, 1 for an explanation that foretells the drops of any n positions. NaN where all
        drops or all sums are the same.

    Raises
    ------
    ShapeError
        Arrays that do not fit.
    ArgumentError
        Subsets of different sizes in a row, NaN or infinite numbers.

    Notes
    -----
    The subsets are drawn at random among all of size n. Taking the strongest n positions away, one more at each step,
    is another measure. The paper shows a curve over n, of which this is one point.

    References
    ----------
    Ancona et al. 2018, "Towards better understanding of gradient-based attribution methods for deep neural networks"
    (arXiv:1711.06104).

    Examples
    --------
    >>> from keras_attn_xai.metrics import sensitivity_n
    >>> two_off = [[True, True, False], [False, True, True], [True, False, True]]
    >>> sensitivity_n([[4.0, 2.0, 1.0]], two_off, [[6.0, 3.0, 5.0]])
    array([1.])
    """
    values, mask = masked_rows(mask, values)
    subsets = _changes("subsets", subsets, mask, kind="b")
    sizes = (subsets & mask[:, None]).sum(2)
    if sizes.size and (sizes != sizes[:, :1]).any():
        row = int((sizes != sizes[:, :1]).any(1).argmax())
        raise ArgumentError(
            f"sensitivity_n needs subsets of one size; those of row {row} have {sizes[row].min()} to "
            f"{sizes[row].max()} positions. Draw n of those the mask keeps, or call faithfulness_correlation."
        )
    return _correlation(values, subsets, drops)


def infidelity(values, perturbations, drops, *, scaled=False, mask=None):
    """Mean squared difference of what an explanation foretells of a change and what the target does.

    Parameters
    ----------
    values : float array (B, S)
        Attribution, in the target's unit for each unit of the input.
    perturbations : float array (N, S) or (B, N, S)
        What was subtracted from each position, N times. For positions that are switched off, 1 there and 0 elsewhere,
        beside values that are the whole effect of a position, as Shapley values are.
    drops : float array (B, N)
        The target of the row less that of the row less the perturbation.
    scaled : bool, default False
        Multiply each row of values first by the factor that fits the drops best, so that only their proportions are
        judged: for attention, which has no unit.
    mask : bool array (B, S), optional
        True is a position that counts.

    Returns
    -------
    float array (B,)
        At least 0, in the target's unit squared; lower is better, 0 foretells every drop.

    Raises
    ------
    ShapeError
        Arrays that do not fit.
    ArgumentError
        NaN or infinite numbers.

    Notes
    -----
    ``mean_N (I^T values - drop)^2``. With ``scaled``, ``beta values`` in place of ``values``, where
    ``beta = mean(I^T values drop) / mean((I^T values)^2)``; the factor can be negative.

    References
    ----------
    Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations" (arXiv:1901.09392), definition 2.1.

    Examples
    --------
    >>> from keras_attn_xai.metrics import infidelity
    >>> one_off, drops = [[1.0, 0.0], [0.0, 1.0]], [[2.0, 4.0]]
    >>> infidelity([[1.0, 2.0]], one_off, drops)  # (1 + 4) / 2
    array([2.5])
    >>> infidelity([[1.0, 2.0]], one_off, drops, scaled=True)
    array([0.])
    """
    values, mask = masked_rows(mask, values)
    foretold = _sums(values, _changes("perturbations", perturbations, mask, kind="biuf"))
    drops = measured("drops", drops, foretold.shape)
    if scaled:
        fit = quotient((foretold * drops).sum(1), (foretold**2).sum(1))
        foretold = np.where(np.isnan(fit), 0.0, fit)[:, None] * foretold  # what foretells 0 cannot be scaled
    return ((foretold - drops) ** 2).mean(1)


def max_sensitivity(values, perturbed, *, relative=False, mask=None):
    """How far an explanation moves at most when its input moves a little.

    Parameters
    ----------
    values : float array (B, S)
        Attribution of each row.
    perturbed : float array (B, N, S)
        Attribution of N rows near it.
    relative : bool, default False
        Divide by the length of ``values``, so that methods with other units can be compared.
    mask : bool array (B, S), optional
        True is a position that counts.

    Returns
    -------
    float array (B,)
        At least 0, in the unit of ``values`` or, when ``relative``, of 1; lower is better, if the target stayed where
        it was. NaN, when ``relative``, where ``values`` are all zeros.

    Raises
    ------
    ShapeError
        Arrays that do not fit.
    ArgumentError
        NaN or infinite numbers at a position that counts.

    Notes
    -----
    ``max_N |perturbed_n - values|``, with the Euclidean length. It grows with the number of neighbours, and a constant
    explanation has 0: it says nothing without `infidelity` beside it.

    References
    ----------
    Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations" (arXiv:1901.09392).

    Examples
    --------
    >>> from keras_attn_xai.metrics import max_sensitivity
    >>> max_sensitivity([[1.0, 0.0]], [[[1.0, 2.0], [4.0, 4.0]]])  # 2 and 5
    array([5.])
    """
    values, mask = masked_rows(mask, values)
    perturbed = np.asarray(perturbed, float)
    if perturbed.ndim != 3 or perturbed[:, 0:1].shape != (len(mask), 1, mask.shape[1]):
        raise ShapeError(f"Expected perturbed ({len(mask)}, N, {mask.shape[1]}); received {perturbed.shape}.")
    perturbed = measured("perturbed", np.where(mask[:, None], perturbed, 0.0), (None, None, None))
    furthest = np.linalg.norm(perturbed - values[:, None], axis=2).max(1)
    return quotient(furthest, np.linalg.norm(values, axis=1)) if relative else furthest


def _correlation(values, subsets, drops):
    sums = _sums(values, subsets)
    drops = measured("drops", drops, sums.shape)
    # Equal sums come out of a float unequal by its rounding, and rounding would get a correlation of its own.
    rounding = 4 * np.finfo(float).eps * np.abs(values).sum(1, keepdims=True)
    same = np.ptp(sums, axis=1, keepdims=True) <= rounding
    return pearson(np.where(same, 0.0, sums), drops)


def _sums(values, changes):
    """What each change adds up to, (B, N)."""
    return np.matmul(changes, values[:, :, None])[:, :, 0]


def _changes(name, given, mask, *, kind):
    """Changes (B, N, S), or (1, N, S) where all rows share them."""
    given = np.asarray(given)
    rows, positions = mask.shape
    fits = given.ndim in (2, 3) and given.shape[-1] == positions and given.shape[:-2] in ((), (rows,))
    if not fits or not given.shape[-2] or given.dtype.kind not in kind:
        what = "boolean" if kind == "b" else "numbers"
        raise ShapeError(
            f"Expected {name} as {what} (N, {positions}) or ({rows}, N, {positions}); received {given.shape} of dtype "
            f"{given.dtype}."
        )
    if kind != "b":
        given = measured(name, given, given.shape)
    return given if given.ndim == 3 else given[None]
