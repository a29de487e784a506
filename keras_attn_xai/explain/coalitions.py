"""Rows as a function of which players are present, for those who ask about coalitions of their own."""

from dataclasses import dataclass

import numpy as np

from keras_attn_xai.errors import ShapeError
from keras_attn_xai.explain.found import Scene


@dataclass(frozen=True, eq=False)
class Coalitions:
    """What `AttentionExplainer.coalitions` returns: the target's value of any coalition of any row.

    Attributes
    ----------
    scene : Scene
    """

    scene: Scene

    def __len__(self):
        """B."""
        return len(self.scene.index)

    @property
    def mask(self):
        """Players of each row, bool (B, M); False is padding."""
        return self.scene.seated.mask

    @property
    def target(self):
        """The index of the target explained, int (B,)."""
        return self.scene.index

    @property
    def unit(self):
        """``"log-odds"`` or ``"output"``."""
        return self.scene.function.target.unit

    def __call__(self, present, rows=None):
        """Values of coalitions.

        Parameters
        ----------
        present : bool array (N, M)
            True is a player that is present; padding stays whatever is said.
        rows : int array (N,), optional
            The row of each coalition; by default N = B and each row its own.

        Returns
        -------
        float array (N,)
            In the target's unit, averaged over background rows.

        Raises
        ------
        ShapeError
            Coalitions of another number of players, or rows that do not exist.
        """
        present = np.asarray(present)
        rows = np.arange(len(self)) if rows is None else np.asarray(rows)
        players = self.mask.shape[1]
        if present.dtype != bool or present.ndim != 2 or present.shape[1] != players or len(present) != len(rows):
            raise ShapeError(
                f"Coalitions are booleans (N, {players}), one row number for each; received {present.shape} of dtype "
                f"{present.dtype} and {len(rows)} row numbers."
            )
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise ShapeError(f"Row numbers go from 0 to {len(self) - 1}; received {rows.min()} to {rows.max()}.")
        if not len(rows):
            return np.zeros(0)
        return self.scene.function.values(self.scene.table, present, rows)
