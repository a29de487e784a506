"""Weights swapped for others: the numbers are those of models made by `intervene`, one change at a time."""

import keras
import numpy as np
import pytest

from keras_attn_xai import capture_gradients, intervene
from keras_attn_xai.auditing import (
    adversarial_attention,
    erasure_test,
    permutation_test,
    randomized_copy,
    seed_variance,
    uniform_test,
    weight_randomization,
)
from keras_attn_xai.auditing.attention_tests import erased, shuffled
from keras_attn_xai.auditing.swapped_weights import SwappedWeights
from keras_attn_xai.capture import set_to, uniform, zero
from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.layers import AttentionPooling, BahdanauAttention
from keras_attn_xai.metrics import total_variation
from tests.audit.planted import planted_rows, trained
from tests.explain.models import S, attention_model, linear_model, token_ids, wide_weights

B = 3


@pytest.fixture(scope="module")
def swapped():
    """Three heads of self-attention, and a row that ends in padding."""
    model = attention_model(length=None, mask_zero=True, activation="softmax")
    ids = token_ids(B)
    ids[1, 4:] = 0
    return model, ids, SwappedWeights(model, ids)


@pytest.fixture(scope="module")
def planted():
    model, accuracy = trained("learned")
    assert accuracy > 0.95
    ids, labels, _ = planted_rows(29, seed=5)
    return SwappedWeights(model, ids), labels


def said(model, ids):
    return keras.ops.convert_to_numpy(model(ids))


def test_weights_swapped_for_themselves_change_nothing(swapped):
    model, ids, one = swapped
    assert one.call == "mha"
    assert one.weights.shape == (B, 3, S, S)
    np.testing.assert_allclose(one.probabilities, said(model, ids), atol=1e-6)
    np.testing.assert_allclose(one(one.weights[[2, 0]], [2, 0]), one.probabilities[[2, 0]], atol=1e-6)


def test_any_weights_give_what_intervene_gives(swapped):
    model, ids, one = swapped
    given = np.random.default_rng(0).random(one.weights.shape).astype("float32")
    np.testing.assert_allclose(one(given), said(intervene(model, {"mha": set_to(given)}), ids), atol=1e-5)


def test_weights_made_in_blocks_of_queries_are_swapped_too():
    x = keras.Input((S, 5))
    y = BahdanauAttention(3, block_size=2, return_weights=False, name="far")(x, x)
    model = wide_weights(keras.Model(x, keras.layers.Dense(2, activation="softmax")(y[:, 0] + y[:, 6])))
    rows = np.random.default_rng(0).normal(size=(B, S, 5)).astype("float32")
    one = SwappedWeights(model, rows)
    np.testing.assert_allclose(one(one.weights), said(model, rows), atol=1e-6)
    given = np.random.default_rng(1).random(one.weights.shape).astype("float32")
    np.testing.assert_allclose(one(given), said(intervene(model, {"far": set_to(given)}), rows), atol=1e-5)
    assert np.abs(one.gradient(given)[:, :, [0, 6]]).min() > 0


def test_weights_of_the_largest_alone_cannot_be_swapped():
    x = keras.Input((S, 5))
    y = BahdanauAttention(3, top_k=2, return_weights=False, name="far")(x, x)
    model = keras.Model(x, keras.layers.Dense(2, activation="softmax")(y[:, 0]))
    with pytest.raises(ModelError, match="top_k"):
        uniform_test(model, np.ones((B, S, 5)))


def test_gradients_are_those_of_capture_gradients(swapped):
    model, ids, one = swapped
    (seen,) = capture_gradients(model, ids)
    np.testing.assert_allclose(one.gradient(one.weights), seen.gradients, atol=1e-4)


def test_shuffling_moves_weights_among_the_keys_that_may_be_seen(swapped):
    _, _, one = swapped
    moved = shuffled(one, np.random.default_rng(0))
    assert not np.array_equal(moved, one.weights)
    np.testing.assert_array_equal(moved[1, :, :, 4:], one.weights[1, :, :, 4:])
    np.testing.assert_array_equal(np.sort(moved[0]), np.sort(one.weights[0]))
    np.testing.assert_array_equal(np.sort(moved[1, :, :4, :4]), np.sort(one.weights[1, :, :4, :4]))
    orders = {tuple(row) for row in moved[0].argsort(-1).reshape(-1, S) - one.weights[0].argsort(-1).reshape(-1, S)}
    assert len(orders) > 1  # each query and head for itself


def test_the_distance_of_permutations_is_their_median(swapped):
    _, _, one = swapped
    draw = np.random.default_rng(7)
    by_hand = [total_variation(one(shuffled(one, draw)), one.probabilities) for _ in range(5)]
    test = permutation_test(one, None, permutations=5, seed=7)
    np.testing.assert_allclose(test.values["distance"], np.median(by_hand, axis=0), atol=1e-6)


def test_uniform_is_the_change_of_that_name(swapped):
    model, ids, one = swapped
    changed = said(intervene(model, {"mha": uniform()}), ids)
    test = uniform_test(one, None)
    # queries that are padding keep their weights; they are left out of the mean by the mask
    np.testing.assert_allclose(
        test.values["distance"], total_variation(changed, one.probabilities), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_array_equal(test.values["flip"], changed.argmax(1) != one.probabilities.argmax(1))


def test_erasing_a_position_is_zero_with_the_rest_scaled(swapped):
    model, ids, one = swapped
    gone = np.zeros((B, S), bool)
    gone[:, 2] = True
    change = zero(pairs=[(query, 2) for query in range(S)], renormalize=True)
    np.testing.assert_allclose(one(erased(one, gone)), said(intervene(model, {"mha": change}), ids), atol=1e-5)


def test_the_answer_is_erased_first_where_attention_sits_on_it(planted):
    one, _ = planted
    test = erasure_test(one, None)
    assert test.intervals["top minus random"].low > 0.1
    assert test.intervals["removed by attention"].mean < test.intervals["removed at random"].mean - 0.1
    flips = test.values["top"] == 1
    np.testing.assert_allclose(test.values["removed by attention"][flips], 1 / one.keys.sum(1)[flips])
    assert permutation_test(one, None, permutations=11).mean.low > 0.3


def test_adversarial_weights_keep_the_answer(planted):
    one, labels = planted
    test = adversarial_attention(one, None, limit=0.05, starts=2, steps=60)
    assert (test.values["distance"] <= 0.05 + 1e-4).all()
    divergence = test.values["divergence"]
    # one class is the answer of fillers too, so that its rows need no attention on their token
    by_class = sorted(divergence[labels == one_class].mean() for one_class in (0, 1))
    assert by_class[0] < 0.25 < 0.4 < by_class[1]
    again = adversarial_attention(one, None, limit=0.05, starts=2, steps=60)
    np.testing.assert_array_equal(divergence, again.values["divergence"])


def test_weights_that_nothing_reads_can_be_anything():
    pool = AttentionPooling("location", return_weights=False)
    model = keras.Sequential([keras.Input((S, 2)), pool, keras.layers.Softmax()])
    test = adversarial_attention(model, np.ones((2, S, 2)), starts=2, steps=60)
    assert 0.45 < test.mean.low < 0.479  # the most there is between a uniform row of 7 and any other
    assert permutation_test(model, np.ones((2, S, 2)), permutations=3).mean.mean == 0


def test_training_again_is_compared_pair_by_pair(swapped):
    model, ids, _ = swapped
    others = {0: model, 1: model, 2: attention_model(length=None, mask_zero=True, activation="softmax")}
    draw = np.random.default_rng(1)
    for variable in others[2].weights:
        variable.assign(draw.normal(size=variable.shape))
    same = seed_variance(others.get, ids, (0, 1))
    assert same.values["divergence"].max() < 1e-6
    assert (same.values["top"] == 1).all()
    test = seed_variance(others.get, ids, (0, 1, 2))
    assert (test.values["divergence"] > 0.01).all()
    assert (test.values["top"] >= 1 / 3 - 1e-9).all()  # one pair of three is the same


def test_a_random_copy_attends_elsewhere_and_the_model_stays(planted):
    one, _ = planted
    model, _ = trained("learned")
    before = [array.copy() for array in model.get_weights()]
    copy = randomized_copy(model, seed=4)
    for array, other, old in zip(model.get_weights(), copy.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, old)
        np.testing.assert_array_equal(np.sort(other.ravel()), np.sort(old.ravel()))
    assert weight_randomization(one, copy, None).mean.low > 0.1
    assert weight_randomization(one, model, None).values["divergence"].max() < 1e-6


def test_one_number_is_no_distribution():
    ids = keras.Input((S,), dtype="int32")
    x = keras.layers.Embedding(31, 5)(ids)
    x, _ = AttentionPooling("location", name="pool")(x)
    with pytest.raises(ModelError, match="one number, not a distribution"):
        permutation_test(keras.Model(ids, keras.layers.Dense(1)(x)), token_ids(B))
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid")(x))
    np.testing.assert_allclose(
        SwappedWeights(model, token_ids(B)).probabilities[:, 1], said(model, token_ids(B))[:, 0], atol=1e-6
    )


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda one, m, x: permutation_test(one, None, permutations=0), ArgumentError, "permutations must be"),
        (lambda one, m, x: permutation_test(m, x, map="far"), ArgumentError, "no attention call 'far'.* mha"),
        (lambda one, m, x: adversarial_attention(one, None, limit=0), ArgumentError, "limit must be"),
        (lambda one, m, x: adversarial_attention(one, None, steps=0), ArgumentError, "steps must be"),
        (lambda one, m, x: seed_variance(lambda seed: m, x, [1, 1]), ArgumentError, "two different"),
        (lambda one, m, x: uniform_test(linear_model()[0], x), ModelError, "no attention layer"),
    ],
)
def test_what_cannot_be_meant_is_said(swapped, ask, error, message):
    model, ids, one = swapped
    with pytest.raises(error, match=message):
        ask(one, model, ids)
