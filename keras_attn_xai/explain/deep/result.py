"""What an engine returns."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class InputAttributions:
    """How each input moved the answer, averaged over background rows.

    Attributes
    ----------
    values : structure of float64 arrays
        As the inputs were given and of their shapes; token ids have one value each. An input that is
        not explained (a mask, integers no Embedding reads) has zeros.
    base, output : float64 arrays (B,)
        The mean over background rows, and the row itself.
    evaluations : int array (B,)
        Gradients taken per row.
    without_rule : tuple of str
        Types of operations that were attributed by quadrature.
    blocking : tuple of str
        Types of operations nothing could be attributed through.
    """

    values: Any
    base: np.ndarray
    output: np.ndarray
    evaluations: np.ndarray
    without_rule: tuple = ()
    blocking: tuple = ()

    @property
    def gap(self):
        """``base + sum(values) - output``, (B,)."""
        parts = [np.reshape(one, (len(self.base), -1)).sum(1) for one in leaves(self.values)]
        return self.base + sum(parts) - self.output

    @property
    def relative_gap(self):
        """The gap's size over that of the effect, (B,); the effect counts as at least 1e-3 of the largest output."""
        size = effect(self.base, self.output)
        return np.abs(self.gap) / np.where(size > 0, size, 1)


def effect(base, output):
    """How far apart base and output are, (B,), at least 1e-3 of the largest output."""
    return np.maximum(np.abs(output - base), 1e-3 * np.abs(output).max(initial=0))


def leaves(structure):
    """The arrays of a list, tuple or dict of arrays, or of one array, in the order of TensorFlow."""
    if isinstance(structure, dict):
        return [leaf for name in sorted(structure) for leaf in leaves(structure[name])]
    if isinstance(structure, (list, tuple)):
        return [leaf for one in structure for leaf in leaves(one)]
    return [structure]
