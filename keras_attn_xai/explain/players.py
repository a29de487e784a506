"""Players: which of them each number of an input belongs to. Arrays alone; no model is needed.

Shapes: B rows, M players, T steps, F features, Hh by W pixels.
"""

from dataclasses import dataclass

import numpy as np

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.records import Labels, pad_labels
from keras_attn_xai.text import joined_words, phrase, sentence_ids

NAMES = ("tokens", "words", "sentences", "segments", "steps", "features", "cells", "patches", "inputs")
GROUPS, NOBODY = "groups", "none"  # of an index array; an input that never leaves
PATCHES = 8  # along each side of an image, at most
SEGMENTS = 12  # of a row, at most: as many as are exact by default


@dataclass(frozen=True, eq=False)
class Side:
    """One input's rows, as far as players care.

    Parameters
    ----------
    name : str
    array : array (B, ...)
    real : bool array (B, ...)
        False is padding; its axes are the first ones of the array.
    pieces : tuples of strings (B, S), optional
        Of token ids; those along several axes one after the other.
    word_ids : int array (B, S), optional
        The word of each piece, -1 for padding.
    """

    name: str
    array: np.ndarray
    real: np.ndarray
    pieces: Labels | None = None
    word_ids: np.ndarray | None = None

    @property
    def is_ids(self):
        """Whether the input is token ids."""
        return self.pieces is not None


@dataclass(frozen=True, eq=False)
class Players:
    """The players of one input.

    Parameters
    ----------
    kind : str
    cells : int array (B, ...)
        The player that each number of the input belongs to, 0 to M - 1, or -1 for one that never leaves. An axis of
        size 1 stands for all.
    shape : tuple of int
        Axes of the result, M numbers in all.
    labels : tuples of strings (B, M)
    """

    kind: str
    cells: np.ndarray
    shape: tuple
    labels: Labels

    @property
    def count(self):
        """M."""
        return int(np.prod(self.shape))

    def having(self, wanted=True):
        """Players with at least one number that is ``wanted``, bool (B, M)."""
        cells = np.broadcast_to(self.cells, np.broadcast_shapes(self.cells.shape, np.shape(wanted)))
        found = np.zeros((len(cells), self.count), bool)
        here = (cells >= 0) & wanted
        found[np.nonzero(here)[0], cells[here]] = True
        return found


def players_of(side, kind="auto"):
    """The players of an input.

    Parameters
    ----------
    side : Side
    kind : str or int array, default "auto"
        A name, or the group of each number of a row; the array's axes are the first ones of a row, and -1 never leaves.

    Returns
    -------
    Players

    Raises
    ------
    ArgumentError
        A kind the input does not have.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.players import Side, players_of
    >>> series = np.zeros((1, 2, 3))
    >>> side = Side("x", series, np.ones((1, 2), bool))
    >>> players_of(side, "features").cells.tolist(), players_of(side, "features").shape
    ([[[0, 1, 2]]], (3,))
    >>> players_of(side, "cells").labels
    (('0, 0', '0, 1', '0, 2', '1, 0', '1, 1', '1, 2'),)
    """
    kind = auto(side) if isinstance(kind, str) and kind == "auto" else kind
    players = MAKERS[kind](side) if isinstance(kind, str) else _groups(side, kind)
    real = side.real.reshape(side.real.shape + (1,) * (side.array.ndim - side.real.ndim))
    if not real.all():
        players = Players(players.kind, np.where(real, players.cells, -1), players.shape, players.labels)
    return _without_labels_of_nobody(players)


def auto(side):
    """What "auto" stands for: tokens of ids, else by the axes of a row."""
    if side.array.dtype.kind == "b":
        return NOBODY  # a mask
    if side.is_ids:
        return "tokens"
    return {1: "features", 2: "features", 4: "patches"}.get(side.array.ndim, "steps")


def _tokens(side):
    if not side.is_ids:
        raise _unfit(side, "tokens", "token ids, integers of shape (B, S)")
    shape = side.array.shape[1:] or (1,)
    return _along(side, "tokens", np.arange(int(np.prod(shape))).reshape(side.array.shape[1:]), shape, side.pieces)


def _words(side):
    if side.word_ids is None:
        raise _unfit(side, "words", "texts and a tokenizer, or token ids of shape (B, S)")
    cells, labels = joined_words(side.pieces, side.word_ids)
    return _of_each_row("words", cells, labels)


def _sentences(side):
    if side.word_ids is None or _named_by_ids(side):
        raise _unfit(side, "sentences", "texts and a tokenizer that tells the words")
    cells = sentence_ids(side.pieces, side.word_ids)
    return _of_each_row("sentences", cells, _phrases(side, cells))


def _segments(side):
    if side.array.ndim < 2:
        raise _unfit(side, "segments", "an axis of positions, (B, S) or (B, T, ...)")
    real = _real_positions(side)
    count = real.sum(1, keepdims=True)
    cells = np.where(real, (np.cumsum(real, axis=1) - 1) * np.minimum(count, SEGMENTS) // np.maximum(count, 1), -1)
    read = side.is_ids and side.array.ndim == 2
    labels = _phrases(side, cells) if read else [[_span(row == one) for one in range(max(row) + 1)] for row in cells]
    return _of_each_row("segments", cells.reshape(*cells.shape, *[1] * (side.array.ndim - 2)), labels)


def _steps(side):
    if side.array.ndim < 2:
        raise _unfit(side, "steps", "an axis of steps, (B, T, ...)")
    steps = side.array.shape[1]
    labels = side.pieces if side.is_ids and side.array.ndim == 2 else tuple(f"step {i}" for i in range(steps))
    return _along(side, "steps", np.arange(steps).reshape(-1, *[1] * (side.array.ndim - 2)), (steps,), labels)


def _features(side):
    if side.array.ndim == 1:
        return _along(side, "features", np.zeros((), int), (1,), (side.name,))
    size = side.array.shape[-1]
    labels = (side.name,) if size == 1 and side.array.ndim == 2 else tuple(f"feature {i}" for i in range(size))
    return _along(side, "features", np.arange(size).reshape([1] * (side.array.ndim - 2) + [-1]), (size,), labels)


def _cells(side):
    shape = side.array.shape[1:]
    if not shape:
        raise _unfit(side, "cells", "at least two axes, (B, T, F)")
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    return _along(side, "cells", numbers, shape, tuple(", ".join(map(str, at)) for at in np.ndindex(shape)))


def _patches(side):
    if side.array.ndim < 3:
        raise _unfit(side, "patches", "an image, (B, height, width, C)")
    sizes = side.array.shape[1:3]
    shape = tuple(min(PATCHES, size) for size in sizes)
    row, column = (np.arange(size) * most // size for size, most in zip(sizes, shape, strict=True))
    numbers = (row[:, None] * shape[1] + column).reshape(*sizes, *[1] * (side.array.ndim - 3))
    return _along(side, "patches", numbers, shape, tuple(f"patch {a}, {b}" for a, b in np.ndindex(shape)))


def _inputs(side):
    if side.array.dtype.kind == "b":
        return _nobody(side)  # a mask is no input of its own
    return _along(side, "inputs", np.zeros([1] * (side.array.ndim - 1), int), (1,), (side.name,))


def _nobody(side):
    return _along(side, NOBODY, np.full([1] * (side.array.ndim - 1), -1), (0,), ())


def _groups(side, index):
    try:
        index = np.asarray(index)
    except ValueError:
        index = np.array(None)
    row = side.array.shape[1:]
    fits = index.dtype.kind in "iu" and index.ndim <= len(row) and index.shape == row[: index.ndim]
    if not fits or (index.max(initial=-1)) < 0:
        raise ArgumentError(
            f"An index array of players holds the group of each number of a row, from 0, or -1 for one that never "
            f"leaves: integers of shape {row} or its first axes for the input '{side.name}'; received shape "
            f"{index.shape}, dtype {index.dtype}."
        )
    groups, at = np.unique(np.append(index, -1), return_inverse=True)
    kept = groups[groups >= 0]
    numbers = np.maximum(at[:-1].reshape(index.shape) - (len(groups) - len(kept)), -1)
    numbers = numbers.reshape(*index.shape, *[1] * (len(row) - index.ndim))
    return _along(side, GROUPS, numbers, (len(kept),), tuple(f"group {group}" for group in kept))


MAKERS = {
    "tokens": _tokens,
    "words": _words,
    "sentences": _sentences,
    "segments": _segments,
    "steps": _steps,
    "features": _features,
    "cells": _cells,
    "patches": _patches,
    "inputs": _inputs,
    NOBODY: _nobody,
}


def _along(side, kind, numbers, shape, labels):
    """The same players in every row; labels of one row, or of each."""
    rows = len(side.array)
    every = labels if labels and not isinstance(labels[0], str) else (tuple(labels),) * rows
    return Players(kind, np.broadcast_to(numbers, (rows, *numbers.shape)), shape, every)


def _of_each_row(kind, cells, labels):
    """Players of each row for itself, as many as the row with the most has."""
    most = max(map(len, labels))
    return Players(kind, cells, (most,), pad_labels(labels, most))


def _real_positions(side):
    """Positions along the first axis of a row with anything that is real: bool (B, T)."""
    real = side.real if side.real.ndim > 1 else side.real[:, None]
    real = real.reshape(*real.shape[:2], -1).any(-1)
    return np.broadcast_to(real, side.array.shape[:2])


def _named_by_ids(side):
    """Whether the pieces are nothing but the ids: nobody knows their words."""
    return all(
        piece == str(one)
        for pieces, row in zip(side.pieces, side.array.reshape(len(side.array), -1).tolist(), strict=True)
        for piece, one in zip(pieces, row, strict=True)
        if piece
    )


def _phrases(side, cells):
    """The first words of each player (B, M)."""
    words = side.word_ids if side.word_ids is not None else np.broadcast_to(np.arange(cells.shape[1]), cells.shape)
    labels = []
    for pieces, row, ids in zip(side.pieces, cells.tolist(), words.tolist(), strict=True):
        said: list[list[str]] = [[] for _ in range(max(row) + 1)]
        before = None
        for piece, player, word in zip(pieces, row, ids, strict=True):
            if player < 0:
                continue
            if (player, word) == before:
                said[player][-1] += piece
            else:
                said[player].append(piece)
            before = player, word
        labels.append([phrase(one) for one in said])
    return labels


def _span(here):
    """``"steps 3-5"``, the first and the last one."""
    at = np.flatnonzero(here)
    return f"step {at[0]}" if len(at) == 1 else f"steps {at[0]}-{at[-1]}"


def _without_labels_of_nobody(players):
    """Padding is named by an empty string."""
    here = players.having()
    if here.all():
        return players
    labels = tuple(
        tuple(label if plays else "" for label, plays in zip(*row, strict=True))
        for row in zip(players.labels, here, strict=True)
    )
    return Players(players.kind, players.cells, players.shape, labels)


def _unfit(side, kind, wanted):
    return ArgumentError(
        f"players='{kind}' needs {wanted}; the input '{side.name}' is {side.array.dtype} of shape {side.array.shape}. "
        "Take players='auto', or a dict from input name to players."
    )
