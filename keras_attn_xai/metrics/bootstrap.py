"""From a number per row to a mean with an interval."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from keras_attn_xai.errors import ArgumentError

BLOCK = 2**20  # numbers resampled at a time; the same are drawn whatever it is


class Interval(NamedTuple):
    """A mean over rows and its bootstrap confidence interval."""

    mean: float
    low: float
    high: float
    rows: int


def bootstrap_interval(values, *, confidence=0.95, resamples=2000, seed=0):
    """Mean over rows with a percentile bootstrap interval.

    Parameters
    ----------
    values : float array (B,)
        NaN rows are left out.
    confidence : float, default 0.95
    resamples : int, default 2000
    seed : int, default 0

    Returns
    -------
    Interval
        ``mean``, ``low``, ``high`` in the unit of the values, and how many rows counted. With fewer
        than two rows the interval is NaN.

    References
    ----------
    Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13 (``scipy.stats.bootstrap``).

    Examples
    --------
    >>> from keras_attn_xai.metrics import bootstrap_interval
    >>> bootstrap_interval([0.5, 0.5, 0.5]).mean
    0.5
    """
    if not 0 < confidence < 1:
        raise ArgumentError(f"confidence must lie between 0 and 1, as 0.95; received {confidence!r}.")
    values = np.asarray(values, float).ravel()
    values = values[~np.isnan(values)]
    if len(values) < 2:
        mean = float(values.mean()) if len(values) else float("nan")
        return Interval(mean, float("nan"), float("nan"), len(values))
    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        batch=max(1, BLOCK // len(values)),
        method="percentile",
        rng=seed,
    ).confidence_interval
    return Interval(float(values.mean()), float(found.low), float(found.high), len(values))


def bootstrap_band(values, *, confidence=0.95, resamples=2000, seed=0):
    """Percentile bootstrap intervals of many means over the same rows, as of a curve or of several measures.

    Parameters
    ----------
    values : float array (B, F)
        NaN rows of a column are left out of it.
    confidence, resamples, seed
        As in `bootstrap_interval`.

    Returns
    -------
    Interval
        Of arrays (F,). Columns that count the same rows are resampled together, so that one product of matrices makes
        all their means; ``low`` and ``high`` are NaN with fewer than two rows.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics.bootstrap import bootstrap_band
    >>> bootstrap_band(np.array([[1.0, 0.0], [1.0, 4.0]])).mean
    array([1., 2.])
    """
    values = np.asarray(values, float)
    mean, low, high = np.full((3, values.shape[1]), np.nan)
    counted = ~np.isnan(values)
    patterns, which = np.unique(counted, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        columns = np.flatnonzero(which.ravel() == number)
        found = values[np.ix_(pattern, columns)]
        if len(found):
            mean[columns] = found.mean(0)
        if len(found) > 1:
            ends = [(1 - confidence) / 2, (1 + confidence) / 2]
            low[columns], high[columns] = np.quantile(_resampled(found, resamples, seed), ends, axis=0)
    return Interval(mean, low, high, counted.sum(0))


def _resampled(values, resamples, seed):
    """Means (N, F) of rows drawn with replacement, as many as there are."""
    draw, rows = np.random.default_rng(seed), len(values)
    shares, step = np.full(rows, 1 / rows), max(1, BLOCK // rows)
    sizes = (min(step, resamples - start) for start in range(0, resamples, step))
    return np.concatenate([draw.multinomial(rows, shares, size=size) @ values / rows for size in sizes])
