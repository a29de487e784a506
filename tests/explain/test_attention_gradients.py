"""Gradients of a target with respect to attention weights, against finite differences."""

import keras
import numpy as np
import pytest
from keras import layers as keras_layers

from keras_attn_xai import capture_gradients, derived, intervene
from keras_attn_xai.capture import capture_attention, set_to
from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.layers import AttentionDecoder, AttentionPooling, BahdanauAttention, MultiHeadAttention

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
B, H, S, D, C = 2, 3, 5, 11, 4
ROWS = np.random.default_rng(0).normal(size=(B, S, D))
LAYERS = {
    "keras": lambda x: keras_layers.MultiHeadAttention(H, 2, name="one")(x, x),
    "keras attention": lambda x: keras_layers.Attention(name="one")([x, x]),
    "ours": lambda x: MultiHeadAttention(H, 2, name="one", return_weights=False)(x),
    "bahdanau": lambda x: BahdanauAttention(3, name="one", return_weights=False)(x),
}


def classifier(kind, *, activation="softmax"):
    keras.utils.set_random_seed(3)
    x = keras.Input((None, D), dtype="float64")
    with_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        y = LAYERS[kind](x)
        y = AttentionPooling("location", name="pool", return_weights=False)(y)
        return keras.Model(x, keras_layers.Dense(C, activation=activation)(y))
    finally:
        keras.config.set_dtype_policy(with_policy)


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_are_finite_differences_of_the_log_odds(kind):
    model, step, target = classifier(kind), 1e-5, 2
    seen, pooled = capture_gradients(model, ROWS, target=target)
    assert (seen.name, pooled.name) == ("one", "pool")
    assert seen.gradients.shape == seen.weights.shape

    def log_odds(weights):
        p = np.asarray(intervene(model, {"one": set_to(weights)})(ROWS))[:, target]
        return np.log(p) - np.log1p(-p)

    rng = np.random.default_rng(1)
    for _ in range(4):
        place = tuple(rng.integers(size) for size in seen.weights.shape)
        up, down = seen.weights.copy(), seen.weights.copy()
        up[place] += step
        down[place] -= step
        slope = (log_odds(up) - log_odds(down))[place[0]] / (2 * step)
        np.testing.assert_allclose(seen.gradients[place], slope, rtol=1e-5, atol=1e-8)


def test_the_target_is_each_rows_own_class_by_default():
    model = classifier("keras")
    own = capture_gradients(model, ROWS)[0].gradients
    classes = np.asarray(model(ROWS)).argmax(1)
    for row, target in enumerate(classes):
        expected = capture_gradients(model, ROWS, target=int(target))[0].gradients[row]
        np.testing.assert_allclose(own[row], expected, rtol=1e-6)


def test_a_callable_and_a_regression():
    model = classifier("ours", activation=None)
    own = capture_gradients(model, ROWS, target=lambda outputs: outputs[:, 1] * 2)[0].gradients
    np.testing.assert_allclose(own, 2 * capture_gradients(model, ROWS, target=1)[0].gradients, rtol=1e-6)


def test_weights_are_those_of_the_capture_and_the_records_can_be_propagated():
    model = classifier("keras")
    seen = capture_gradients(model, list(ROWS), layers="one")
    np.testing.assert_allclose(seen[0].weights, capture_attention(model, ROWS, layers="one")[0].weights, atol=1e-7)
    assert derived.attention_times_gradient(seen[0]).weights.shape == (B, 1, S, S)


def test_weights_inside_a_loop_have_none():
    x = keras.Input((None, D))
    decoder = AttentionDecoder(keras_layers.GRUCell(4), BahdanauAttention(3), name="one", return_weights=False)
    model = keras.Model(x, AttentionPooling(name="pool", return_weights=False)(decoder(x, x)))
    with pytest.raises(ModelError, match="weights of 'one' are made inside a loop"):
        capture_gradients(model, ROWS, target=0)
    (pooled,) = capture_gradients(model, ROWS, target=0, layers="pool")
    assert np.abs(pooled.gradients).max() > 0


def test_what_cannot_be_meant_is_refused():
    model = classifier("keras")
    with pytest.raises(ArgumentError, match="target 4 is out of range: the output has 4"):
        capture_gradients(model, ROWS, target=4)
    with pytest.raises(ArgumentError, match="target must be None, a class number"):
        capture_gradients(model, ROWS, target="one")
    with pytest.raises(ArgumentError, match="no attention call 'two'; the calls are: one, pool"):
        capture_gradients(model, ROWS, layers="two")
