"""Multipliers, walked backwards over the steps of a paired run."""

from contextlib import suppress
from dataclasses import dataclass, field

import tensorflow as tf

from keras_attn_xai.explain.deep.graph import Pair
from keras_attn_xai.explain.deep.quadrature import quadrature
from keras_attn_xai.explain.deep.rules import RULES
from keras_attn_xai.explain.deep.rules_normalization import scaled_products

CONTROL_FLOW = {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}


@dataclass
class Walk:
    """What was found on the way: types of operations, each with how often it came.

    Attributes
    ----------
    exact : dict of str to int
        Those with a rule.
    quadrature : dict of str to int
        Those without one that have a gradient.
    blocking : dict of str to int
        Those that turn numbers into integers, or have no gradient: nothing passes.
    refused : dict of str to int
        Loops and branches of the graph, whose operations are not seen.
    """

    exact: dict = field(default_factory=dict)
    quadrature: dict = field(default_factory=dict)
    blocking: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)


def walk_back(steps, output, rules, walk=None):
    """Multipliers of every pair ``output`` depends on.

    Parameters
    ----------
    steps : list of Step
        In the order they ran.
    output : Pair
        One scalar per row, (N,); its multiplier is 1.
    rules : dict of str to callable
        By operation type, over those of `rules.RULES`.
    walk : Walk, optional
        Takes down what was met.

    Returns
    -------
    dict of Pair to tensor
    """
    walk, table, special = walk or Walk(), {**RULES, **rules}, scaled_products(steps)
    multipliers, reached = {output: tf.ones_like(output.x)}, {output}
    for step in reversed(steps):
        if not reached.intersection(step.outputs):
            continue
        reached.update(one for one in step.inputs if isinstance(one, Pair))
        given = [multipliers.get(one) for one in step.outputs]
        if all(one is None for one in given):
            if any(one.dtype.is_integer for one in step.outputs) and any(
                step.inputs[i].dtype.is_floating for i in step.flowing
            ):
                _count(walk.blocking, step.type)
            continue
        found = _through(step, given, special.get(step, table.get(step.type)), walk)
        for pair, one in zip(step.inputs, found, strict=True):
            if one is not None and isinstance(pair, Pair):
                before = multipliers.get(pair)
                multipliers[pair] = one if before is None else before + tf.cast(one, before.dtype)
    return multipliers


def _through(step, given, rule, walk):
    """Multipliers of a step's inputs by its rule, else by quadrature, else none."""
    nothing = [None] * len(step.inputs)
    if not step.flowing:
        return nothing
    if step.type in CONTROL_FLOW or any(one.dtype == tf.variant for one in step.outputs):
        _count(walk.refused, step.type)
        return nothing
    found = rule(step, given) if rule else None
    if found is not None:
        _count(walk.quadrature if rule is quadrature else walk.exact, step.type)
        return found
    found = nothing
    if all(one.dtype.is_floating for one, m in zip(step.outputs, given, strict=True) if m is not None):
        with suppress(LookupError):  # no gradient registered
            found = quadrature(step, given)
    _count(walk.blocking if found == nothing else walk.quadrature, step.type)
    return found


def _count(found, name):
    found[name] = found.get(name, 0) + 1
