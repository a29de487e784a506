"""The largest of many numbers: exact Shapley values, each number one player, in O(n log n).

The maximum is the number of thresholds below it. At a threshold which nobody passes in both the row and the
reference, let a players pass it in the row only and b in the reference only. The maximum passes unless all b
have left before any of the a came, so one that comes is pivotal with probability b! (a-1)! / (a+b)!, and one
that leaves with (b-1)! a! / (a+b)!, the other way. Sums of these over thresholds, sorted, are all that is needed.
"""

import numpy as np
import tensorflow as tf

from keras_attn_xai.explain.deep.graph import Pair


def reduced_max(step, multipliers):
    """``reduce_max`` over constant axes; ``reduce_min`` as the maximum of the negative; likewise any and all."""
    (m,) = multipliers
    pair, axes = step.inputs[0], tf.get_static_value(step.inputs[1])
    if pair.dtype == tf.bool:
        pair = Pair(tf.cast(pair.x, m.dtype), tf.cast(pair.r, m.dtype))
    if axes is None or pair.x.shape.rank is None:
        return None
    rank, sign = pair.x.shape.rank, 1 if step.type in {"Max", "Any"} else -1
    axes = sorted(axis % rank for axis in np.ravel(axes))
    order = [axis for axis in range(rank) if axis not in axes] + axes

    def gathered(tensor):
        """The players on the last axis."""
        moved = tf.transpose(sign * tensor, order)
        return tf.reshape(moved, tf.concat([tf.shape(moved)[: rank - len(axes)], [-1]], 0))

    share = shapley_multipliers(Pair(gathered(pair.x), gathered(pair.r)))
    moved = tf.gather(tf.shape(pair.x), order)
    share = tf.transpose(tf.reshape(share, moved), np.argsort(order))
    kept = tf.tensor_scatter_nd_update(tf.shape(pair.x), [[axis] for axis in axes], [1] * len(axes))
    return [share * tf.reshape(m, kept), None]


def max_pool(step, multipliers):
    """Pooling over windows of an image (N, H, W, D), or of a sequence that TensorFlow pools as one."""
    (m,), (pair,) = multipliers, step.inputs
    if step.op.get_attr("data_format") != b"NHWC" or step.op.get_attr("padding") == b"EXPLICIT":
        return None
    window, strides = step.op.get_attr("ksize"), step.op.get_attr("strides")
    padding = step.op.get_attr("padding").decode()

    def windows(image):
        """(N, H', W', D, window)."""
        cut = tf.image.extract_patches(image, window, strides, [1, 1, 1, 1], padding)
        shape = tf.concat([tf.shape(cut)[:3], [window[1] * window[2], tf.shape(image)[3]]], 0)
        return tf.einsum("nhwkd->nhwdk", tf.reshape(cut, shape))

    image = tf.identity(pair.x)
    inside = windows(tf.ones_like(image)) > 0
    lowest = tf.constant(pair.dtype.min, pair.dtype)
    cut = windows(image)
    share = shapley_multipliers(Pair(tf.where(inside, cut, lowest), tf.where(inside, windows(pair.r), lowest)))
    share = tf.where(inside, share, tf.zeros_like(share))
    return [tf.gradients(cut, image, grad_ys=share * m[..., None])[0]]


def shapley_multipliers(pair):
    """Shapley value over delta (..., n) of each player in the maximum over the last axis."""
    delta = pair.delta
    apart = tf.abs(delta) > tf.abs(pair.x) * np.finfo(pair.dtype.as_numpy_dtype).eps * 8  # two infinities are not
    slope = shapley_values(pair) / tf.where(apart, delta, tf.ones_like(delta))
    tangent = (_argmax_share(pair.x) + _argmax_share(pair.r)) / 2
    return tf.where(apart, tf.clip_by_value(slope, 0, 1), tangent)


def shapley_values(pair):
    """Shapley values (..., n) of the players in the maximum over the last axis."""
    n = tf.shape(pair.x)[-1]
    floor = tf.reduce_max(tf.minimum(pair.x, pair.r), axis=-1, keepdims=True)  # below it, somebody always passes
    both = tf.maximum(tf.concat([pair.x, pair.r], axis=-1), floor)
    order = tf.argsort(both, axis=-1, direction="DESCENDING", stable=True)
    heights = tf.gather(both, order, batch_dims=-1, axis=-1)
    widths = tf.concat([heights[..., :-1] - heights[..., 1:], tf.zeros_like(heights[..., :1])], axis=-1)
    coming = tf.cumsum(tf.cast(order < n, tf.float64), axis=-1)
    leaving = tf.cumsum(tf.cast(order >= n, tf.float64), axis=-1)
    back = tf.argsort(order, axis=-1)

    def passed(first, second):
        """The sum of pivot probabilities over thresholds below each height."""
        some = tf.maximum(first, 1)
        chance = tf.exp(tf.math.lgamma(some) + tf.math.lgamma(second + 1) - tf.math.lgamma(some + second + 1))
        chance = tf.where((first > 0) & (widths > 0), tf.cast(chance, widths.dtype), tf.zeros_like(widths))
        below = tf.cumsum(chance * widths, axis=-1, reverse=True)
        return tf.split(tf.gather(below, back, batch_dims=-1, axis=-1), 2, axis=-1)

    at_x, at_r = passed(coming, leaving)
    gains = at_x - at_r
    at_x, at_r = passed(leaving, coming)
    losses = at_x - at_r
    return tf.where(pair.x > pair.r, gains, losses)


def _argmax_share(values):
    """1 for the largest, shared where several are."""
    top = tf.cast(values == tf.reduce_max(values, axis=-1, keepdims=True), values.dtype)
    return top / tf.reduce_sum(top, axis=-1, keepdims=True)


RULES = {**dict.fromkeys(["Max", "Min", "Any", "All"], reduced_max), "MaxPool": max_pool}
