"""The private names of Keras that ``capture`` leans on."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers as keras_layers

from keras_attn_xai.capture import seams
from keras_attn_xai.capture.calls import Calls, Listener
from keras_attn_xai.layers import AttentionLayer, LuongAttention

MOVED = "Keras moved or changed {}: keras_attn_xai/capture/seams.py must follow"
KERAS_LAYERS = {
    "Attention": (keras_layers.Attention, {}),
    "AdditiveAttention": (keras_layers.AdditiveAttention, {}),
    "MultiHeadAttention": (keras_layers.MultiHeadAttention, {"num_heads": 3, "key_dim": 2}),
    "GroupQueryAttention": (
        keras_layers.GroupQueryAttention,
        {"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2},
    ),
}
QUERY, VALUE = np.ones((2, 5, 11), "float32"), np.ones((2, 7, 11), "float32")
every_keras_layer = pytest.mark.parametrize("name", KERAS_LAYERS)


def called(layer):
    if isinstance(layer, keras_layers.Attention):
        return layer([QUERY, VALUE])
    return layer(QUERY, VALUE)


@every_keras_layer
def test_the_seam_is_still_a_method_that_every_call_goes_through(name):
    cls, arguments = KERAS_LAYERS[name]
    layer = cls(**arguments)
    seam = seams.seam(layer)
    assert callable(getattr(layer, seam, None)), MOVED.format(f"{name}.{seam}")
    seen, calls = [], Calls()
    calls.listeners.append(Listener("own", lambda call, one: seen.append(one.weights), {}))
    layer.__dict__[seam] = seams.replacements(layer, calls)[seam]
    called(layer)
    assert len(seen) == 1, MOVED.format(f"the way {name}.call reaches {seam}")
    heads = {"MultiHeadAttention": 3, "GroupQueryAttention": 4}.get(name, 1)
    assert tuple(seen[0].shape) == (2, heads, 5, 7), MOVED.format(f"what {name}.{seam} returns")


@pytest.mark.parametrize("name", ["MultiHeadAttention", "GroupQueryAttention"])
def test_compute_attention_still_takes_the_arguments_that_are_passed_on(name):
    parameters = list(inspect.signature(KERAS_LAYERS[name][0]._compute_attention).parameters)
    assert parameters[1:6] == ["query", "key", "value", "attention_mask", "training"], MOVED.format(
        f"{name}._compute_attention"
    )
    if "extra_attention_kwargs" in inspect.getsource(getattr(keras.layers, name).call):  # Keras 3.12 has neither
        assert "use_causal_mask" in parameters, MOVED.format(f"{name}._compute_attention")


@pytest.mark.parametrize(
    ("name", "attribute"),
    [("MultiHeadAttention", "_inverse_sqrt_key_dim"), ("GroupQueryAttention", "_inverse_sqrt_head_dim")],
)
def test_the_scale_is_still_kept_by_the_layer(name, attribute):
    cls, arguments = KERAS_LAYERS[name]
    assert getattr(cls(**arguments), attribute, None) == pytest.approx(2**-0.5), MOVED.format(f"{name}.{attribute}")


@pytest.mark.parametrize("name", ["MultiHeadAttention", "GroupQueryAttention"])
def test_dropout_and_output_projection_are_still_kept_by_the_layer(name):
    cls, arguments = KERAS_LAYERS[name]
    layer = cls(**arguments)
    called(layer)
    assert isinstance(getattr(layer, "_dropout_layer", None), keras_layers.Dropout), MOVED.format(
        f"{name}._dropout_layer"
    )
    kernel = getattr(getattr(layer, "_output_dense", None), "kernel", None)
    assert kernel is not None, MOVED.format(f"{name}._output_dense")
    assert tuple(kernel.shape) == (*{"MultiHeadAttention": (3, 2), "GroupQueryAttention": (4, 2)}[name], 11)


def test_tensorflow_still_makes_the_weights_of_fused_attention_with_one_softmax():
    layer = keras_layers.MultiHeadAttention(3, 2)
    layer.build(QUERY.shape, VALUE.shape)
    with seams.softmax_of_tensorflow() as made:
        layer(QUERY, VALUE)
    assert [tuple(one.shape) for one in made] == [(2, 3, 5, 7)], MOVED.format("backend.nn.dot_product_attention")


def test_layers_still_keep_their_sublayers_in_one_list():
    class Holder(keras.Layer):
        def __init__(self):
            super().__init__()
            self.one = keras_layers.Dense(1)
            self.several = [keras_layers.Dense(1), keras_layers.Dense(1)]
            self.deep = {"a": [keras_layers.Dense(1)]}

    holder = Holder()
    assert hasattr(holder, "_layers"), MOVED.format("Layer._layers")
    named = dict(seams.sublayers(holder))
    expected = {"one": holder.one, "several/0": holder.several[0], "several/1": holder.several[1]}
    assert named == expected | {"deep/a/0": holder.deep["a"][0]}, MOVED.format("Layer._layers")


def test_a_functional_model_is_still_told_from_the_others():
    inputs = keras.Input((3,))
    assert seams.is_functional(keras.Model(inputs, keras_layers.Dense(1)(inputs))), MOVED.format("Functional")
    assert not seams.is_functional(keras.Sequential([inputs, keras_layers.Dense(1)])), MOVED.format("Functional")
    assert not seams.is_functional(keras_layers.Dense(1))


def test_our_own_seam_is_there_and_other_layers_have_none():
    assert seams.seam(LuongAttention()) == "attend"
    assert callable(AttentionLayer.attend)
    assert seams.seam(keras_layers.Dense(1)) is None
