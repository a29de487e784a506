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
    """Percentile bootstrap intervals of many means over the same rows, as of a curve.

    Parameters
    ----------
    values : float array (B, F)
        Finite.
    confidence, resamples, seed
        As in `bootstrap_interval`.

    Returns
    -------
    low, high : float arrays (F,)
        Each column is resampled with the same rows, so that one product of matrices makes all means; NaN with fewer
        than two rows.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.metrics.bootstrap import bootstrap_band
    >>> bootstrap_band(np.array([[1.0, 0.0], [1.0, 4.0]]))[0]
    array([1., 0.])
    """
    values = np.asarray(values, float)
    rows, columns = values.shape
    if rows < 2:
        return np.full((2, columns), np.nan)
    drawn = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    return np.quantile(drawn @ values / rows, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
