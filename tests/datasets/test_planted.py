"""Planted tasks: the truth decides, and nothing else does."""

import subprocess
import sys
from dataclasses import FrozenInstanceError

import keras
import numpy as np
import pytest

from keras_attn_xai import AttentionExplainer, datasets
from keras_attn_xai.datasets import PlantedTask
from keras_attn_xai.errors import ArgumentError, RecordError, ShapeError
from keras_attn_xai.layers import AttentionPooling
from keras_attn_xai.metrics import score_against_truth

ROWS = 2003
CLASSIFIED = {
    "text": (datasets.planted_text, {"lengths": (5, 7), "words": 13}),
    "text, 3 classes": (datasets.planted_text, {"lengths": (3, 11), "words": 7, "classes": 3}),
    "series": (datasets.planted_series, {"steps": 11, "features": 2, "height": 9.0}),
    "image": (datasets.planted_image, {"patches": 3, "pixels": 5}),
    "recommender": (datasets.planted_recommender, {"lengths": (5, 7), "items": 13, "pairs": 3}),
}
WRITTEN = {
    "copy": (datasets.planted_copy, {"lengths": (3, 5), "words": 7}),
    "reverse": (datasets.planted_reverse, {"lengths": (3, 5), "words": 7}),
}
classified = pytest.mark.parametrize("name", CLASSIFIED)
every = pytest.mark.parametrize("name", CLASSIFIED | WRITTEN)


def made(name, rows=ROWS, seed=0):
    function, arguments = (CLASSIFIED | WRITTEN)[name]
    return function(rows, seed=seed, **arguments)


def read_at_truth(name, task):
    """The answers of someone who sees the planted positions alone, and knows the rule."""
    if name.startswith("text"):
        return (task.x[task.truth] - (task.ids - 3 * task.classes)) // 3
    if name == "series":
        return (task.x[..., 0][task.truth].reshape(len(task), 3).mean(1) > 0).astype(int)
    if name == "recommender":
        return task.x[task.truth] + 3
    if name == "image":
        patches = task.x.reshape(len(task), 3, 5, 3, 5).swapaxes(2, 3).reshape(len(task), 9, 5, 5)[task.truth]
        return (patches == 1).all(axis=1).any(axis=1).astype(int)  # a column of nothing but line
    return (task.truth * task.x[:, None]).sum(-1)


def positions_of(task):
    """Where x is planted, in the shape of x."""
    if task.x.ndim != 4:
        return task.truth.reshape(*task.truth.shape, *[1] * (task.x.ndim - 2))
    return task.truth[:, task.players][..., None]


def shown(x, task):
    """Everything of x a linear reader may see: its numbers, or which id is where and how often."""
    if task.ids is None:
        return np.concatenate([x.reshape(len(x), -1), (x**2).reshape(len(x), -1)], axis=1)
    one_hot = np.eye(task.ids)[x]
    return np.concatenate([one_hot.reshape(len(x), -1), one_hot.sum(1)], axis=1)


def held_out_accuracy(features, y):
    """Of least squares on one half, asked for the other."""
    features, half = np.c_[features, np.ones(len(features))], len(y) // 2
    kinds, wanted = np.unique(y, return_inverse=True)
    inner = features[:half].T @ features[:half] + np.eye(features.shape[1])
    weights = np.linalg.solve(inner, features[:half].T @ np.eye(len(kinds))[wanted[:half]])
    return np.mean((features[half:] @ weights).argmax(1) == wanted[half:])


@every
def test_the_planted_positions_give_the_answer(name):
    task = made(name)
    assert len(task) == ROWS
    np.testing.assert_array_equal(read_at_truth(name, task), task.y)
    assert (task.truth.sum(-1) == (3 if name == "series" else task.y > 0 if name in WRITTEN else 1)).all()


@classified
def test_nothing_else_tells_the_answer(name):
    task = made(name)
    hidden = np.where(positions_of(task), 0, task.x)
    places = np.c_[task.truth, task.mask]
    chance = 1 / len(np.unique(task.y))
    spread = 4 * np.sqrt(chance * (1 - chance) / (ROWS / 2))
    for features in (shown(hidden, task), places, np.c_[shown(hidden, task), places]):
        assert held_out_accuracy(features, task.y) == pytest.approx(chance, abs=spread)
    assert held_out_accuracy(shown(task.x, task), task.y) > chance + spread  # and it can tell what is there


@pytest.mark.parametrize("name", WRITTEN)
def test_no_other_word_tells_the_next(name):
    task = made(name)
    for place in range(3):  # the least length
        source = task.truth[:, place]
        features = shown(np.where(source, 0, task.x), task)
        accuracy = held_out_accuracy(features, task.y[:, place])
        assert accuracy == pytest.approx(1 / 7, abs=4 * np.sqrt(6 / 49 / (ROWS / 2)))
    assert held_out_accuracy(shown(task.x, task), task.y[:, 0]) > 0.4


@pytest.mark.parametrize("name", ["text", "image", "recommender"])
def test_every_real_position_is_as_likely(name):
    task = made(name)
    for length in np.unique(task.mask.sum(1)):
        rows = task.mask.sum(1) == length
        counts = task.truth[rows].sum(0)[task.mask[rows][0]]
        expected = rows.sum() / length
        assert (np.abs(counts - expected) < 4 * np.sqrt(expected)).all()


def test_a_pulse_starts_anywhere_it_fits():
    starts = np.bincount(made("series").truth.argmax(1), minlength=11)
    expected = ROWS / 9
    assert not starts[9:].any()
    assert (np.abs(starts[:9] - expected) < 4 * np.sqrt(expected)).all()


@classified
def test_answers_are_balanced(name):
    for rows in (ROWS, 5):
        counts = np.unique(made(name, rows).y, return_counts=True)[1]
        assert counts.max() - counts.min() <= 1


def test_lengths_and_padding():
    for name, least, most in (("text", 5, 7), ("recommender", 5, 7), ("copy", 3, 5), ("reverse", 3, 5)):
        task = made(name)
        lengths = task.mask.sum(1)
        assert np.unique(lengths).tolist() == [*range(least, most + 1)]
        np.testing.assert_array_equal(task.mask, task.x != 0)
        real = task.mask[:, ::-1] if name == "recommender" else task.mask  # padded in front
        np.testing.assert_array_equal(real, np.arange(most) < lengths[:, None])
        assert not (task.truth & ~task.mask.reshape(ROWS, *[1] * (task.truth.ndim - 2), most)).any()


def test_the_written_words_are_the_words():
    copied, reversed_ = made("copy"), made("reverse")
    np.testing.assert_array_equal(copied.x, reversed_.x)
    for words, same, back in zip(copied.x, copied.y, reversed_.y, strict=True):
        count = (words > 0).sum()
        assert same.tolist() == words.tolist()
        assert back.tolist() == [*words[:count][::-1], *words[count:]]


@every
def test_a_seed_gives_one_task(name):
    one, same, other = made(name, 101), made(name, 101), made(name, 101, seed=1)
    for field in ("x", "y", "truth", "mask"):
        np.testing.assert_array_equal(getattr(one, field), getattr(same, field))
    assert (one.x != other.x).any()
    assert (one.truth != other.truth).any()
    np.testing.assert_array_equal(read_at_truth(name, other), other.y)  # the rule stays


@every
def test_the_global_generator_is_left_alone(name):
    np.random.seed(5)
    wanted = np.random.random()
    np.random.seed(5)
    made(name, 3)
    assert np.random.random() == wanted


def test_the_background_says_nothing_and_is_known():
    for name in ("text", "recommender"):
        task = made(name)
        assert task.background == 1
        assert (task.x == 1).any()
        assert not task.truth[task.x == 1].any()
    assert made("image").x.mean() == pytest.approx(made("image").background, abs=0.05)
    assert made("copy").background is None


def test_players_of_an_image_are_its_patches():
    task = made("image", 7)
    players = AttentionExplainer(
        keras.Sequential([keras.Input(task.x.shape[1:]), keras.layers.Flatten(), keras.layers.Dense(1)]),
        task.background,
        players=task.players,
        method="exact",
    )
    values = players(task.x).attribution.values
    assert values.shape == task.truth.shape
    patches = task.x.reshape(7, 3, 5, 3, 5).swapaxes(2, 3).reshape(7, 9, 25)
    kernel = players.model.layers[-1].kernel.numpy().reshape(3, 5, 3, 5).swapaxes(1, 2).reshape(9, 25)
    np.testing.assert_allclose(values, ((patches - 0.25) * kernel).sum(-1), atol=1e-4)


def test_shapes():
    shapes = {name: (task.x.shape, task.y.shape, task.truth.shape, task.classes) for name, task in small().items()}
    assert shapes == {
        "text": ((3, 7), (3,), (3, 7), 2),
        "text, 3 classes": ((3, 11), (3,), (3, 11), 3),
        "series": ((3, 11, 2), (3,), (3, 11), 2),
        "image": ((3, 15, 15, 1), (3,), (3, 9), 2),
        "recommender": ((3, 7), (3,), (3, 7), 20),
        "copy": ((3, 5), (3, 5), (3, 5, 5), 8),
        "reverse": ((3, 5), (3, 5), (3, 5, 5), 8),
    }


def small():
    return {name: made(name, 3) for name in CLASSIFIED | WRITTEN}


def test_rows_are_selected_together():
    task = made("text", 7)
    flags = np.arange(7) % 2 == 0
    for index in (slice(2, 5), flags, [6, 0, 0]):
        part = task[index]
        for field in ("x", "y", "truth", "mask"):
            np.testing.assert_array_equal(getattr(part, field), getattr(task, field)[index])
        assert (part.ids, part.background, part.description) == (task.ids, 1, task.description)
    with pytest.raises(ShapeError, match="by slices, masks or arrays of rows; received 2"):
        task[2]


def test_a_task_is_frozen():
    task = made("text", 3)
    with pytest.raises(ValueError, match="read-only"):
        task.x[0, 0] = 5
    with pytest.raises(FrozenInstanceError):
        task.y = task.y


def test_a_task_that_contradicts_itself_is_refused():
    good = {"x": [[4, 2, 0]], "y": [1], "truth": [[True, False, False]], "mask": [[True, True, False]]}
    good |= {"description": "The first.", "classes": 2, "ids": 5}
    assert len(PlantedTask(**good)) == 1
    for change, message in (
        ({"truth": [[False, False, True]]}, "truth must lie on real positions"),
        ({"truth": [[True, False]]}, r"truth must be bool of shape \(1, 3\); received shape \(1, 2\)"),
        ({"y": [2]}, "y must lie between 0 and 1; received 2 to 2"),
        ({"x": [[5, 2, 0]]}, "x must lie between 0 and 4; received 0 to 5"),
        ({"x": [[0.5, 2, 0]]}, "x must be int"),
        ({"mask": [[1, 1, 0]]}, "mask must be bool"),
        ({"y": [1, 1]}, r"y must be int of shape \(1, \.\.\.\); received shape \(2,\)"),
    ):
        with pytest.raises(RecordError, match=message):
            PlantedTask(**good | change)


def test_what_cannot_be_made_is_one_sentence():
    for function in (one for one, _ in (CLASSIFIED | WRITTEN).values()):
        with pytest.raises(ArgumentError, match="rows must be an integer of at least 1; received 0"):
            function(0)
    with pytest.raises(ArgumentError, match=r"lengths must be the least and the most positions, \(8, 12\); received 7"):
        datasets.planted_text(3, lengths=7)
    with pytest.raises(ArgumentError, match="the most of lengths must be an integer of at least 7; received 5"):
        datasets.planted_copy(3, lengths=(7, 5))
    with pytest.raises(ArgumentError, match="the least of lengths must be an integer of at least 1; received 0"):
        datasets.planted_reverse(3, lengths=(0, 5))
    with pytest.raises(ArgumentError, match="classes must be an integer of at least 2; received 1"):
        datasets.planted_text(3, classes=1)
    with pytest.raises(ArgumentError, match="pairs must be an integer of at least 2; received True"):
        datasets.planted_recommender(3, pairs=True)
    with pytest.raises(
        ArgumentError, match="width must be at most steps and height above 0; received width 7, steps 5"
    ):
        datasets.planted_series(3, steps=5, width=7)
    with pytest.raises(ArgumentError, match="pixels must be an integer of at least 2; received 1"):
        datasets.planted_image(3, pixels=1)


def test_no_keras_is_needed():
    code = (
        "import sys; from keras_attn_xai import datasets; datasets.planted_text(3); "
        "assert not {'keras', 'tensorflow', 'shap', 'matplotlib', 'babel'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_exact_values_of_a_trained_model_find_the_keyword():
    keras.utils.set_random_seed(2015)
    task = datasets.planted_text(1500, lengths=(5, 7), words=13)
    held_out = datasets.planted_text(97, seed=1, lengths=(5, 7), words=13)
    ids = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(task.ids, 11, mask_zero=True)(ids)
    context, _ = AttentionPooling(units=7, return_weights=True)(embedded)
    model = keras.Model(ids, keras.layers.Dense(task.classes, activation="softmax")(context))
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(task.x, task.y, batch_size=64, epochs=6, verbose=0)
    assert (model.predict(held_out.x, verbose=0).argmax(1) == held_out.y).mean() > 0.98

    explanation = AttentionExplainer(model, task.background, players=task.players, method="exact")(held_out.x)
    found = score_against_truth(explanation.attribution.values, held_out.truth, mask=held_out.mask)
    assert found.hit_rate.mean() > 0.95
    assert found.mass.mean() > 0.7

    random = np.random.default_rng(0).random((200, *held_out.truth.shape))
    hits = [score_against_truth(one, held_out.truth, mask=held_out.mask).hit_rate.mean() for one in random]
    chance = (1 / held_out.mask.sum(1)).mean()
    assert np.mean(hits) == pytest.approx(chance, abs=0.02)
