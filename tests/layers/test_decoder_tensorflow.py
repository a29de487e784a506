"""What only TensorFlow can be asked of the decoder: graphs with unknown sizes, XLA, tapes, SavedModel."""

import keras
import numpy as np
import pytest

from keras_attn_xai.layers import AttentionDecoder, LuongAttention
from tests.layers.contract import array, arrays, same, variables_as_arrays
from tests.layers.test_beam_search import KEPT as WRITTEN_KEPT
from tests.layers.test_beam_search import Search, Writer
from tests.layers.test_decoder import KEPT, MASK, UNITS, E, S, T, V, make, masks, tensors

if keras.backend.backend() != "tensorflow":
    pytest.skip("the decoder on TensorFlow", allow_module_level=True)

import tensorflow as tf

pytestmark = variables_as_arrays
UNKNOWN = [tf.TensorSpec((None, None, size)) for size in (E, V)] + [tf.TensorSpec((None, None), "bool")] * 2


def compiled(function, *, jit, sizes=UNKNOWN):
    return tf.function(function, input_signature=sizes, jit_compile=jit, autograph=False)


def gradients(decoder):
    """Loss and gradients as a function of inputs, memory and both masks."""
    variables = [weight.value for weight in decoder.trainable_weights]

    def run(inputs, memory, mask, memory_mask):
        with tf.GradientTape() as tape:
            outputs, weights = decoder(inputs, memory, mask=mask, memory_mask=memory_mask, training=True)
            loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(weights**2)
        return [loss, *tape.gradient(loss, variables)]

    return run


@pytest.mark.parametrize("variant", ["previous", "fed", "all"])
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
def test_compiled_with_unknown_sizes_is_eager(variant, jit):
    inputs, memory, _ = tensors()
    decoder = make(variant, cell="lstm")
    expected = arrays(decoder(inputs, memory, **masks()))

    def call(inputs, memory, mask, memory_mask):
        return decoder(inputs, memory, mask=mask, memory_mask=memory_mask)

    same(arrays(compiled(call, jit=jit)(inputs, memory, MASK, KEPT)), expected, atol=1e-5)


@pytest.mark.parametrize("variant", ["fed", "all"])
def test_gradients_of_a_graph_with_unknown_sizes_are_those_of_eager_mode(variant):
    decoder = make(variant, cell="lstm")
    inputs = [tf.constant(one) for one in (*tensors()[:2], MASK, KEPT)]
    decoder(*inputs[:2])
    run = gradients(decoder)
    same(arrays(compiled(run, jit=False)(*inputs)), arrays(run(*inputs)), atol=1e-4)


@pytest.mark.parametrize("variant", ["fed", "all"])
def test_xla_has_the_same_gradients(variant):
    decoder = make(variant, cell="lstm")
    inputs = [tf.constant(one) for one in (*tensors()[:2], MASK, KEPT)]
    decoder(*inputs[:2])
    run = gradients(decoder)
    known = [tf.TensorSpec(one.shape, one.dtype) for one in inputs]
    same(arrays(compiled(run, jit=True, sizes=known)(*inputs)), arrays(run(*inputs)), atol=1e-4)


def test_xla_has_gradients_with_unknown_sizes():
    decoder = AttentionDecoder(keras.layers.GRUCell(UNITS), LuongAttention("general"), order="current")
    inputs = [tf.constant(one) for one in (*tensors()[:2], MASK, KEPT)]
    decoder(*inputs[:2])
    run = gradients(decoder)
    same(arrays(compiled(run, jit=True)(*inputs)), arrays(run(*inputs)), atol=1e-4)


def test_a_masked_step_and_a_masked_position_have_no_gradient():
    decoder = make("all")
    inputs, memory = (tf.constant(one) for one in tensors()[:2])
    with tf.GradientTape() as tape:
        tape.watch([inputs, memory])
        outputs, weights = decoder(inputs, memory, **masks())
        loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(weights**2)
    by_step, by_position = tape.gradient(loss, [inputs, memory])
    assert (array(by_step)[~MASK] == 0).all()
    assert (np.abs(array(by_step)[MASK]).max(axis=-1) > 0).all()
    assert (array(by_position)[~KEPT] == 0).all()


def test_an_exported_model_answers_with_its_alignment(tmp_path):
    inputs, memory, _ = tensors()
    symbolic = keras.Input((None, E), name="inputs"), keras.Input((None, V), name="memory")
    outputs, weights, *_ = make("all", cell="stack", return_state=True)(*symbolic)
    model = keras.Model(
        dict(zip(("inputs", "memory"), symbolic, strict=True)), {"outputs": outputs, "weights": weights}
    )
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    for steps, positions in ((T, S), (2, 3)):
        given = {"inputs": inputs[:, :steps], "memory": memory[:, :positions]}
        expected, answer = model(given), served.serve(given)
        for name, one in expected.items():
            same(array(answer[name]), array(one), atol=1e-5)


def test_an_exported_search_runs_whole(tmp_path):
    writer = Writer("all")
    search = Search(writer)
    given = {"memory": writer.memory, "kept": WRITTEN_KEPT}
    expected = search.predict(given, verbose=0)
    search.export(tmp_path / "search", verbose=False)
    served = tf.saved_model.load(tmp_path / "search")
    answer = served.serve(given)
    for name, one in expected.items():
        same(array(answer[name]), one, atol=1e-4)
