"""Models trained again: with uniform weights in place of attention's own.

Shapes: K trainings, B rows, S key positions.
"""

import inspect

import keras
import numpy as np

from keras_attn_xai.auditing.attention_tests import AttentionTest, same_call
from keras_attn_xai.auditing.swapped_weights import SwappedWeights
from keras_attn_xai.capture.changes import Uniform
from keras_attn_xai.capture.intervene import intervene
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics import Interval, total_variation

RESAMPLES = 2000
BLOCK = 200  # resamples at once


def uniform_retrained(build_and_fit, x, y, seeds=(0, 1, 2), *, map=None, tokenizer=None, seed=0):
    """Whether a model trained with uniform weights, which stay so, answers as well as one whose attention learns.

    Parameters
    ----------
    build_and_fit : callable
        ``build_and_fit(seed, change=None)`` builds a model, takes ``model = change(model)`` before it compiles where a
        change is given, trains it and returns it. The model goes in as `intervene` takes it, and comes out as that
        returns it.
    x : as `AttentionExplainer` takes it
        Rows the models are not trained on.
    y : int array (B,)
        The right classes.
    seeds : sequence of int, default (0, 1, 2)
        At least two; each is trained with both.
    map, tokenizer, seed
        As in `seed_variance`.

    Returns
    -------
    AttentionTest
        ``gain`` (B,): share of the trainings right with attention less that with uniform weights, -1 to 1; near 0, the
        task does not need attention. ``trained`` and ``uniform`` (B,): these shares. ``distance`` (B,) in [0, 1]: total
        variation between the outputs of both, and ``distance of seeds`` (B,) that between trained models.

    Raises
    ------
    ArgumentError
        Less than two seeds, no such call, or a ``build_and_fit`` that takes no change or does not use it.
    ShapeError
        Classes that are not one for each row.
    ModelError
        As `permutation_test`.

    Notes
    -----
    Intervals resample rows and trainings, each for itself; of three trainings they are rough. That uniform weights do
    as well says that the task can be done without attention, not that the weights of this model say nothing.

    References
    ----------
    Wiegreffe and Pinter 2019, "Attention is not not explanation" (arXiv:1908.04626), section 3.1. Owen 2007, "The
    pigeonhole bootstrap" (doi:10.1214/07-AOAS122).

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.auditing import uniform_retrained
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> def build_and_fit(seed, change=None):
    ...     pool = AttentionPooling("location", return_weights=False)
    ...     model = keras.Sequential([keras.Input((3, 2)), pool, keras.layers.Softmax()])
    ...     return model if change is None else change(model)  # and nothing to fit
    >>> x = np.array([[[0, 1.0]] * 3, [[1.0, 0]] * 3])  # all positions of a row are the same
    >>> test = uniform_retrained(build_and_fit, x, [1, 0])
    >>> test.values["gain"], test.values["uniform"]
    (array([0., 0.]), array([1., 1.]))
    """
    require_seeds(seeds)
    require_change(build_and_fit)
    trained, even, first = [], [], None
    for one in seeds:
        model = build_and_fit(one)
        call = map if first is None else same_call(map, first, model)
        own = SwappedWeights(model, x, call=call, tokenizer=tokenizer)
        if first is None:
            first, map, y = model, own.call, classes(y, len(own))
        trained.append(own.probabilities)
        flat_model = build_and_fit(one, evened(map, first))
        even.append(_even(flat_model, x, same_call(map, first, flat_model), tokenizer).probabilities)
    right, flat = (np.array([said.argmax(1) == y for said in models], float) for models in (trained, even))
    apart = [total_variation(one, other) for i, one in enumerate(trained) for other in trained[:i]]
    return found_over_trainings(
        "uniform retrained",
        {
            "gain": right - flat,
            "trained": right,
            "uniform": flat,
            "distance": [total_variation(one, other) for one, other in zip(trained, even, strict=True)],
            "distance of seeds": apart,
        },
        f"Accuracy of {len(seeds)} trainings with attention less that of as many with uniform weights; near 0, the "
        "task does not need attention.",
        seed=seed,
    )


def evened(call, like):
    """A change of a model for ``build_and_fit``: a call with uniform weights, which training cannot move.

    Parameters
    ----------
    call : str
    like : keras.Model
        In which the call has this name; in the changed one it is the call at the same place.

    Returns
    -------
    callable
        From keras.Model to keras.Model.
    """
    return lambda model: intervene(model, {same_call(call, like, model): Frozen()})


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class Frozen(Uniform):
    """Uniform weights that leave the scores a gradient of zeros, for Keras warns of variables without one."""

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        return super().apply(weights, allowed, rows, call=call) + 0 * weights


def found_over_trainings(name, values, meaning, *, seed):
    """A test's numbers over trainings and rows.

    Parameters
    ----------
    name : str
    values : dict of str to array (K, B)
    meaning : str
    seed : int

    Returns
    -------
    AttentionTest
        Its values are means over trainings.
    """
    values = {one: np.asarray(numbers, float) for one, numbers in values.items()}
    means = {one: numbers.mean(0) for one, numbers in values.items()}
    for numbers in means.values():
        numbers.setflags(write=False)
    return AttentionTest(
        name, means, {one: crossed_interval(numbers, seed=seed) for one, numbers in values.items()}, meaning
    )


def crossed_interval(values, *, seed=0):
    """Mean with a 95 % percentile interval when both trainings and rows are drawn again.

    Parameters
    ----------
    values : float array (K, B)
    seed : int, default 0

    Returns
    -------
    Interval
        NaN ends for less than two rows.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.auditing.retraining import crossed_interval
    >>> crossed_interval(np.ones((3, 5)))
    Interval(mean=1.0, low=1.0, high=1.0, rows=5)
    """
    trainings, rows = values.shape
    if rows < 2:
        return Interval(float(values.mean()), float("nan"), float("nan"), rows)
    draw, means = np.random.default_rng(seed), []
    for _ in range(RESAMPLES // BLOCK):
        of_trainings = draw.multinomial(trainings, np.full(trainings, 1 / trainings), BLOCK) / trainings
        of_rows = draw.multinomial(rows, np.full(rows, 1 / rows), BLOCK) / rows
        means.append(np.einsum("nk,nb,kb->n", of_trainings, of_rows, values, optimize=True))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high), rows)


def classes(y, rows):
    """A class for each row.

    Parameters
    ----------
    y : int array (B,)
    rows : int
        B.

    Returns
    -------
    int array (B,)

    Raises
    ------
    ShapeError
        Something else.
    """
    y = np.asarray(y)
    if y.dtype.kind not in "iub" or y.size != rows or y.shape[:1] != (rows,):
        raise ShapeError(f"y must be the class of each of {rows} rows, integers; received {y.shape}, dtype {y.dtype}.")
    return y.ravel()


def require_seeds(seeds):
    """At least two different seeds; a sentence otherwise."""
    if len(set(seeds)) < 2:
        raise ArgumentError(f"seeds must be at least two different ones; received {seeds!r}.")


def require_change(build_and_fit):
    """A callable of a seed and a change; a sentence otherwise."""
    try:
        inspect.signature(build_and_fit).bind(0, None)
    except (TypeError, ValueError):
        raise ArgumentError(
            "build_and_fit must take a seed and a change, build_and_fit(seed, change=None): where a change is given, "
            "model = change(model) before it compiles."
        ) from None


def _even(model, x, call, tokenizer):
    """A model trained with uniform weights, which must have them."""
    swapped = SwappedWeights(model, x, call=call, tokenizer=tokenizer)
    count = np.maximum(swapped.allowed.sum(3, keepdims=True), 1)
    if not np.allclose(np.where(swapped.allowed, swapped.weights * count, 1), 1, atol=1e-3):
        raise ArgumentError(
            f"build_and_fit(seed, change) returned a model whose weights of '{call}' are not uniform: it must take "
            "model = change(model) before it compiles, train that, and return it."
        )
    return swapped
