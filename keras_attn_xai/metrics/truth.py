"""Whether values point at positions that are known to be the right ones, because the data were made so."""

from typing import NamedTuple

import numpy as np

from keras_attn_xai.metrics.rows import flags, masked_rows, quotient


class TruthScore(NamedTuple):
    """How far each row points at its planted positions."""

    hit_rate: np.ndarray
    mass: np.ndarray


def score_against_truth(values, truth, *, mask=None):
    """Share of the planted positions among the largest, and share of the whole that lies on them.

    Parameters
    ----------
    values : float array (B, S)
        Attention or attribution; of signed values the magnitude counts.
    truth : bool array (B, S)
        True is a planted position.
    mask : bool array (B, S), optional
        True is a position that counts.

    Returns
    -------
    TruthScore
        ``hit_rate`` (B,) in [0, 1]: of a row with k planted positions, how many of its k largest are planted, over k; 1
        is all of them. ``mass`` (B,) in [0, 1]: magnitude on planted positions over that of the row. NaN where a row
        has no planted position and, of ``mass``, where it is all zeros.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        NaN or infinite numbers at a position that counts.

    Notes
    -----
    Where positions tie for the last of the k places, each gets its share of them: uniform values have a hit rate of
    k / n and a mass of k / n, which is also what chance has on average.

    References
    ----------
    With k = 1 the hit rate is the pointing game of Zhang et al. 2016, "Top-down neural attention by excitation
    backprop" (arXiv:1608.00507).

    Examples
    --------
    >>> from keras_attn_xai.metrics import score_against_truth
    >>> score_against_truth([[0.5, -2.0, 1.5, 0.0]], [[False, True, False, True]])
    TruthScore(hit_rate=array([0.5]), mass=array([0.5]))
    """
    values, mask = masked_rows(mask, values)
    truth = flags("truth", truth, mask.shape) & mask
    sizes, planted = np.abs(values), truth.sum(1)
    mass = quotient(np.where(truth, sizes, 0.0).sum(1), sizes.sum(1))
    return TruthScore(_hits(sizes, truth, planted, mask), np.where(planted > 0, mass, np.nan))


def _hits(sizes, truth, planted, mask):
    ordered = -np.sort(-sizes, axis=1)  # the largest first; masked ones are 0, as low as any
    last = np.take_along_axis(ordered, np.maximum(planted - 1, 0)[:, None], axis=1) if ordered.size else ordered[:, :1]
    above, level = mask & (sizes > last), mask & (sizes == last)
    left = planted - above.sum(1)  # places for those that tie
    tied = quotient((truth & level).sum(1) * left, level.sum(1))
    return quotient((truth & above).sum(1) + tied, planted)
