"""Histories of users of which one item decides what comes next."""

import numpy as np

from keras_attn_xai.datasets.planted_task import (
    NEUTRAL,
    PADDING,
    PlantedTask,
    balanced,
    drawn_mask,
    one_of_each,
    require_count,
    require_lengths,
)


def planted_recommender(rows, *, seed=0, lengths=(6, 12), items=40, pairs=5):
    """What users bought; one item of each history has a sequel, which is what to recommend.

    Parameters
    ----------
    rows : int
        Users.
    seed : int, default 0
        Of the drawing; first parts and their sequels are the same for every seed.
    lengths : (int, int), default (6, 12)
        The least and the most items of a history.
    items : int, default 40
        Items that lead to nothing, ids 1 to ``items``.
    pairs : int, default 5
        First parts, with the ids from ``items + 1`` on, and as many sequels behind them, in the same order.

    Returns
    -------
    PlantedTask
        ``x`` (B, S) ids, 0 is padding in front, so that the latest item is the last; ``y`` (B,) the id of the sequel,
        each as often, never in a history; ``truth`` (B, S), True at the first part. Its background is item 1.

    Raises
    ------
    ArgumentError
        A count below 1, fewer than 2 pairs, or lengths that are no range.

    Notes
    -----
    Length, place of the first part and all other items are drawn without regard to the sequel: neither how popular
    an item is nor how late it was bought says anything.

    Examples
    --------
    >>> from keras_attn_xai.datasets import planted_recommender
    >>> task = planted_recommender(100, items=10, pairs=3)
    >>> bool((task.y == task.x[task.truth] + 3).all()), sorted({*task.y.tolist()}), bool(task.mask[:, -1].all())
    (True, [14, 15, 16], True)
    """
    rows, lengths = require_count("rows", rows), require_lengths(lengths)
    items, pairs = require_count("items", items), require_count("pairs", pairs, 2)
    draw = np.random.default_rng(seed)
    first = items + 1 + balanced(draw, rows, pairs)
    mask = drawn_mask(draw, rows, lengths)[:, ::-1]
    truth = one_of_each(draw, mask)
    x = np.where(mask, draw.integers(1, items + 1, mask.shape), PADDING)
    x[truth] = first
    catalogue = items + 1 + 2 * pairs
    rule = f"One of {pairs} first parts in a history; recommend its sequel."
    return PlantedTask(x, first + pairs, truth, rule, mask, catalogue, catalogue, NEUTRAL)
