"""Normalization through `Deep`: written in many ways, near and far references, and one without variance."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_attn_xai.explain.deep import Deep
from tests.explain.kinds import KINDS

B, T, D, EPSILON = 3, 5, 7, 1e-12


def draw(*shape, seed=0):
    """Numbers of order one."""
    return np.random.default_rng(seed).normal(size=shape)


def centred(x):
    """Less the mean over features."""
    return x - tf.reduce_mean(x, -1, keepdims=True)


def variance(x):
    """The mean square of what is centred."""
    return tf.reduce_mean(tf.square(centred(x)), -1, keepdims=True)


def with_moments(x):
    """As TensorFlow's own functions have it."""
    mean, spread = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, spread, None, None, EPSILON)


CENTRED = {
    "rsqrt": lambda x: centred(x) * tf.math.rsqrt(variance(x) + EPSILON),
    "the scale first": lambda x: tf.math.rsqrt(variance(x) + EPSILON) * centred(x),
    "over sqrt": lambda x: centred(x) / tf.sqrt(variance(x) + EPSILON),
    "epsilon beside the root": lambda x: centred(x) / (tf.sqrt(variance(x)) + EPSILON),
    "times the inverse": lambda x: centred(x) * (1 / tf.sqrt(variance(x) + EPSILON)),
    "moments": with_moments,
    "LayerNormalization": keras.layers.LayerNormalization(epsilon=EPSILON, dtype="float64"),
    "GroupNormalization": keras.layers.GroupNormalization(1, epsilon=EPSILON, dtype="float64"),
}
NOT_CENTRED = {
    "mean square": lambda x: x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + EPSILON),
    "RMSNormalization": keras.layers.RMSNormalization(epsilon=EPSILON, dtype="float64"),
    "UnitNormalization": lambda x: D**0.5 * keras.layers.UnitNormalization(dtype="float64")(x),
    "l2_normalize": lambda x: D**0.5 * tf.math.l2_normalize(x, -1),
}
FORMS = {**CENTRED, **NOT_CENTRED}
WEIGHTS = draw(D, seed=3)


def reads(form):
    """The function whose answer is a weighted sum of what is normalized."""
    return lambda x: tf.reduce_sum(form(x) * WEIGHTS, -1)


def expected_values(x, r, *, mean):
    """The split written out, for one row and one reference: features without, and with their mean taken off."""
    off = np.mean if mean else np.zeros_like
    c, p, m = x - off(x), r - off(r), WEIGHTS - off(WEIGHTS)
    s, q = (np.mean(one**2) + EPSILON for one in (c, p))
    ratio = s / q
    w = 1 / 2 if 1 / 10 <= ratio <= 10 else ratio / (ratio + 10) if ratio > 10 else ratio / (ratio + 1 / 10)
    a, b = s**-0.5, q**-0.5
    by_u = (w * a + (1 - w) * b) * m
    by_scale = (w * p + (1 - w) * c) @ WEIGHTS * (a - b) / (s - q) * (c + p) / D
    return (by_u + by_scale) * (x - r)


@pytest.mark.parametrize("name", FORMS)
def test_the_split_is_as_it_is_written(name):
    engine, x = Deep(reads(FORMS[name])), draw(B, D)
    for size in (1, 0.05, 50):
        r = size * draw(1, D, seed=1)
        found = engine(x, r)
        expected = [expected_values(one, r[0], mean=name in CENTRED) for one in x]
        np.testing.assert_allclose(found.values, expected, rtol=1e-6, atol=1e-8)
        assert np.abs(found.gap).max() < 1e-10


@pytest.mark.parametrize("name", FORMS)
def test_without_variance_the_scale_is_that_of_the_other(name):
    engine, x, zeros = Deep(reads(FORMS[name])), draw(1, D), np.zeros((1, D))
    size = np.sqrt(np.mean((x - x.mean()) ** 2 if name in CENTRED else x**2))
    expected = x * (WEIGHTS - WEIGHTS.mean() if name in CENTRED else WEIGHTS) / size
    np.testing.assert_allclose(engine(x, zeros).values, expected, atol=1e-3)
    np.testing.assert_allclose(engine(zeros, x).values, -expected, atol=1e-3)


@pytest.mark.parametrize("name", ["encoder_block", "subclassed", "layer_norm", "unit_normalization"])
def test_a_model_against_zeros_is_close_to_exact_shapley_values(name):
    case = KINDS[name]()
    case.background = np.zeros_like(case.background[:1])
    found = Deep(case.function, layers=case.layers)(case.inputs, case.background)
    exact = np.stack([case.exact_values(row) for row in range(2)])
    values = case.of_players(found.values)[:2]
    assert found.relative_gap.max() < 1e-4
    assert np.linalg.norm(values - exact) / np.linalg.norm(exact) < 0.8
    assert np.corrcoef(values.ravel(), exact.ravel())[0, 1] > 0.85
