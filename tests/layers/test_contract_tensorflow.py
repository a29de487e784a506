"""The part of the contract that only TensorFlow can be asked: graphs, XLA, SavedModel, tapes."""

from functools import partial

import keras
import numpy as np
import pytest

from keras_attn_xai.layers import normalizers
from tests.layers.contract import (
    CASES,
    KEPT,
    LENGTHS,
    SCALED_DOT,
    B,
    D,
    S,
    T,
    V,
    array,
    arrays,
    by_key,
    cross_inputs,
    cross_model,
    every_layer,
    same,
    tensors,
    twin,
    variables_as_arrays,
)

if keras.backend.backend() != "tensorflow":
    pytest.skip("the contract of TensorFlow", allow_module_level=True)

import tensorflow as tf

pytestmark = variables_as_arrays
EMPTY_ROW = KEPT & np.array([[True], [False]])


def graph(layer, case, *, jit):
    """The layer as a function with unknown B, T and S."""
    floats = [tf.TensorSpec((None, None, size)) for size in (D, V, case.key_size)]
    kept = tf.TensorSpec((None, None), "bool")

    @tf.function(input_signature=[*floats, kept], jit_compile=jit, autograph=False)
    def run(query, value, key, kept):
        return layer(query, value, key, value_mask=kept, use_causal_mask=True)

    return run


@every_layer
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
def test_compiled_is_eager(case, jit):
    layer = case.make()
    inputs = tensors(case)
    expected = layer(*inputs, value_mask=EMPTY_ROW, use_causal_mask=True)
    same(arrays(graph(layer, case, jit=jit)(*inputs, EMPTY_ROW)), arrays(expected))


@every_layer
@pytest.mark.parametrize("mask", [KEPT, EMPTY_ROW], ids=["padded", "empty row"])
def test_the_gradient_is_finite_and_zero_only_where_nothing_was_read(case, mask):
    layer = case.make()
    inputs = [tf.constant(one) for one in tensors(case)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        context, weights = layer(*inputs, value_mask=mask)
        loss = tf.reduce_sum(context**2) + tf.reduce_sum(weights**2)
    names = ["query", "value", "key", *(weight.path for weight in layer.trainable_weights)]
    gradients = tape.gradient(loss, [*inputs, *(weight.value for weight in layer.trainable_weights)])
    for name, gradient in zip(names, gradients, strict=True):
        assert gradient is not None, name
        assert np.isfinite(array(gradient)).all(), name
        assert np.abs(array(gradient)).max() > 0, name
        if name in ("value", "key"):
            assert (array(gradient)[~mask] == 0).all(), name


@every_layer
def test_nan_in_padded_values_reaches_no_gradient(case):
    query, value, key = tensors(case)
    value[~KEPT] = np.nan
    layer, inputs = case.make(), [tf.constant(one) for one in (query, value, key)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        context, weights = layer(*inputs, value_mask=KEPT)
        loss = tf.reduce_sum(context**2) + tf.reduce_sum(weights**2)
    for gradient in tape.gradient(loss, [*inputs, *(weight.value for weight in layer.trainable_weights)]):
        assert np.isfinite(array(gradient)).all()


BLOCKED = [(case, False) for case in CASES] + [(CASES[-1], True)]  # XLA compiles slowly


@pytest.mark.parametrize(("case", "jit"), BLOCKED, ids=[f"{case.name}{'-XLA' * jit}" for case, jit in BLOCKED])
@pytest.mark.parametrize("options", [{"block_size": 2}, {"block_size": 2, "top_k": S}], ids=["dense", "top_k"])
def test_the_gradient_through_blocks_is_that_of_the_whole(case, jit, options):
    whole = case.make(normalizer=normalizers.Entmax(1.5, learnable=True))
    inputs = [tf.constant(one) for one in tensors(case)]
    whole(*inputs)
    blocked = twin(whole, **options)

    def gradients(layer, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            context, weights, *_ = layer(*inputs, value_mask=KEPT, use_causal_mask=True)
            loss = tf.reduce_sum(context**2) + tf.reduce_sum(weights**2)
        return tape.gradient(loss, [*inputs, *(weight.value for weight in layer.trainable_weights)])

    sizes = [tf.TensorSpec((None, None, one.shape[-1])) for one in inputs]
    compiled = tf.function(partial(gradients, blocked), input_signature=sizes, jit_compile=jit)
    for one, other in zip(map(array, compiled(*inputs)), map(array, gradients(whole, *inputs)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * max(1, np.abs(other).max()))


@every_layer
@pytest.mark.parametrize("mode", ["int8", "lora"])
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`:UserWarning")
def test_projections_can_be_quantised_and_adapted(case, mode):
    inputs = list(tensors(case))
    model = cross_model(case.make(), case)
    feed = dict(zip(("query", "value", "key"), inputs, strict=True)) | {"kept": KEPT}
    before = arrays(model(feed).values())
    dense = [part for part in model._flatten_layers() if hasattr(part, "enable_lora")]
    assert bool(dense) == bool(model.trainable_weights)
    if mode == "int8":
        model.quantize("int8")
        after = arrays(model(feed).values())
        for one, other in zip(after, before, strict=True):
            assert np.abs(one - other).max() < 0.1 * np.abs(other).max()
        return
    for part in dense:
        part.enable_lora(2)
    same(arrays(model(feed).values()), before, atol=1e-5)  # the second factor starts at zero
    for part in dense:
        part.lora_kernel_b.assign(part.lora_kernel_b + 0.5)
    moved = max(np.abs(one - other).max() for one, other in zip(arrays(model(feed).values()), before, strict=True))
    assert not dense or moved > 1e-3


@every_layer
def test_fully_masked_error_stops_a_graph(case):
    layer = case.make(fully_masked="error")
    run = graph(layer, case, jit=False)
    run(*tensors(case), KEPT)
    with pytest.raises(tf.errors.InvalidArgumentError, match="every key masked and fully_masked="):
        run(*tensors(case), EMPTY_ROW)


@every_layer
def test_fully_masked_error_stops_predict(case):
    model = cross_model(case.make(fully_masked="error"), case)
    with pytest.raises(tf.errors.InvalidArgumentError, match="every key masked"):
        model.predict(cross_inputs(case), verbose=0)


def test_where_xla_drops_assertions_error_acts_as_zero():
    case = SCALED_DOT
    layer = case.make(fully_masked="error")
    weights = graph(layer, case, jit=True)(*tensors(case), EMPTY_ROW)[1]
    same(array(weights)[1], np.zeros((T, S)))


@every_layer
def test_exported_as_a_saved_model_the_numbers_are_the_same(case, tmp_path):
    model = cross_model(case.make(dropout=0.5), case)
    inputs = cross_inputs(case)
    expected = model.predict(inputs, verbose=0)
    model.export(str(tmp_path), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path))
    got = loaded.serve({name: tf.constant(one) for name, one in inputs.items()})
    same([got["context"], got["weights"]], [expected["context"], expected["weights"]])


def test_an_attached_mask_is_exported_too(tmp_path):
    case = CASES[0]
    ids, query = keras.Input((None,), dtype="int32", name="ids"), keras.Input((None, D), name="query")
    memory = keras.layers.Embedding(17, D, mask_zero=True)(ids)
    context, _ = case.make()(query, memory)
    context = keras.layers.MultiHeadAttention(2, 3)(context, memory)  # clears the mask of its own inputs
    model = keras.Model({"ids": ids, "query": query}, {"weights": case.make()(context, memory)[1]})
    model.export(str(tmp_path), verbose=False)
    numbers = np.where(KEPT, np.arange(1, S + 1), 0).astype("int32")
    loaded = tf.saved_model.load(str(tmp_path))
    weights = array(loaded.serve({"ids": tf.constant(numbers), "query": tf.constant(tensors(case)[0])})["weights"])
    assert (by_key(weights)[~KEPT] == 0).all()
    same(weights.sum(-1), np.ones((B, T)))


def test_lengths_work_in_a_graph_of_unknown_size():
    case = CASES[0]
    layer = case.make()
    inputs = tensors(case)
    expected = arrays(layer(*inputs, value_mask=KEPT))
    specs = [tf.TensorSpec((None, None, size)) for size in (D, V, case.key_size)]
    run = tf.function(lambda q, v, k, n: layer(q, v, k, lengths=n), [*specs, tf.TensorSpec((None,), "int32")])
    same(arrays(run(*inputs, LENGTHS.astype("int32"))), expected)
