"""Which calls, heads and weights a view shows."""

import keras
import numpy as np
import pytest
from keras import layers as keras_layers

from keras_attn_xai.capture import expose_attention
from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.layers import (
    AttentionDecoder,
    AttentionPooling,
    BahdanauAttention,
    HierarchicalAttention,
    LuongAttention,
    MultiHeadAttention,
)
from tests.capture.examples import MEMORY, QUERY, B, D, H, S, T, mha, pair

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Layer '(query|key|value)' .of type EinsumDense. was passed an input with a"),
]


def encoder():
    """Two blocks of two calls, the first of a layer that is called twice."""
    x = keras.Input((None, D))
    shared = mha(name="shared")
    y = shared(x, x)
    y = shared(y, y)
    y = BahdanauAttention(3, return_weights=False, name="own")(y)
    return keras.Model(x, y)


def shown(model, inputs=QUERY, **options):
    return expose_attention(model, **options).predict(inputs, verbose=0)


def maps_of(outputs):
    return [name for name in outputs if name != "output"]


@pytest.mark.parametrize(
    ("layers", "calls"),
    [
        (None, ["shared", "shared#1", "own"]),
        ("shared", ["shared", "shared#1"]),
        ("shared#1", ["shared#1"]),
        (["own", "shared#1"], ["shared#1", "own"]),
        ("s*", ["shared", "shared#1"]),
        (["*"], ["shared", "shared#1", "own"]),
    ],
)
def test_layers_names_layers_calls_or_patterns(layers, calls):
    assert maps_of(shown(encoder(), layers=layers)) == [f"attention/{call}" for call in calls]


@pytest.mark.parametrize("options", [{"layers": "other"}, {"layers": ["own", "mine*"]}, {"heads": {"mine": [0]}}])
def test_a_name_that_is_none_is_refused_with_the_names_that_are(options):
    with pytest.raises(
        ArgumentError, match=r"no attention call '(other|mine\*?)'; the calls are: shared, shared#1, own"
    ):
        expose_attention(encoder(), **options)


@pytest.mark.parametrize("layers", [(), 3, [3]])
def test_layers_that_are_no_names_are_refused(layers):
    with pytest.raises(ArgumentError, match="layers must be a name, a pattern or a list"):
        expose_attention(encoder(), layers=layers)


def test_heads_come_in_the_order_they_were_asked_for():
    model = encoder()
    all_heads = shown(model)
    some = shown(model, layers="shared", heads=[2, 0])
    for call in ("attention/shared", "attention/shared#1"):
        np.testing.assert_array_equal(some[call], all_heads[call][:, [2, 0]])
    named = shown(model, heads={"shared#1": -1})
    np.testing.assert_array_equal(named["attention/shared#1"], all_heads["attention/shared#1"][:, [H - 1]])
    assert named["attention/shared"].shape[1] == H
    with pytest.raises(ArgumentError, match="'own' has 1 heads, 0 to 0; received head 1"):
        expose_attention(model, heads=[1])


@pytest.mark.parametrize("heads", ["all", [], [0.5], {"own": []}])
def test_heads_that_are_no_numbers_are_refused(heads):
    with pytest.raises(ArgumentError, match="heads must be an integer, a list"):
        expose_attention(encoder(), heads=heads)


def test_top_k_keeps_the_largest_with_their_keys():
    model = encoder()
    whole, some = shown(model), shown(model, top_k=2)
    assert maps_of(some) == [
        f"{kind}/{call}" for call in ("shared", "shared#1", "own") for kind in ("attention", "attention_index")
    ]
    for call in ("shared", "shared#1", "own"):
        kept, indices = some[f"attention/{call}"], some[f"attention_index/{call}"]
        assert kept.shape == indices.shape == (*whole[f"attention/{call}"].shape[:3], 2)
        np.testing.assert_array_equal(np.take_along_axis(whole[f"attention/{call}"], indices, -1), kept)
        np.testing.assert_array_equal(np.sort(whole[f"attention/{call}"])[..., :-3:-1], kept)
    np.testing.assert_array_equal(some["output"], whole["output"])


def test_a_layers_own_largest_weights_are_not_spread_out_first():
    query, memory = pair()
    context, _, _ = MultiHeadAttention(H, 2, top_k=3, name="own")(query, memory)
    model = keras.Model([query, memory], context)
    inputs = [QUERY, MEMORY]
    whole = shown(model, inputs)["attention/own"]
    assert whole.shape == (B, H, T, S)
    assert ((whole > 0).sum(-1) == 3).all()
    for k in (2, 5):  # fewer and more than the layer keeps
        some = shown(model, inputs, top_k=k)
        np.testing.assert_array_equal(np.take_along_axis(whole, some["attention_index/own"], -1), some["attention/own"])
        assert some["attention/own"].shape == (B, H, T, k)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, True])
def test_a_top_k_that_counts_nothing_is_refused(top_k):
    with pytest.raises(ArgumentError, match="top_k must be a positive integer"):
        expose_attention(encoder(), top_k=top_k)


def test_a_top_k_above_the_keys_is_refused():
    x = keras.Input((T, D))
    with pytest.raises(ArgumentError, match=f"'mha' has {T} keys; top_k={T + 1} asks for more"):
        expose_attention(keras.Model(x, mha(name="mha")(x, x)), top_k=T + 1)


LAYERS = {  # layer, and the bias of its output
    "keras multi-head": lambda q, m: mha(name="one")(q, m),
    "keras multi-head, dropout": lambda q, m: mha(name="one", dropout=0.5)(q, m),
    "keras multi-head, two axes out": lambda q, m: keras_layers.Reshape((-1, 6))(
        mha(name="one", output_shape=(2, 3))(q, m)
    ),
    "keras grouped": lambda q, m: keras_layers.GroupQueryAttention(2, 6, 3, name="one")(q, m),
    "keras attention": lambda q, m: keras_layers.Attention(name="one")([q, m]),
    "keras additive": lambda q, m: keras_layers.AdditiveAttention(name="one")([q, m]),
    "multi-head": lambda q, m: MultiHeadAttention(H, 2, return_weights=False, name="one")(q, m),
    "grouped": lambda q, m: MultiHeadAttention(4, 2, num_key_value_heads=2, return_weights=False, name="one")(q, m),
    "luong": lambda q, m: LuongAttention("general", return_weights=False, name="one")(q, m),
    "bahdanau": lambda q, m: BahdanauAttention(3, return_weights=False, name="one")(q, m),
    "pooling": lambda q, m: AttentionPooling("gated", return_weights=False, name="one")(m),
    "pooling, hops": lambda q, m: AttentionPooling("multi_hop", return_weights=False, name="one")(m),
    "pooling, heads": lambda q, m: AttentionPooling("query", num_heads=H, return_weights=False, name="one")(m),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_weights_times_values_are_the_output(kind):
    query, memory = pair()
    output = LAYERS[kind](query, memory)
    if kind.startswith("pooling"):  # Keras 3.12 wants every input connected
        output = output + 0 * keras.ops.mean(query)
    model = keras.Model([query, memory], output)
    for number, one in enumerate(model.weights):
        one.assign(keras.random.normal(one.shape, seed=number))
    bias = [one for one in model.weights if one.path.endswith("output/bias")]
    bias = np.ravel(bias[0].numpy()) if bias else 0
    outputs = shown(model, [QUERY, MEMORY], values=True)
    weights, values = outputs["attention/one"], outputs["attention_value/one"]
    assert weights.shape[:2] == values.shape[:2]
    contexts = np.einsum("bhts,bhsd->btd", weights, values) + bias
    np.testing.assert_allclose(np.squeeze(contexts), np.squeeze(outputs["output"]), atol=1e-4)


def test_gates_of_heads_are_in_the_values():
    query, memory = pair()
    gates = keras.Input((H,))
    context = MultiHeadAttention(H, 2, return_weights=False, name="one")(query, memory, head_mask=gates)
    model = keras.Model([query, memory, gates], context)
    outputs = shown(model, [QUERY, MEMORY, np.array([[1, 0, 0.5]] * B, "float32")], values=True)
    contexts = np.einsum("bhts,bhsd->btd", outputs["attention/one"], outputs["attention_value/one"])
    np.testing.assert_allclose(contexts, outputs["output"], atol=1e-5)
    assert (outputs["attention_value/one"][:, 1] == 0).all()


def test_values_of_a_decoder_are_its_memory():
    query, memory = pair()
    decoder = AttentionDecoder(keras_layers.GRUCell(4), BahdanauAttention(3), name="one", return_weights=False)
    outputs = shown(keras.Model([query, memory], decoder(query, memory)), [QUERY, MEMORY], values=True)
    np.testing.assert_array_equal(outputs["attention_value/one"], MEMORY[:, None])


def test_values_that_do_not_exist_are_refused_by_name():
    x = keras.Input((3, T, D))
    model = keras.Model(x, HierarchicalAttention(return_weights=False, name="han")(x))
    with pytest.raises(ModelError, match="'word_pooling' cannot come out: each of its sequences has values of its own"):
        expose_attention(model, values=True)
    outputs = shown(model, np.ones((B, 3, T, D)), layers="*sentence*", values=True)
    assert maps_of(outputs) == ["attention/han/sentence_pooling", "attention_value/han/sentence_pooling"]


def test_a_view_with_options_is_saved_and_asked_again(tmp_path):
    model = encoder()
    view = expose_attention(model, layers=["shared"], heads={"shared": [1]}, top_k=2, values=True)
    view.save(tmp_path / "view.keras")
    again = keras.saving.load_model(tmp_path / "view.keras")
    for one, other in zip(*(each.predict(QUERY, verbose=0).values() for each in (view, again)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert expose_attention(again) is again
    assert maps_of(shown(again, layers="own")) == ["attention/own"]
    assert list(shown(view, layers="*")) == list(shown(model))
