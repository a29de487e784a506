"""What is trained again: other seeds, uniform weights, and a model that reads each position alone."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_attn_xai import intervene
from keras_attn_xai.auditing import (
    cascading_randomization,
    diagnostic_mlp,
    randomized_copy,
    seed_variance,
    uniform_retrained,
)
from keras_attn_xai.auditing.diagnostic import KINDS, guided
from keras_attn_xai.auditing.retraining import crossed_interval, evened
from keras_attn_xai.auditing.swapped_weights import SwappedWeights
from keras_attn_xai.capture import uniform
from keras_attn_xai.errors import ArgumentError, ModelError, ShapeError
from keras_attn_xai.layers import AttentionPooling
from keras_attn_xai.metrics import bootstrap_interval, jensen_shannon
from tests.audit.planted import planted_rows, reader, trained

B, S, F, C = 41, 13, 5, 2


def build_and_fit(seed, change=None, *, kind="learned", epochs=5):
    """The planted task, learned in a second."""
    keras.utils.set_random_seed(seed)
    model, _ = reader(kind)
    model = model if change is None else change(model)
    ids, labels, _ = planted_rows(500, seed=1)
    model.compile(keras.optimizers.Adam(3e-2), "sparse_categorical_crossentropy")
    model.fit(ids, labels, epochs=epochs, batch_size=128, verbose=0)
    return model


def needs_attention(seed, change=None):
    """The class is whether the marked step's number is above 0, and the other steps' numbers are ten times larger."""
    x, y = marked_steps(1000, seed=11)
    keras.utils.set_random_seed(seed)
    model = marking()
    model = model if change is None else change(model)
    model.compile(keras.optimizers.Adam(3e-2), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=10, batch_size=128, verbose=0)
    return model


def marking():
    """Attention to the marked step, which needs no learning."""
    steps = keras.Input((7, 2))
    marks = layers.Lambda(lambda one: one[..., :1] * 9.0)(steps)
    query = layers.Lambda(lambda one: one[:, :1] * 0 + 9.0)(marks)
    context = layers.Attention(name="pool")([query, steps, marks])
    return keras.Model(steps, layers.Dense(C, activation="softmax")(layers.Flatten()(context)))


def marked_steps(rows, *, seed):
    """Steps (B, 7, 2) of a mark and a number, and classes (B,)."""
    draw = np.random.default_rng(seed)
    place, numbers = draw.integers(0, 7, rows), draw.normal(size=(rows, 7)) * 10
    marks = np.arange(7) == place[:, None]
    numbers[marks] /= 10
    return np.stack([marks, numbers], axis=2).astype("float32"), (numbers[marks] > 0).astype(int)


@pytest.fixture(scope="module")
def again():
    """Where attention is needed, and where a mean of all tokens does."""
    x, y = marked_steps(B, seed=5)
    ids, labels, _ = planted_rows(B, seed=5)
    return uniform_retrained(needs_attention, x, y, (0, 1)), uniform_retrained(build_and_fit, ids, labels, (3, 4))


def test_uniform_weights_do_as_well_where_the_task_needs_no_attention(again):
    needed, idle = again
    assert needed.mean.low > 0.1
    assert needed.intervals["trained"].mean > 0.9 > 0.75 > needed.intervals["uniform"].mean
    assert idle.intervals["uniform"].mean > 0.9
    assert abs(idle.mean.mean) < 0.1
    assert idle.mean.low <= 0
    for test in again:
        np.testing.assert_allclose(test.values["gain"], test.values["trained"] - test.values["uniform"])
        assert {name: len(values) for name, values in test.values.items()} == dict.fromkeys(test.intervals, B)
        assert set(np.unique(test.values["trained"])) <= {0, 0.5, 1}  # of two trainings


def test_what_is_trained_is_frozen_at_uniform_and_says_nothing(recwarn):
    model, _ = reader("learned")
    before = [keras.ops.convert_to_numpy(one) for one in model.get_layer("pool").trainable_variables]
    model.compile(keras.optimizers.Adam(1.0), "sparse_categorical_crossentropy")
    view = evened("pool", model)(model)
    view.compile(keras.optimizers.Adam(1.0), "sparse_categorical_crossentropy")
    ids, labels, _ = planted_rows(29, seed=1)
    same = intervene(model, {"pool": uniform()})
    np.testing.assert_allclose(view.predict(ids, verbose=0), same.predict(ids, verbose=0), atol=1e-6)
    view.fit(ids, labels, verbose=0)
    assert not [one for one in recwarn if "Gradients do not exist" in str(one.message)]
    for variable, old in zip(model.get_layer("pool").trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_calls_are_found_again_under_the_names_keras_gives_next():
    """Three trainings of layers without names of their own."""

    def build(seed, change=None):
        keras.utils.set_random_seed(seed)
        x = keras.Input((7, F))
        y = layers.MultiHeadAttention(2, 3)(x, x)
        y = layers.MultiHeadAttention(2, 3)(y, y)
        model = keras.Model(x, layers.Dense(C, activation="softmax")(layers.Flatten()(y)))
        return model if change is None else change(model)

    first, x = build(0), np.random.default_rng(0).normal(size=(3, 7, F)).astype("float32")
    lower = first.layers[1].name  # of the two calls, the one no default would take

    def named(seed, change=None):
        return first if seed == 0 and change is None else build(seed, change)

    assert build(1).layers[1].name != lower
    test = uniform_retrained(named, x, [0, 1, 1], (0, 1), map=lower)
    assert test.values["distance"].min() > 0
    apart = seed_variance(named, x, (0, 1), map=lower)
    one, other = SwappedWeights(first, x, call=lower), build(1)
    second = SwappedWeights(other, x, call=other.layers[1].name)
    expected = jensen_shannon(one.by_key(one.weights), second.by_key(second.weights))
    np.testing.assert_allclose(apart.values["divergence"], expected, atol=1e-6)
    with pytest.raises(ArgumentError, match=r"built alike.* 2 attention layers .* has 1"):
        seed_variance([first, marking()].__getitem__, x, (0, 1))


def test_intervals_hold_the_chance_of_training_too():
    values = np.repeat([[0.0], [1.0], [0.0]], 29, axis=1)  # the rows agree, the trainings do not
    one = crossed_interval(values, seed=1)
    assert (one.low, one.rows) == (0, 29)
    assert one.high == pytest.approx(1)
    assert one.mean == pytest.approx(1 / 3)
    rows = np.random.default_rng(0).normal(size=(1, 997))
    crossed, plain = crossed_interval(rows), bootstrap_interval(rows[0])
    np.testing.assert_allclose(crossed[:3], plain[:3], atol=0.01)
    assert np.isnan(crossed_interval(np.ones((3, 1))).low)


def test_the_diagnostic_is_right_where_the_weights_point():
    x, y = marked_steps(500, seed=1)
    unseen, right = marked_steps(B, seed=2)
    test = diagnostic_mlp(marking(), x, y, unseen, right, seeds=(0, 1), units=7, epochs=5)
    assert test.mean.low > 0.05
    assert test.intervals["gain over shuffled"].low > 0.05
    assert test.intervals["trained"].mean > 0.9


def test_the_diagnostic_reads_ids_and_keeps_padding_out():
    ids, labels, _ = planted_rows(300, seed=1)
    unseen, right, _ = planted_rows(B, seed=2)
    right[:11] = 1 - right[:11]
    model, _ = trained("learned")
    found = guided(model, ids, labels, unseen, right, (0, 1), 7, 10)
    assert found.shape == (2, len(KINDS), B)
    assert found[:, 0, 11:].mean() > 0.9
    assert found[:, 0, :11].mean() < 0.1  # each row has its own answer
    wide = [np.concatenate([one, np.zeros((len(one), 4), "int32")], axis=1) for one in (ids, unseen)]
    padded = guided(model, wide[0], labels, wide[1], right, (0, 1), 7, 10)
    kinds = [0, 1]  # shuffled weights are drawn for other places
    np.testing.assert_array_equal(found[:, kinds], padded[:, kinds])


def test_layers_are_made_random_from_the_top():
    model, _ = trained("learned")
    ids, _, _ = planted_rows(B, seed=5)
    before = [array.copy() for array in model.get_weights()]
    test = cascading_randomization(model, ids, seed=7)
    assert list(test.values) == ["down to embedding", "down to pool", "down to answer"]
    np.testing.assert_allclose(test.values["down to answer"], 0, atol=1e-6)  # above the attention
    own = SwappedWeights(model, ids)
    copy, draw = randomized_copy(model, seed=7), np.random.default_rng(7)
    copy.set_weights(before)
    for name in ("answer", "pool", "embedding"):  # one stays random while the next becomes so
        for variable in copy.get_layer(name).trainable_variables:
            values = keras.ops.convert_to_numpy(variable)
            variable.assign(draw.permutation(values.ravel()).reshape(values.shape))
        other = SwappedWeights(copy, ids)
        expected = jensen_shannon(own.by_key(own.weights), other.by_key(other.weights), mask=own.keys)
        np.testing.assert_allclose(test.values[f"down to {name}"], expected, atol=1e-6)
    assert test.mean.low > 0.1
    assert test.mean == test.intervals["down to embedding"]
    for array, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, old)


def deaf(seed, change=None):
    """Takes a change and forgets it."""
    return trained("learned")[0]


def image_model():
    """Attention over the rows of an image."""
    image = keras.Input((S, F, 3))
    pool = AttentionPooling("location", return_weights=False)
    context = pool(layers.Reshape((S, F * 3))(image))
    return keras.Model(image, layers.Dense(C, activation="softmax")(context))


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda x, y: uniform_retrained(deaf, x, y, (1, 1)), ArgumentError, "two different"),
        (lambda x, y: uniform_retrained(lambda seed: None, x, y), ArgumentError, "a seed and a change"),
        (lambda x, y: uniform_retrained(deaf, x, y), ArgumentError, "weights of 'pool' are not uniform"),
        (lambda x, y: uniform_retrained(deaf, x, y[:2]), ShapeError, r"class of each of 3 rows.*\(2,\)"),
        (lambda x, y: uniform_retrained(lambda s, c=None: None, x, y), ModelError, "takes a keras.Model.*NoneType"),
        (lambda x, y: uniform_retrained(deaf, x, y, map="far"), ArgumentError, "no attention call 'far'"),
        (lambda x, y: diagnostic_mlp(deaf(0), x, y, x, y, seeds=[1]), ArgumentError, "two different"),
        (lambda x, y: diagnostic_mlp(deaf(0), x, y, x, y, epochs=0), ArgumentError, "epochs must be"),
        (lambda x, y: diagnostic_mlp(deaf(0), x, y, x, y[:2]), ShapeError, "class of each of 3 rows"),
        (
            lambda x, y: diagnostic_mlp(image_model(), *[np.ones((3, S, F, 3)), y] * 2),
            ModelError,
            r"token ids \(B, S\) or steps.*\(3, 13, 5, 3\)",
        ),
        (
            lambda x, y: cascading_randomization(
                keras.Sequential(
                    [keras.Input((S, F)), AttentionPooling("location", return_weights=False, trainable=False)]
                ),
                np.ones((3, S, F)),
            ),
            ModelError,
            "no trained arrays",
        ),
    ],
)
def test_what_cannot_be_meant_is_said(ask, error, message):
    ids, labels, _ = planted_rows(3, seed=1)
    with pytest.raises(error, match=message):
        ask(ids, labels)
