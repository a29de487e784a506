"""Two numbers that are not multiplied: a quotient, the larger, the smaller."""

import tensorflow as tf

from keras_attn_xai.explain.deep.graph import Pair, r_of, x_of
from keras_attn_xai.explain.deep.rules_elementwise import onto


def quotient(step, multipliers):
    """``a / b`` as the product of a and 1 / b, whose difference is ``(b' - b) / (b b')``."""
    (m,) = multipliers
    a, b = step.inputs
    inverse = (
        tf.math.reciprocal if step.type != "DivNoNan" else lambda one: tf.math.divide_no_nan(tf.ones_like(one), one)
    )
    found = [None, None]
    if 0 in step.flowing:
        found[0] = onto(m * (inverse(x_of(b)) + inverse(r_of(b))) / 2, a.x)
    if 1 in step.flowing:
        found[1] = onto(-m * (x_of(a) + r_of(a)) / 2 * inverse(b.x) * inverse(b.r), b.x)
    return found


def larger(step, multipliers):
    """``max(a, b) = (a + b + |a - b|) / 2``, the absolute value by its secant; min with a minus."""
    (m,) = multipliers
    a, b = step.inputs
    gap = Pair(x_of(a) - x_of(b), r_of(a) - r_of(b))
    delta = gap.delta
    slope = tf.where(
        delta == 0, tf.sign(gap.x), (tf.abs(gap.x) - tf.abs(gap.r)) / tf.where(delta == 0, tf.ones_like(delta), delta)
    )
    slope = tf.where(tf.math.is_inf(delta), tf.sign(gap.x + gap.r), slope)  # rsqrt(0)
    slope = slope if step.type == "Maximum" else -slope
    shares = (m * (1 + slope) / 2, m * (1 - slope) / 2)
    return [
        onto(share, x_of(one)) if i in step.flowing else None
        for i, (share, one) in enumerate(zip(shares, (a, b), strict=True))
    ]


RULES = {**dict.fromkeys(["RealDiv", "Div", "DivNoNan"], quotient), **dict.fromkeys(["Maximum", "Minimum"], larger)}
