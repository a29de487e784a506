"""Texts of which one word decides."""

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


def planted_text(rows, *, seed=0, lengths=(8, 12), words=50, classes=2, keywords=3):
    """Texts with one keyword among neutral words; the label is the group of the keyword.

    Parameters
    ----------
    rows : int
    seed : int, default 0
        Of the drawing; the rule is the same for every seed, so that one can train and another test.
    lengths : (int, int), default (8, 12)
        The least and the most words of a text.
    words : int, default 50
        Neutral words, ids 1 to ``words``.
    classes : int, default 2
    keywords : int, default 3
        Words of each group; those of class c have the ids ``words + 1 + c * keywords`` and the next.

    Returns
    -------
    PlantedTask
        ``x`` (B, S) ids, 0 is padding at the end; ``y`` (B,), each class as often; ``truth`` (B, S), True at the
        keyword. Its background is the neutral word 1.

    Raises
    ------
    ArgumentError
        A count below 1, fewer than 2 classes, or lengths that are no range.

    Notes
    -----
    Length, place of the keyword and every neutral word are drawn without regard to the class. The least length 1 leaves
    some texts with nothing but the keyword.

    Examples
    --------
    >>> from keras_attn_xai.datasets import planted_text
    >>> task = planted_text(100, words=10, keywords=1)  # 11 means class 0, 12 class 1
    >>> bool((task.x[task.truth] == 11 + task.y).all()), int((task.x > 10).sum()), task.ids
    (True, 100, 13)
    """
    rows, lengths = require_count("rows", rows), require_lengths(lengths)
    words, keywords = require_count("words", words), require_count("keywords", keywords)
    draw, classes = np.random.default_rng(seed), require_count("classes", classes, 2)
    y, mask = balanced(draw, rows, classes), drawn_mask(draw, rows, lengths)
    truth = one_of_each(draw, mask)
    x = np.where(mask, draw.integers(1, words + 1, mask.shape), PADDING)
    x[truth] = words + 1 + y * keywords + draw.integers(0, keywords, rows)
    rule = f"One of {keywords * classes} keywords among neutral words; the label is its group."
    return PlantedTask(x, y, truth, rule, mask, classes, words + 1 + classes * keywords, NEUTRAL)
