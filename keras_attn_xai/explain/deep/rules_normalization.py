"""Products with the scale of a normalization, and quotients by its root: split by how far the two scales are apart.

``u a`` with ``a = 1 / sqrt(s)`` may be split at any weight w, ``(w a + (1 - w) a') delta u`` and
``(w u' + (1 - w) u) delta a``. Halves, as a product has elsewhere, are right while both scales are alike. A
reference without variance has the scale 1 / sqrt(epsilon), and half of that makes values that are large and cancel;
its u' is 0, so nothing is lost when the row's scale counts alone. With the ratio of variances q = s / s'

    w = 1 / 2  for q from 1 / 10 to 10,    q / (q + 10)  above,    q / (q + 1 / 10)  below.
"""

import tensorflow as tf

from keras_attn_xai.explain.deep.graph import Pair
from keras_attn_xai.explain.deep.rules_elementwise import onto

ALIKE = 10.0
PASSING = {"Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "BroadcastTo", "Tile", "Mul", "Maximum", "Minimum"}
INVERSES = {"Reciprocal", "Inv", "RealDiv", "DivNoNan"}


def scaled_products(steps):
    """The products with a scale, and the quotients by a root, among these steps.

    Only operations count, so layers of Keras and a hand-written ``(x - mean) / sqrt(variance + epsilon)`` are alike.

    Parameters
    ----------
    steps : list of Step
        In the order they ran.

    Returns
    -------
    dict of Step to callable
        The rule of each, in the place of that of its type.
    """
    scales: set[Pair] = set()
    roots: set[Pair] = set()
    found = {}
    for step in steps:
        flowing, last = step.flowing, step.inputs[-1]
        over_root = isinstance(last, Pair) and last in roots
        came = {step.inputs[i] for i in flowing}
        if step.type == "Mul" and len(flowing) == 2 and came & scales:
            found[step] = _product(0 if step.inputs[0] in scales else 1)
        elif step.type in {"RealDiv", "DivNoNan"} and flowing == [0, 1] and over_root:
            found[step] = _quotient
        elif step.type == "Rsqrt" or (step.type in INVERSES and over_root):
            scales.update(step.outputs)
        elif step.type == "Sqrt" or (step.type in PASSING | {"Add", "AddV2"} and len(flowing) == 1 and came <= roots):
            roots.update(step.outputs)
        elif step.type in PASSING and len(flowing) == 1 and came <= scales:
            scales.update(step.outputs)
    return found


def weights(scale):
    """The weights w and 1 - w of the row's scale and the reference's, each as exact as it can be.

    Parameters
    ----------
    scale : Pair
        Of any unit; its two sides are compared.

    Returns
    -------
    tensor, tensor
        In [0, 1]; the first tends to 1 where the reference's scale is the larger.
    """
    same = scale.x == scale.r
    ratio = tf.where(same, tf.ones_like(scale.x), tf.square(scale.r / tf.where(same, tf.ones_like(scale.x), scale.x)))
    beyond = tf.where(ratio > ALIKE, ratio / ALIKE, tf.where(ratio < 1 / ALIKE, ratio * ALIKE, tf.ones_like(ratio)))
    return 1 / (1 + 1 / beyond), 1 / (1 + beyond)


def _product(i):
    """The rule of ``u a``, where input ``i`` is the scale."""

    def rule(step, multipliers):
        (m,) = multipliers
        a, u = step.inputs[i], step.inputs[1 - i]
        of_x, of_r = weights(a)
        found = [onto(m * (of_x * u.r + of_r * u.x), a.x), onto(m * (of_x * a.x + of_r * a.r), u.x)]
        return found if i == 0 else found[::-1]

    return rule


def _quotient(step, multipliers):
    """The rule of ``u / b``, whose scale is ``1 / b``."""
    (m,) = multipliers
    u, b = step.inputs
    a = Pair(*(tf.math.divide_no_nan(tf.ones_like(one), one) for one in (b.x, b.r)))
    of_x, of_r = weights(Pair(b.r, b.x))
    return [onto(m * (of_x * a.x + of_r * a.r), u.x), onto(-m * (of_x * u.r + of_r * u.x) * a.x * a.r, b.x)]
