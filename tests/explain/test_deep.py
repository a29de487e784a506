"""Whole models through `Deep` and `ExpectedGradients`: complete, close to exact Shapley values, nothing left behind."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_attn_xai.errors import ArgumentError, ModelError, ShapeError
from keras_attn_xai.explain.deep import Deep, ExpectedGradients, preflight
from keras_attn_xai.explain.deep.rows import most_at_once
from tests.explain.kinds import KINDS, Case, along, draw, logit, pooled, words

HALF = {"mixed_precision": 2e-2, "half_precision": 1e-2}  # explained in float32, run in half
NOT_SMOOTH = ["dense_relu", "dense_leaky_relu", "conv_max_pooling", "unit_normalization"]  # nodes gather at the kinks
SMALL = ["dense_gelu", "multi_head_attention", "bigru_attention_pooling", "embedding_mask_attention", "dict_inputs"]


@pytest.mark.parametrize("name", KINDS)
def test_deep_adds_up_on_every_kind(name):
    case = KINDS[name]()
    before = [(vars(one).get("call"), getattr(one, "unroll", None)) for one in case.layers]
    found = Deep(case.function, layers=case.layers)(case.inputs, case.background)
    own = np.asarray(case.function(case.inputs), np.float64)
    np.testing.assert_allclose(found.output, own, atol=HALF.get(name, 1e-5))
    assert found.relative_gap.max() <= 1e-4
    assert found.without_rule == found.blocking == ()
    tf.nest.assert_same_structure(found.values, case.inputs)
    for value, one in zip(tf.nest.flatten(found.values), tf.nest.flatten(case.inputs), strict=True):
        assert value.shape == one.shape
        assert np.abs(value).max() > 1e-4
    assert before == [(vars(one).get("call"), getattr(one, "unroll", None)) for one in case.layers]


@pytest.mark.parametrize(
    "name",
    [
        "additive_of_any_length",
        "dict_inputs",
        "encoder_block",
        "lstm_silu",
        "any_length_with_masks",
        "mixed_precision",
        *NOT_SMOOTH,
    ],
)
def test_expected_gradients_add_up(name):
    case = KINDS[name]()
    found = ExpectedGradients(case.function, layers=case.layers)(case.inputs, case.background)
    assert found.relative_gap.max() <= 1e-3
    assert (found.evaluations <= len(tf.nest.flatten(case.background)[0]) * 2 * 256).all()
    np.testing.assert_allclose(found.output, np.asarray(case.function(case.inputs)), atol=HALF.get(name, 1e-5))


@pytest.mark.parametrize("name", SMALL)
def test_values_are_close_to_exact_shapley_values(name):
    case = KINDS[name]()
    expected = np.stack([case.exact_values(row) for row in range(2)])
    for engine in (Deep, ExpectedGradients):
        found = engine(case.function, layers=case.layers)(case.inputs, case.background)
        values = case.of_players(found.values)[:2]
        assert np.corrcoef(values.ravel(), expected.ravel())[0, 1] > 0.85
        np.testing.assert_allclose(found.base[:2] + expected.sum(1), found.output[:2], atol=1e-5)


def test_a_product_of_two_is_split_as_shapley_would():
    case = KINDS["three_factors"]()
    case.function = lambda x: tf.reduce_sum(x[:, 0] * x[:, 1], 1) + tf.reduce_sum(x[:, 2], 1)
    found = Deep(case.function)(case.inputs, case.background)
    expected = np.stack([case.exact_values(row) for row in range(3)])
    np.testing.assert_allclose(case.of_players(found.values), expected, atol=1e-5)


def test_padding_gets_exactly_zero():
    case = KINDS["any_length_with_masks"]()
    values = Deep(case.function, layers=case.layers)(case.inputs, case.background).values
    assert (values[case.inputs == 0] == 0).all()
    assert (values[case.inputs != 0] != 0).all()


@pytest.mark.parametrize("engine", [Deep, ExpectedGradients])
def test_a_row_that_is_the_background_has_nothing_to_explain(engine):
    case = KINDS["encoder_block"]()
    found = engine(case.function)(case.inputs, case.inputs[:1])
    assert (found.values[0] == 0).all()
    assert found.gap[0] == 0
    assert np.isfinite(found.values).all()


def test_background_rows_and_parts_are_averaged():
    case = KINDS["multi_head_attention"]()
    background = draw(5, *case.inputs.shape[1:], seed=4)
    alone = [Deep(case.function)(case.inputs, row[None]) for row in background]
    for engine in (Deep(case.function, batch_size=2), Deep(case.function, batch_size=11)):
        together = engine(case.inputs, background)
        np.testing.assert_allclose(together.values, np.mean([one.values for one in alone], 0), atol=1e-6)
        np.testing.assert_allclose(together.base, np.mean([one.base for one in alone], 0), atol=1e-6)


def test_a_function_is_traced_once_for_any_number_of_rows():
    case, traced = KINDS["dense_relu"](), []

    def function(x):
        traced.append(1)
        return case.function(x)

    engine = Deep(function, precision="float32")
    for rows in (1, 2, 3):
        engine(case.inputs[:rows], case.background[:1])
    assert len(traced) == 1


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_an_unrolled_backward_layer_reads_its_mask_backwards(mask, both):
    ids = keras.Input((5,), dtype="int32")
    x = layers.Embedding(31, 7, mask_zero=mask)(ids)
    lstm = layers.LSTM(3, return_sequences=True, go_backwards=not both)
    model = keras.Model(ids, layers.Bidirectional(lstm)(x) if both else lstm(x))
    rows, weights = words(3), draw(5, 6 if both else 3, seed=6)
    rows[0, 3:] = rows[1, :2] = 0
    scalar = lambda outputs: tf.reduce_sum(outputs * weights, [1, 2])  # noqa: E731
    case = Case(model, scalar, rows, words(2, seed=1), [along((5,))])
    found = Deep(case.function, layers=case.layers)(rows, case.background)
    np.testing.assert_allclose(found.output, np.asarray(case.function(rows)), atol=1e-6)
    assert found.relative_gap.max() < 1e-5


def test_an_embedding_read_by_two_inputs_counts_for_each():
    table = layers.Embedding(31, 7)
    left, right = keras.Input((3,), dtype="int32"), keras.Input((4,), dtype="int32")
    y = keras.ops.concatenate([pooled(table(left)), 3 * pooled(table(right))], axis=1)
    model = keras.Model([left, right], layers.Dense(3)(y))
    rows, others = ([words(n, length=k, seed=seed) for k in (3, 4)] for n, seed in ((3, 0), (2, 1)))
    case = Case(model, logit, rows, others, [along((3,)), along((4,), 3)])
    found = Deep(case.function, layers=case.layers)(rows, others)
    expected = np.stack([case.exact_values(row) for row in range(3)])
    np.testing.assert_allclose(case.of_players(found.values), expected, atol=1e-6)


def test_the_model_is_as_it_was_when_its_trace_fails():
    case = KINDS["any_length_with_masks"]()

    def fails(inputs):
        case.function(inputs)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        Deep(fails, layers=case.layers)(case.inputs, case.background)
    assert not any({"call", "inner_loop"} & set(vars(one)) for one in case.layers)
    assert not any(getattr(one, "unroll", False) for one in case.layers)


def test_an_operation_without_a_rule_is_integrated_and_named():
    function = lambda x: tf.reduce_sum(tf.math.cumprod(x, axis=1), 1)  # noqa: E731
    x, r = draw(3, 5).astype("float64"), draw(2, 5, seed=1).astype("float64")
    found = Deep(function)(x, r)
    assert found.without_rule == ("Cumprod",)
    assert found.relative_gap.max() < 1e-10


def test_what_makes_integers_blocks_and_is_named():
    function = lambda x: x[:, 0] + tf.gather([0.0, 1.0, 5.0], tf.argmax(x, 1))  # noqa: E731
    found = Deep(function)(np.float32([[1, 2, 4]]), np.float32([[2, 0, 0]]))
    assert found.blocking == ("ArgMax",)
    assert found.gap[0] == pytest.approx(-5)


@pytest.mark.parametrize("loop", ["While", "If"])
def test_loops_are_refused_by_deep_and_integrated_by_expected_gradients(loop):
    def function(x):
        if loop == "If":
            return tf.cond(tf.shape(x)[1] > 2, lambda: tf.reduce_sum(x**2, 1), lambda: x[:, 0])
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(y)), [0, x])[1][:, 0]

    x, r = draw(3, 5), draw(2, 5, seed=1)
    with pytest.raises(ModelError, match=f"{loop} on what is explained.*expected_gradients"):
        Deep(function)(x, r)
    assert ExpectedGradients(function)(x, r).relative_gap.max() < 1e-3


def test_a_called_function_is_opened():
    inner = tf.function(lambda x: tf.tanh(x) * x)
    found = Deep(lambda x: tf.reduce_sum(inner(x), 1))(draw(3, 5), draw(2, 5, seed=1))
    assert found.relative_gap.max() < 1e-5
    assert found.without_rule == ()


def test_the_softmax_of_quadrature_is_kept_by_name():
    case = KINDS["multi_head_attention"]()
    closed, nodes = (
        Deep(case.function, softmax=one)(case.inputs, case.background) for one in ("closed form", "quadrature")
    )
    assert nodes.without_rule == ("Softmax",)
    assert nodes.relative_gap.max() < 1e-4
    assert np.abs(closed.values - nodes.values).max() > 1e-3


def test_expected_gradients_stop_at_the_tolerance_and_at_the_cap():
    case = KINDS["encoder_block"]()
    loose, tight = (
        ExpectedGradients(case.function, tol=tol, cap=64)(case.inputs, case.background) for tol in (0.5, 1e-9)
    )
    assert loose.evaluations.min() == 2 * 4
    assert (tight.evaluations == 2 * (4 + 8 + 16 + 32 + 64)).all()
    assert tight.relative_gap.max() < loose.relative_gap.max()


def test_preflight_lists_operations_without_running_them():
    case = KINDS["encoder_block"]()
    found = preflight(case.model)
    assert found.ready
    assert found.exact["Softmax"] == 1
    assert str(found).startswith("exact rules: ")
    found = preflight(keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: keras.ops.cumprod(x, 1))]))
    assert not found.ready
    assert found.quadrature == {"Cumprod": 1}
    assert "by quadrature: Cumprod x1" in str(found)


def test_preflight_of_a_subclassed_model_needs_rows():
    case = KINDS["subclassed"]()
    with pytest.raises(ModelError, match="pass inputs="):
        preflight(case.model)
    assert preflight(case.model, case.inputs).ready


@pytest.mark.parametrize(
    ("inputs", "references", "error", "match"),
    [
        (draw(3, 7), draw(2, 5), ShapeError, r"must agree but for their number"),
        (draw(3, 7), [draw(2, 7)], ShapeError, "the structure of the inputs"),
        (draw(3, 7), draw(0, 7), ShapeError, r"must agree"),
        (draw(3, 7) * np.nan, draw(2, 7), ArgumentError, "finite"),
        (np.full((3, 7), "a"), np.full((3, 7), "a"), ArgumentError, "numbers"),
    ],
)
def test_bad_rows_are_refused(inputs, references, error, match):
    for engine in (Deep, ExpectedGradients):
        with pytest.raises(error, match=match):
            engine(KINDS["dense_relu"]().function)(inputs, references)


def test_bad_options_are_refused():
    with pytest.raises(ArgumentError, match="closed form, quadrature"):
        Deep(logit, softmax="shap")
    with pytest.raises(ArgumentError, match="precision must be one of auto, float32, float64; received 'half'"):
        Deep(logit, precision="half")
    with pytest.raises(ArgumentError, match="tol must be positive"):
        ExpectedGradients(logit, tol=0)
    with pytest.raises(ModelError, match="one scalar per row"):
        Deep(lambda x: x)(draw(3, 7), draw(2, 7))


def test_ids_that_no_embedding_reads_are_refused():
    case = KINDS["embedding"]()
    for engine in (Deep, ExpectedGradients):
        with pytest.raises(ModelError, match="among layers="):
            engine(case.function)(case.inputs, case.background)


def test_a_model_loaded_as_a_saved_model_is_opened(tmp_path):
    case = KINDS["encoder_block"]()
    case.model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    found = Deep(lambda x: case.scalar(loaded.serve(x)))(case.inputs, case.background)
    assert found.without_rule == ()
    np.testing.assert_allclose(found.values, Deep(case.function)(case.inputs, case.background).values, atol=1e-6)


def test_ids_shifted_inside_the_model_are_refused():
    table = layers.Embedding(31, 7)
    with pytest.raises(ModelError, match="shifted, cut or put together"):
        Deep(lambda ids: tf.reduce_sum(table(ids[:, 1:]), [1, 2]), layers=[table])(words(3), words(2))


def test_the_private_names_of_tensorflow_are_where_deep_graph_py_looks_for_them():
    where = "keras_attn_xai/explain/deep/graph.py must follow TensorFlow"
    inner = tf.function(lambda x: x + 1)
    concrete = tf.function(lambda x: inner(x)).get_concrete_function(tf.TensorSpec([None], tf.float32))
    graph = concrete.graph
    for name in ("create_op", "get_operations", "_get_function", "_add_function_recursive"):
        assert callable(getattr(graph, name, None)), where
    calls = [one for one in graph.get_operations() if one.type in {"PartitionedCall", "StatefulPartitionedCall"}]
    assert len(calls) == 1, where
    body = graph._get_function(calls[0].get_attr("f").name).graph
    assert [one.op.type for one in body.inputs] == ["Placeholder"], where


@pytest.mark.parametrize("name", ["encoder_block", "lstm", "embedding_mask_attention", "mixed_precision"])
def test_in_float64_nothing_is_lost_to_rounding(name):
    case = KINDS[name]()
    background = tf.nest.map_structure(np.zeros_like, case.background) if name == "encoder_block" else case.background
    single, double = (
        Deep(case.function, layers=case.layers, precision=one)(case.inputs, background)
        for one in ("float32", "float64")
    )
    assert double.relative_gap.max() < 1e-11
    np.testing.assert_allclose(single.values, double.values, rtol=1e-3, atol=1e-4)


def kept_cases():
    """A case of each kind of input, and which of its cells stay."""
    ids, two = KINDS["embedding_mask_attention"](), KINDS["dict_inputs"]()
    there = np.random.default_rng(5).random((3, 5)) < 0.4
    series = KINDS["encoder_block"]()
    return {
        "ids": (ids, there),
        "steps": (series, there[..., None]),
        "cells": (series, np.random.default_rng(6).random((3, 5, 7)) < 0.4),
        "the same steps of every row": (series, there[:1, :, None]),
        "one input": (two, {"query": np.ones((1, 1, 1), bool), "memory": None}),
    }


@pytest.mark.parametrize("name", kept_cases())
@pytest.mark.parametrize("engine", [Deep, ExpectedGradients])
def test_what_is_kept_is_as_if_the_references_had_it(engine, name):
    case, kept = kept_cases()[name]
    run = engine(case.function, layers=case.layers, batch_size=4)  # in parts of two rows
    together = run(case.inputs, case.background, kept=kept)
    flat = [tf.nest.flatten(one) for one in (case.inputs, case.background, kept, together.values)]
    for row in range(3):
        own, others = [], []
        for x, r, stays, values in zip(*flat, strict=True):
            where = np.zeros(x.shape, bool) if stays is None else np.broadcast_to(stays, x.shape)
            own.append(x[row : row + 1])
            others.append(np.where(where[row], x[row], r))
            assert (values[row][where[row]] == 0).all()
        alone = run(*(tf.nest.pack_sequence_as(case.inputs, side) for side in (own, others)))
        for one, values in zip(tf.nest.flatten(alone.values), flat[3], strict=True):
            np.testing.assert_allclose(values[row], one[0], atol=1e-6)
        np.testing.assert_allclose(together.base[row], alone.base[0], atol=1e-6)
        np.testing.assert_allclose(together.output[row], alone.output[0], atol=1e-6)


@pytest.mark.parametrize(("name", "axes"), [("multi_head_attention", 2), ("embedding_mask_attention", 1)])
@pytest.mark.parametrize("engine", [Deep, ExpectedGradients])
def test_each_row_may_have_a_class_of_its_own(engine, axes, name):
    case = KINDS[name]()

    def function(inputs):
        chosen = tf.gather(case.model(inputs[0]), inputs[1], batch_dims=1)
        return chosen if axes == 1 else chosen[:, 0]

    def classes(numbers):
        return np.array(numbers, "int32").reshape(-1, *[1] * (axes - 1))

    found = engine(function, layers=case.layers)(
        [case.inputs, classes([2, 0, 1])], [case.background, classes([0, 0])],
        kept=[None, np.ones([1] * axes, bool)],
    )  # fmt: skip
    assert found.blocking == ()
    assert found.relative_gap.max() < 1e-3
    assert (found.values[1] == 0).all()
    for row, number in ((0, 2), (1, 0)):
        alone = engine(lambda x, number=number: case.model(x)[:, number], layers=case.layers)(
            case.inputs[row : row + 1], case.background
        )
        np.testing.assert_allclose(found.values[0][row], alone.values[0], atol=1e-5)
        np.testing.assert_allclose(found.base[row], alone.base[0], atol=1e-6)


@pytest.mark.parametrize("engine", [Deep, ExpectedGradients])
def test_progress_counts_the_rows_that_are_done(engine):
    case, done = KINDS["dense_gelu"](), []
    engine(case.function, batch_size=2)(case.inputs, case.background[:1], progress=done.append)
    assert done == [2, 1]


@pytest.mark.parametrize(
    ("kept", "error", "match"),
    [
        ([np.ones((3, 7), bool)], ShapeError, "structure of the inputs"),
        (np.ones((3, 5), bool), ShapeError, r"the axes of its input, \(3, 7\).*received \(3, 5\)"),
        (np.ones(7, bool), ShapeError, r"received \(7,\)"),
        (np.ones((3, 7)), ArgumentError, "truth values.*received float64"),
    ],
)
def test_what_cannot_be_kept_is_refused(kept, error, match):
    for engine in (Deep, ExpectedGradients):
        with pytest.raises(error, match=match):
            engine(KINDS["dense_relu"]().function)(draw(3, 7), draw(2, 7), kept=kept)


def test_rows_that_lose_to_rounding_are_computed_again_and_no_others():
    shifts = np.float32([[0.0], [30000.0], [0.0]])  # the second row is a small difference of large numbers
    function = lambda x: tf.reduce_sum(tf.sin(x[:, 1:]) + (x[:, 1:] + x[:, :1]) - x[:, :1], 1)  # noqa: E731
    x, r = np.concatenate([shifts, draw(3, 5)], 1), np.concatenate([shifts[:2], draw(2, 5, seed=1)], 1)[:1]
    single, double, auto = (Deep(function, precision=one)(x, r) for one in ("float32", "float64", "auto"))
    assert (single.relative_gap > 1e-5).tolist() == [False, True, False]
    assert auto.relative_gap.max() < 1e-5
    for name in ("values", "base", "output"):
        for row, expected in enumerate((single, double, single)):
            np.testing.assert_array_equal(getattr(auto, name)[row], getattr(expected, name)[row])


def test_a_second_graph_is_made_only_when_rounding_needs_it():
    engine = Deep(lambda x: tf.reduce_sum(x, 1))
    engine(draw(3, 5), draw(2, 5, seed=1))
    assert not engine._traces["float64"]
    engine = Deep(lambda x: x[:, 0] + tf.gather([0.0, 1.0, 5.0], tf.argmax(x, 1)))
    assert engine(np.float32([[1, 2, 4]]), np.float32([[2, 0, 0]])).relative_gap[0] > 1e-5
    assert not engine._traces["float64"]  # nothing passes: its gap is another one


def test_long_rows_are_taken_a_few_at_a_time():
    short, long = np.zeros((2, 40, 3)), np.zeros((2, 600), "int32")
    assert most_at_once([short], 256) == 256
    assert most_at_once([short, long], 256) == 2**22 // 600**2
    assert most_at_once([np.zeros((2, 9_000_000))], 256) == 256  # features, which no attention pairs
    assert most_at_once([np.zeros((2, 9000, 1))], 256) == 1
