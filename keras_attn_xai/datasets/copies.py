"""Sequences to be written out again: every output position has one input position that decides it."""

import numpy as np

from keras_attn_xai.datasets.planted_task import PADDING, PlantedTask, drawn_mask, require_count, require_lengths


def planted_copy(rows, *, seed=0, lengths=(5, 9), words=20):
    """Random words to be written again in their order.

    Parameters
    ----------
    rows : int
    seed : int, default 0
    lengths : (int, int), default (5, 9)
        The least and the most words of a row.
    words : int, default 20
        Ids 1 to ``words``.

    Returns
    -------
    PlantedTask
        ``x`` (B, S) ids, 0 is padding at the end; ``y`` (B, T) ids, T = S, 0 behind the last word; ``truth`` (B, T, S),
        of each word written the place it was read from, and no place behind the last.

    Raises
    ------
    ArgumentError
        A count below 1, fewer than 2 words, or lengths that are no range.

    Notes
    -----
    Words are drawn one by one, so that no word tells of another; the same word may stand in several places, of which
    one decides. There is no sign for the start or the stop.

    Examples
    --------
    >>> from keras_attn_xai.datasets import planted_copy
    >>> task = planted_copy(1, lengths=(3, 3))
    >>> bool((task.y == task.x).all()), task.truth[0].astype(int).tolist()
    (True, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    """
    return _written_again(rows, seed, lengths, words, "Write the words again.", lambda places, count: places)


def planted_reverse(rows, *, seed=0, lengths=(5, 9), words=20):
    """Random words to be written again from the last to the first.

    Parameters
    ----------
    rows : int
    seed : int, default 0
    lengths : (int, int), default (5, 9)
        The least and the most words of a row.
    words : int, default 20
        Ids 1 to ``words``.

    Returns
    -------
    PlantedTask
        As of `planted_copy`, of which this draws the same ``x``; where a word is read from depends on the length.

    Raises
    ------
    ArgumentError
        As `planted_copy`.

    Examples
    --------
    >>> from keras_attn_xai.datasets import planted_reverse
    >>> task = planted_reverse(1, lengths=(3, 3))
    >>> bool((task.y == task.x[:, ::-1]).all()), task.truth[0].astype(int).tolist()
    (True, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    """
    return _written_again(
        rows,
        seed,
        lengths,
        words,
        "Write the words from the last to the first.",
        lambda places, count: count - 1 - places,
    )


def _written_again(rows, seed, lengths, words, rule, read_from):
    rows, words, lengths = require_count("rows", rows), require_count("words", words, 2), require_lengths(lengths)
    draw = np.random.default_rng(seed)
    mask = drawn_mask(draw, rows, lengths)
    x = np.where(mask, draw.integers(1, words + 1, mask.shape), PADDING)
    places = np.arange(mask.shape[1])
    sources = np.where(mask, read_from(places, mask.sum(1, keepdims=True)), places)  # (B, T), padding from padding
    truth = (sources[:, :, None] == places) & mask[:, :, None]
    return PlantedTask(x, np.take_along_axis(x, sources, axis=1), truth, rule, mask, words + 1, words + 1)
