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
