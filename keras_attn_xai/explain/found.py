"""One call of the explainer: the rows as they were read, and what has been found about them so far."""

from dataclasses import dataclass, field

import numpy as np

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.explain.seating import Seated
from keras_attn_xai.explain.value_function import ValueFunction
from keras_attn_xai.records import Attribution, Interactions


@dataclass(frozen=True, eq=False)
class Scene:
    """Rows, read and looked at.

    Attributes
    ----------
    sides : list of Side
    seated : Seated
    function : ValueFunction
    weights : dict of str to float array (B, H, T, S)
        The maps that were asked for.
    index : int array (B,)
        The target of each row.
    """

    sides: list
    seated: Seated
    function: ValueFunction
    weights: dict
    index: np.ndarray

    @property
    def table(self):
        """What coalitions are made of."""
        return self.seated.table(self.index)

    @property
    def background_values(self):
        """The target of each row at each background row as it stands, (B, R)."""
        explained = self.function.look(self.seated.background)[0]
        classes, where = np.unique(np.maximum(self.index, 0), return_inverse=True)
        target = self.function.target
        values = [np.asarray(target.scalar(explained, np.full(len(explained), one, np.int32))) for one in classes]
        return np.stack(values)[where]


@dataclass
class Found:
    """Values of a scene's players, row after row.

    Attributes
    ----------
    scene : Scene
    method : str
    notes : tuple of str
    rows : int
        How many are finished, from the first on.
    """

    scene: Scene
    method: str
    notes: tuple = ()
    rows: int = 0
    values: np.ndarray = field(init=False)
    errors: np.ndarray = field(init=False)
    ends: np.ndarray = field(init=False)
    counts: np.ndarray = field(init=False)
    by_gradients: int = 0

    def __post_init__(self):
        shape = self.scene.seated.mask.shape
        self.values, self.errors = np.zeros(shape), np.zeros(shape)
        self.ends, self.counts = np.zeros((2, shape[0])), np.zeros((3, shape[0]), int)

    def take_shares(self, rows, games, shares):
        """Fill in rows of games, and what they were shared out to."""
        for row, game, share in zip(range(rows.start, rows.stop), games, shares, strict=True):
            self.values[row, game.players] = share.values
            self.errors[row, game.players] = np.nan if share.standard_error is None else share.standard_error
            self.ends[:, row] = game.base, game.output
            self.counts[:, row] = game.evaluations, share.asked, share.used
        self.rows = rows.stop

    def take_walked(self, rows, walked):
        """Fill in rows that gradients walked back."""
        self.values[rows], self.ends[:, rows] = walked.values, (walked.base, walked.output)
        self.errors[rows], self.counts[:, rows] = np.nan, walked.evaluations
        self.by_gradients += int(walked.by_gradients.sum())
        self.rows = rows.stop

    def attributions(self):
        """One record per input with players."""
        seated, total = self.scene.seated, self.values.sum(1)
        parts = [(name, players, part) for name, players, part in seated.seats if players.count]
        sampled = np.isfinite(self.errors).all() and self.method != "exact"
        evaluations, asked, used = self.counts

        def shaped(array, players, part):
            """One input's columns, in its shape."""
            return array[:, part].reshape(len(array), *players.shape)

        return tuple(
            Attribution(
                values=shaped(self.values, players, part),
                base=self.ends[0],
                output=self.ends[1],
                target=self.scene.index,
                unit=self.scene.function.target.unit,
                method=self._described_method,
                evaluations=evaluations,
                player_labels=players.labels,
                mask=shaped(seated.mask, players, part),
                input_name=name,
                standard_error=shaped(self.errors, players, part) if sampled else None,
                players=players.kind,
                elsewhere=total - self.values[:, part].sum(1) if len(parts) > 1 else None,
                asked=asked,
                used=used,
            )
            for name, players, part in parts
        )

    @property
    def _described_method(self):
        if self.method == "deep" and self.by_gradients:
            return "expected_gradients" if self.by_gradients == self.rows else "deep and expected_gradients"
        return "partition (Owen values)" if self.method == "partition" else self.method


def pairs_record(scene, slabs):
    """`Interactions` of a scene from games and what their pairs were shared out to."""
    parts = [one for one in scene.seated.seats if one[1].count]
    if len(parts) > 1:
        raise ArgumentError(
            f"Interactions are of the players of one input; here {' and '.join(one[0] for one in parts)} have some. "
            f"Pass players={{'{parts[0][0]}': 'auto'}}, which keeps the others as they are."
        )
    players, mask = parts[0][1], scene.seated.mask
    values, (base, output) = np.zeros((*mask.shape, mask.shape[1])), np.zeros((2, len(mask)))
    evaluations, sampled = np.zeros(len(mask), int), False
    for rows, games, shares in slabs:
        for row, game, share in zip(range(rows.start, rows.stop), games, shares, strict=True):
            if len(game):
                values[np.ix_([row], game.players, game.players)] = share.values
            base[row], output[row], evaluations[row] = game.base, game.output, game.evaluations
            sampled |= len(game) > 1 and share.used < 2 ** len(game)
    return Interactions(
        values=values,
        base=base,
        output=output,
        target=scene.index,
        unit=scene.function.target.unit,
        method="paired_kernel" if sampled else "exact",
        evaluations=evaluations,
        player_labels=players.labels,
        mask=mask,
        players=players.kind,
    )
