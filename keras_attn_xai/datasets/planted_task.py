"""A task made so that it is known which positions decide each answer, and what all such tasks draw alike."""

from dataclasses import dataclass, replace

import numpy as np

from keras_attn_xai.errors import ArgumentError, RecordError, ShapeError
from keras_attn_xai.records import frozen_array

PADDING, NEUTRAL = 0, 1  # ids; the second is drawn like any other neutral one, so that a trained model knows it


@dataclass(frozen=True, eq=False, repr=False)
class PlantedTask:
    """Inputs, answers, and the positions that decide them while nothing else does.

    ``len`` counts the rows; a slice, a mask or an array of row numbers selects some, as in ``task[:800]``.

    Parameters
    ----------
    x : int array (B, S), or float array (B, S, F) or (B, height, width, 1)
        What a model takes: ids with 0 as padding, series or images.
    y : int array (B,), or (B, T)
        Class of a row, or of each position of an output sequence.
    truth : bool array (B, S), or (B, T, S)
        True is a position that decides the answer; of T answers each has its own.
    description : str
        One sentence.
    mask : bool array (B, S)
        True is a real position, False is padding.
    classes : int
        C: every y is less.
    ids : int, optional
        Every id of x is less; None where x holds no ids.
    background : int or float, optional
        What says nothing, for the ``background`` of `keras_attn_xai.AttentionExplainer`; None where all of x says
        something.
    players : str or int array, default "tokens"
        The positions, for the ``players`` of `keras_attn_xai.AttentionExplainer`; its values then have the truth's
        places, row by row.

    Raises
    ------
    RecordError
        Arrays whose shapes contradict one another, answers or ids out of range, or truth on padding.

    Notes
    -----
    Arrays are copied and read-only. `keras_attn_xai.metrics.score_against_truth` measures values against the truth; of
    alignments give it the (T, S) of a row as T rows.

    Examples
    --------
    >>> from keras_attn_xai.datasets import PlantedTask
    >>> task = PlantedTask([[4, 2, 0]], [1], [[True, False, False]], "The first word.", [[True, True, False]], 2, 5)
    >>> task
    PlantedTask of 1 row, x (1, 3), truth (1, 3), 2 classes: The first word.
    """

    x: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    description: str
    mask: np.ndarray
    classes: int
    ids: int | None = None
    background: float | None = None
    players: str | np.ndarray = "tokens"

    def __post_init__(self):
        mask = frozen_array("mask", self.mask, (None, None), kind="bool")
        rows, positions = mask.shape
        y = frozen_array("y", self.y, (rows, ...), kind="int")
        x = frozen_array("x", self.x, (rows, ...), kind="float" if self.ids is None else "int")
        truth = frozen_array("truth", self.truth, (*y.shape, positions), kind="bool")
        ranges = {"y": (y, self.classes)} if self.ids is None else {"y": (y, self.classes), "x": (x, self.ids)}
        for name, (array, below) in ranges.items():
            if array.size and not 0 <= array.min() <= array.max() < below:
                raise RecordError(
                    f"{name} must lie between 0 and {below - 1}; received {array.min()} to {array.max()}."
                )
        if (truth & ~mask.reshape(rows, *[1] * (truth.ndim - 2), positions)).any():
            raise RecordError("truth must lie on real positions; received some on padding, where mask is False.")
        for name, array in {"x": x, "y": y, "truth": truth, "mask": mask}.items():
            object.__setattr__(self, name, array)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        if np.ndim(index) == 0 and not isinstance(index, slice):
            raise ShapeError(f"A task is selected by slices, masks or arrays of rows; received {index!r}.")
        return replace(self, **{name: getattr(self, name)[index] for name in ("x", "y", "truth", "mask")})

    def __repr__(self):
        rows = "1 row" if len(self) == 1 else f"{len(self)} rows"
        return (
            f"PlantedTask of {rows}, x {self.x.shape}, truth {self.truth.shape}, {self.classes} classes: "
            f"{self.description}"
        )


def require_count(name, given, least=1):
    """An integer of at least ``least``; a sentence otherwise."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < least:
        raise ArgumentError(f"{name} must be an integer of at least {least}; received {given!r}.")
    return int(given)


def require_lengths(given):
    """The least and the most positions of a row."""
    try:
        least, most = given
    except (TypeError, ValueError):
        raise ArgumentError(f"lengths must be the least and the most positions, (8, 12); received {given!r}.") from None
    return require_count("the least of lengths", least), require_count("the most of lengths", most, least)


def balanced(draw, rows, classes):
    """Classes (B,) in random order, each as often as any other, or once more."""
    return draw.permutation(np.arange(rows) % classes)


def drawn_mask(draw, rows, lengths):
    """Rows of random lengths, (B, S) with S the most, real positions first."""
    least, most = lengths
    return np.arange(most) < draw.integers(least, most + 1, rows)[:, None]


def one_of_each(draw, mask):
    """One real position of each row, all of them as likely: True there, (B, S)."""
    keys = np.where(mask, draw.random(mask.shape), -1.0)
    return np.arange(mask.shape[1]) == keys.argmax(1)[:, None]
