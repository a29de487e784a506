"""The losses on weights: against loops, beside masks, and inside a model that is trained and reloaded."""

import keras
import numpy as np
import pytest

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.layers import BahdanauAttention, MultiHeadAttention, weights_regularizers
from tests.layers.contract import B, D, array, same, variables_as_arrays

pytestmark = variables_as_arrays
T, S = 4, 6
QUERIES = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)


def weights(*, heads=None, seed=0):
    draw = np.random.default_rng(seed).random((B, T, S) if heads is None else (B, heads, T, S)) ** 4
    draw[..., 0] = 0  # an exact zero
    return draw / draw.sum(-1, keepdims=True)


def entropy(a):
    return [-sum(x * np.log(x) for x in row if x > 0) for row in a]


def orthogonality(a):
    return [sum((row @ other - (t == u)) ** 2 for u, other in enumerate(a)) for t, row in enumerate(a)]


def l1(a):
    return [sum(abs(row)) for row in a]


def coverage(a):
    return [sum(min(row[s], sum(a[:t, s])) for s in range(S)) for t, row in enumerate(a)]


def guided(a, width=0.2):
    return [
        sum(row[s] * (1 - np.exp(-((t / T - s / S) ** 2) / (2 * width**2))) for s in range(S))
        for t, row in enumerate(a)
    ]


LOOPS = {
    "entropy": entropy,
    "orthogonality": orthogonality,
    "l1": l1,
    "coverage": coverage,
    "guided_alignment": guided,
}
every_loss = pytest.mark.parametrize("name", weights_regularizers.NAMES)


@every_loss
@pytest.mark.parametrize("heads", [None, 3])
def test_equal_to_loops(name, heads):
    drawn = weights(heads=heads)
    matrices = drawn.reshape(-1, T, S)
    expected = 0.5 * np.mean([LOOPS[name](one) for one in matrices])
    got = weights_regularizers.NAMES[name](0.5)(drawn)
    same(array(got), expected, atol=1e-6)
    assert expected > 0


@every_loss
@pytest.mark.parametrize("heads", [None, 3])
def test_padded_queries_do_not_count(name, heads):
    if name == "guided_alignment":
        pytest.skip("its diagonal is that of the padded length")
    drawn = weights(heads=heads)
    costs = []
    for row in range(B):
        for matrix in drawn[row].reshape(-1, T, S):
            costs += LOOPS[name](matrix[QUERIES[row]])
    got = weights_regularizers.NAMES[name](1.0)(drawn, QUERIES)
    same(array(got), np.mean(costs), atol=1e-6)
    drawn[0][..., 3, :] = 1.0
    same(array(weights_regularizers.NAMES[name](1.0)(drawn, QUERIES)), np.mean(costs), atol=1e-6)


@every_loss
def test_a_layer_adds_it_to_the_losses_of_its_model(name, tmp_path):
    query = np.random.default_rng(1).normal(size=(B, T, D)).astype("float32")
    inputs = keras.Input((T, D))
    for layer in (
        BahdanauAttention(3, weights_regularizer=name),
        MultiHeadAttention(2, 3, weights_regularizer=weights_regularizers.NAMES[name](0.5)),
    ):
        context, own = layer(inputs)
        model = keras.Model(inputs, [context, own])
        shown = array(model(query)[1])
        same(array(model.losses[0]), array(layer.weights_regularizer(shown)), atol=1e-6)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        again(query)
        same(array(again.losses[0]), array(model.losses[0]), atol=1e-6)


def test_the_mask_of_the_query_reaches_it():
    query = np.random.default_rng(1).normal(size=(B, T, D)).astype("float32")
    layer = BahdanauAttention(3, weights_regularizer="entropy")
    _, shown = layer(query, mask=QUERIES)
    same(array(layer.losses[0]), array(layer.weights_regularizer(array(shown), QUERIES)), atol=1e-6)


def test_training_on_it_sharpens_attention():
    keras.utils.set_random_seed(0)
    query = np.random.default_rng(1).normal(size=(32, T, D)).astype("float32")
    layer = MultiHeadAttention(2, 3, weights_regularizer=weights_regularizers.Entropy(1.0))
    inputs = keras.Input((T, D))
    model = keras.Model(inputs, layer(inputs)[0])
    model.compile(keras.optimizers.Adam(0.02), loss=lambda true, predicted: 0 * keras.ops.mean(predicted))
    history = model.fit(query, query, epochs=20, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


def test_a_regularizer_of_keras_serves_as_well():
    layer = BahdanauAttention(3, weights_regularizer=keras.regularizers.L2(0.1))
    _, shown = layer(np.ones((B, T, D), "float32"))
    same(array(layer.losses[0]), 0.1 * (array(shown) ** 2).sum(), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: BahdanauAttention(3, weights_regularizer="l2"), "weights_regularizer must be one of 'entropy'.*'l2'"),
        (lambda: BahdanauAttention(3, weights_regularizer="l1", top_k=2), "top_k=2 leaves out weights"),
        (lambda: weights_regularizers.GuidedAlignment(width=0), "width must be positive; received 0"),
    ],
)
def test_bad_arguments_get_a_sentence(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()
