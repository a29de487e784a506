"""Weights changed before they meet the values, in every layer that has some."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as keras_layers
from keras import ops
from scipy import stats

from keras_attn_xai.capture import (
    capture_attention,
    expose_attention,
    intervene,
    permute,
    set_to,
    temperature,
    uniform,
    zero,
)
from keras_attn_xai.errors import ModelError, ShapeError
from keras_attn_xai.layers import (
    AttentionDecoder,
    AttentionPooling,
    BahdanauAttention,
    HierarchicalAttention,
    LuongAttention,
    MultiHeadAttention,
    ScaledDotProductAttention,
)
from tests.capture.examples import IDS, MEMORY, MODELS, QUERY, D, H, S, T, mha, pair
from tests.capture.test_expose import assert_same, assert_untouched, maps_of, own_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Layer '(query|key|value)' .of type EinsumDense. was passed an input with a"),
]
LAYERS = {
    "keras multi-head": lambda q, m: mha(name="one")(q, m),
    "keras multi-head, dropout": lambda q, m: mha(name="one", dropout=0.5)(q, m),
    "keras grouped": lambda q, m: keras_layers.GroupQueryAttention(2, 6, 3, name="one")(q, m),
    "keras attention": lambda q, m: keras_layers.Attention(name="one")([q, m]),
    "keras additive": lambda q, m: keras_layers.AdditiveAttention(name="one")([q, m]),
    "multi-head": lambda q, m: MultiHeadAttention(H, 2, name="one")(q, m)[0],
    "grouped": lambda q, m: MultiHeadAttention(4, 2, num_key_value_heads=2, name="one")(q, m)[0],
    "scaled dot": lambda q, m: ScaledDotProductAttention(name="one", normalizer="sparsemax")(q, m)[0],
    "luong": lambda q, m: LuongAttention("general", attentional_vector=3, name="one")(q, m)[0],
    "luong, window": lambda q, m: LuongAttention("concat", window="monotonic", window_width=2, name="one")(q, m)[0],
    "bahdanau": lambda q, m: BahdanauAttention(3, name="one")(q, m)[0],
    "pooling": lambda q, m: AttentionPooling("gated", name="one")(m)[0],
    "pooling, hops": lambda q, m: AttentionPooling("multi_hop", name="one")(m)[0],
    "pooling, heads": lambda q, m: AttentionPooling("query", num_heads=H, name="one")(m)[0],
    "decoder": lambda q, m: AttentionDecoder(keras_layers.GRUCell(4), BahdanauAttention(3), name="one")(q, m)[0],
}
every_layer = pytest.mark.parametrize("kind", LAYERS)
INPUTS = [QUERY, MEMORY]


def model_of(kind):
    keras.utils.set_random_seed(2019)
    query, memory = pair()
    output = LAYERS[kind](query, memory)
    if kind.startswith("pooling"):  # Keras 3.12 wants every input connected
        output = output + 0 * ops.mean(query)
    model = keras.Model([query, memory], output)
    for number, one in enumerate(model.trainable_weights):
        one.assign(keras.random.normal(one.shape, stddev=0.5, seed=number))
    return model


def shown(model, inputs=INPUTS):
    outputs = expose_attention(model).predict(inputs, verbose=0)
    return outputs["output"], outputs["attention/one"]


@every_layer
def test_a_change_that_changes_nothing_changes_nothing(kind):
    model = model_of(kind)
    same = intervene(model, {"one": lambda weights: weights})
    assert_same(same.predict(INPUTS, verbose=0), model.predict(INPUTS, verbose=0))


@every_layer
def test_setting_the_weights_to_what_they_are_changes_nothing(kind):
    model = model_of(kind)
    before, weights = shown(model)
    assert_same(intervene(model, {"one": set_to(weights)}).predict(INPUTS, verbose=0), before)


@every_layer
def test_the_weights_are_those_that_were_set_and_the_output_follows(kind):
    model = model_of(kind)
    before, weights = shown(model)
    wanted = np.random.default_rng(3).random(weights.shape).astype("float32")
    after, seen = shown(intervene(model, {"one": set_to(wanted)}))
    assert_same(seen, wanted)
    assert np.abs(after - before).max() > 1e-2
    assert_same(model.predict(INPUTS, verbose=0), before)
    assert_untouched(model)


@every_layer
def test_gradients_flow_through_changed_weights(kind):
    changed = intervene(model_of(kind), {"one": temperature(2.0)})
    query, memory = (tf.constant(one) for one in INPUTS)
    with tf.GradientTape() as tape:
        tape.watch(memory)
        loss = tf.reduce_sum(changed([query, memory]) ** 2)
    gradient, *others = tape.gradient(loss, [memory, *changed.trainable_variables])
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-4
    assert any(one is not None and np.abs(one).max() > 0 for one in others) or not others


@every_layer
def test_half_the_weights_are_half_the_context(kind):
    """The law that shows that changed weights, and only they, meet the values."""
    if kind in ("decoder", "luong"):
        pytest.skip("the context goes through a state or a tanh")
    model = model_of(kind)
    for one in model.weights:
        if one.path.endswith("output/bias"):
            one.assign(ops.zeros_like(one))
    half = intervene(model, {"one": lambda weights: weights / 2})
    assert_same(half.predict(INPUTS, verbose=0), model.predict(INPUTS, verbose=0) / 2, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_every_shape_of_model_can_be_changed(name):
    example = MODELS[name]()
    before = example.model(example.inputs)
    changed = intervene(example.model, dict.fromkeys(example.maps, permute(5)))
    outputs = keras.tree.map_structure(ops.convert_to_numpy, expose_attention(changed)(example.inputs))
    assert list(maps_of(outputs)) == list(example.maps)
    assert_same(own_of(outputs), keras.tree.flatten(changed(example.inputs)))
    assert_same(example.model(example.inputs), before)
    assert_untouched(example.model)


def test_one_call_of_a_shared_layer_is_changed_alone():
    example = MODELS["shared_layer"]()
    first, second = example.maps
    before = maps_of(expose_attention(example.model).predict(example.inputs, verbose=0))
    changed = expose_attention(intervene(example.model, {second: uniform()})).predict(example.inputs, verbose=0)
    assert_same(changed[f"attention/{first}"], before[first])
    assert np.ptp(changed[f"attention/{second}"], axis=-1).max() < 1e-6


def test_changes_add_up_and_stay_in_a_view():
    model = model_of("multi-head")
    wanted = np.array([[1, 2, 3, 4, 5, 6, 7]] * T, "float32") / 28
    once = intervene(model, {"one": set_to(wanted)})
    twice = intervene(once, {"one": zero(heads=0)})
    after, seen = shown(twice)
    assert_same(seen[:, 1:], np.broadcast_to(wanted, (2, H - 1, T, S)))
    assert (seen[:, 0] == 0).all()
    view = intervene(expose_attention(once), {"one": zero(heads=0)})
    assert_same(view.predict(INPUTS, verbose=0)["output"], after)
    (record,) = capture_attention(twice, INPUTS)
    assert_same(record.weights, seen)


def test_a_changed_model_is_saved_and_reloaded(tmp_path):
    model = model_of("keras multi-head")
    array = np.full((T, S), 1 / S, "float32")
    changes = {"one": zero(heads=[1], pairs=[(0, 2)], renormalize=True)}
    changed = intervene(intervene(model, {"one": set_to(array)}), changes)
    changed.save(tmp_path / "changed.keras")
    again = keras.saving.load_model(tmp_path / "changed.keras")
    assert_same(again.predict(INPUTS, verbose=0), changed.predict(INPUTS, verbose=0))


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
def test_a_changed_model_trains(jit):
    changed = intervene(model_of("keras multi-head"), {"one": temperature(0.5)})
    changed.compile("sgd", "mse", jit_compile=jit)
    losses = changed.fit(INPUTS, np.ones((2, T, D)), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# What each change does


def test_uniform_gives_the_keys_that_may_be_seen_the_same():
    ids = keras.Input((None,), dtype="int32")
    embedded = keras_layers.Embedding(9, D, mask_zero=True)(ids)
    for layer in (mha(name="one")(embedded, embedded), ScaledDotProductAttention(name="one")(embedded)[0]):
        _, seen = shown(intervene(keras.Model(ids, layer), {"one": uniform()}), IDS)
        assert_same(seen[0, :, :3], np.broadcast_to(np.array([1, 1, 1, 0, 0]) / 3, (seen.shape[1], 3, 5)))


def test_a_permuted_row_has_the_same_weights_where_it_may_look():
    x = keras.Input((None, D))
    model = keras.Model(x, mha(name="one")(x, x, use_causal_mask=True))
    _, before = shown(model, QUERY)
    _, after = shown(intervene(model, {"one": permute(7)}), QUERY)
    assert (after[..., ~np.tri(T, dtype=bool)] == 0).all()
    assert_same(np.sort(after), np.sort(before), atol=0)
    assert np.abs(after - before).max() > 1e-2
    _, again = shown(intervene(model, {"one": permute(7)}), QUERY)
    assert_same(after, again, atol=0)
    _, other = shown(intervene(model, {"one": permute(8)}), QUERY)
    assert np.abs(after - other).max() > 1e-2


def test_permutations_are_uniform_over_rows_and_seeds():
    """Each of the 3! orders as often as the others: a chi-square test over 6,000 rows."""
    weights = np.broadcast_to(np.array([0.0, 1.0, 2.0]), (10, 6, 100, 3))
    orders = np.array(permute(11).apply(weights)).reshape(-1, 3) @ [9, 3, 1]
    counts = np.unique(orders, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_row_keeps_its_permutation_in_blocks():
    weights = np.random.default_rng(0).random((2, 3, 8, 5)).astype("float32")
    whole = np.array(permute(1).apply(weights))
    rows = np.arange(4, 8, dtype="int32")
    assert_same(np.array(permute(1).apply(weights[:, :, 4:], rows=rows)), whole[:, :, 4:], atol=0)


def test_temperature_divides_the_scores_of_a_softmax():
    scores = np.random.default_rng(1).normal(size=(2, 3, 5, 7)) * 3
    soft = lambda one: np.exp(one) / np.exp(one).sum(-1, keepdims=True)  # noqa: E731
    assert_same(np.array(temperature(0.3).apply(soft(scores))), soft(scores / 0.3), atol=1e-12)
    assert np.array(temperature(2.0).apply(np.array([[[[0.0, 0.0]]]]))).tolist() == [[[[0, 0]]]]


def test_zero_takes_heads_and_pairs():
    weights = np.full((1, 2, 2, 4), 0.25)
    assert np.array(zero(heads=-1).apply(weights)).sum((2, 3)).tolist() == [[2, 0]]
    some = np.array(zero(heads=[0], pairs=[(1, 3)]).apply(weights))
    assert some[0, 0, 1].tolist() == [0.25, 0.25, 0.25, 0]
    assert (some[0, 0, 0] == 0.25).all()
    assert (some[0, 1] == 0.25).all()
    assert_same(np.array(zero(pairs=[(1, 3)], renormalize=True).apply(weights))[0, 1, 1], np.array([1, 1, 1, 0]) / 3)


def test_the_words_of_a_document_are_changed_too():
    x = keras.Input((3, T, D))
    model = keras.Model(x, HierarchicalAttention(return_weights=False, name="han")(x))
    documents = np.random.default_rng(4).normal(size=(2, 3, T, D)).astype("float32")
    changed = intervene(model, {"han/word_pooling": uniform(), "han/sentence_pooling": uniform()})
    assert_same(changed.predict(documents, verbose=0), documents.mean((1, 2)), atol=1e-5)


def test_a_decoder_is_changed_at_every_step():
    model = model_of("decoder")
    wanted = np.eye(S, dtype="float32")[[2, 0, 6, 1, 4]]  # another key at each of the T steps
    _, seen = shown(intervene(model, {"one": set_to(wanted)}))
    assert_same(seen, np.broadcast_to(wanted, (2, 1, T, S)))
    _, seen = shown(intervene(model, {"one": zero(pairs=[(1, 3)])}))
    assert (seen[:, 0, 1, 3] == 0).all()
    assert (seen[:, 0, 0, 3] > 0).all()


# What cannot be meant


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zero(), "needs heads=, pairs= or both"),
        (lambda: temperature(0), "above 0; received 0"),
        (lambda: temperature("hot"), "above 0; received 'hot'"),
        (lambda: permute("seed"), "seed must be an integer"),
        (lambda: set_to(np.ones(3)), r"received shape \(3,\), dtype float64"),
        (lambda: set_to([[np.nan]]), "finite numbers"),
        (lambda: intervene(model_of("luong"), {}), "with at least one; received {}"),
        (lambda: intervene(model_of("luong"), {"one": 3}), "The change for 'one' must be permute.*received 3"),
        (lambda: intervene(model_of("luong"), {"two": uniform()}), "no attention call 'two'; the calls are: one"),
        (lambda: intervene(model_of("luong"), {"one": zero(heads=1)}), "'one' has 1 heads, 0 to 0; received head 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_that_do_not_fit_are_refused_and_the_model_is_untouched():
    model = model_of("keras multi-head")
    with pytest.raises(ShapeError, match=r"'one' must return weights of the shape it got.*it returned \(3,\)"):
        intervene(model, {"one": lambda weights: weights[0, :, 0, 0]})
    with pytest.raises(ShapeError, match=r"set_to for 'one' has H = 2, and the weights are"):
        intervene(model, {"one": set_to(np.ones((2, T, S)))})
    with pytest.raises(ModelError, match=r"takes a keras\.Model"):
        intervene(keras_layers.Dense(1), {"one": uniform()})
    assert_untouched(model)
