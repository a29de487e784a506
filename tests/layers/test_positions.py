"""Position biases: against loops, in every layer that takes them, block by block."""

import keras
import numpy as np
import pytest

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.layers import MultiHeadAttention, ScaledDotProductAttention, positions
from tests.layers.contract import B, D, S, T, V, array, arrays, same, twin, variables_as_arrays

pytestmark = variables_as_arrays
LAYERS = {
    "single": lambda **kwargs: ScaledDotProductAttention(weights_kind="scores", **kwargs),
    "heads": lambda **kwargs: MultiHeadAttention(3, 4, weights_kind="scores", **kwargs),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def tensors():
    rng = np.random.default_rng(3)
    return tuple(rng.normal(size=size).astype("float32") for size in [(B, T, D), (B, S, V), (B, S, D)])


def distances():
    return np.array([[s - t for s in range(S)] for t in range(T)])


def bias_of(layer):
    """What the position bias added to the scores."""
    plain = twin_without_bias(layer)
    return array(layer(*tensors())[1]) - array(plain(*tensors())[1])


def twin_without_bias(layer):
    plain = type(layer).from_config({**layer.get_config(), "position_bias": None})
    plain.build(*[one.shape for one in tensors()])
    own = {weight.path.split("/", 1)[1]: weight for weight in layer.weights}
    for weight in plain.weights:
        weight.assign(own[weight.path.split("/", 1)[1]])
    return plain


@every_layer
@pytest.mark.parametrize("slopes", [None, "given"])
def test_alibi_is_a_slope_times_the_distance(make, slopes):
    layer = make(position_bias="alibi")
    heads = layer.heads or 1
    expected = [2 ** (-8 * (head + 1) / heads) for head in range(heads)]
    if slopes:
        expected = [0.5, 0.25, 2.0][:heads]
        layer = make(position_bias=positions.ALiBi(slopes=expected))
    layer(*tensors())
    bias = np.array([-slope * np.abs(distances()) for slope in expected])
    same(
        bias_of(layer),
        np.broadcast_to(bias if layer.heads else bias[0], (B, *bias.shape[not layer.heads :])),
        atol=1e-4,
    )


@every_layer
def test_a_relative_bias_is_a_number_for_each_clipped_distance(make):
    layer = make(position_bias=positions.RelativeBias(2, initializer=keras.initializers.RandomNormal(seed=1)))
    layer(*tensors())
    table = array(layer.position_bias.table)
    bias = np.moveaxis(table[np.clip(distances(), -2, 2) + 2], -1, 0)
    same(
        bias_of(layer),
        np.broadcast_to(bias if layer.heads else bias[0], (B, *bias.shape[not layer.heads :])),
        atol=1e-4,
    )


@every_layer
def test_a_relative_bias_learns(make):
    layer = make(position_bias="relative", return_weights=False)
    model = keras.Sequential([keras.Input((T, D)), layer])
    model.compile("sgd", "mse")
    query = tensors()[0]
    model.train_on_batch(query, np.ones((B, T, D)))
    moved = array(layer.position_bias.table)[128 - T + 1 : 128 + T]
    assert (np.abs(moved) > 0).all()
    assert np.count_nonzero(array(layer.position_bias.table)) == moved.size  # no other distance occurs


@every_layer
@pytest.mark.parametrize("kind", ["alibi", "relative"])
def test_blocks_and_the_bias_of_the_call_keep_their_places(make, kind):
    layer = make(position_bias=kind)
    added = np.random.default_rng(4).normal(size=(T, S)).astype("float32")
    expected = array(layer(*tensors(), score_bias=added, use_causal_mask=True)[1])
    same(expected - added, array(layer(*tensors(), use_causal_mask=True)[1]), atol=1e-5)
    got = arrays(twin(layer, top_k=S, block_size=2)(*tensors(), score_bias=added, use_causal_mask=True))
    seen = np.tri(T, S, dtype=bool) & np.ones(expected.shape, bool)
    again = np.zeros(expected.shape, "float32")
    np.put_along_axis(again, got[2], got[1], axis=-1)
    same(again[seen], expected[seen], atol=1e-5)


def test_reloaded_with_its_layer(tmp_path):
    inputs = keras.Input((None, D))
    table = positions.RelativeBias(3, initializer=keras.initializers.RandomNormal(seed=1))
    model = keras.Model(inputs, MultiHeadAttention(2, 3, position_bias=table)(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    query = tensors()[0]
    same(again.predict(query, verbose=0), model.predict(query, verbose=0))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: positions.get("rotary"), "position_bias must be None, one of 'alibi', 'relative'.*received 'rotary'"),
        (lambda: positions.RelativeBias(0), "max_distance must be a positive integer; received 0"),
        (lambda: positions.ALiBi([1.0, 2.0]).build(3), r"slopes needs one number for each of 3 heads; received \[1.0"),
    ],
)
def test_bad_arguments_get_a_sentence(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()
