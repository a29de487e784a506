"""Choices: select one of two by a truth value, and comparisons, which are steps from 0 to 1.

So a hand-written ``where(x > 0, x, 0)`` conserves: what the choice is worth goes to the comparison, and from
there, by the secant of the step, to the two numbers compared.
"""

import tensorflow as tf

from keras_attn_xai.explain.deep.graph import Pair, r_of, x_of
from keras_attn_xai.explain.deep.rules_elementwise import onto


def select(step, multipliers):
    """``c a + (1 - c) b``, a product."""
    (m,) = multipliers
    chosen, a, b = step.inputs
    found = [None, None, None]
    weight = (tf.cast(x_of(chosen), m.dtype) + tf.cast(r_of(chosen), m.dtype)) / 2
    if step.type == "Select" and weight.shape.rank == 1:  # a vector chooses rows
        weight = tf.reshape(weight, tf.concat([tf.shape(weight), tf.ones([tf.rank(m) - 1], tf.int32)], 0))
    for i, one, part in ((1, a, weight), (2, b, 1 - weight)):
        if i in step.flowing:
            found[i] = onto(m * part, one.x)
    if 0 in step.flowing:
        worth = (x_of(a) - x_of(b) + r_of(a) - r_of(b)) / 2
        found[0] = onto(tf.where(chosen.delta == 0, tf.zeros_like(m), m * worth), chosen.x)
    return found


def compare(step, multipliers):
    """The secant of the step in ``a - b``."""
    a, b = step.inputs
    if not x_of(a).dtype.is_floating:
        return [None, None]
    m = tf.cast(multipliers[0], x_of(a).dtype)
    rise = tf.cast(step.outputs[0].delta, m.dtype)
    run = Pair(x_of(a) - x_of(b), r_of(a) - r_of(b)).delta
    slope = tf.where(rise == 0, tf.zeros_like(run), rise / tf.where(run == 0, tf.ones_like(run), run))
    shares = (m * slope, -m * slope)
    return [onto(s, one.x) if isinstance(one, Pair) else None for s, one in zip(shares, (a, b), strict=True)]


def logical_and(step, multipliers):
    """A product."""
    (m,) = multipliers
    means = [tf.cast(Pair(x_of(one), r_of(one)).mean, m.dtype) for one in step.inputs]
    if step.type == "LogicalOr":
        means = [1 - one for one in means]
    others = zip(step.inputs, reversed(means), strict=True)
    return [onto(m * other, one.x) if isinstance(one, Pair) else None for one, other in others]


def logical_not(step, multipliers):
    """One minus."""
    return [-multipliers[0]]


def asks_if_finite(step, multipliers):
    """Numbers here are finite, so nothing depends on the answer."""
    return [None]


RULES = {
    **dict.fromkeys(["Select", "SelectV2"], select),
    **dict.fromkeys(["Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual"], compare),
    **dict.fromkeys(["LogicalAnd", "LogicalOr"], logical_and),
    "LogicalNot": logical_not,
    **dict.fromkeys(["IsFinite", "IsNan", "IsInf"], asks_if_finite),
}
