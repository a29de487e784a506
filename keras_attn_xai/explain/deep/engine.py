"""DeepLIFT through any traced function: one forward pass of row and reference, one walk back."""

from functools import partial

import numpy as np
import tensorflow as tf

from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.explain.deep.graph import WIDER, Pair, Step, precision
from keras_attn_xai.explain.deep.result import InputAttributions
from keras_attn_xai.explain.deep.rows import (
    as_arrays,
    as_kept,
    beside,
    in_parts,
    kept_signature,
    most_at_once,
    packed,
    sums_over_references,
    times_distance,
)
from keras_attn_xai.explain.deep.rules import SOFTMAX
from keras_attn_xai.explain.deep.traced import Traced, compiled_for, row_signature
from keras_attn_xai.explain.deep.walk import Walk, walk_back

DEFAULT_PAIRS = 256
PASSES = {"auto": ("float32", "float64"), **{name: (name,) for name in WIDER}}
ROUNDED = 1e-5  # a relative gap above it is computed again


class Deep:
    """DeepLIFT with a conserving rule for every operation, attention's too.

    Parameters
    ----------
    function : callable
        Inputs (N, ...), in the structure they are given in, to one scalar per row (N,); TensorFlow
        operations, each row by itself.
    layers : iterable of keras.layers.Layer, optional
        All layers of the model behind it. Token ids are explained at the output of its Embedding
        layers, one value per token; its recurrent layers are unrolled while they are traced.
    softmax : {"closed form", "quadrature"}
    precision : {"auto", "float32", "float64"}
        What is computed in, at least. "auto" is float32, and float64 for the rows whose relative gap is then
        above 1e-5; a second graph is made when there are such rows.
    batch_size : int, optional
        Most pairs of a row and a reference at once; by default 256, fewer of rows longer than 128 positions.

    Notes
    -----
    A multiplier m belongs to every tensor such that ``sum m (x - r) = f(x) - f(r)``. The function's
    graph is run on both; going back, each operation has a rule that keeps the sum. Softmax has a closed
    form, products are split halfway, functions of one number have their secant, a maximum its Shapley
    values; any other operation is integrated along the line between its two inputs, and is named.
    What is not differentiable in the graph (integers) blocks, and is named.
    A model in half precision is computed in float32.

    Where a normalization divides row and reference by sizes that are more than about three times apart, as by that
    of all zeros, a product with the scale is not split halfway: the larger size counts more, as no split needs both.

    References
    ----------
    Shrikumar et al. 2017, DeepLIFT, arXiv:1704.02685.

    Examples
    --------
    >>> import numpy as np
    >>> import tensorflow as tf
    >>> from keras_attn_xai.explain.deep import Deep
    >>> product = Deep(lambda x: x[:, 0] * x[:, 1])
    >>> found = product(np.array([[2.0, 3.0]]), np.array([[0.0, 1.0]]))
    >>> found.values.tolist(), found.base.tolist(), found.output.tolist()
    ([[4.0, 2.0]], [0.0], [6.0])
    """

    def __init__(self, function, *, layers=(), softmax="closed form", precision="auto", batch_size=None):
        if softmax not in SOFTMAX:
            raise ArgumentError(f"softmax must be one of {', '.join(SOFTMAX)}; received {softmax!r}.")
        if precision not in PASSES:
            raise ArgumentError(f"precision must be one of {', '.join(PASSES)}; received {precision!r}.")
        self.function = function
        self.precision = precision
        self.layers = tuple(layers)
        self.batch_size = batch_size
        self._rules = SOFTMAX[softmax]
        self._traces: dict = {name: {} for name in WIDER}

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
        stays, done = as_kept(kept, inputs, rows), progress or (lambda count: None)
        first, *again = PASSES[self.precision]
        values, base, output, walk = self._run(first, inputs, rows, stays, background, done)
        for name in again if not walk.blocking else ():
            open_ = np.flatnonzero(packed(inputs, values, base, output, base).relative_gap > ROUNDED)
            if len(open_):
                few, own = ([one[open_] for one in side] for side in (rows, stays))
                made, *ends, _ = self._run(name, inputs, few, own, background)
                for whole, part in zip((*values, base, output), (*made, *ends), strict=True):
                    whole[open_] = part
        evaluations = np.full(len(base), len(background[0]))
        return packed(
            inputs, values, base, output, evaluations,
            without_rule=tuple(sorted(walk.quadrature)), blocking=tuple(sorted(walk.blocking)),
        )  # fmt: skip

    def _run(self, name, inputs, rows, kept, background, progress=lambda count: None):
        """Values, base, output, and what was met, in the precision of this name."""
        most = self.batch_size or most_at_once(rows, DEFAULT_PAIRS)
        run, walk = compiled_for(self._traces[name], inputs, partial(self._trace, name))
        return *in_parts(run, rows, kept, background, most, progress), walk

    def _trace(self, name, inputs, signature):
        """The compiled function of rows and references, and what was met on the way."""
        with precision(name):
            compiled, walk = _compiled(self.function, inputs, signature, self.layers, self._rules)
        if walk.refused:
            raise ModelError(
                f"The model runs {', '.join(walk.refused)} on what is explained, and the operations inside are not "
                "seen; explain it by expected_gradients, or write its loops without tf.while_loop and tf.cond."
            )

        def run(*given):
            """Rows, what is kept of them, references: lists of arrays."""
            values, base, output = compiled(*tf.nest.map_structure(tf.constant, given))
            return [one.numpy() for one in values], base.numpy(), output.numpy()

        return run, walk


def trace_walk(function, inputs, layers):
    """The `Walk` of a function of such inputs: what `Deep` meets on its way, without running anything."""
    return _compiled(function, inputs, row_signature(inputs), layers, {})[1]


def _compiled(function, inputs, signature, layers, rules):
    """The concrete function of rows and references, and what was met while it was made."""
    traced, walk = Traced(function, inputs, signature, layers), Walk()
    body = tf.function(
        partial(_attribute, traced, rules, walk),
        input_signature=[signature, kept_signature(inputs), signature],
        autograph=False,
    )
    return body.get_concrete_function(), walk


def _attribute(traced, rules, walk, rows, kept, background):
    """Sums over references of values and base, and the outputs; inside a graph."""
    x, r = beside(rows, kept, background)
    ends = traced.sides(x, r)
    pairs = {name: Pair(one, other) for _, name, one, other in ends}
    steps: list[Step] = []
    values = traced.replay(x, instead=pairs, on_step=steps.append)
    output = values[traced.output]
    if not isinstance(output, Pair):  # nothing explained reaches it
        output = Pair(output, tf.identity(output))
    multipliers = walk_back(steps, output, rules, walk)
    parts = [(i, multipliers[values[name]], one, other) for i, name, one, other in ends if values[name] in multipliers]
    return sums_over_references(rows, background, times_distance(rows, x, parts), output.r, output.x)
