"""A view predicts what its model predicts, and its maps are the attention the model used."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as keras_layers

from keras_attn_xai.capture import expose_attention, seams
from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.errors import ModelError
from keras_attn_xai.layers import BahdanauAttention, LuongAttention, ScaledDotProductAttention
from tests import references
from tests.capture.examples import IDS, MEMORY, MODELS, QUERY, Block, D, H, S, T, mha, pair

pytestmark = [
    # Keras 3.15 reads its variables with np.array, and TensorFlow 2.21 has not brought their __array__ to NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # Keras says so of the projections inside its own GroupQueryAttention, which has used the mask by then
    pytest.mark.filterwarnings("ignore:Layer '(query|key|value)' .of type EinsumDense. was passed an input with a"),
]
every_model = pytest.mark.parametrize("name", MODELS)
PREFIX = "attention/"


@functools.cache
def exposed(name):
    """The example, its prediction before there was a view, the view and what it predicts."""
    keras.utils.set_random_seed(2015)
    example = MODELS[name]()
    before = example.model.predict(example.inputs, verbose=0)
    view = expose_attention(example.model)
    return example, before, view, view.predict(example.inputs, verbose=0)


def maps_of(outputs):
    return {name.removeprefix(PREFIX): one for name, one in outputs.items() if name.startswith(PREFIX)}


def own_of(outputs):
    return [one for name, one in outputs.items() if not name.startswith(PREFIX)]


def assert_same(first, second, *, atol=1e-6):
    for one, other in zip(keras.tree.flatten(first), keras.tree.flatten(second), strict=True):
        np.testing.assert_allclose(one, other, atol=atol, rtol=0)


def assert_untouched(model):
    for layer in all_layers(model):
        assert seams.seam(layer) not in layer.__dict__, layer.name


# Every shape of model


@every_model
def test_the_maps_have_the_right_names_and_axes(name):
    example, _, _, outputs = exposed(name)
    assert list(outputs) == example.outputs + [PREFIX + call for call in example.maps]
    batch = len(keras.tree.flatten(example.inputs)[0])
    assert {call: one.shape for call, one in maps_of(outputs).items()} == {
        call: (batch, *shape) for call, shape in example.maps.items()
    }


@every_model
def test_the_prediction_is_the_models_own(name):
    _, before, _, outputs = exposed(name)
    assert_same(own_of(outputs), before)


@every_model
def test_the_model_is_untouched(name):
    example, before, _, _ = exposed(name)
    assert_untouched(example.model)
    assert_same(example.model(example.inputs), before)


@every_model
def test_each_row_is_a_distribution_or_empty(name):
    for call, weights in maps_of(exposed(name)[3]).items():
        weights = weights.astype("float32")
        assert (weights >= 0).all(), call
        sums = weights.sum(-1)
        if name == "top_weights":  # the layer keeps the largest alone
            assert ((sums > 0) & (sums < 1)).all()
            continue
        assert (np.isclose(sums, 1, atol=2e-3) | (sums == 0)).all(), call
        if name not in ("padded", "half_precision"):
            assert_same(sums, np.ones_like(sums), atol=1e-5)


@every_model
def test_the_static_spec_is_the_dynamic_one(name):
    example, _, view, outputs = exposed(name)
    promised = view(keras.tree.map_structure(lambda one: keras.Input(one.shape[1:], dtype=one.dtype), example.inputs))
    assert list(promised) == list(outputs)
    for key, output in outputs.items():
        assert (None, *output.shape[1:]) == promised[key].shape
        assert keras.backend.standardize_dtype(promised[key].dtype) == output.dtype
    if seams.is_functional(view):  # built with unknown T and S
        for key, output in outputs.items():
            assert len(view.output[key].shape) == output.ndim
            assert all(size in (None, real) for size, real in zip(view.output[key].shape, output.shape, strict=True))


@every_model
def test_a_reloaded_view_has_the_same_names_and_numbers(name, tmp_path):
    example, _, view, outputs = exposed(name)
    view.save(tmp_path / "view.keras")
    again = keras.saving.load_model(tmp_path / "view.keras")(example.inputs)
    assert list(again) == list(outputs)
    assert_same(list(again.values()), list(outputs.values()))


@every_model
def test_names_do_not_depend_on_what_was_built_before(name):
    example = MODELS[name]()  # Keras has counted on since the first one
    outputs = expose_attention(example.model)(example.inputs)
    assert list(outputs) == list(exposed(name)[3])


@every_model
def test_the_view_of_a_view_is_the_view(name):
    view = exposed(name)[2]
    assert expose_attention(view) is view


@pytest.mark.parametrize("name", ["sequential", "subclassed", "list_outputs", "dropout"])
def test_training_the_view_trains_the_model(name):
    example = MODELS[name]()
    before = example.model(example.inputs)
    view = expose_attention(example.model)
    view.compile(optimizer=keras.optimizers.SGD(0.1), loss=dict.fromkeys(example.outputs, "mse"))
    targets = dict(zip(example.outputs, map(np.ones_like, keras.tree.flatten(before)), strict=True))
    losses = view.fit(example.inputs, targets, epochs=2, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = example.model(example.inputs)
    assert np.abs(keras.tree.flatten(after)[0] - keras.tree.flatten(before)[0]).max() > 1e-3
    assert_same(own_of(view(example.inputs)), after)
    assert_untouched(example.model)


# The numbers of the maps


def own_weights(layer):
    """Kernels and biases of a Keras multi-head layer: ``{"query/kernel": array, ...}``."""
    return {"/".join(one.path.split("/")[-2:]): keras.ops.convert_to_numpy(one.value) for one in layer.weights}


def multi_head_output(weights, value, own):
    """Maps (B, H, T, S) applied to the projected values, and the heads brought together."""
    projected = np.einsum("bsd,dhv->bshv", value, own["value/kernel"]) + own["value/bias"]
    projected = np.repeat(projected, weights.shape[1] // projected.shape[2], axis=2)
    heads = np.einsum("bhts,bshv->bthv", weights, projected)
    return np.einsum("bthv,hvd->btd", heads, own["attention_output/kernel"]) + own["attention_output/bias"]


MULTI_HEAD = {
    "MultiHeadAttention, fused": (lambda: mha(name="mha"), "uniform"),
    "MultiHeadAttention, not fused": (lambda: mha(name="mha", dropout=0.5), "zero"),
    "GroupQueryAttention, fused": (lambda: keras_layers.GroupQueryAttention(2, 6, 3, name="mha"), "uniform"),
    "GroupQueryAttention, not fused": (
        lambda: keras_layers.GroupQueryAttention(2, 6, 3, name="mha", dropout=0.5),
        "zero",
    ),
}


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("padding", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize("kind", MULTI_HEAD)
def test_multi_head_maps_are_those_of_the_layers_own_weights(kind, padding, causal):
    make, fully_masked = MULTI_HEAD[kind]
    layer = make()
    kept = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0]], bool) if padding else np.ones((2, T), bool)
    x = np.where(kept[..., None], QUERY, 0)
    inputs = keras.Input((None, D))
    masked = keras_layers.Masking()(inputs)
    model = keras.Model(inputs, layer(masked, masked, use_causal_mask=causal))
    for one in layer.weights:
        one.assign(keras.random.normal(one.shape, seed=len(one.path)))  # biases too
    outputs = expose_attention(model)(x)
    own = own_weights(layer)
    mask = kept[:, None] & kept[:, :, None] & (np.tri(T, dtype=bool) if causal else True)
    query, key = ([own[f"{part}/kernel"], own[f"{part}/bias"]] for part in ("query", "key"))
    expected = references.multi_head_weights(x, x, *query, *key, mask, fully_masked=fully_masked)
    assert_same(outputs["attention/mha"], expected, atol=1e-5)
    assert_same(outputs["output"], multi_head_output(outputs["attention/mha"], x, own), atol=1e-4)


@pytest.mark.parametrize("mask", [None, MEMORY[:, :, 0] > -0.5], ids=["full", "masked"])
@pytest.mark.parametrize(
    "layer",
    [
        lambda **kwargs: BahdanauAttention(3, name="own", **kwargs),
        lambda **kwargs: LuongAttention("general", name="own", **kwargs),
        lambda **kwargs: ScaledDotProductAttention(name="own", **kwargs),
    ],
    ids=["bahdanau", "luong", "scaled_dot"],
)
@pytest.mark.parametrize("kind", ["weights", "scores", "dropped"])
def test_our_maps_are_the_weights_whatever_the_layer_returns(layer, mask, kind):
    query, memory = pair()
    kept = keras.Input((None,), dtype="bool")
    attend = layer(weights_kind=kind, dropout=0.5)
    model = keras.Model([query, memory, kept], attend(query, memory, value_mask=kept)[0])
    mask = np.ones((2, S), bool) if mask is None else mask
    outputs = expose_attention(model)([QUERY, MEMORY, mask])
    weights = np.asarray(outputs["attention/own"])[:, 0]
    assert_same(outputs["output"], references.context(weights, MEMORY), atol=1e-5)
    expected = attend.from_config({**attend.get_config(), "weights_kind": "weights"})
    expected.build(QUERY.shape, MEMORY.shape)
    expected.set_weights(attend.get_weights())
    assert_same(weights, expected(QUERY, MEMORY, value_mask=mask)[1])


@pytest.mark.parametrize("layer", [keras_layers.Attention, keras_layers.AdditiveAttention])
def test_single_head_maps_of_keras_reproduce_the_output(layer):
    query, memory = pair()
    view = expose_attention(keras.Model([query, memory], layer(name="keras")([query, memory])))
    outputs = view.predict([QUERY, MEMORY], verbose=0)
    assert_same(outputs["output"], references.context(outputs["attention/keras"][:, 0], MEMORY), atol=1e-5)


def test_a_map_among_the_outputs_is_the_captured_one():
    outputs = exposed("attention_among_the_outputs")[3]
    assert_same(outputs["attention/mha"], outputs["mha_1"])


def test_causal_maps_leave_the_future_empty():
    for weights in maps_of(exposed("causal")[3]).values():
        assert (weights[..., ~np.tri(T, dtype=bool)] == 0).all()


def test_padding_is_empty_in_the_rows_that_have_a_key():
    maps = maps_of(exposed("padded")[3])
    for call in ("own", "attention"):
        assert (maps[call][0][..., IDS[0] == 0] == 0).all(), call
    assert (maps["own"][1] == 0).all()  # nothing but padding


# Failures


@keras.saving.register_keras_serializable(package="tests")
class Breaks(keras.Model):
    """Raises after its attention has run, when it is told to."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = mha()
        self.broken = False

    def call(self, x):
        y = self.attention(x, x)
        if self.broken:
            raise RuntimeError("after the attention")
        return y


def test_a_model_that_raises_is_untouched():
    model = Breaks()
    expected = keras.ops.convert_to_numpy(model(QUERY))
    view = expose_attention(model)
    model.broken = True
    with pytest.raises(RuntimeError, match="after the attention"):
        view(QUERY)
    assert_untouched(model)
    model.broken = False
    assert_same(keras.ops.convert_to_numpy(model(QUERY)), expected)
    assert list(view(QUERY)) == ["output", "attention/attention"]


@pytest.mark.parametrize("name", ["subclassed", "subclassed_with_dicts", "keras_attention"])
def test_a_model_that_was_never_called_has_each_call_once(name):
    example = MODELS[name]()
    view = expose_attention(example.model)
    for _ in range(2):
        assert list(maps_of(view(example.inputs))) == list(example.maps)


@keras.saving.register_keras_serializable(package="tests")
class Young(keras.Model):
    """Unbuilt, its attention two levels down, with a first call that Keras traces to build it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [[mha()], [mha()]]

    def call(self, x):
        return self.blocks[1][0](self.blocks[0][0](x, x), x)


@pytest.mark.parametrize("first", ["call", "predict", "fit"])
def test_the_trace_that_builds_a_model_is_no_call_of_it(first):
    view = expose_attention(Young())
    view.compile("sgd", {"output": "mse"})
    if first == "predict":
        view.predict(QUERY, verbose=0)
    if first == "fit":
        view.fit(QUERY, {"output": QUERY}, verbose=0)
    assert list(maps_of(view(QUERY))) == ["blocks/0/0", "blocks/1/0"]


def test_a_view_inside_a_model_gives_its_seams_back_to_the_outer_one():
    x = keras.Input((None, D))
    attend = mha(name="mha")
    inner = expose_attention(keras.Model(x, attend(x, x), name="inner"))
    z = keras.Input((None, D))
    model = keras.Model(z, attend(inner(z)["output"], z))
    maps = maps_of(expose_attention(model).predict(QUERY, verbose=0))
    assert len(maps) == 2  # one call inside the view, one after it
    assert all(one.shape == (2, H, T, T) for one in maps.values())
    assert_untouched(model)


def test_a_model_without_attention_is_refused():
    model = keras.Sequential([keras.Input((D,)), keras_layers.Dense(2)], name="plain")
    with pytest.raises(ModelError, match=r"'plain' has no attention layer: nothing in it is one of"):
        expose_attention(model)


def test_a_sequential_without_inputs_is_refused():
    model = keras.Sequential([LuongAttention(return_weights=False)], name="young")
    with pytest.raises(ModelError, match=r"'young' does not know its input yet; start it with keras\.Input"):
        expose_attention(model)


def test_a_layer_is_not_a_model():
    with pytest.raises(ModelError, match=r"takes a keras\.Model; received Block"):
        expose_attention(Block())


def test_attention_over_two_axes_is_refused():
    x = keras.Input((2, T, D))
    model = keras.Model(x, mha(name="mha")(x, x))
    with pytest.raises(ModelError, match=r"'mha' has weights of shape .* attention over several axes"):
        expose_attention(model)
    assert_untouched(model)


@keras.saving.register_keras_serializable(package="tests")
class Reader(keras_layers.Layer):
    """A recurrent cell that attends over its own state at every step."""

    state_size = output_size = D

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = mha()

    def build(self, shape):
        self.attention.build((None, 2, D), (None, 2, D))

    def call(self, inputs, states):
        both = keras.ops.stack([inputs, states[0]], axis=1)
        y = self.attention(both, both)[:, 0]
        return y, [y]


def test_attention_inside_a_loop_is_refused():
    x = keras.Input((None, D))
    model = keras.Model(x, keras_layers.RNN(Reader(), name="rnn")(x))
    with pytest.raises(ModelError, match="runs inside a loop or a function of its own"):
        expose_attention(model)
    assert_untouched(model)


@keras.saving.register_keras_serializable(package="tests")
class Compiled(keras.Model):
    """A trace made before the view runs its attention where nothing can see it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = mha()

    @tf.function
    def call(self, x):
        return self.attention(x, x)


def test_attention_hidden_by_an_earlier_trace_is_refused():
    model = Compiled(name="compiled")
    model(QUERY)
    with pytest.raises(ModelError, match=r"No attention layer of the model 'compiled' ran.*take the tf\.function off"):
        expose_attention(model)(QUERY)
    assert_untouched(model)
