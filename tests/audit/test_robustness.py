"""Small changes that keep the answer: how far attention and SHAP move under them."""

import keras
import numpy as np
import pytest

from keras_attn_xai import AttentionExplainer, align
from keras_attn_xai.auditing import robustness
from keras_attn_xai.auditing.moved_inputs import MovedInputs, moved_tokens
from keras_attn_xai.auditing.small_changes import climbed, drawn, looked, neighbours, other_words
from keras_attn_xai.auditing.swapped_weights import SwappedWeights
from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.layers import AttentionPooling
from keras_attn_xai.metrics import total_variation
from tests.audit.planted import MASK, D, V, planted_rows, reader, trained

B, S, LIMIT = 5, 7, 0.05


@pytest.fixture(scope="module")
def planted():
    """The model that learned its task, five padded rows, and what can be moved."""
    model, _ = trained("learned")
    ids, _, _ = planted_rows(B, seed=5)
    swapped = SwappedWeights(model, ids)
    return model, ids, swapped, MovedInputs(swapped)


@pytest.fixture(scope="module")
def series():
    """Attention over steps of three features, of the steps themselves."""
    keras.utils.set_random_seed(1)
    x = keras.Input((S, 3))
    context, _ = AttentionPooling("feedforward", name="pool")(x)
    model = keras.Model(x, keras.layers.Dense(2, activation="softmax")(context))
    return model, np.random.default_rng(0).normal(size=(B, S, 3)).astype("float32")


def wider(model, extra):
    """The same model, its Embedding with more rows."""
    table = np.concatenate([model.get_layer("embedding").get_weights()[0], extra])
    ids = keras.Input((None,), dtype="int32", name="ids")
    embedding = keras.layers.Embedding(len(table), D, mask_zero=True, name="embedding")
    context, _ = model.get_layer("pool")(embedding(ids))
    made = keras.Model(ids, model.get_layer("answer")(context))
    embedding.set_weights([table])
    return made


def test_moved_tokens_are_what_a_wider_embedding_would_give(planted):
    model, ids, _, inputs = planted
    moves = np.random.default_rng(0).normal(size=inputs.positions.shape).astype("float32") * (ids != 0)[..., None]
    moves[1] = 0
    options = {"background": MASK, "target": 1, "method": "paired_kernel", "seed": 2}
    with moved_tokens(inputs.embeddings[0], ids, moves) as own:
        found = AttentionExplainer(model, **options)(own)
    assert (own[1] == ids[1]).all()
    assert (own[ids == 0] == 0).all()
    table = model.get_layer("embedding").get_weights()[0]
    other = wider(model, (table[ids] + moves).reshape(-1, D))
    expected = AttentionExplainer(other, **options)(own)
    np.testing.assert_allclose(found.attribution.values, expected.attribution.values, atol=1e-5)
    np.testing.assert_allclose(align(found).attention, align(expected).attention, atol=1e-6)
    np.testing.assert_allclose(looked(inputs, planted[2], np.arange(B), moves)[0], other(own), atol=1e-6)
    unmoved = AttentionExplainer(model, **options)(ids)
    assert np.abs(found.attribution.values - unmoved.attribution.values).max() > 0.1


def test_the_model_is_as_before_also_after_a_failure(planted):
    model, ids, _, inputs = planted
    embedding, before = inputs.embeddings[0], np.asarray(model(ids))
    with pytest.raises(KeyError), moved_tokens(embedding, ids, np.ones((*ids.shape, D))):
        raise KeyError
    assert "call" not in vars(embedding)
    np.testing.assert_array_equal(model(ids), before)


@pytest.mark.parametrize("way", ["drawn", "climbed"])
def test_moves_are_as_long_as_may_be_and_keep_the_answer(planted, way):
    _, ids, swapped, inputs = planted
    lengths = 0.3 * np.linalg.norm(inputs.positions, axis=2) * swapped.keys
    if way == "drawn":
        moves = drawn(inputs, swapped, lengths, LIMIT, 0)
    else:
        moves = climbed(inputs, swapped, lengths, LIMIT, 8, drawn(inputs, swapped, lengths, LIMIT, 0))
    assert (np.linalg.norm(moves, axis=2) <= lengths * (1 + 1e-5)).all()
    assert (moves[ids == 0] == 0).all()
    assert np.abs(moves).max() > 0
    said, _ = looked(inputs, swapped, np.arange(B), moves)
    assert (total_variation(said, swapped.probabilities) <= LIMIT).all()
    assert (said.argmax(1) == swapped.probabilities.argmax(1)).all()


def test_the_ascent_moves_attention_further_than_chance_and_tells_how_far(series):
    model, rows = series
    at_random, against = robustness(model, rows, background=np.zeros((1, S, 3)), radius=0.4, steps=15)
    assert against.mean.mean > 2 * at_random.mean.mean > 0
    for test in (at_random, against):
        assert list(test.values) == ["attention", "SHAP", "distance"]
        assert (test.values["distance"] <= LIMIT).all()


def test_numbers_of_a_series_are_those_of_the_moved_series(series):
    model, rows = series
    swapped = SwappedWeights(model, rows)
    moves = np.random.default_rng(1).normal(size=rows.shape).astype("float32")
    said, weights = looked(MovedInputs(swapped), swapped, np.arange(B), moves)
    there = SwappedWeights(model, rows + moves)
    np.testing.assert_allclose(said, there.probabilities, atol=1e-6)
    np.testing.assert_allclose(weights, there.weights, atol=1e-6)


def test_words_are_replaced_by_near_ones(planted):
    model, ids, swapped, inputs = planted
    allowed = np.arange(2, V)
    found = other_words(inputs.embeddings[0], swapped, LIMIT, allowed, 0)
    changed = found != ids
    assert changed.sum() > 0
    assert (changed.sum(1) <= np.ceil(0.1 * (ids != 0).sum(1))).all()
    near = neighbours(model.get_layer("embedding").get_weights()[0], allowed)
    assert all(new in near[old] for old, new in zip(ids[changed], found[changed], strict=True))
    assert (found[ids == 0] == 0).all()
    said = np.asarray(model(found))
    assert (total_variation(said, swapped.probabilities) <= LIMIT + 1e-6).all()


def test_uniform_attention_does_not_move():
    model, _ = reader("uniform")
    tests = robustness(model, planted_rows(B)[0], background=MASK, steps=2)
    assert [one.name for one in tests] == ["moved at random", "moved against attention", "other words"]
    assert all(one.mean.mean < 1e-9 for one in tests)
    assert tests[0].values["SHAP"].max() > 0


def test_what_cannot_be_moved_is_said(planted):
    model, ids, *_ = planted
    with pytest.raises(ArgumentError, match="radius must be a number between 0 and 1; received 2"):
        robustness(model, ids, background=MASK, radius=2)
    with pytest.raises(ArgumentError, match="steps must be a positive integer; received 0"):
        robustness(model, ids, background=MASK, steps=0)
    with pytest.raises(ArgumentError, match=f"words must be token ids from 0 to {V - 1}; received {V} to {V}"):
        robustness(model, ids, background=MASK, words=[V], steps=1)
    x = keras.Input((S,), dtype="int32")
    both = keras.layers.Embedding(11, 3)(x) + keras.layers.Embedding(11, 3)(x)
    pooled = AttentionPooling(return_weights=False)(both)
    twice = keras.Model(x, keras.layers.Dense(2, activation="softmax")(pooled))
    with pytest.raises(ModelError, match="looks them up 2 times"):
        robustness(twice, np.ones((2, S), "int32"), background=0)
