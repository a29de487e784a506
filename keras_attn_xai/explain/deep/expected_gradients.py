"""Expected gradients by quadrature: the gradient integrated from each reference to the row, until it adds up."""

from functools import partial

import numpy as np
import tensorflow as tf

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.explain.deep.quadrature import nodes
from keras_attn_xai.explain.deep.result import InputAttributions
from keras_attn_xai.explain.deep.rows import (
    as_arrays,
    as_kept,
    beside,
    in_parts,
    kept_signature,
    packed,
    parts,
    sums_over_references,
    times_distance,
)
from keras_attn_xai.explain.deep.traced import Traced, compiled_for

DEFAULT_POINTS = 512
FIRST_NODES = 4


class ExpectedGradients:
    """Integrated gradients, averaged over background rows, by Gauss-Legendre quadrature.

    Parameters
    ----------
    function, layers
        As for `Deep`.
    tol : float, default 1e-3
        The relative gap to reach.
    cap : int, default 256
        Most nodes per background row.
    first : int, default 4
        Nodes to start with.
    batch_size : int, default 512
        Most points on lines at once.

    Notes
    -----
    The number of nodes is doubled for the rows whose gap is above ``tol``. It converges fast
    for smooth functions, and as 1 / nodes where there are kinks.

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

    def __init__(self, function, *, layers=(), tol=1e-3, cap=256, first=FIRST_NODES, batch_size=DEFAULT_POINTS):
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
        run, stays = compiled_for(self._traces, inputs, self._trace), as_kept(kept, inputs, rows)
        done = []
        for some in parts(len(rows[0]), self.batch_size):
            few, own = ([one[some] for one in side] for side in (rows, stays))
            done.append(self._until_it_adds_up(run, few, own, background))
            if progress:
                progress(len(few[0]))
        values, *rest = zip(*done, strict=True)
        whole = [np.concatenate(one) for one in zip(*values, strict=True)]
        return packed(inputs, whole, *(np.concatenate(one) for one in rest))

    def _until_it_adds_up(self, run, rows, kept, background):
        """Values, base, output and evaluations, nodes doubled for the rows that need them."""
        count, open_ = min(self.first, self.cap), np.arange(len(rows[0]))
        values = [np.zeros(one.shape) for one in rows]
        base, output = np.zeros((2, len(open_)))
        evaluations = np.zeros(len(open_), int)
        while True:
            few, own = ([one[open_] for one in side] for side in (rows, kept))
            made = self._integrate(run, few, own, background, count)
            for whole, part in zip((*values, base, output), (*made[0], *made[1:]), strict=True):
                whole[open_] = part
            evaluations[open_] += count * len(background[0])
            found = packed(rows, values, base, output, evaluations)
            open_ = np.flatnonzero(found.relative_gap > self.tol)
            if not len(open_) or 2 * count > self.cap:
                return values, base, output, evaluations
            count *= 2

    def _trace(self, inputs, signature):
        traced = Traced(self.function, inputs, signature, self.layers)
        line = tf.TensorSpec([None], tf.float64)
        compiled = tf.function(
            partial(_integrate, traced),
            input_signature=[signature, kept_signature(inputs), signature, line, line],
            autograph=False,
        ).get_concrete_function()
        return lambda *given: compiled(*tf.nest.map_structure(tf.constant, given))

    def _integrate(self, run, rows, kept, background, count):
        """Values, base and output with so many nodes."""
        places, weights = nodes(count)

        def on_lines(few, own, some):
            """Sums over references, node by node or all at once."""
            size = max(1, self.batch_size // (len(few[0]) * len(some[0])))
            made = [run(few, own, some, places[one], weights[one]) for one in parts(count, size)]
            values = [np.sum([one[0][i].numpy() for one in made], axis=0) for i in range(len(few))]
            return values, made[0][1].numpy(), made[0][2].numpy()

        return in_parts(on_lines, rows, kept, background, max(1, self.batch_size // min(count, 16)))


def _integrate(traced, rows, kept, background, places, weights):
    """Weighted gradients at all places between all pairs, times their distance; inside a graph."""
    x, r = beside(rows, kept, background)
    ends, count, pairs = traced.sides(x, r), tf.shape(places)[0], tf.shape(x[0])[0]
    repeated = [tf.repeat(one, count, axis=0) for one in x]
    at, share = (tf.tile(one, [pairs]) for one in (places, weights))
    points = {
        name: _between(tf.repeat(one, count, axis=0), tf.repeat(other, count, axis=0), at)
        for _, name, one, other in ends
    }
    output = traced.replay(repeated, instead=points)[traced.output]
    gradients = tf.gradients(
        output, list(points.values()), grad_ys=tf.cast(share, output.dtype), unconnected_gradients="zero"
    )
    found = [
        (i, tf.reduce_sum(tf.reshape(gradient, tf.concat([[pairs, count], tf.shape(one)[1:]], 0)), axis=1), one, other)
        for gradient, (i, _, one, other) in zip(gradients, ends, strict=True)
    ]
    base, top = (
        traced.replay(x, instead={name: (one, other)[side] for _, name, one, other in ends})[traced.output]
        for side in (1, 0)
    )
    return sums_over_references(rows, background, times_distance(rows, x, found), base, top)


def _between(x, r, share):
    share = tf.reshape(tf.cast(share, x.dtype), tf.concat([[-1], tf.ones([tf.rank(x) - 1], tf.int32)], 0))
    return r + share * (x - r)
