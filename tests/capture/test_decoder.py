"""Capture of a recurrent decoder: its whole history is one map, and the attention inside its loop none."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attn_xai import expose_attention
from keras_attn_xai.capture import seams
from keras_attn_xai.capture.locate import attention_layers
from keras_attn_xai.capture.record import recording
from keras_attn_xai.layers import AttentionDecoder, BahdanauAttention
from tests.layers.contract import variables_as_arrays

pytestmark = variables_as_arrays
B, T, S, E, V, UNITS = 2, 5, 7, 11, 13, 17


def data():
    rng = np.random.default_rng(1)
    return {
        "inputs": rng.normal(size=(B, T, E)).astype("float32"),
        "memory": rng.normal(size=(B, S, V)).astype("float32"),
    }


def translator(**kwargs):
    """A model whose decoder keeps its weights to itself."""
    inputs = {"inputs": keras.Input((None, E), name="inputs"), "memory": keras.Input((None, V), name="memory")}
    decoder = AttentionDecoder(
        keras.layers.LSTMCell(UNITS), BahdanauAttention(3), return_weights=False, name="decoder", **kwargs
    )
    return keras.Model(inputs, keras.layers.Dense(3)(decoder(**inputs))), decoder


@pytest.mark.parametrize("order", ["previous", "current"])
def test_the_whole_history_comes_out(order):
    model, decoder = translator(order=order)
    given = data()
    expected = decoder.attend_all(**{name: ops.convert_to_tensor(one) for name, one in given.items()}).weights
    view = expose_attention(model)
    found = view.predict(given, verbose=0)
    assert list(found) == ["output", "attention/decoder"]
    assert found["attention/decoder"].shape == (B, 1, T, S)
    np.testing.assert_allclose(found["attention/decoder"][:, 0], ops.convert_to_numpy(expected), atol=1e-6)
    np.testing.assert_allclose(found["output"], model.predict(given, verbose=0), atol=1e-6)


def test_the_attention_inside_the_loop_is_no_call_of_its_own():
    model, decoder = translator()
    assert attention_layers(model) == [("decoder", decoder)]


def test_a_view_of_a_decoder_is_saved_and_reloaded(tmp_path):
    model, _ = translator(coverage=True)
    view = expose_attention(model)
    view.save(tmp_path / "view.keras")
    again = keras.saving.load_model(tmp_path / "view.keras")
    for one, other in zip(*(part.predict(data(), verbose=0).values() for part in (view, again)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_every_call_goes_through_the_seam():
    model, decoder = translator()
    assert seams.seam(decoder) == "attend_all"
    with recording(model) as seen:
        model(data())
    assert [tuple(one.shape) for one in seen.values()] == [(B, 1, T, S)]
    assert "attend_all" not in decoder.__dict__
