"""The players of several inputs at one table: numbered together, each against its background."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from keras_attn_xai.explain.heads import head_labels
from keras_attn_xai.explain.players import Players
from keras_attn_xai.explain.value_function import Table


@dataclass(frozen=True, eq=False)
class Seated:
    """Players of all inputs together.

    Parameters
    ----------
    inputs : list of arrays (B, ...)
    cells : list of int arrays (B, ...)
        As in `Table`.
    background : list of arrays (R, ...)
    seats : list of (str, Players, slice)
        Name, players and their numbers, for each input.
    mask : bool array (B, M)
        False is padding, never a player.
    playing : bool array (B, M)
        Players that differ from the background.
    """

    inputs: list
    cells: list
    background: list
    seats: list
    mask: np.ndarray
    playing: np.ndarray

    def table(self, index):
        """The table these players play at, for targets ``index`` (B,)."""
        return Table(self.inputs, self.cells, self.background, index, self.mask.shape[1])


def seat(sides, players, background):
    """Number the players of all inputs together.

    Parameters
    ----------
    sides : list of Side
    players : list of Players
    background : list of arrays (R, ...)

    Returns
    -------
    Seated
    """
    ends = np.cumsum([0, *(one.count for one in players)])
    seats = [slice(*pair) for pair in pairwise(ends)]
    differs = [_differs(side.array, rows) for side, rows in zip(sides, background, strict=True)]
    return Seated(
        inputs=[side.array for side in sides],
        cells=[
            np.where(one.cells < 0, -1, one.cells + seat.start).astype(np.int32)
            for one, seat in zip(players, seats, strict=True)
        ],
        background=background,
        seats=list(zip((side.name for side in sides), players, seats, strict=True)),
        mask=np.concatenate([one.having() for one in players], axis=1),
        playing=np.concatenate([one.having(other) for one, other in zip(players, differs, strict=True)], axis=1),
    )


def seat_heads(sides, heads):
    """Attention heads as the players; every number of the inputs stays.

    Parameters
    ----------
    sides : list of Side
    heads : dict of str to int
        How many each call has.

    Returns
    -------
    Seated
    """
    rows, names = len(sides[0].array), head_labels(heads)
    everybody = np.ones((rows, len(names)), bool)
    players = Players("heads", np.zeros((rows, 0), int), (len(names),), (names,) * rows)
    return Seated(
        inputs=[side.array for side in sides],
        cells=[np.full((rows, *[1] * (side.array.ndim - 1)), -1, np.int32) for side in sides],
        background=[np.zeros((1, *side.array.shape[1:])) for side in sides],
        seats=[("heads", players, slice(0, len(names)))],
        mask=everybody,
        playing=everybody,
    )


def _differs(array, background):
    """Where a row differs from any background row, as the model is given both: bool (B, ...)."""
    different = np.zeros(array.shape, bool)
    for row in background:
        different |= array != row
    return different
