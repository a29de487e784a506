"""Expected gradients by quadrature: the gradient integrated from each reference to the row, until it adds up."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorflow as tf

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.explain.deep.line_pieces import Pieces, to_halve
from keras_attn_xai.explain.deep.quadrature import nodes
from keras_attn_xai.explain.deep.result import InputAttributions, effect
from keras_attn_xai.explain.deep.rows import (
    as_arrays,
    as_kept,
    kept_signature,
    most_at_once,
    packed,
    parts,
    times_distance,
    with_kept,
)
from keras_attn_xai.explain.deep.traced import Traced, compiled_for

DEFAULT_POINTS = 512
FIRST_NODES = 4


class ExpectedGradients:
    """Integrated gradients, averaged over background rows, by Gauss-Legendre quadrature on pieces of each line.

    Parameters
    ----------
    function, layers
        As for `Deep`.
    tol : float, default 1e-3
        The relative gap to reach.
    cap : int, default 256
        Most nodes per background row.
    first : int, default 4
        Nodes on a line, and on each half of what is halved.
    batch_size : int, optional
        Most points on lines at once; by default 512, fewer of rows longer than 90 positions.

    Notes
    -----
    What a piece of a line should add up to is known, the function at its two ends; the pieces that are furthest from
    it are halved, until the row adds up. So nodes gather where the function is not smooth. Across
    a jump (a step, ``where(x > 0.1, x, 0)``) there is no gradient, and the gap stays.

    References
    ----------
    Sundararajan et al. 2017, integrated gradients, arXiv:1703.01365.
    Erion et al. 2021, expected gradients, arXiv:1906.10670.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.deep import ExpectedGradients
    >>> square = ExpectedGradients(lambda x: x[:, 0] ** 2 + x[:, 1])
    >>> found = square(np.array([[3.0, 1.0]]), np.array([[1.0, 0.0]]))
    >>> found.values.round(6).tolist(), found.evaluations.tolist()
    ([[8.0, 1.0]], [4])
    """

    def __init__(self, function, *, layers=(), tol=1e-3, cap=256, first=FIRST_NODES, batch_size=None):
        if not (tol > 0 and cap >= 1 and first >= 1):
            raise ArgumentError(
                f"tol must be positive, cap and first at least 1; received {tol!r}, {cap!r}, {first!r}."
            )
        self.function = function
        self.layers = tuple(layers)
        self.tol, self.cap, self.first, self.batch_size = tol, cap, first, batch_size
        self._traces = {}

    def __call__(self, inputs, references, *, kept=None, progress=None) -> InputAttributions:
        """Attribute every row against every reference, and average.

        Parameters
        ----------
        inputs : array (B, ...), or a list or dict of them
        references : the same with R rows
        kept : bool arrays (B, ...) in the structure of the inputs, optional
            Where True, a row's references have the row's own number, which so gets 0: padding, or what
            is no player. Of as many axes as the input, each as long or 1; None for nothing.
        progress : callable, optional
            Gets the number of rows of each part that is done, as ``tqdm(total=B).update`` would.

        Returns
        -------
        InputAttributions

        Raises
        ------
        ShapeError
            References or ``kept`` that do not fit the inputs.
        ArgumentError
            Numbers that are not finite; ``kept`` that is no truth value.
        """
        rows, background = as_arrays(inputs, references)
        value, sums = compiled_for(self._traces, inputs, self._trace)
        most = self.batch_size or most_at_once(rows, DEFAULT_POINTS)
        lines = _Lines(rows, as_kept(kept, inputs, rows), background, value, sums, most)
        every, count = np.arange(len(rows[0])), len(background[0])
        output = lines.value(every, 0 * every, np.ones(len(every)))
        row, reference = np.indices([len(every), count]).reshape(2, -1)
        at_r = lines.value(row, reference, np.zeros(row.size)).reshape(len(every), count)
        allowed = self.tol * effect(at_r.mean(1), output)
        values, spent = [np.zeros(one.shape) for one in rows], np.zeros(len(every), int)
        for some in parts(len(every), max(1, most // count)):
            for others in parts(count, most):
                pieces = Pieces.whole(every[some], np.arange(count)[others], output, at_r)
                self._add_up(lines, pieces, allowed * (others.stop - others.start), values, spent)
            if progress:
                progress(some.stop - some.start)
        return packed(inputs, [one / count for one in values], at_r.mean(1), output, spent)

    def _add_up(self, lines, pieces, allowed, values, spent):
        """Add the sums over some lines to ``values`` (B, ...), halving pieces until each row is near enough."""
        count = min(self.first, self.cap)
        closed: list[tuple] = []  # rows and errors of pieces that are done
        room = np.bincount(pieces.row, minlength=len(spent)) * (self.cap // count - 1)
        while len(pieces):
            found, missed = lines.sums(pieces, count)
            np.add.at(spent, pieces.row, count)
            open_ = np.zeros(len(pieces), bool)
            for row in np.unique(pieces.row):
                own = np.flatnonzero(pieces.row == row)
                before = [errors[rows == row] for rows, errors in closed]
                worst = own[to_halve(missed[own], np.concatenate([[], *before]), allowed[row], room[row])]
                open_[worst], room[row] = True, room[row] - len(worst)
            for whole, one in zip(values, found, strict=True):
                np.add.at(whole, pieces.row[~open_], one[~open_])
            closed.append((pieces.row[~open_], missed[~open_]))
            halved = pieces[open_]
            pieces = halved.halves(lines.value(halved.row, halved.reference, halved.middle))

    def _trace(self, inputs, signature):
        """Compiled functions of ends of lines: the value at places of them, and sums over pieces of them."""
        traced = Traced(self.function, inputs, signature, self.layers)
        number = tf.TensorSpec([None], tf.float64)
        sides = [signature, kept_signature(inputs), signature]
        return tuple(
            tf.function(
                partial(body, traced), input_signature=[*sides, *[number] * count], autograph=False
            ).get_concrete_function()
            for body, count in ((_value, 1), (_sums, 4))
        )


@dataclass(frozen=True, eq=False)
class _Lines:
    """The lines between all rows (B, ...) and all references (R, ...), and compiled functions on them."""

    rows: list
    kept: list
    background: list
    compiled_value: Callable
    compiled_sums: Callable
    most: int

    def _sides(self, row, reference):
        """The ends of some lines, as the compiled functions take them."""
        sides = ((self.rows, row), (self.kept, row), (self.background, reference))
        return [[tf.constant(one[which]) for one in side] for side, which in sides]

    def value(self, row, reference, place):
        """The function at one place of each of these lines, (P,)."""
        found = [
            self.compiled_value(*self._sides(row[some], reference[some]), tf.constant(place[some])).numpy()
            for some in parts(len(row), self.most)
        ]
        return np.concatenate([np.zeros(0), *found])

    def sums(self, pieces, count):
        """Weighted gradients times distance for each input (P, ...), and by how much each piece misses (P,)."""
        places, weights = nodes(count)
        made = []
        for some in parts(len(pieces), max(1, self.most // count)):
            few = pieces[some]
            given = (*self._sides(few.row, few.reference), tf.constant(few.start), tf.constant(few.width))
            each = [self.compiled_sums(*given, places[one], weights[one]) for one in parts(count, self.most)]
            made.append([np.sum(one, axis=0) for one in zip(*each, strict=True)])
        found = [np.concatenate(one) for one in zip(*made, strict=True)]
        total = sum(one.reshape(len(pieces), -1).sum(1) for one in found)
        return found, total - (pieces.high - pieces.low)


def _value(traced, x, kept, r, place):
    """The function on lines (P,), in float64; inside a graph."""
    points = {name: _between(one, other, place) for _, name, one, other in traced.sides(x, with_kept(x, kept, r))}
    return tf.cast(traced.replay(x, instead=points)[traced.output], tf.float64)


def _sums(traced, x, kept, r, start, width, places, weights):
    """Weighted gradients at all places of each piece, times their distance; inside a graph."""
    ends, count, pieces = traced.sides(x, with_kept(x, kept, r)), tf.shape(places)[0], tf.shape(start)[0]
    at = tf.reshape(start[:, None] + width[:, None] * places, [-1])
    share = tf.reshape(width[:, None] * weights, [-1])
    repeated = [tf.repeat(one, count, axis=0) for one in x]
    points = {
        name: _between(tf.repeat(one, count, axis=0), tf.repeat(other, count, axis=0), at)
        for _, name, one, other in ends
    }
    output = traced.replay(repeated, instead=points)[traced.output]
    gradients = tf.gradients(
        output, list(points.values()), grad_ys=tf.cast(share, output.dtype), unconnected_gradients="zero"
    )
    found = [
        (i, tf.reduce_sum(tf.reshape(gradient, tf.concat([[pieces, count], tf.shape(one)[1:]], 0)), axis=1), one, other)
        for gradient, (i, _, one, other) in zip(gradients, ends, strict=True)
    ]
    return times_distance(x, x, found)


def _between(x, r, place):
    """On the line, and exactly at its ends."""
    place = tf.reshape(tf.cast(place, x.dtype), tf.concat([[-1], tf.ones([tf.rank(x) - 1], tf.int32)], 0))
    return tf.where(place == 1, x, r + place * (x - r))
