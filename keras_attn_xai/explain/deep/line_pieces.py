"""Lines from references to rows, cut into pieces where what is known of their ends does not add up."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, eq=False, slots=True)
class Pieces:
    """Pieces of lines; P of them.

    Attributes
    ----------
    row, reference : int arrays (P,)
        The two ends of the line.
    start, width : float arrays (P,)
        The piece, from 0 at the reference to 1 at the row.
    low, high : float arrays (P,)
        The function at the piece's two ends.
    """

    row: np.ndarray
    reference: np.ndarray
    start: np.ndarray
    width: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def whole(cls, rows, references, at_x, at_r):
        """Whole lines between these, with the function at all rows (B,) and at all references of them (B, R)."""
        row, reference = (one.ravel() for one in np.meshgrid(rows, references, indexing="ij"))
        return cls(row, reference, np.zeros(row.size), np.ones(row.size), at_r[row, reference], at_x[row])

    def __len__(self):
        return len(self.row)

    def __getitem__(self, which):
        return type(self)(*(getattr(self, one.name)[which] for one in fields(self)))

    @property
    def middle(self):
        """Where each is halved, (P,)."""
        return self.start + self.width / 2

    def halves(self, at_middle):
        """Two in the place of each, with the function in the middle: (P,)."""
        half = self.width / 2
        first = (self.row, self.reference, self.start, half, self.low, at_middle)
        second = (self.row, self.reference, self.middle, half, at_middle, self.high)
        return type(self)(*(np.concatenate(two) for two in zip(first, second, strict=True)))


def to_halve(errors, closed, allowed, room):
    """Which open pieces of one row are halved: the worst, until the others miss half of what is left to be missed.

    Parameters
    ----------
    errors : array (P,)
        What each open piece misses, with its sign.
    closed : array
        What those closed before miss.
    allowed : float
        What all may miss together.
    room : int
        Most that can be halved.

    Returns
    -------
    int array, at most (P,)

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.deep.line_pieces import to_halve
    >>> to_halve(np.array([0.01, 3.0, -0.02]), np.array([]), 0.5, 10).tolist()
    [1]
    >>> to_halve(np.array([0.01, 3.0, -3.0]), np.array([]), 0.5, 10).tolist()
    []
    """
    if abs(errors.sum() + closed.sum()) <= allowed:
        return np.array([], int)
    order = np.argsort(-np.abs(errors), kind="stable")
    rest = np.cumsum(np.abs(errors[order])[::-1])[::-1]  # from this one on
    left = max(allowed - np.abs(closed).sum(), 0)
    return order[: min(int(np.sum(rest > left / 2)), room)]
