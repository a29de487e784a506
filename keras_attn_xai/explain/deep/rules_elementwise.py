"""Functions of one number: the slope of the secant, or where the two points meet, of the tangent halfway.

The secant of float32 values over a tiny step is noise, the tangent at the middle is right to the square of
the step; they are equally good at a step of about the cube root of the precision.
"""

import numpy as np
import tensorflow as tf

from keras_attn_xai.explain.deep.graph import x_of
from keras_attn_xai.explain.deep.rules_linear import gradient

SMOOTH = """
    Exp Expm1 Tanh Sigmoid Softplus Softsign Erf Erfc Sin Cos Tan Asinh Atan Sinh Cosh Ndtri Erfinv
"""  # their curvature is of order one
POWERS = "Rsqrt Sqrt Log Log1p Reciprocal Inv Lgamma Digamma"  # curved on the scale of the number itself
BENT_AT_0 = "Elu Selu"
KINKED = "Relu Relu6 LeakyRelu Abs Sign Floor Ceil Round Rint Acos Asin Acosh Atanh"


def secant(scale):
    """A rule; ``scale`` maps a pair to the length over which the function bends."""

    def rule(step, multipliers):
        """Multiplier of the one input that flows."""
        (i,) = step.flowing
        pair, out, m = step.inputs[i], step.outputs[0], multipliers[0]
        delta, rise = pair.delta, out.delta
        tangent = _tangent(step, i, out)
        apart = tf.abs(delta) > scale(pair) * np.cbrt(np.finfo(pair.dtype.as_numpy_dtype).eps)  # two infinities are not
        slope = tf.where(apart, rise / tf.where(apart, delta, tf.ones_like(delta)), tangent)
        found = [None] * len(step.inputs)
        found[i] = onto(tf.math.multiply_no_nan(slope, m), pair.x)  # nothing of infinity is nothing
        return found

    return rule


def _tangent(step, i, out):
    """The derivative halfway; 0 where it is infinite, or TensorFlow has none because it is 0."""
    point = [one.mean if n == i else x_of(one) for n, one in enumerate(step.inputs)]
    slope = gradient(step, point, [tf.ones_like(out.x)])[i]
    if slope is None:
        return tf.zeros_like(out.x)
    return tf.where(tf.math.is_finite(slope), slope, tf.zeros_like(slope))


def power(step, multipliers):
    """``a ** b`` where one of the two is the same for both points."""
    if len(step.flowing) > 1 or step.inputs[step.flowing[0]].x.shape != step.outputs[0].x.shape:
        return None
    return secant(_of_the_number if step.flowing == [0] else _of_order_one)(step, multipliers)


def onto(multiplier, like):
    """Summed over the axes along which ``like`` was broadcast."""
    if multiplier.shape == like.shape and multiplier.shape.rank is not None and multiplier.shape[1:].is_fully_defined():
        return multiplier
    shape = tf.shape(like)
    _, axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(multiplier), s1=shape)
    return tf.reshape(tf.reduce_sum(multiplier, axes), shape)


def _of_order_one(pair):
    return tf.ones_like(pair.x)


def _of_the_number(pair):
    return tf.minimum(tf.abs(pair.x), tf.abs(pair.r))


def _of_order_one_on_one_side(pair):
    return tf.cast(pair.x * pair.r > 0, pair.dtype)


def _none(pair):
    return tf.zeros_like(pair.x)


RULES = {
    **dict.fromkeys(SMOOTH.split(), secant(_of_order_one)),
    **dict.fromkeys(POWERS.split(), secant(_of_the_number)),
    **dict.fromkeys(BENT_AT_0.split(), secant(_of_order_one_on_one_side)),
    **dict.fromkeys(KINKED.split(), secant(_none)),
    "Pow": power,
}
