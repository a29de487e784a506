"""Which number is explained."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_attn_xai import AttentionExplainer, expose_attention
from keras_attn_xai.errors import ArgumentError
from tests.explain.models import MASK, B, C, D, H, S, V, attention_model, table_model, token_ids, wide_weights


def explain(model, ids, **options):
    return AttentionExplainer(model, MASK, attention=None, **{"method": "permutation", **options})(ids).attribution


def log_odds(logits, index):
    """``z_c - logsumexp(z_others)`` in float64, rows (N, C)."""
    logits = np.asarray(logits, np.float64)
    others = np.delete(logits, index, axis=1)
    top = others.max(1, keepdims=True)
    return logits[:, index] - top[:, 0] - np.log(np.exp(others - top).sum(1))


def two_headed(*, as_dict=False):
    """A model with a class output and a score output."""
    ids = keras.Input((S,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(V, D)(ids))
    topic, score = layers.Dense(C, name="topic")(x), layers.Dense(1, name="score")(x)
    return wide_weights(keras.Model(ids, {"topic": topic, "score": score} if as_dict else [topic, score]))


def tagger(length=S):
    """A model with a softmax for every step."""
    ids = keras.Input((length,), dtype="int32")
    x = layers.Embedding(V, D)(ids)
    x = layers.MultiHeadAttention(H, 2)(x, x)
    return wide_weights(keras.Model(ids, layers.Dense(C, activation="softmax")(x)))


@pytest.fixture(scope="module")
def model():
    """Linear outputs, five classes."""
    return attention_model()


@pytest.fixture(scope="module")
def tags():
    """A softmax for every step."""
    return tagger()


def test_by_default_each_row_explains_its_predicted_class(model):
    ids = token_ids(11)
    outputs = np.asarray(model(ids))
    found = explain(model, ids)
    assert len(set(outputs.argmax(1))) > 1
    np.testing.assert_array_equal(found.target, outputs.argmax(1))
    np.testing.assert_allclose(found.output, outputs.max(1), rtol=1e-5)
    assert found.unit == "output"


@pytest.mark.parametrize("target", [3, np.int64(3), ("output", 3)])
def test_a_class_by_number(model, target):
    ids = token_ids()
    found = explain(model, ids, target=target)
    np.testing.assert_array_equal(found.target, [3, 3])
    np.testing.assert_allclose(found.output, np.asarray(model(ids))[:, 3], rtol=1e-5)


def test_a_callable_is_one_scalar_per_row(model):
    ids = token_ids()
    found = explain(model, ids, target=lambda outputs: outputs[:, 1] - outputs[:, 2])
    outputs = np.asarray(model(ids))
    np.testing.assert_allclose(found.output, outputs[:, 1] - outputs[:, 2], rtol=1e-5)
    np.testing.assert_array_equal(found.target, [-1, -1])
    assert found.unit == "output"
    assert found.relative_gap.max() <= 1e-5


def test_a_callable_may_combine_outputs():
    model, ids = two_headed(as_dict=True), token_ids()
    found = explain(model, ids, target=lambda outputs: outputs["score"][:, 0] * outputs["topic"][:, 2])
    outputs = model(ids)
    expected = np.asarray(outputs["score"])[:, 0] * np.asarray(outputs["topic"])[:, 2]
    np.testing.assert_allclose(found.output, expected, rtol=1e-5)


@pytest.mark.parametrize("target", [lambda outputs: outputs, lambda outputs: 1.0, lambda outputs: ops.sum(outputs)])
def test_a_callable_that_returns_something_else(model, target):
    with pytest.raises(ArgumentError, match="one scalar per row"):
        explain(model, token_ids(), target=target)


@pytest.mark.parametrize("target", [1.5, "topic", ("topic", 1.5), True, [1, 2]])
def test_a_target_that_cannot_be_meant(model, target):
    with pytest.raises(ArgumentError, match="target must be None, a class number"):
        AttentionExplainer(model, MASK, target=target)


@pytest.mark.parametrize("target", [5, -1, ("output", 5)])
def test_a_class_out_of_range(model, target):
    with pytest.raises(ArgumentError, match=r"target (5|-1) is out of range: the output has 5 \(0 to 4\)"):
        explain(model, token_ids(), target=target)


@pytest.mark.parametrize("as_dict", [False, True])
def test_several_outputs_need_a_name(as_dict):
    model, ids = two_headed(as_dict=as_dict), token_ids()
    with pytest.raises(ArgumentError, match=r"has 2 outputs \((topic, score|score, topic)\); name one"):
        explain(model, ids)
    with pytest.raises(ArgumentError, match="There is no output 'tpoic'; the outputs are"):
        explain(model, ids, target=("tpoic", 0))
    outputs = model(ids)
    topic = np.asarray(outputs["topic"] if as_dict else outputs[0])
    np.testing.assert_allclose(explain(model, ids, target=("topic", 4)).output, topic[:, 4], rtol=1e-5)
    np.testing.assert_array_equal(explain(model, ids, target=("topic", None)).target, topic.argmax(1))


def test_a_sequence_output_needs_a_step(tags):
    with pytest.raises(ArgumentError, match=r"Name the step, for example target=\('output', \(0, 0\)\)"):
        explain(tags, token_ids())
    with pytest.raises(ArgumentError, match="needs 2"):
        explain(tags, token_ids(), target=("output", (1,)))
    with pytest.raises(ArgumentError, match="target step 7 is out of range: the output has 7 steps"):
        explain(tags, token_ids(), target=("output", (7, 0)))
    with pytest.raises(ArgumentError, match="target 5 is out of range"):
        explain(tags, token_ids(), target=("output", (1, 5)))


@pytest.mark.parametrize("step", [2, -1])
def test_a_step_and_class_of_a_sequence_output(tags, step):
    ids = token_ids()
    found = explain(tags, ids, target=("output", (step, 3)))
    for same in ((step, 3), (tags.output_names[0], (step, 3))):
        np.testing.assert_array_equal(explain(tags, ids, target=same).values, found.values)
    logits = np.log(np.asarray(tags(ids), np.float64))[:, step]
    np.testing.assert_allclose(found.output, log_odds(logits, 3), atol=1e-4)
    assert found.unit == "log-odds"


def test_a_step_beyond_a_row_of_a_model_of_any_length():
    with pytest.raises(ArgumentError, match="slice index 7 of dimension 1 out of bounds"):
        explain(tagger(None), token_ids(), target=("output", (7, 0)))


SOFTMAXES = {
    "Dense": {"activation": "softmax"},
    "Activation layer": {"squash": layers.Activation("softmax")},
    "Softmax layer": {"squash": layers.Softmax()},
    "ops.softmax": {"squash": lambda x: ops.softmax(x)},
    "function": {"activation": keras.activations.softmax},
}


@pytest.mark.parametrize("way", SOFTMAXES)
def test_softmax_is_explained_as_log_odds(way):
    table = np.random.default_rng(0).normal(size=(V, C))
    ids = token_ids()
    found = explain(table_model(table, **SOFTMAXES[way]), ids, target=3)
    assert found.unit == "log-odds"
    np.testing.assert_allclose(found.output, log_odds(table[ids].mean(1), 3), atol=1e-5)
    np.testing.assert_allclose(found.base, log_odds(table[[MASK, MASK]], 3), atol=1e-5)


@pytest.mark.parametrize("target", [0, 1, 4])
def test_log_odds_survive_a_saturated_softmax(target):
    """Logits of +-60: in float32 the probabilities are 1 and 0 exactly, or at their edge."""
    table = np.zeros((V, C))
    table[2:, 0], table[2:, 1] = 60, -60
    table[MASK] = [-60, 60, 0, 0, 0]
    model, ids = table_model(table, "softmax"), token_ids()
    assert np.asarray(model(ids)).max() == 1
    found = explain(model, ids, target=target)
    np.testing.assert_allclose(found.output, log_odds(table[ids].mean(1), target), rtol=1e-6)
    np.testing.assert_allclose(found.base, log_odds(table[[MASK, MASK]], target), rtol=1e-6)
    assert found.relative_gap.max() <= 1e-5


def test_a_predicted_class_is_the_same_behind_a_saturated_softmax():
    table = np.zeros((V, C))
    table[2:, :] = [60, 61, 62, 95, 90]
    assert explain(table_model(table, "softmax"), token_ids()).target.tolist() == [3, 3]


@pytest.mark.parametrize("options", [{"activation": "sigmoid"}, {"squash": layers.Activation("sigmoid")}])
@pytest.mark.parametrize("size", [0.5, 60.0])
def test_sigmoid_is_explained_before_it_squashes(options, size):
    table = size * np.random.default_rng(0).normal(size=(V, 1))
    ids = token_ids()
    found = explain(table_model(table, **options), ids)
    assert found.unit == "log-odds"
    np.testing.assert_array_equal(found.target, [0, 0])
    np.testing.assert_allclose(found.output, table[ids].mean(1)[:, 0], rtol=1e-5)


@pytest.mark.parametrize("activation", [None, "tanh", "relu", "log_softmax"])
def test_any_other_output_is_explained_as_it_is(activation):
    table = np.random.default_rng(0).normal(size=(V, C))
    model, ids = table_model(table, activation), token_ids()
    found = explain(model, ids, target=1)
    assert found.unit == "output"
    np.testing.assert_allclose(found.output, np.asarray(model(ids))[:, 1], rtol=1e-5)


def test_a_softmax_in_the_middle_is_not_taken_off():
    ids = keras.Input((S,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(V, C)(ids))
    model = wide_weights(keras.Model(ids, layers.Dense(2)(ops.softmax(x))))
    assert explain(model, token_ids()).unit == "output"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("activation", ["softmax", None])
def test_half_precision(policy, activation):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        model = attention_model(activation=activation)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    ids = token_ids()
    explanation = AttentionExplainer(model, MASK, target=2)(ids)
    found, outputs = explanation.attribution, np.asarray(model(ids), np.float64)
    expected = outputs[:, 2] if activation is None else np.log(outputs[:, 2]) - np.log1p(-outputs[:, 2])
    np.testing.assert_allclose(found.output, expected, rtol=0.05, atol=0.02)
    assert found.relative_gap.max() <= 1e-5
    assert explanation.attention[0].weights.dtype == np.float32


@pytest.mark.parametrize("structure", ["list", "dict"])
@pytest.mark.parametrize("kind", ["Keras", "ours"])
def test_attention_among_the_outputs_is_no_target(structure, kind):
    from keras_attn_xai.layers import LuongAttention

    ids = keras.Input((S,), dtype="int32")
    x = layers.Embedding(V, D)(ids)
    if kind == "Keras":
        context, weights = layers.MultiHeadAttention(H, 2)(x, x, return_attention_scores=True)
    else:
        context, weights = LuongAttention()(x)
    score = layers.Dense(C, activation="softmax", name="topic")(layers.GlobalAveragePooling1D()(context))
    outputs = [score, weights] if structure == "list" else {"topic": score, "seen": weights}
    model = wide_weights(keras.Model(ids, outputs))
    explanation = AttentionExplainer(model, MASK, method="permutation")(token_ids())
    outputs = model(token_ids())
    topic, seen = (outputs["topic"], outputs["seen"]) if structure == "dict" else outputs
    np.testing.assert_array_equal(explanation.attribution.target, np.asarray(topic).argmax(1))
    assert explanation.attribution.unit == "log-odds"
    weights = explanation.attention[0].weights
    np.testing.assert_allclose(weights.reshape(np.shape(seen)), np.asarray(seen), atol=1e-6)


def test_a_view_is_explained_as_the_model_behind_it(model):
    ids = token_ids()
    behind, view = (AttentionExplainer(one, MASK)(ids) for one in (model, expose_attention(model)))
    np.testing.assert_allclose(view.attribution.values, behind.attribution.values, atol=1e-6)
    assert [one.name for one in view.attention] == ["mha"]
    assert view.provenance.model == "reader"
    assert len(view) == B
