"""Softmax in closed form, with the logarithmic mean L(a, b) = (a - b) / (log a - log b).

With s = softmax(z), Z = sum_j exp z_j and w_j = L(exp z_j, exp z'_j) / L(Z, Z'):

    delta log Z = sum_j w_j delta z_j        delta s_i = L(s_i, s'_i) (delta z_i - delta log Z)

both exactly, so a multiplier m of s becomes ``L m - w sum(L m)`` of z. Everything is computed from logarithms.
"""

import tensorflow as tf


def softmax(step, multipliers):
    """Multipliers of the scores."""
    (z,), (m,) = step.inputs, multipliers
    share, log_x, log_r = _log_partition(z)
    along = m * log_mean(log_x, log_r)
    return [along - share * tf.reduce_sum(along, axis=-1, keepdims=True)]


def log_softmax(step, multipliers):
    """Multipliers of the scores."""
    (z,), (m,) = step.inputs, multipliers
    share, _, _ = _log_partition(z)
    return [m - share * tf.reduce_sum(m, axis=-1, keepdims=True)]


def log_mean(log_a, log_b):
    """L(a, b) from the logarithms of a and b."""
    return tf.exp(tf.maximum(log_a, log_b)) * _decay(log_a, log_b)


def _log_partition(z):
    """Each score's share w in the change of log Z, and log s of row and reference."""
    log_zx = tf.reduce_logsumexp(z.x, axis=-1, keepdims=True)
    log_zr = tf.reduce_logsumexp(z.r, axis=-1, keepdims=True)
    top = tf.maximum(z.x, z.r) - tf.maximum(log_zx, log_zr)
    share = tf.exp(top) * _decay(z.x, z.r) / _decay(log_zx, log_zr)
    return share, z.x - log_zx, z.r - log_zr


def _decay(a, b):
    """``(1 - exp(-d)) / d`` for the distance d of a and b; 1 where they meet, two infinities too."""
    d = tf.abs(a - b)
    d = tf.where(tf.math.is_nan(d), tf.zeros_like(d), d)
    met = d == 0
    return tf.where(met, tf.ones_like(d), -tf.math.expm1(-d) / tf.where(met, tf.ones_like(d), d))


RULES = {"Softmax": softmax, "LogSoftmax": log_softmax}
