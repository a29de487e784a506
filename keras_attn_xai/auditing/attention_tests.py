"""What becomes of a model's answer when its attention weights are others: one function for each test.

Shapes: B rows, H heads, T query positions, S key positions, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from keras_attn_xai.auditing.arguments import require_count
from keras_attn_xai.auditing.coalition_orders import ranks_of
from keras_attn_xai.auditing.swapped_weights import SwappedWeights
from keras_attn_xai.capture.locate import attention_layers
from keras_attn_xai.capture.view import opened
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import Interval, bootstrap_interval, jensen_shannon, total_variation

PERMUTATIONS = 100  # of Jain and Wallace


@dataclass(frozen=True, eq=False)
class AttentionTest:
    """What one test found.

    Parameters
    ----------
    name : str
    values : mapping of str to float array (B,)
        Each number of each row; the first is the test's main one. NaN where it is not defined.
    intervals : mapping of str to Interval
        Their means over rows with 95 % intervals.
    meaning : str
        One sentence: range, direction, and what it does not show.

    Examples
    --------
    >>> from keras_attn_xai.auditing.attention_tests import AttentionTest
    >>> from keras_attn_xai.metrics import Interval
    >>> print(AttentionTest("uniform", {}, {"distance": Interval(0.5, 0.25, 0.75, 8)}, "0 to 1."))
    uniform: distance 0.500 [0.250, 0.750] over 8 rows. 0 to 1.
    """

    name: str
    values: Mapping[str, np.ndarray]
    intervals: Mapping[str, Interval]
    meaning: str

    @property
    def mean(self):
        """The interval of the main number."""
        return next(iter(self.intervals.values()))

    def __str__(self):
        numbers = ", ".join(
            f"{name} {one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]" for name, one in self.intervals.items()
        )
        return f"{self.name}: {numbers} over {self.mean.rows} rows. {self.meaning}"


def found(name, values, meaning, *, seed):
    """A test's numbers with their intervals.

    Parameters
    ----------
    name : str
    values : dict of str to array (B,)
    meaning : str
    seed : int

    Returns
    -------
    AttentionTest
    """
    values = {one: np.asarray(numbers, float) for one, numbers in values.items()}
    for numbers in values.values():
        numbers.setflags(write=False)
    return AttentionTest(
        name, values, {one: bootstrap_interval(numbers, seed=seed) for one, numbers in values.items()}, meaning
    )


def permutation_test(model, x, *, permutations=PERMUTATIONS, map=None, target=None, tokenizer=None, seed=0):
    """How far the answer moves when the weights are shuffled among the positions.

    Parameters
    ----------
    model : keras.Model or SwappedWeights
        As `intervene` takes it; it is not changed.
    x : as `AttentionExplainer` takes it; None beside a `SwappedWeights`
    permutations : int, default 100
        Of each row; only keys that a query may see change places.
    map : str, optional
        Name of the attention call; by default the last with a key for each position.
    target, tokenizer
        As in `AttentionExplainer`; the target only picks the output.
    seed : int, default 0

    Returns
    -------
    AttentionTest
        ``distance`` (B,) in [0, 1]: median over permutations of the total variation distance of the output's
        distribution. Near 0, which position had which weight did not matter.

    Raises
    ------
    ModelError
        No attention, weights made inside a loop, or an output that is no distribution over classes.
    ArgumentError
        No such call; permutations below 1.

    References
    ----------
    Jain and Wallace 2019, "Attention is not explanation" (arXiv:1902.10186), section 4.2.1.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.auditing import permutation_test
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> pool = AttentionPooling("location", return_weights=False)
    >>> model = keras.Sequential([keras.Input((3, 2)), pool, keras.layers.Softmax()])
    >>> permutation_test(model, np.ones((1, 3, 2))).values["distance"]  # all positions hold the same
    array([0.])
    """
    require_count("permutations", permutations)
    swapped = swapped_weights(model, x, map=map, target=target, tokenizer=tokenizer)
    draw = np.random.default_rng(seed)
    distances = [_distance(swapped, shuffled(swapped, draw)) for _ in range(permutations)]
    return found(
        "permutation",
        {"distance": _rounded(np.median(distances, axis=0))},
        "0 to 1; near 0, it did not matter which position had which weight. Far from 0 does not make the weights an "
        "explanation.",
        seed=seed,
    )


def uniform_test(model, x, *, map=None, target=None, tokenizer=None, seed=0):
    """How far the answer moves when every position gets the same weight.

    Parameters
    ----------
    model, x, map, target, tokenizer, seed
        As in `permutation_test`.

    Returns
    -------
    AttentionTest
        ``distance`` (B,) in [0, 1], total variation of the output's distribution; ``flip`` (B,), 1 where the predicted
        class is another.

    Raises
    ------
    ModelError, ArgumentError
        As `permutation_test`.

    Notes
    -----
    The model was trained with its own weights; one trained with uniform ones may do as well (Wiegreffe and Pinter 2019,
    arXiv:1908.04626, section 3.1), which this does not show.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.auditing import uniform_test
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> pool = AttentionPooling("location", return_weights=False)
    >>> model = keras.Sequential([keras.Input((3, 2)), pool, keras.layers.Softmax()])
    >>> uniform_test(model, np.ones((1, 3, 2))).values["flip"]
    array([0.])
    """
    swapped = swapped_weights(model, x, map=map, target=target, tokenizer=tokenizer)
    allowed = swapped.allowed.astype(np.float32)
    flat = _with_the_sum_of(allowed, swapped.weights)
    said = swapped(np.where(swapped.allowed, flat, swapped.weights))
    return found(
        "uniform",
        {
            "distance": _rounded(total_variation(said, swapped.probabilities)),
            "flip": said.argmax(1) != swapped.probabilities.argmax(1),
        },
        "0 to 1; near 0, the answer did not need the weights. The model was not trained again.",
        seed=seed,
    )


def erasure_test(model, x, *, map=None, target=None, tokenizer=None, seed=0):
    """Whether erasing the position with the largest weight changes decisions, and how many must go until one does.

    Parameters
    ----------
    model, x, map, target, tokenizer, seed
        As in `permutation_test`; the target's gradient with respect to the weights gives two of the orders.

    Returns
    -------
    AttentionTest
        ``top minus random`` (B,): 1 where only erasing the top position flips the predicted class, -1 where only that
        of a random other one does, else 0. ``top`` and ``random``: 1 where it flips. ``removed by attention``,
        ``... by gradient``, ``... by gradient * attention`` and ``... at random`` (B,) in (0, 1]: share of positions
        erased until the decision flips, 1 where it never does; lower is a better order.

    Raises
    ------
    ModelError, ArgumentError
        As `permutation_test`.

    Notes
    -----
    A position is erased for all heads and queries, and what they had left is scaled to the sum it had. The largest
    weight, and the gradients, are means over heads and real queries.

    References
    ----------
    Serrano and Smith 2019, "Is attention interpretable?" (arXiv:1906.03731).

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.auditing import erasure_test
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> pool = AttentionPooling("location", return_weights=False)
    >>> model = keras.Sequential([keras.Input((3, 2)), pool, keras.layers.Softmax()])
    >>> erasure_test(model, np.ones((1, 3, 2))).values["removed by attention"]  # nothing ever flips
    array([1.])
    """
    swapped = swapped_weights(model, x, map=map, target=target, tokenizer=tokenizer)
    slope = swapped.gradient(swapped.weights)
    orders = {
        "by attention": swapped.by_key(swapped.weights),
        "by gradient": swapped.by_key(slope),
        "by gradient * attention": swapped.by_key(slope * swapped.weights),
        "at random": np.random.default_rng(seed).random(swapped.keys.shape),
    }
    ranks = {name: ranks_of(values, swapped.keys, seed=seed) for name, values in orders.items()}
    top = ranks["by attention"] == 0
    others = ranks_of(np.where(top, -1.0, orders["at random"]), swapped.keys) == 0
    flips = {name: _flips(swapped, gone).astype(float) for name, gone in (("top", top), ("random", others))}
    removed = {f"removed {name}": _until_a_flip(swapped, one) for name, one in ranks.items()}
    return found(
        "erasure",
        {"top minus random": flips["top"] - flips["random"], **flips, **removed},
        "Above 0, the position with the largest weight decides more often than another. Weights can be shared among "
        "positions that say the same, so that no one of them flips the decision.",
        seed=seed,
    )


def seed_variance(build_and_fit, x, seeds=(0, 1, 2), *, map=None, tokenizer=None, seed=0):
    """How different the attention of a model is when it is trained again from other seeds.

    Parameters
    ----------
    build_and_fit : callable
        ``build_and_fit(seed)`` gives a trained keras.Model.
    x, tokenizer, seed
        As in `permutation_test`.
    map : str, optional
        As in `permutation_test`, its name in the first model; in the others the call at the same place is meant.
    seeds : sequence of int, default (0, 1, 2)
        At least two.

    Returns
    -------
    AttentionTest
        ``divergence`` (B,) in nats, 0 to 0.693: mean over pairs of models of the Jensen-Shannon divergence of their
        attention, each the mean over heads and real queries. ``top`` (B,) in [0, 1]: share of pairs with the same
        position on top.

    Raises
    ------
    ArgumentError
        Less than two seeds, or no such call.
    ModelError
        As `permutation_test`.

    References
    ----------
    Wiegreffe and Pinter 2019, "Attention is not not explanation" (arXiv:1908.04626), section 3.2.
    """
    if len(set(seeds)) < 2:
        raise ArgumentError(f"seeds must be at least two different ones; received {seeds!r}.")
    models = [build_and_fit(one) for one in seeds]
    first = SwappedWeights(models[0], x, call=map, tokenizer=tokenizer)
    keys, looked = first.keys, [first.by_key(first.weights)]
    for model in models[1:]:
        call = same_call(first.call, models[0], model)
        swapped = SwappedWeights(model, x, call=call, tokenizer=tokenizer)
        looked.append(swapped.by_key(swapped.weights))
    pairs = list(combinations(looked, 2))
    tops = [np.where(keys, one, -1.0).argmax(1) == np.where(keys, other, -1.0).argmax(1) for one, other in pairs]
    return found(
        "seeds",
        {
            "divergence": np.mean([jensen_shannon(*pair, mask=keys) for pair in pairs], axis=0),
            "top": np.mean(tops, axis=0),
        },
        f"Divergence 0 to 0.693 over {len(seeds)} retrainings; near 0, chance in training does not move the weights.",
        seed=seed,
    )


def same_call(call, model, other):
    """The name that an attention call of one model has in another of the same kind, whose layers Keras named anew.

    Parameters
    ----------
    call : str
        Of ``model``.
    model, other : keras.Model

    Returns
    -------
    str

    Raises
    ------
    ModelError
        No model, or one without attention.
    ArgumentError
        Another number of attention layers.

    Examples
    --------
    >>> import keras
    >>> from keras_attn_xai.auditing.attention_tests import same_call
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> one, other = (
    ...     keras.Sequential([keras.Input((3, 2)), AttentionPooling(return_weights=False, name=name)])
    ...     for name in ("pool", "pool_1")
    ... )
    >>> same_call("pool", one, other)
    'pool_1'
    """
    layer, mark, nth = call.partition("#")
    here, there = ([name for name, _ in attention_layers(opened(one, "An audit")[0])] for one in (model, other))
    if len(here) != len(there):
        raise ArgumentError(
            f"The models must be built alike; '{model.name}' has {len(here)} attention layers ({', '.join(here)}), and "
            f"'{other.name}' has {len(there)} ({', '.join(there)})."
        )
    return there[here.index(layer)] + mark + nth if layer in here else call


def swapped_weights(model, x, *, map=None, target=None, tokenizer=None):
    """A model whose weights can be swapped, or the one that was given."""
    if isinstance(model, SwappedWeights):
        return model
    return SwappedWeights(model, x, call=map, target=target, tokenizer=tokenizer)


def shuffled(swapped, draw):
    """The weights shuffled among the keys that a query may see, each query and head for itself.

    Parameters
    ----------
    swapped : SwappedWeights
    draw : numpy Generator

    Returns
    -------
    float array (B, H, T, S)
    """
    weights, allowed = swapped.weights, swapped.allowed
    noise = np.where(allowed, draw.random(weights.shape), 2.0)  # the last places stay where they are
    places = np.argsort(~allowed, axis=3, kind="stable")
    moved = np.take_along_axis(weights, np.argsort(noise, axis=3, kind="stable"), axis=3)
    made = np.empty_like(weights)
    np.put_along_axis(made, places, moved, axis=3)
    return made


def _distance(swapped, weights):
    return total_variation(swapped(weights), swapped.probabilities)


def _rounded(distance):
    """Below the rounding of single precision there is no distance."""
    return np.where(distance < 1e-6, 0.0, distance)


def _with_the_sum_of(weights, before):
    """Rows scaled to the sums they had before; a row of nothing stays so."""
    wanted, total = (one.sum(3, keepdims=True) for one in (before, weights))
    return weights * np.divide(wanted, total, out=np.zeros_like(total), where=total > 0)


def erased(swapped, gone):
    """The weights without some keys, what is left scaled to the sum it had.

    Parameters
    ----------
    swapped : SwappedWeights
    gone : bool array (B, S)

    Returns
    -------
    float array (B, H, T, S)
    """
    return _with_the_sum_of(np.where(gone[:, None, None], 0, swapped.weights), swapped.weights)


def _flips(swapped, gone):
    """Whether the predicted class is another without these keys (B, S)."""
    return swapped(erased(swapped, gone)).argmax(1) != swapped.probabilities.argmax(1)


def _until_a_flip(swapped, ranks):
    """Share of keys that must go, by their ranks (B, S), until the predicted class is another; 1 where it never is."""
    count = swapped.keys.sum(1)
    share = np.ones(len(count))
    for gone in range(int(count.max()) - 1, 0, -1):  # the last that is written is the smallest
        flipped = _flips(swapped, (ranks < gone) & swapped.keys) & (gone < count)
        share[flipped] = gone / count[flipped]
    return share
