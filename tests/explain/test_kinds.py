"""Every kind of model: values are those of every coalition enumerated over the plain model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_attn_xai import AttentionExplainer
from keras_attn_xai.errors import ArgumentError, ShapeError
from tests.explain.kinds import KINDS, B, D, R, T, draw, words

SHOWN = (
    "dense_relu",
    "encoder_block",
    "cnn_batch_norm",
    "embedding_mask_attention",
    "cross_attention",
    "dict_inputs",
    "output_and_weights",
    "sequence_output",
    "subclassed",
    "einsum_attention",
    "seq2seq",
    "any_length_with_masks",
    "mixed_precision",
    "half_precision",
    "conv_lstm",
)


def explained(case, **options):
    """Exact values of a case, its own players where they are not what "auto" says."""
    options = {"method": "exact", "target": case.scalar, "attention": None, **options}
    return AttentionExplainer(case.model, case.background, **options)(case.inputs)


def by_input(case, explanation):
    """Values (B, M) in the order of the case's player numbers."""
    parts = [one.values.reshape(len(one), -1) for one in explanation.attributions]
    order = np.argsort([players.max() for players in case.players]) if len(parts) > 1 else [0]
    return np.concatenate([parts[i] for i in order], axis=1)


@pytest.mark.parametrize("name", SHOWN)
def test_values_equal_every_coalition_enumerated(name):
    case = KINDS[name]()
    case.function = tf.function(case.function, reduce_retracing=True)
    first = tf.nest.flatten(case.inputs)[0]
    explanation = explained(case, players=case.players[0] if first.ndim == 4 else "auto")
    found = by_input(case, explanation)
    for row in (0, 1):
        expected = case.exact_values(row)
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())
    outputs = np.asarray(tf.cast(case.function(case.inputs), tf.float64))
    for one in explanation.attributions:  # all tell of the one game
        np.testing.assert_allclose(one.output, outputs, rtol=1e-5, atol=1e-6)
        assert one.relative_gap.max() <= 1e-5
        np.testing.assert_allclose(one.base + found.sum(1), one.output, rtol=1e-6, atol=1e-7)


def test_padded_ids_of_each_of_two_inputs():
    case = KINDS["seq2seq"]()
    source, target = explained(case).attributions
    assert (source.input_name, target.input_name) == ("source", "target")
    assert (source.values[1, 3:] == 0).all()
    np.testing.assert_array_equal(source.mask, case.inputs[0] != 0)
    np.testing.assert_allclose(source.elsewhere, target.values.sum(1))
    np.testing.assert_allclose(source.gap, target.gap, atol=1e-12)


def weighted_sum(shape, *, mask=False):
    """``sum(weight * x)`` with its weights, in the shape of a row."""
    x = keras.Input(shape)
    weight = draw(*shape, seed=5)
    y = layers.Masking()(x) if mask else x
    y = ops.sum(ops.reshape(y * weight, (-1, int(np.prod(shape)))), axis=1, keepdims=True)
    return keras.Model(x, y), weight


@pytest.mark.parametrize("method", ["exact", "permutation", "kernel"])
@pytest.mark.parametrize(
    ("shape", "players", "axes"),
    [
        ((7,), "auto", ()),
        ((T, 3), "auto", (2,)),
        ((T, 3), "features", (1,)),
        ((2, 3), "cells", ()),
        ((3, 2, 2), "patches", (3,)),
        ((3, 2, 2), np.arange(3), (2, 3)),
    ],
)
def test_a_linear_model_has_the_closed_answer(shape, players, axes, method):
    model, weight = weighted_sum(shape)
    x, background = draw(B, *shape), draw(R, *shape, seed=1)
    found = AttentionExplainer(model, background, method=method, players=players)(x).attribution
    expected = (weight * (x - background.mean(0))).sum(axes) if axes else weight * (x - background.mean(0))
    np.testing.assert_allclose(found.values, expected, atol=2e-5)
    assert found.mask.all()


@pytest.mark.parametrize("background", [0.5, np.full((1, 7), 0.5), np.full((3, 7), 0.5), [[0.5] * 7]])
def test_a_number_and_rows_of_that_number_are_the_same_background(background):
    model, weight = weighted_sum((7,))
    x = draw(B, 7)
    values = AttentionExplainer(model, background)(x).attribution.values
    np.testing.assert_allclose(values, weight * (x - 0.5), atol=1e-5)


def test_a_number_equal_to_the_background_is_no_player():
    model, _ = weighted_sum((7,))
    x, background = draw(B, 7), draw(R, 7, seed=1)
    x[0, 2] = background[:, 2] = 0.25
    found = AttentionExplainer(model, background)(x).attribution
    assert found.values[0, 2] == 0
    assert found.values[1, 2] != 0
    np.testing.assert_array_equal(found.evaluations[:2], [2**6, 2**7])


def test_steps_that_a_masking_layer_leaves_out_are_padding():
    x = keras.Input((T, D))
    y = layers.GlobalAveragePooling1D()(layers.Masking()(x))
    model = keras.Model(x, layers.Dense(1)(y))
    rows = draw(B, T, D)
    rows[1, 3:] = 0
    found = AttentionExplainer(model, draw(R, T, D, seed=1), method="exact")(rows).attribution
    assert (found.values[1, 3:] == 0).all()
    assert found.values[1, :3].all()
    np.testing.assert_array_equal(found.mask, (rows != 0).any(-1))
    assert found.player_labels[1] == ("step 0", "step 1", "step 2", "", "")
    np.testing.assert_array_equal(found.evaluations, [2**5, 2**3, 2**5])


def pooled_series():
    """Self-attention over a series that knows no positions, pooled."""
    x = keras.Input((T, D))
    y = layers.MultiHeadAttention(3, 5, name="mha")(x, x)
    return keras.Model(x, layers.Dense(1)(layers.GlobalAveragePooling1D()(x + y)))


def test_permuting_steps_permutes_values_and_equals_get_the_same():
    explain = AttentionExplainer(pooled_series(), 0.0, method="exact", attention=None)
    rows, order = draw(B, T, D), np.array([3, 0, 4, 1, 2])
    rows[:, 4] = rows[:, 1]
    values = explain(rows).attribution.values
    np.testing.assert_allclose(explain(rows[:, order]).attribution.values, values[:, order], atol=1e-5)
    np.testing.assert_allclose(values[:, 4], values[:, 1], atol=1e-5)
    assert np.abs(values[:, 0] - values[:, 1]).min() > 1e-4


def test_an_input_nobody_reads_gets_zero():
    one, two = keras.Input((3,), name="read"), keras.Input((2,), name="unread")
    model = keras.Model([one, two], layers.Dense(1, activation="tanh")(one) + 0 * layers.Dense(1)(two))
    read, unread = AttentionExplainer(model, [np.zeros((1, 3)), draw(R, 2)], method="exact")(
        [draw(B, 3, seed=2), draw(B, 2, seed=3)]
    ).attributions
    np.testing.assert_allclose(unread.values, 0, atol=1e-7)
    assert np.abs(read.values).min() > 1e-4


def tabular():
    """Named columns of one number each, a category among them."""
    price, age = keras.Input((1,), name="price"), keras.Input((1,), name="age")
    colour = keras.Input((1,), dtype="int32", name="colour")
    table = layers.Flatten()(layers.Embedding(5, 2)(colour))
    y = layers.Dense(1)(layers.Dense(3, activation="tanh")(layers.Concatenate()([price, age, table])))
    return keras.Model({"price": price, "age": age, "colour": colour}, y)


def test_columns_by_name():
    x = {"price": draw(B, 1), "age": draw(B, 1, seed=1), "colour": np.array([[1], [2], [3]])}
    background = {"price": 0.0, "age": draw(R, 1, seed=2), "colour": 4}
    found = AttentionExplainer(tabular(), background)(x)
    assert [(one.input_name, one.players, one.values.shape) for one in found.attributions] == [
        ("age", "features", (B, 1)),
        ("colour", "tokens", (B, 1)),
        ("price", "features", (B, 1)),
    ]
    age, colour, price = found.attributions
    assert age.player_labels == (("age",),) * B
    assert colour.player_labels == (("1",), ("2",), ("3",))
    assert found.provenance.background == "age: 2 rows; colour: token id 4; price: 0.0"
    np.testing.assert_allclose(age.base + age.values[:, 0] + colour.values[:, 0] + price.values[:, 0], age.output)
    with pytest.raises(ArgumentError, match=r"has 3 attributions \(age, colour, price\)"):
        _ = found.attribution
    shown = found.to_shap()
    assert shown.values.shape == (B, 3)
    np.testing.assert_allclose(shown.base_values + shown.values.sum(1), age.output)


def test_players_by_input_and_one_that_stays():
    case = KINDS["dict_inputs"]()
    only = explained(case, players={"memory": "cells"}, method="permutation").attribution
    assert (only.input_name, only.players, only.values.shape) == ("memory", "cells", (B, 4, D))
    assert only.player_labels[0][:2] == ("0, 0", "0, 1")
    need = {"memory": case.background["memory"]}  # an input that stays needs no background
    again = AttentionExplainer(
        case.model, need, players={"memory": "cells"}, target=case.scalar, method="permutation", attention=None
    )
    np.testing.assert_allclose(again(case.inputs).attribution.values, only.values, atol=1e-6)
    with pytest.raises(ArgumentError, match="players names the input 'key'; the inputs are memory, query"):
        explained(case, players={"key": "steps"})


class Named(keras.Model):
    """Ids and two features, in a dict or a tuple, which Keras learns of when it sees them."""

    def __init__(self):
        super().__init__()
        self.table, self.attend = layers.Embedding(31, D, mask_zero=True), layers.MultiHeadAttention(3, 5)
        self.head = layers.Dense(2, activation="softmax")

    def call(self, inputs):
        """Ids (N, T) and features (N, 2) to (N, 2)."""
        ids, more = (inputs["ids"], inputs["more"]) if isinstance(inputs, dict) else inputs
        x = self.table(ids)
        return self.head(ops.concatenate([ops.mean(self.attend(x, x), axis=1), more], axis=-1))


def test_a_subclassed_model_of_several_inputs():
    keras.utils.set_random_seed(3)
    model, ids, more = Named(), words(B), draw(B, 2)
    ids[0, 3:] = 0
    named = AttentionExplainer(model, {"ids": 1, "more": draw(R, 2)}, target=1)({"ids": ids, "more": more})
    assert [(one.input_name, one.values.shape) for one in named.attributions] == [("ids", (B, T)), ("more", (B, 2))]
    assert (named.attributions[0].values[0, 3:] == 0).all()
    assert all(one.relative_gap.max() <= 1e-5 for one in named.attributions)
    for x in ((ids, more), [ids, more]):
        by_place = AttentionExplainer(model, [1, draw(R, 2)], target=1)(x)
        assert [one.input_name for one in by_place.attributions] == ["input_0", "input_1"]
        for one, other in zip(by_place.attributions, named.attributions, strict=True):
            np.testing.assert_allclose(one.values, other.values, atol=1e-6)
    with pytest.raises(ArgumentError, match="background=1 cannot stand for ids and for other numbers at once"):
        AttentionExplainer(model, 1)((ids, more))


def test_texts_in_a_dict():
    known = {"a": 2, "good": 3, "film": 4}
    explainer = AttentionExplainer(
        Named(), {"ids": 1, "more": 0.0}, tokenizer=lambda text: [known[w] for w in text.split()]
    )
    found = explainer({"ids": ["a good film", "film"], "more": draw(2, 2)})
    assert found.labels == (("a", "good", "film"), ("film", "", ""))
    np.testing.assert_array_equal(found.attributions[0].mask, [[True, True, True], [True, False, False]])


def test_a_mask_among_the_inputs_stays(tmp_path):
    ids, mask = keras.Input((T,), dtype="int32", name="ids"), keras.Input((T,), dtype="int32", name="mask")
    x = layers.Embedding(31, D)(ids)
    x = layers.MultiHeadAttention(3, 5)(x, x, attention_mask=mask[:, None, :])
    model = keras.Model([ids, mask], layers.Dense(2)(x[:, 0]))
    rows = words(B)
    rows[1, 3:] = 0
    there = (rows != 0).astype("int32")
    explain = AttentionExplainer(model, 1, players={"ids": "tokens"}, pad_id=0)
    found = explain([rows, there]).attribution
    assert (found.values[1, 3:] == 0).all()
    np.testing.assert_allclose(explain({"mask": there, "ids": rows}).attribution.values, found.values)
    model.save(tmp_path / "model.keras")
    again = AttentionExplainer(
        keras.models.load_model(tmp_path / "model.keras"), {"ids": 1}, players={"ids": "tokens"}, pad_id=0
    )
    np.testing.assert_allclose(again([rows, there]).attribution.values, found.values, atol=1e-6)


def test_the_only_input_by_its_name():
    x = keras.Input((3,), name="row")
    model = keras.Model(x, layers.Dense(1)(x))
    rows = draw(B, 3)
    found = AttentionExplainer(model, {"row": 0.0}, players={"row": "features"})({"row": rows}).attribution
    np.testing.assert_allclose(found.values, rows * model.get_weights()[0][:, 0], atol=1e-6)
    assert found.input_name == "input"


def test_maps_of_two_towers_carry_the_labels_of_their_sides():
    case = KINDS["cross_attention"]()
    (seen,) = explained(case, attention="all").attention
    assert seen.weights.shape[2:] == (3, 4)
    assert seen.key_labels[0] == ("step 0", "step 1", "step 2", "step 3")


def test_attention_that_is_not_seen_is_noted():
    case = KINDS["einsum_attention"]()
    explanation = explained(case, attention="all")
    assert explanation.attention == ()
    (note,) = explanation.provenance.notes
    assert note.startswith("No maps: No attention layer of the model")


def test_an_image_of_bytes():
    x = keras.Input((4, 4, 1), dtype="uint8")
    model = keras.Model(x, layers.Dense(1)(layers.Flatten()(ops.cast(x, "float32"))))
    rows = np.random.default_rng(0).integers(0, 256, (B, 4, 4, 1)).astype("uint8")
    found = AttentionExplainer(model, np.full((1, 4, 4, 1), 255), players=np.arange(4))(rows).attribution
    weight = np.asarray(model.get_weights()[0]).reshape(4, 4)
    np.testing.assert_allclose(found.values, (weight * (rows[..., 0] - 255.0)).sum(2), rtol=1e-4, atol=1e-3)


def test_ids_for_an_input_declared_as_floats():
    model = keras.Sequential([keras.Input((T,)), layers.Embedding(31, 3), layers.Flatten(), layers.Dense(1)])
    found = AttentionExplainer(model, 1)(words(B)).attribution
    assert found.players == "tokens"
    assert found.relative_gap.max() <= 1e-5


BAD = [
    (np.ones((B, 5)), None, ShapeError, r"takes \(None, 7\); received a row of shape \(5,\)"),
    (np.ones((B, 7, 1)), None, ShapeError, "must have rows of one rank, 1; received rows of ranks .2."),
    (np.ones(7), None, ShapeError, r"takes rows \(None, 7\); received shape \(7,\)\. If that is one row, .* x\[None\]"),
    (np.full((B, 7), np.nan), None, ArgumentError, r"must be finite; received 21 NaN .* Fill them in"),
    (np.full((B, 7), "a"), None, ShapeError, "Expected numbers that float32 can hold for 'input'"),
    (np.ones((0, 7)), None, ShapeError, "at least 1; received .0."),
    ([[1.0, 2.0], [3.0]], None, ShapeError, "rows of one length; received several"),
    (None, np.ones((2, 5)), ShapeError, r"background for 'input' has shape \(2, 5\), and a row has shape \(7,\)"),
    (None, np.ones(7), ShapeError, r"give it a first axis, background\[None\]"),
    (None, np.ones((0, 7)), ArgumentError, r"rows of numbers, at least one; received shape \(0, 7\)"),
    (None, np.nan, ArgumentError, "background for 'input' must be finite"),
    (None, "mask", ArgumentError, "background for 'input' must be a number or rows of numbers"),
]


@pytest.mark.parametrize(("x", "background", "error", "match"), BAD)
def test_bad_numbers(x, background, error, match, capfd):
    model, _ = weighted_sum((7,))
    state = np.random.get_state()
    x = draw(B, 7) if x is None else x
    background = 0.0 if background is None else background
    with pytest.raises(error, match=match):
        AttentionExplainer(model, background)(x)
    np.testing.assert_equal(np.random.get_state(), state)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("background", "error", "match"),
    [
        ([0.0], ArgumentError, r"a part for each of 2 inputs \(query, memory\), in a list or a dict; received list"),
        (draw(R, 3, D), ArgumentError, "a part for each of 2 inputs .* received ndarray"),
        ({"query": 0.0, "key": 0.0}, ArgumentError, "background names the input 'key'; the inputs are query, memory"),
        ({"query": 0.0}, ArgumentError, "background has no part for the input 'memory', whose numbers are players"),
        ([draw(2, 3, D), draw(3, 4, D)], ShapeError, "one number of background rows; received 2, 3"),
    ],
)
def test_backgrounds_of_two_inputs_that_do_not_fit(background, error, match):
    case = KINDS["cross_attention"]()
    with pytest.raises(error, match=match):
        AttentionExplainer(case.model, background, target=case.scalar)(case.inputs)


def test_inputs_that_are_missing():
    case = KINDS["cross_attention"]()
    explain = AttentionExplainer(case.model, 0.0, target=case.scalar)
    with pytest.raises(ShapeError, match=r"takes 2 inputs, 'query' .* received 1"):
        explain(case.inputs[0])
    with pytest.raises(ShapeError, match=r"one number of rows, at least 1; received \[2, 3\]"):
        explain([case.inputs[0][:2], case.inputs[1]])


def test_id_0_is_a_player_where_no_embedding_masks_it():
    source, written = (keras.Input((T,), dtype="int32", name=name) for name in ("source", "written"))
    read = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(11, 3, mask_zero=True)(source))
    asks = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(11, 3)(written))
    model = keras.Model([source, written], keras.layers.Dense(2)(keras.layers.concatenate([read, asks])))
    rows = np.arange(2, 2 + T)[None], np.arange(T)[None]
    rows[0][0, -1] = 0
    first, second = AttentionExplainer(model, {"source": 1, "written": 0}, target=1)(rows).attributions
    assert first.mask.tolist() == [[True] * (T - 1) + [False]]
    assert second.mask.all()
    with pytest.raises(ArgumentError, match="background=0 would remove tokens"):
        AttentionExplainer(model, {"source": 0, "written": 0}, target=1)
