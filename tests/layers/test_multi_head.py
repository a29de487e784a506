"""What multi-head attention adds to the contract: weights from Keras, gates for heads, biases per head."""

import keras
import numpy as np
import pytest

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.layers import MultiHeadAttention
from tests import references
from tests.layers.contract import B, D, S, T, V, array, arrays, same, variables_as_arrays

pytestmark = variables_as_arrays
KEPT = np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]], bool)
OWN_VALUE_DIM = {"value_dim": 5} if keras.backend.backend() == "tensorflow" else {}  # Keras 3.15 fails on it elsewhere
KERAS = {
    "multi head": lambda: keras.layers.MultiHeadAttention(
        4, 3, output_shape=6, bias_initializer="normal", **OWN_VALUE_DIM
    ),
    "without bias": lambda: keras.layers.MultiHeadAttention(2, 3, use_bias=False),
    "grouped query": lambda: keras.layers.GroupQueryAttention(3, 4, 2, bias_initializer="normal"),
}
every_keras_layer = pytest.mark.parametrize("make", KERAS.values(), ids=KERAS)


def tensors():
    rng = np.random.default_rng(3)
    return tuple(rng.normal(size=size).astype("float32") for size in [(B, T, D), (B, S, V), (B, S, 17)])


@every_keras_layer
def test_from_keras_gives_the_same_numbers(make):
    theirs, inputs = make(), tensors()
    expected = theirs(*inputs, return_attention_scores=True)
    ours = MultiHeadAttention.from_keras(theirs)
    same(arrays(ours(*inputs)), arrays(expected), atol=1e-5)
    causal = theirs(*inputs, use_causal_mask=True)
    same(array(ours(*inputs, use_causal_mask=True)[0]), array(causal), atol=1e-5)
    assert not (np.array([array(weight).std() for weight in theirs.weights]) == 0).all()


@every_keras_layer
def test_from_keras_leaves_padding_out(make):
    """The right output on masked input is that of the unpadded rows, which Keras gives for them alone."""
    theirs, (query, value, key) = make(), tensors()
    theirs(query, value, key)
    ours = MultiHeadAttention.from_keras(theirs, return_weights=False)
    padded = array(ours(query, value, key, value_mask=KEPT))
    for row in range(B):
        real = KEPT[row]
        alone = theirs(query[row : row + 1], value[row : row + 1, real], key[row : row + 1, real])
        same(padded[row : row + 1], array(alone), atol=1e-5)


@every_keras_layer
def test_weights_asked_for_or_not_the_context_is_one(make):
    theirs, inputs = make(), tensors()
    theirs(*inputs)
    empty = KEPT & [[True], [False]]
    both = MultiHeadAttention.from_keras(theirs)(*inputs, value_mask=empty)
    alone = MultiHeadAttention.from_keras(theirs, return_weights=False)(*inputs, value_mask=empty)
    np.testing.assert_array_equal(array(alone), array(both[0]))


def test_from_keras_copies_the_configuration():
    theirs = keras.layers.MultiHeadAttention(
        4, 3, dropout=0.25, seed=5, kernel_regularizer="l2", dtype="mixed_float16", name="encoder"
    )
    theirs.build((None, None, D), (None, None, D))
    ours = MultiHeadAttention.from_keras(theirs)
    assert (ours.dropout, ours.seed, ours.name, ours.dtype_policy.name) == (0.25, 5, "encoder", "mixed_float16")
    assert isinstance(ours.kernel_regularizer, keras.regularizers.L2)
    assert ours.fully_masked == "zero"


def test_from_keras_survives_reload(tmp_path):
    theirs, (query, *_) = keras.layers.MultiHeadAttention(2, 3), tensors()
    theirs(query, query)
    inputs = keras.Input((None, D))
    model = keras.Model(inputs, MultiHeadAttention.from_keras(theirs)(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    same(again.predict(query, verbose=0), model.predict(query, verbose=0))


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (keras.layers.Dense(3), "takes a built keras.layers.MultiHeadAttention or Gro.*received Dense"),
        (keras.layers.MultiHeadAttention(2, 3), "received one that is not built"),
        (keras.layers.MultiHeadAttention(2, 3, attention_axes=(1, 2)), r"attention_axes=\(1, 2\)"),
    ],
)
def test_from_keras_says_what_it_cannot_copy(layer, sentence):
    if "attention_axes" in sentence:
        layer.build((None, 2, 3, D), (None, 2, 3, D))
    with pytest.raises(ArgumentError, match=sentence):
        MultiHeadAttention.from_keras(layer)


def test_a_gate_takes_a_head_out_and_leaves_the_weights():
    layer, inputs = MultiHeadAttention(4, 3), tensors()
    context, weights = arrays(layer(*inputs))
    gates = np.array([[1, 0, 0.5, 1], [0, 0, 1, 2]], "float32")
    gated = arrays(layer(*inputs, head_mask=gates))
    same(gated[1], weights)
    W_v, b_v = array(layer.value_dense.kernel), array(layer.value_dense.bias)
    W_o, b_o = array(layer.output_dense.kernel), array(layer.output_dense.bias)
    for row in range(B):
        expected = references.multi_head_context(
            weights[row : row + 1], inputs[1][row : row + 1], W_v, b_v, W_o * gates[row][:, None, None], b_o
        )
        same(gated[0][row : row + 1], expected, atol=1e-4)
    same(array(layer(*inputs, head_mask=[1.0, 1, 1, 1])[0]), context)
    assert np.abs(array(layer(*inputs, head_mask=gates)[0]) - context).max() > 1e-3
    with pytest.raises(ShapeError, match=r"head_mask must have shape \(heads,\) = \(4,\).*received \(3,\)"):
        layer(*inputs, head_mask=[1.0, 1, 1])


def test_gates_are_inputs_of_a_model():
    inputs, gates = keras.Input((None, D)), keras.Input((4,))
    layer = MultiHeadAttention(4, 3, return_weights=False)
    model = keras.Model([inputs, gates], layer(inputs, head_mask=gates))
    query = tensors()[0]
    mask = np.array([[1, 0, 1, 1], [1, 1, 1, 0]], "float32")
    same(model.predict([query, mask], verbose=0), array(layer(query, head_mask=mask)), atol=1e-5)


def test_a_bias_for_each_head():
    layer, inputs = MultiHeadAttention(4, 3, weights_kind="scores"), tensors()
    scores = array(layer(*inputs)[1])
    bias = np.random.default_rng(0).normal(size=(B, 4, T, S)).astype("float32")
    same(array(layer(*inputs, score_bias=bias)[1]), scores + bias, atol=1e-5)
    same(array(layer(*inputs, score_bias=bias[:1])[1]), scores + bias[:1], atol=1e-5)
    same(array(layer(*inputs, score_bias=bias[:, 0])[1]), scores + bias[:, :1], atol=1e-5)
    with pytest.raises(ShapeError, match=r"score_bias must broadcast to \(B, H, T, S\) = \(2, 4, 5, 7\)"):
        layer(*inputs, score_bias=bias[:, :3])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_key_value_heads": 3}, "num_key_value_heads must divide num_heads=4; received 3"),
        ({"key_dim": 0}, "key_dim must be a positive integer; received 0"),
        ({"num_heads": 2.5}, "num_heads must be a positive integer; received 2.5"),
        ({"output_shape": -1}, "output_shape must be a positive integer; received -1"),
    ],
)
def test_bad_sizes_get_a_sentence(arguments, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        MultiHeadAttention(**{"num_heads": 4, "key_dim": 3, **arguments})


def test_gates_for_another_batch_are_refused():
    layer = MultiHeadAttention(4, 3)
    with pytest.raises(ShapeError, match=r"head_mask must have shape .* = \(2, 4\); received \(3, 4\)"):
        layer(*tensors(), head_mask=np.ones((3, 4)))


def test_a_keras_layer_with_several_axes_of_features_is_refused():
    theirs = keras.layers.MultiHeadAttention(2, 3, output_shape=(2, 3))
    theirs(*tensors())
    with pytest.raises(ArgumentError, match=r"output_shape=\(2, 3\)"):
        MultiHeadAttention.from_keras(theirs)


def test_what_heads_share_and_what_gates_them_can_be_asked_for():
    """Names by which capture brings out the values of each head."""
    layer = MultiHeadAttention(6, 3, num_key_value_heads=2)
    grouped = np.arange(B * 2 * S * 3, dtype="float32").reshape(B, 2, S, 3)
    same(array(layer.shared_heads(grouped)), np.repeat(grouped, 3, axis=1))
    heads = np.zeros((B, 6, S, 3), "float32")
    gates = np.arange(6.0, dtype="float32")
    same(array(layer.gates(gates, heads)), gates.reshape(1, 6, 1, 1))
    with pytest.raises(ShapeError, match=r"head_mask must have shape \(heads,\) = \(6,\)"):
        layer.gates(gates[1:], heads)
