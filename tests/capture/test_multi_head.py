"""Our multi-head attention and weights kept as top_k, seen from outside."""

import keras
import numpy as np

from keras_attn_xai import expose_attention
from keras_attn_xai.layers import BahdanauAttention, LuongAttention, MultiHeadAttention

B, T, D = 2, 5, 6
KEPT = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)


def test_heads_come_out_as_heads():
    inputs = keras.Input((None, D))
    masked = keras.layers.Masking()(inputs)
    layer = MultiHeadAttention(3, 4, num_key_value_heads=1, return_weights=False, name="heads")
    model = keras.Model(inputs, keras.layers.Dense(2)(layer(masked)))
    x = np.random.default_rng(0).normal(size=(B, T, D)).astype("float32") * KEPT[..., None]
    view = expose_attention(model)
    assert view.output["attention/heads"].shape == (None, 3, None, None)
    outputs = view.predict(x, verbose=0)
    np.testing.assert_allclose(outputs["output"], model.predict(x, verbose=0), atol=1e-6)
    weights = outputs["attention/heads"]
    assert (np.moveaxis(weights, -1, 1)[~KEPT] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    twin = MultiHeadAttention.from_config({**layer.get_config(), "return_weights": True})
    twin.build((None, T, D))
    twin.set_weights(layer.get_weights())
    np.testing.assert_allclose(weights, twin(x, mask=KEPT)[1], atol=1e-6)


def test_the_largest_weights_are_spread_over_their_keys():
    inputs = keras.Input((None, D))
    layer = BahdanauAttention(4, top_k=2, block_size=2, name="few")
    context, _, _ = layer(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(context))
    x = np.random.default_rng(0).normal(size=(B, T, D)).astype("float32")
    weights = expose_attention(model).predict(x, verbose=0)["attention/few"]
    assert weights.shape == (B, 1, T, T)
    _, largest, indices = layer(x)
    assert ((weights > 0).sum(-1) == 2).all()
    np.testing.assert_allclose(np.take_along_axis(weights[:, 0], np.array(indices), axis=-1), largest, atol=1e-6)


def test_a_window_and_its_positions_do_not_disturb():
    inputs = keras.Input((None, D))
    context, _, positions = LuongAttention(window="monotonic", window_width=1, return_positions=True, name="near")(
        inputs
    )
    model = keras.Model(inputs, [context, positions])
    x = np.random.default_rng(0).normal(size=(B, T, D)).astype("float32")
    weights = expose_attention(model).predict(x, verbose=0)["attention/near"]
    assert (weights[:, 0, np.abs(np.subtract.outer(np.arange(T), np.arange(T))) > 1] == 0).all()
