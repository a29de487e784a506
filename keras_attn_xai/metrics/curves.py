"""What scores say that somebody measured while positions were taken away or put back: arrays alone, no model.

A score is the target of one row, (B,) of the rows as they are and (B, F) at F fractions of their positions.
"""

import numpy as np
from scipy.integrate import trapezoid

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics.rows import measured

FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)  # of ERASER: shares of a row's positions


def comprehensiveness(output, without):
    """How far the target falls without the positions an explanation calls the strongest.

    Parameters
    ----------
    output : float array (B,)
        The target of each row; a probability in the paper.
    without : float array (B, F)
        The target without the strongest 1, 5, 10, 20 and 50 % of positions (`FRACTIONS`), or other shares.

    Returns
    -------
    float array (B,)
        Mean drop over the F shares, in the unit of the target; in [-1, 1] of probabilities. Higher is better: what was
        called strong was needed.

    Raises
    ------
    ShapeError
        Other than one output per row and F scores for each.
    ArgumentError
        NaN or infinite numbers.

    Notes
    -----
    `aopc` of these scores. Rows with words removed are unlike those a model was trained on, which lowers the target of
    itself: compare with the same figure of a random ordering.

    References
    ----------
    DeYoung et al. 2020, "ERASER: a benchmark to evaluate rationalized NLP models" (arXiv:1911.03429).

    Examples
    --------
    >>> from keras_attn_xai.metrics import comprehensiveness
    >>> comprehensiveness([1.0], [[0.75, 0.25]])  # drops of 0.25 and 0.75
    array([0.5])
    """
    return aopc(output, without)


def sufficiency(output, alone):
    """How far the target falls when only the positions an explanation calls the strongest are left.

    Parameters
    ----------
    output : float array (B,)
        The target of each row; a probability in the paper.
    alone : float array (B, F)
        The target of the strongest 1, 5, 10, 20 and 50 % of positions alone (`FRACTIONS`), or of other shares.

    Returns
    -------
    float array (B,)
        Mean drop over the F shares, in the unit of the target; in [-1, 1] of probabilities. Lower is better: what was
        called strong is enough.

    Raises
    ------
    ShapeError
        Other than one output per row and F scores for each.
    ArgumentError
        NaN or infinite numbers.

    References
    ----------
    DeYoung et al. 2020, "ERASER: a benchmark to evaluate rationalized NLP models" (arXiv:1911.03429).

    Examples
    --------
    >>> from keras_attn_xai.metrics import sufficiency
    >>> sufficiency([1.0], [[0.5, 1.0]])
    array([0.25])
    """
    return aopc(output, alone)


def aopc(output, scores):
    """Area over the perturbation curve: the mean drop of the target while positions are taken away.

    Parameters
    ----------
    output : float array (B,)
        The target of each row as it is.
    scores : float array (B, F)
        The target at F steps.

    Returns
    -------
    float array (B,)
        In the unit of the target. Higher is better where the strongest positions went first, lower where they stayed.

    Raises
    ------
    ShapeError
        Other than one output per row and F scores for each.
    ArgumentError
        NaN or infinite numbers.

    Notes
    -----
    ``mean_f output - scores_f`` over the steps that are given. Formulas that divide by F + 1 have a step more, at which
    nothing is taken away; put its score first to have them.

    References
    ----------
    Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned" (arXiv:1509.06321).

    Examples
    --------
    >>> from keras_attn_xai.metrics import aopc
    >>> aopc([3.0, 1.0], [[2.0, 0.0], [1.0, 1.0]])
    array([2., 0.])
    """
    output, scores = measured("output", output, (None,)), measured("scores", scores, (None, None))
    if len(output) != len(scores) or not scores.shape[1]:
        raise ShapeError(
            f"Expected one output for each row and at least one score; received {output.shape} and {scores.shape}."
        )
    return (output[:, None] - scores).mean(1)


def normalized_aopc(found, lowest, highest):
    """An AOPC between the lowest and the highest that any ordering of the same row reaches.

    Parameters
    ----------
    found, lowest, highest : float arrays (B,)
        `aopc` of the explanation, and of the worst and the best ordering, measured on the same model with the same
        steps: searched among all orderings, or among some by a beam.

    Returns
    -------
    float array (B,)
        In [0, 1]; 1 is the best ordering, where a high AOPC is good, and the worst where a low one is. Outside where a
        search missed the bounds. NaN where both bounds are the same, because then no ordering matters.

    Raises
    ------
    ShapeError
        Arrays of different shapes.
    ArgumentError
        A lowest above its highest, NaN or infinite numbers.

    Notes
    -----
    ``(found - lowest) / (highest - lowest)``. How large an AOPC can be depends on the model, so that those of two
    models cannot be compared without this.

    References
    ----------
    Edin et al. 2024, "Normalized AOPC: fixing misleading faithfulness metrics for feature attribution explainability"
    (arXiv:2408.08137).

    Examples
    --------
    >>> from keras_attn_xai.metrics import normalized_aopc
    >>> normalized_aopc([0.3, 0.3], [0.2, 0.0], [0.4, 0.3]).round(3)
    array([0.5, 1. ])
    """
    found = measured("found", found, (None,))
    lowest, highest = measured("lowest", lowest, found.shape), measured("highest", highest, found.shape)
    if (lowest > highest).any():
        raise ArgumentError(
            f"Expected lowest at most highest in every row; {int((lowest > highest).sum())} of {len(found)} rows have "
            "them the other way round."
        )
    return np.divide(found - lowest, highest - lowest, out=np.full(found.shape, np.nan), where=highest > lowest)


def area_under_curve(scores, *, fractions=None):
    """Area under the curve of a target while positions are deleted or inserted, the strongest first.

    Parameters
    ----------
    scores : float array (B, F)
        The target at F steps, the first before anything is changed.
    fractions : float array (F,) or (B, F), optional
        How much is changed at each step, rising; by default steps of one size. A shorter row can repeat its last step.

    Returns
    -------
    float array (B,)
        Mean height of the curve, in the unit of the target; in [0, 1] of probabilities. After deletion lower is better,
        after insertion higher.

    Raises
    ------
    ShapeError
        Fewer than two steps, or fractions of another shape.
    ArgumentError
        Fractions that fall or never rise, NaN or infinite numbers.

    Notes
    -----
    By the trapezoid rule, divided by the length of the ruler that ``fractions`` cover.

    References
    ----------
    Petsiuk, Das and Saenko 2018, "RISE: randomized input sampling for explanation of black-box models"
    (arXiv:1806.07421).

    Examples
    --------
    >>> from keras_attn_xai.metrics import area_under_curve
    >>> area_under_curve([[1.0, 0.5, 0.0], [1.0, 0.0, 0.0]])
    array([0.5 , 0.25])
    """
    scores = measured("scores", scores, (None, None))
    steps = scores.shape[1]
    if steps < 2:
        raise ShapeError(f"A curve needs at least two steps; received scores {scores.shape}.")
    x = np.linspace(0, 1, steps) if fractions is None else np.asarray(fractions, float)
    x = measured("fractions", np.broadcast_to(x, scores.shape) if x.shape == (steps,) else x, scores.shape)
    if (np.diff(x) < 0).any() or (x[:, 0] == x[:, -1]).any():
        raise ArgumentError("Expected fractions that rise from step to step; received some that fall or stay the same.")
    return trapezoid(scores, x, axis=1) / (x[:, -1] - x[:, 0])
