"""Explainers called as shap's: its shapes, its values where it works, and models it cannot explain."""

import subprocess
import sys
import warnings

import keras
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import shap
import tensorflow as tf
from keras import layers, ops

from keras_attn_xai.errors import ArgumentError, ModelError, ShapeError
from keras_attn_xai.explain.drop_in import DeepExplainer, GradientExplainer
from keras_attn_xai.explain.drop_in_answer import ranks
from tests.explain.kinds import KINDS, B, C, D, R, T, V, draw, words

EXPLAINERS = (DeepExplainer, GradientExplainer)
K = 2  # ranked outputs


def relu_model(classes=C, features=D):
    """What shap explains too."""
    keras.utils.set_random_seed(3)
    x = keras.Input((features,), name="table")
    y = layers.Dropout(0.5)(layers.Dense(11, activation="relu")(x))
    return keras.Model(x, layers.Dense(classes)(y))


def two_input_model(classes=C):
    """A list of a table and a series."""
    keras.utils.set_random_seed(3)
    table, series = keras.Input((D,), name="table"), keras.Input((2, T), name="series")
    y = layers.Concatenate()([layers.Dense(11, activation="relu")(table), layers.Flatten()(series)])
    return keras.Model([table, series], layers.Dense(classes)(y))


def two_inputs(rows, seed=0):
    """Rows for it."""
    return [draw(rows, D, seed=seed), draw(rows, 2, T, seed=seed + 5)]


def smooth_model(classes=C):
    """Expected gradients of few nodes are exact."""
    keras.utils.set_random_seed(3)
    x = keras.Input((D,))
    return keras.Model(x, layers.Dense(classes)(layers.Dense(11, activation="tanh")(x)))


def shapes(found):
    """Shapes in the structure of what was returned, and whether each is an array of floats."""
    if isinstance(found, (list, tuple)):
        return type(found)(map(shapes, found))
    return found.shape, found.dtype.kind


def of_shap(explainer, model, background, x, **options):
    """What shap itself returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = explainer(model, background)
        return made.shap_values(x, **options), made.expected_value if explainer is shap.DeepExplainer else None


@pytest.mark.parametrize("classes", [C, 1])
@pytest.mark.parametrize("inputs", [1, 2])
def test_deep_equals_shap_where_shap_works(classes, inputs):
    model = relu_model(classes) if inputs == 1 else two_input_model(classes)
    x, background = (draw(B, D), draw(R, D, seed=1)) if inputs == 1 else (two_inputs(B), two_inputs(R, 9))
    theirs, expected = of_shap(shap.DeepExplainer, model, background, x)
    explainer = DeepExplainer(model, background, None, None)
    ours = explainer.shap_values(x)
    assert shapes(ours) == shapes(theirs)
    for one, other in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert np.abs(one).max() > 0.1
    assert type(explainer.expected_value) is type(expected)
    assert explainer.expected_value.dtype == expected.dtype
    np.testing.assert_allclose(explainer.expected_value, expected, atol=1e-6)
    if classes == 1:  # shap's own check fails on ranked outputs of more
        theirs, _ = of_shap(shap.DeepExplainer, model, background, x, ranked_outputs=K)
        assert shapes(explainer.shap_values(x, ranked_outputs=K)) == shapes(theirs)


OPTIONS = [
    (1, {}),
    (1, {"ranked_outputs": K}),
    (1, {"return_variances": True}),
    (2, {"ranked_outputs": K, "return_variances": True}),
    (1, {"ranked_outputs": np.array([[0, 2], [1, 2], [2, 0]]), "output_rank_order": "custom"}),
]


@pytest.mark.parametrize(("inputs", "options"), OPTIONS, ids=str)
def test_gradient_returns_shapes_of_shap(inputs, options):
    model = relu_model() if inputs == 1 else two_input_model()
    x, background = (draw(B, D), draw(R, D, seed=1)) if inputs == 1 else (two_inputs(B), two_inputs(R, 9))
    theirs, _ = of_shap(shap.GradientExplainer, model, background, x, nsamples=40, rseed=0, **options)
    ours = GradientExplainer(model, background).shap_values(x, nsamples=40, rseed=0, **options)
    assert shapes(ours) == shapes(theirs)
    if "ranked_outputs" in options:
        np.testing.assert_array_equal(ours[-1], theirs[-1])
    else:
        first, second = (np.ravel(tf.nest.flatten(one)[0]) for one in (ours, theirs))
        assert np.corrcoef(first, second)[0, 1] > 0.9  # theirs is sampled


@pytest.mark.parametrize(
    ("name", "alike"),
    [
        ("dense_relu", 0.99),
        ("encoder_block", 0.85),
        ("embedding_mask_attention", 0.999),
        ("dict_inputs", 0.95),
        ("lstm", 0.9),
        ("subclassed", 0.85),
    ],
)
def test_values_add_up_and_are_near_shapley_values_of_the_outputs(name, alike):
    case = KINDS[name]()
    case.function = tf.function(case.function, reduce_retracing=True)
    explainer = DeepExplainer(case.model, case.background)
    explanation, values = explainer(case.inputs), explainer.shap_values(case.inputs)
    outputs = np.asarray(case.model(case.inputs), float)
    total = sum(one.reshape(B, -1, C).sum(1) for one in tf.nest.flatten(values))
    effect = np.maximum(np.abs(outputs - explanation.base_values), 1e-3 * np.abs(outputs).max())
    assert (np.abs(explanation.base_values + total - outputs) / effect).max() <= 1e-3
    found = case.of_players(tf.nest.map_structure(lambda one: one[..., 1], values))
    exact = np.stack([case.exact_values(row) for row in range(2)])
    assert np.corrcoef(found[:2].ravel(), exact.ravel())[0, 1] > alike


def test_a_dict_comes_back_as_a_dict():
    case = KINDS["dict_inputs"]()
    values = GradientExplainer(case.model, case.background).shap_values(case.inputs)
    assert {name: one.shape for name, one in values.items()} == {
        name: (*one.shape, C) for name, one in case.inputs.items()
    }


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_padding_has_exactly_0_and_a_base_of_its_own(explainer):
    case = KINDS["embedding_mask_attention"]()
    explanation = explainer(case.model, case.background)(case.inputs)
    assert (explanation.values[case.inputs == 0] == 0).all()
    assert (explanation.values[case.inputs != 0] != 0).all()
    padded = np.where(case.inputs[:1] == 0, 0, case.background)
    np.testing.assert_allclose(explanation.base_values[0], np.mean(case.model(padded), 0), atol=1e-6)
    np.testing.assert_allclose(explanation.base_values[1], np.mean(case.model(case.background), 0), atol=1e-6)
    total = explanation.base_values + explanation.values.sum(1)
    np.testing.assert_allclose(total, case.model(case.inputs), atol=1e-4)


def test_id_0_is_padding_only_where_an_embedding_masks_it():
    one, two = (keras.Input((T,), dtype="int32", name=name) for name in ("masked", "plain"))
    read = [layers.Embedding(V, D, mask_zero=True)(one), layers.Embedding(V, D)(two)]
    model = keras.Model([one, two], layers.Dense(C)(layers.Concatenate()([ops.sum(y, axis=1) for y in read])))
    rows = [words(B), words(B, seed=2)]
    for ids in rows:
        ids[:, 3:] = 0
    masked, plain = DeepExplainer(model, [words(R, seed=3), words(R, seed=4)]).shap_values(rows)
    assert (masked[:, 3:] == 0).all()
    assert (plain[:, 3:] != 0).all()


@pytest.mark.parametrize(("explainer", "sequential"), [(DeepExplainer, True), (GradientExplainer, False)])
def test_steps_that_a_masking_layer_leaves_out_have_exactly_0(explainer, sequential):
    x = keras.Input((T, D))
    model = keras.Model(x, layers.SimpleRNN(C)(layers.Masking(-1.0)(x)))
    if sequential:
        model = keras.Sequential([keras.Input((T, D)), layers.Masking(-1.0), layers.SimpleRNN(C)])
    rows = draw(B, T, D)
    rows[1, 3:] = -1
    explanation = explainer(model, draw(R, T, D, seed=1))(rows)
    assert (explanation.values[1, 3:] == 0).all()
    assert (explanation.values[0, 3:] != 0).all()
    total = explanation.base_values + explanation.values.sum((1, 2))
    np.testing.assert_allclose(total, model(rows), atol=5e-3)


def test_ranked_outputs():
    outputs = np.array([[1.0, -5.0, 3.0], [-2.0, 0.0, 1.0]])
    assert ranks(outputs).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert ranks(outputs, 2).tolist() == [[2, 0], [2, 1]]
    assert ranks(outputs, 2, "min").tolist() == [[1, 0], [0, 1]]
    assert ranks(outputs, 2, "max_abs").tolist() == [[1, 2], [0, 2]]
    assert ranks(outputs, [2, 1], "custom").tolist() == [[2, 1], [2, 1]]
    assert ranks(outputs, 7).shape == (2, 3)


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_values_of_ranked_outputs_are_those_of_all_taken_row_by_row(explainer):
    model, x = smooth_model(), draw(B, D)
    made = explainer(model, draw(R, D, seed=1))
    every = made.shap_values(x)
    values, classes = made.shap_values(x, ranked_outputs=K, output_rank_order="min")
    np.testing.assert_array_equal(classes, np.argsort(model(x), axis=1)[:, :K])
    np.testing.assert_allclose(values, np.take_along_axis(every, classes[:, None], 2), atol=1e-6)


def test_many_rows_and_outputs_are_the_same_alone(monkeypatch):
    model, x, background = smooth_model(), draw(B, D), draw(R, D, seed=1)
    together = DeepExplainer(model, background).shap_values(x)
    monkeypatch.setattr("keras_attn_xai.explain.drop_in_answer.PAIRS_AT_ONCE", 1)
    np.testing.assert_allclose(DeepExplainer(model, background).shap_values(x), together, atol=1e-6)


def test_a_background_may_depend_on_the_row():
    model, x, background = two_input_model(), two_inputs(B), two_inputs(R, 9)
    seen = []

    def near(row):
        seen.append([one.shape for one in row])
        return [one + row[0][0] for one in background]

    made = DeepExplainer(model, near)
    assert made.expected_value is None
    explanation = made(x)
    assert seen == [[(D,), (2, T)]] * B
    alone = DeepExplainer(model, [one + x[0][1, 0] for one in background])([one[1:2] for one in x])
    np.testing.assert_allclose(explanation.values[1], alone.values[0], atol=1e-5)
    np.testing.assert_allclose(explanation.base_values[1], alone.base_values[0], atol=1e-5)


def test_tables_name_the_features_and_shap_draws_a_slice():
    columns = [f"column {i}" for i in range(D)]
    x, background = (pd.DataFrame(draw(n, D, seed=n), columns=columns) for n in (11, R))
    x[columns[0]] = range(11)  # of another dtype
    explanation = DeepExplainer(smooth_model(), background)(x)
    assert explanation.shape == (11, D, C)
    assert list(explanation.feature_names) == columns
    np.testing.assert_allclose(explanation.data, x.to_numpy(), rtol=1e-6)
    one = explanation[..., 1]
    np.testing.assert_array_equal(one.values, explanation.values[..., 1])
    np.testing.assert_array_equal(one.base_values, explanation.base_values[:, 1])
    drawn = [
        lambda: shap.plots.bar(one, show=False),
        lambda: shap.plots.beeswarm(one, show=False),
        lambda: shap.plots.heatmap(one, show=False),
        lambda: shap.plots.waterfall(one[0], show=False),
    ]
    for draws in drawn:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shap's own
            draws()
        texts = [text.get_text() for ax in plt.gcf().axes for text in (*ax.get_yticklabels(), *ax.texts)]
        assert any("column" in text for text in texts)
        plt.close("all")


def test_several_inputs_stand_side_by_side_in_an_explanation():
    explainer, x = DeepExplainer(two_input_model(), two_inputs(R, 9)), two_inputs(B)
    explanation, values = explainer(x), explainer.shap_values(x)
    assert explanation.shape == (B, D + 2 * T, C)
    assert explanation.feature_names[:2] == ["table[0]", "table[1]"]
    assert explanation.feature_names[D + 1 :: T] == ["series[0, 1]", "series[1, 1]"]
    np.testing.assert_array_equal(explanation.values[:, D:], values[1].reshape(B, -1, C))
    np.testing.assert_array_equal(explanation.data[:, D:], x[1].reshape(B, -1))
    total = explanation.base_values + explanation.values.sum(1)
    np.testing.assert_allclose(total, explainer.model(x), atol=1e-5)


def attending(x):
    """A layer of attention and a head (N, C)."""
    return layers.Dense(C)(layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 5)(x, x)))


def test_a_model_may_be_a_pair_of_tensors():
    x = keras.Input((T, D))
    hidden = layers.Dense(D, activation="tanh", name="hidden")(x)
    model = keras.Model(x, layers.Dense(C)(layers.Flatten()(layers.Dense(5, activation="relu")(hidden))))
    rows, background = draw(B, T, D), draw(R, T, D, seed=1)
    whole = DeepExplainer(model, background).shap_values(rows)
    pair = DeepExplainer((model.inputs, model.layers[-1].output), [background]).shap_values([rows])
    np.testing.assert_allclose(pair, whole, atol=1e-6)
    inner = keras.Model(x, hidden)
    later = DeepExplainer((model.get_layer("hidden").output, model.output), np.asarray(inner(background)))
    total = np.asarray(later.expected_value) + later.shap_values(np.asarray(inner(rows))).sum((1, 2))
    np.testing.assert_allclose(total, model(rows), atol=1e-5)


def test_an_output_without_an_axis_of_classes_counts_as_one():
    x = keras.Input((D,))
    model = keras.Model(x, ops.sum(layers.Dense(5, activation="relu")(x), axis=1))
    explainer = DeepExplainer(model, draw(R, D, seed=1))
    values = explainer.shap_values(draw(B, D))
    assert (values.shape, explainer.expected_value.shape) == ((B, D, 1), (1,))
    np.testing.assert_allclose(explainer.expected_value + values.sum(1)[:, 0], model(draw(B, D)), atol=1e-5)


def test_probabilities_are_explained_as_they_are():
    x = keras.Input((T, D))
    model = keras.Model(x, layers.Softmax()(attending(x)))
    explainer = DeepExplainer(model, draw(R, T, D, seed=1))
    total = np.asarray(explainer.expected_value) + explainer.shap_values(draw(B, T, D)).sum((1, 2))
    np.testing.assert_allclose(total, model(draw(B, T, D)), atol=1e-5)
    np.testing.assert_allclose(total.sum(1), 1, atol=1e-5)


def test_a_model_loaded_from_disk(tmp_path):
    x = keras.Input((T, D))
    model = keras.Model(x, attending(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    explainer = DeepExplainer(loaded, draw(R, T, D, seed=1))
    total = np.asarray(explainer.expected_value) + explainer.shap_values(draw(B, T, D)).sum((1, 2))
    np.testing.assert_allclose(total, model(draw(B, T, D)), atol=1e-5)


def test_half_precision_needs_no_fallback():
    case = KINDS["half_precision"]()
    values = DeepExplainer(case.model, case.background).shap_values(case.inputs)  # a warning would be an error
    assert np.isfinite(values).all()


@keras.saving.register_keras_serializable(package="drop_in")
class Wrapped(layers.Layer):
    """A function of TensorFlow as a layer."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        """(N, D) to whatever it gives."""
        return self.function(x)

    def compute_output_shape(self, shape):
        """(N, 1)."""
        return (shape[0], 1)


def of_function(function, features=D):
    """A model of one function, (N, features) to (N, 1)."""
    x = keras.Input((features,))
    return keras.Model(x, Wrapped(function)(x))


def test_a_loop_falls_back_to_expected_gradients_with_one_warning():
    def loop(x):
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(y)), [0, x])[1][:, :1]

    explainer = DeepExplainer(of_function(loop), draw(R, D, seed=1))
    for _ in range(2):  # it remembers that it was refused
        with pytest.warns(UserWarning, match="3 of 3 pairs.*Expected gradients take its place.*While") as met:
            explanation = explainer(draw(B, D))
        assert (len(met), met[0].filename) == (1, __file__)
    total = explanation.base_values + explanation.values.sum(1)
    np.testing.assert_allclose(total, explainer.model(draw(B, D)), atol=1e-3)


def test_rows_that_deep_misses_fall_back_alone():
    def product(x):
        return tf.math.cumprod(x, axis=1)[:, -1:]

    features, row = 97, np.ones((2, 97), "float32")
    row[1] = 0
    explainer = DeepExplainer(of_function(product, features), -np.ones((1, features)))
    with pytest.warns(
        UserWarning, match="1 of 2 pairs.*missed the output by a relative gap above 0.001.*take its place"
    ):
        values = explainer.shap_values(row)[..., 0]
    np.testing.assert_allclose(values[0], 2 / features, rtol=2e-3)  # from -1 to 1, all alike
    np.testing.assert_allclose(values[1], 1 / features, rtol=2e-3)


def test_what_does_not_add_up_is_refused_or_let_be():
    def blocked(x):
        return tf.cast(tf.argmax(x, axis=1), tf.float32)[:, None] + x[:, :1]

    explainer = DeepExplainer(of_function(blocked), np.eye(D)[:1])
    rows = 3 * np.eye(D)[[0, 2, 6]]
    with pytest.raises(
        AssertionError, match=r"2 of 3 pairs.*do not add up.*AttentionExplainer.*check_additivity=False"
    ):
        explainer.shap_values(rows)
    with pytest.warns(UserWarning, match="nothing passes through ArgMax; expected gradients come no nearer"):
        assert explainer.shap_values(rows, check_additivity=False).shape == (3, D, 1)
    with pytest.raises(AssertionError, match="do not add up"):
        explainer(rows)


def test_a_model_that_is_another_when_traced_is_refused():
    def strange(x):
        return x[:, :1] * (1.0 if tf.executing_eagerly() else 2.0)

    with pytest.raises(AssertionError, match="the traced model gives other outputs"):
        DeepExplainer(of_function(strange), draw(R, D, seed=1)).shap_values(draw(B, D))


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_nothing_of_the_users_is_changed(explainer, capsys):
    case = KINDS["lstm"]()
    weights = [one.copy() for one in case.model.get_weights()]
    attributes = {id(layer): set(vars(layer)) for layer in (case.model, *case.model.layers)}
    rows, background = case.inputs.copy(), case.background.copy()
    np.random.seed(5)
    state = np.random.get_state()[1].copy()
    explainer(case.model, case.background)(case.inputs)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert {id(layer): set(vars(layer)) for layer in (case.model, *case.model.layers)} == attributes
    for one, other in zip(case.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(case.inputs, rows)
    np.testing.assert_array_equal(case.background, background)
    assert capsys.readouterr().out == ""


def test_gradients_of_a_smooth_model_add_up_within_the_budget():
    model, x = smooth_model(), draw(B, D)
    explanation = GradientExplainer(model, draw(R, D, seed=1))(x, nsamples=R * 32)
    effect = model(x) - explanation.base_values
    np.testing.assert_allclose(explanation.values.sum(1), effect, rtol=2e-3)
    few = GradientExplainer(relu_model(), draw(R, D, seed=1))
    exact = of_shap(shap.DeepExplainer, relu_model(), draw(R, D, seed=1), x)[0].sum(1)  # adds up
    misses = [np.abs(few.shap_values(x, nsamples=n).sum(1) - exact).max() for n in (1, R * 64)]
    assert misses[1] < misses[0] / 5


def test_variances_are_those_of_a_mean_over_background_rows():
    model, x, background = smooth_model(), draw(B, D), draw(5, D, seed=1)
    values, variances = GradientExplainer(model, background).shap_values(x, return_variances=True)
    chosen = [background[0]]
    one_by_one = GradientExplainer(model, lambda row: chosen[0][None])
    each = []
    for chosen[0] in background:
        each.append(one_by_one.shap_values(x, nsamples=40))
    np.testing.assert_allclose(values, np.mean(each, 0), atol=1e-5)
    for k in range(C):
        np.testing.assert_allclose(variances[k], np.var(each, 0, ddof=1)[..., k] / 5, atol=1e-5)
    with pytest.raises(ArgumentError, match="at least 2 background rows; received 1"):
        GradientExplainer(model, background[:1]).shap_values(x, return_variances=True)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_of_gradients_change_no_more_than_the_tolerance(batch_size):
    model, x, background = smooth_model(), draw(B, D), draw(R, D, seed=1)
    some, whole = (GradientExplainer(model, background, None, size).shap_values(x) for size in (batch_size, 512))
    np.testing.assert_allclose(some, whole, atol=1e-3 * np.abs(whole.sum(1)).max())


SHAP_HAS_FAILED = """
import warnings
import numpy as np, tensorflow as tf
import shap
from keras_attn_xai.explain.drop_in import DeepExplainer, GradientExplainer
from tests.explain.kinds import KINDS

case = KINDS["multi_head_attention"]()
made = DeepExplainer(case.model, case.background)

def fail():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shap.DeepExplainer(case.model, case.background).shap_values(case.inputs)
        except Exception as error:
            assert "shap_" in str(error)
        else:
            raise SystemExit("shap works; this test is of no use")

def squared(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    return tape.gradient(y, x)

def taped():
    return float(tf.function(squared)(tf.constant(3.0)))  # traced anew, as fit is

fail()
assert made.shap_values(case.inputs).shape == (3, 5, 7, 3)
assert taped() == 6
fail()
GradientExplainer(case.model, case.background)
assert taped() == 6
case.model.compile("sgd", "mse")
case.model.fit(case.inputs, np.ones((3, 3)), verbose=0)
print("all work")
"""


def test_a_process_where_shap_has_failed():
    done = subprocess.run([sys.executable, "-c", SHAP_HAS_FAILED], capture_output=True, text=True, check=False)
    assert done.stdout == "all work\n", done.stderr[-2000:]


def word_tables():
    """Tables of words and of missing numbers."""
    return pd.DataFrame({"a": ["x", "y"]}), pd.DataFrame({f"{i}": [1.0, None] for i in range(D)})


def test_rows_the_model_does_not_take():
    made = DeepExplainer(relu_model(), draw(R, D))
    x = draw(B, D)
    x[1, 2] = np.nan
    with pytest.raises(ArgumentError, match=r"X must be finite.*received 1 NaN.*\(3, 7\).*Fill them in"):
        made.shap_values(x)
    with pytest.raises(ShapeError, match=r"X has 1 axes where the model takes 2.*received shape \(7,\).*x\[None\]"):
        made.shap_values(x[0])
    with pytest.raises(
        ShapeError, match=r"size the model was made for.*\(None, 7\); received shape \(3, 6\).*pad them"
    ):
        made.shap_values(draw(B, D - 1))
    with pytest.raises(ShapeError, match="at least one row"):
        made.shap_values(draw(B, D)[:0])
    words_, missing = word_tables()
    with pytest.raises(ArgumentError, match=r"X must be numbers.*received DataFrame.*Encode words"):
        made.shap_values(words_)
    with pytest.raises(ArgumentError, match="received 7 NaN"):
        made.shap_values(missing)
    with pytest.raises(ShapeError, match="X needs the inputs table; received tabel"):
        made.shap_values({"tabel": draw(B, D)})
    with pytest.raises(ArgumentError, match="positive number of outputs or None; received 0"):
        made.shap_values(draw(B, D), ranked_outputs=0)
    with pytest.raises(ArgumentError, match=r"'max_abs', 'custom'; received 'most'"):
        made.shap_values(draw(B, D), ranked_outputs=1, output_rank_order="most")
    with pytest.raises(ArgumentError, match=r"outputs from 0 to 2; received .*3"):
        made.shap_values(draw(B, D), ranked_outputs=[3], output_rank_order="custom")
    with pytest.raises(ArgumentError, match=r"integers \(N, k\) or \(k,\); received shape \(2, 1\)"):
        made.shap_values(draw(B, D), ranked_outputs=[[1], [2]], output_rank_order="custom")
    several = DeepExplainer(two_input_model(), two_inputs(R))
    with pytest.raises(ShapeError, match=r"takes 2 inputs.*received"):
        several.shap_values([*two_inputs(B), draw(B, D)])
    with pytest.raises(ShapeError, match="one number of rows"):
        several.shap_values([draw(B, D), draw(B + 2, 2, T)])


def test_ids_with_fractions_and_rows_of_another_length():
    ids = keras.Input((None,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(V, D)(ids))
    made = DeepExplainer(keras.Model(ids, layers.Dense(C)(x)), words(R))
    with pytest.raises(ArgumentError, match=r"whole numbers.*Pass ids"):
        made.shap_values(np.full((B, T), 1.5))
    with pytest.raises(ShapeError, match=r"one shape; received \(4,\) and \(5,\).*pad both"):
        made.shap_values(words(B, length=T - 1))


def test_backgrounds_that_are_refused():
    with pytest.raises(ShapeError, match="data needs at least one row"):
        DeepExplainer(relu_model(), np.empty((0, D)))
    with pytest.raises(ArgumentError, match="data must be finite"):
        DeepExplainer(relu_model(), np.full((R, D), np.inf))


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_models_that_are_refused(explainer):
    class Module:
        """As PyTorch's."""

        def named_parameters(self):
            """None."""

    with pytest.raises(
        ModelError, match=rf"received Module. Models of PyTorch are explained by shap.{explainer.__name__}"
    ):
        explainer(Module(), draw(R, D))
    with pytest.raises(
        ModelError, match=r"a keras.Model, or a pair of Keras tensors \(inputs, output\); received tuple"
    ):
        explainer((1, 2), draw(R, D))
    with pytest.raises(ModelError, match=r"start it with keras.Input"):
        explainer(keras.Sequential([layers.Dense(1)]), draw(R, D))
    two = KINDS["two_outputs"]()
    with pytest.raises(
        ModelError, match=r"has 2. Pass \(model.inputs, model.outputs\[0\]\), or use AttentionExplainer"
    ):
        explainer(two.model, two.background)
    assert explainer((two.model.inputs, two.model.outputs[1]), two.background).expected_value.shape == (C,)
    steps = KINDS["sequence_output"]()
    with pytest.raises(ModelError, match=r"\(N, C\) or \(N,\); .*\(2, 5, 3\), float32. Name one step with Attention"):
        explainer(steps.model, steps.background)


def test_gradient_arguments():
    model, background = relu_model(), draw(R, D)
    with pytest.raises(ArgumentError, match=r"local_smoothing must be 0.*received 0.5"):
        GradientExplainer(model, background, local_smoothing=0.5)
    with pytest.raises(ArgumentError, match="batch_size must be a positive integer; received 0"):
        GradientExplainer(model, background, batch_size=0)
    with pytest.raises(ArgumentError, match="nsamples must be a positive integer; received 0"):
        GradientExplainer(model, background).shap_values(background, nsamples=0)
