"""A quantised layer is the same after a reload, on any Keras backend."""

import json
import zipfile

import keras
import numpy as np
import pytest

from keras_attn_xai.layers import (
    AttentionDecoder,
    AttentionPooling,
    BahdanauAttention,
    HierarchicalAttention,
    LuongAttention,
    MultiHeadAttention,
)
from tests.layers.contract import arrays, same, variables_as_arrays

pytestmark = [
    variables_as_arrays,
    pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`:UserWarning"),
]
B, T, S, W, D, V, U, UNITS = 2, 5, 7, 3, 11, 13, 4, 17


def draw(*shape):
    return np.random.default_rng(7).normal(size=shape).astype("float32")


def one(layer, *sizes):
    """A model of one layer on inputs of these sizes, and arrays for it."""
    inputs = [keras.Input(size) for size in sizes]
    return keras.Model(inputs, layer(*inputs)), [draw(B, *size) for size in sizes]


def between_layers_of_keras():
    ids, query = keras.Input((S,), dtype="int32"), keras.Input((T, D))
    memory = keras.layers.Dense(D)(keras.layers.Embedding(19, V, mask_zero=True)(ids))
    context = MultiHeadAttention(2, U, return_weights=False)(query, memory)
    context, weights = BahdanauAttention(U, use_bias=True)(context, memory)
    return keras.Model([query, ids], [keras.layers.Dense(3)(context), weights]), [
        draw(B, T, D),
        np.array([[1, 2, 3, 4, 0, 0, 0], [9, 8, 7, 6, 5, 4, 0]]),
    ]


def decoder(attention, **kwargs):
    cell = [keras.layers.LSTMCell(UNITS), keras.layers.GRUCell(5)]
    return one(AttentionDecoder(cell, attention, **kwargs), (T, D), (S, V))


def encoded_documents():
    encoder = keras.Sequential([keras.layers.Embedding(19, V, mask_zero=True), keras.layers.Dense(U)])
    pooling = AttentionPooling("gated", units=U)
    layer = HierarchicalAttention("feedforward", pooling, word_encoder=encoder, sentence_encoder=keras.layers.Dense(D))
    ids = keras.Input((W, S), dtype="int32")
    return keras.Model([ids], layer(ids)), [np.random.default_rng(5).integers(0, 19, (B, W, S))]


QUANTISED = {  # what there is to quantise, and a model with its inputs
    "bahdanau": (3, lambda: one(BahdanauAttention(U), (T, D), (S, V))),
    "bahdanau alone": (3, lambda: one(BahdanauAttention(U, return_weights=False), (T, D))),
    "bahdanau normalised": (3, lambda: one(BahdanauAttention(U, normalize=True, use_bias=True), (T, D), (S, V))),
    "luong general": (1, lambda: one(LuongAttention("general"), (T, D), (S, V))),
    "luong concat": (
        6,
        lambda: one(LuongAttention("concat", window="predictive", attentional_vector=5), (T, D), (S, V)),
    ),
    "multi head": (4, lambda: one(MultiHeadAttention(2, U, value_dim=5, position_bias="relative"), (T, D), (S, V))),
    "grouped query": (4, lambda: one(MultiHeadAttention(4, U, num_key_value_heads=2), (T, D), (S, V), (S, D))),
    "location": (1, lambda: one(AttentionPooling("location"), (S, V))),
    "feedforward": (2, lambda: one(AttentionPooling("feedforward", weighted_sequence=True), (S, V))),
    "gated": (3, lambda: one(AttentionPooling("gated", units=U, use_bias=True), (S, V))),
    "multi hop": (2, lambda: one(AttentionPooling("multi_hop", hops=2), (S, V))),
    "query": (3, lambda: one(AttentionPooling("query", num_heads=2), (S, V))),
    "documents": (4, lambda: one(HierarchicalAttention(units=U), (W, S, V))),
    "encoded documents": (8, encoded_documents),
    "decoder": (3, lambda: decoder(BahdanauAttention(U))),
    "decoder fed": (2, lambda: decoder(LuongAttention("general"), order="current", input_feeding=True)),
    "decoder that covers": (3, lambda: decoder(BahdanauAttention(U), coverage=True, location_filters=2)),
    "between layers of Keras": (10, between_layers_of_keras),
}
ADAPTED = [  # one of each kind of part, for each takes seconds
    "bahdanau normalised", "luong concat", "grouped query", "gated", "encoded documents", "decoder fed",
    "between layers of Keras",
]  # fmt: skip
every_one = pytest.mark.parametrize(("count", "make"), QUANTISED.values(), ids=QUANTISED)


def quantised_parts(model):
    return [part for part in model._flatten_layers() if part.quantization_mode is not None]


def reloaded(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


@every_one
def test_a_quantised_model_predicts_the_same_after_a_reload(count, make, tmp_path):
    model, inputs = make()
    model.quantize("int8")
    assert len(quantised_parts(model)) == count
    again = reloaded(model, tmp_path)
    same(arrays(keras.tree.flatten(again(inputs))), arrays(keras.tree.flatten(model(inputs))))
    names = [part.dtype_policy.name for part in quantised_parts(model)]
    assert sorted(part.dtype_policy.name for part in quantised_parts(again)) == sorted(names)


def test_a_quantised_model_can_be_saved_again(tmp_path):
    model, inputs = QUANTISED["between layers of Keras"][1]()
    model.quantize("int8")
    twice = reloaded(reloaded(model, tmp_path), tmp_path)
    same(arrays(keras.tree.flatten(twice(inputs))), arrays(keras.tree.flatten(model(inputs))))


@pytest.mark.parametrize("mode", ["int4", "float8"])
@pytest.mark.parametrize("name", ["bahdanau", "multi head", "documents", "decoder fed"])
def test_other_ways_to_quantise_come_back_as_well(name, mode, tmp_path):
    model, inputs = QUANTISED[name][1]()
    model.quantize(mode)
    again = reloaded(model, tmp_path)
    same(arrays(keras.tree.flatten(again(inputs))), arrays(keras.tree.flatten(model(inputs))))


@pytest.mark.parametrize("name", ADAPTED)
@pytest.mark.parametrize("quantised", [False, True], ids=["as it is", "int8"])
def test_an_adapted_model_predicts_the_same_after_a_reload(name, quantised, tmp_path):
    model, inputs = QUANTISED[name][1]()
    if quantised:
        model.quantize("int8")
    before = arrays(keras.tree.flatten(model(inputs)))
    parts = [
        part for part in model._flatten_layers() if isinstance(part, (keras.layers.Dense, keras.layers.EinsumDense))
    ]
    for part in parts:
        part.enable_lora(2)
        part.lora_kernel_b.assign(part.lora_kernel_b + 0.25)
    adapted = arrays(keras.tree.flatten(model(inputs)))
    assert max(np.abs(a - b).max() for a, b in zip(adapted, before, strict=True)) > 1e-3
    got = arrays(keras.tree.flatten(reloaded(model, tmp_path)(inputs)))
    for a, b in zip(got, adapted, strict=True):  # Keras saves the sum, and rounds it again where it is quantised
        np.testing.assert_allclose(a, b, atol=(0.1 if quantised else 1e-5) * max(1, np.abs(b).max()))


def test_one_part_may_be_quantised_alone(tmp_path):
    model, inputs = QUANTISED["bahdanau"][1]()
    layer = model.layers[-1]
    layer.key_dense.quantize("int8")
    again = reloaded(model, tmp_path)
    same(arrays(again(inputs)), arrays(model(inputs)))
    assert [part.name for part in quantised_parts(again)] == ["key"]


def test_the_file_of_a_model_that_is_not_quantised_says_nothing_of_it(tmp_path):
    model, _ = QUANTISED["documents"][1]()
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        layer = json.loads(file.read("config.json"))["config"]["layers"][-1]
    assert layer["build_config"] == {"input_shape": [None, W, S, V]}
