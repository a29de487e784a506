"""Attention layers of other people: seen and changed through Keras' own softmax."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as keras_layers
from keras import ops

from keras_attn_xai.capture import capture_attention, expose_attention, intervene, seams, set_to, uniform
from keras_attn_xai.capture.locate import attention_layers
from keras_attn_xai.errors import ModelError
from tests.capture.examples import QUERY, B, D, H, T
from tests.capture.test_expose import assert_same

MOVED = "Keras moved or changed {}: keras_attn_xai/capture/seams.py must follow"


@keras.saving.register_keras_serializable(package="tests")
class TutorialAttention(keras_layers.Layer):
    """Pooling as blogs write it: one weight a step, by the softmax that ``kind`` names."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.score = keras_layers.Dense(1)
        self.softmax = keras_layers.Softmax(axis=1)

    def build(self, shape):
        self.score.build(shape)

    def call(self, x):
        return ops.sum(SOFTMAXES[self.kind](self, self.score(x)) * x, axis=1)

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


SOFTMAXES = {
    "ops": lambda layer, scores: ops.softmax(scores, axis=1),
    "ops, last axis": lambda layer, scores: ops.softmax(scores[..., 0])[..., None],
    "activation": lambda layer, scores: keras.activations.softmax(scores, axis=1),
    "layer": lambda layer, scores: layer.softmax(scores),
    "TensorFlow": lambda layer, scores: tf.nn.softmax(scores, axis=1),
    "TensorFlow, by name": lambda layer, scores: tf.nn.softmax(logits=scores, axis=1),
}
every_softmax = pytest.mark.parametrize("kind", SOFTMAXES)


@keras.saving.register_keras_serializable(package="tests")
class GroupedSelfAttn(keras_layers.Layer):
    """Scores (B, K, G, T, S), as some language models have them."""

    def call(self, x):
        q = ops.reshape(x[..., :6], (-1, ops.shape(x)[1], 3, 2, 1))
        scores = ops.einsum("btkgd,bskgd->bkgts", q, q)
        return ops.einsum("bkgts,bsd->btd", ops.softmax(scores), x)


@keras.saving.register_keras_serializable(package="tests")
class FusedAttention(keras_layers.Layer):
    """Keras' fused attention, with fewer heads of keys than of queries."""

    def call(self, x):
        q = ops.reshape(x[..., :8], (-1, ops.shape(x)[1], 4, 2))
        attended = ops.dot_product_attention(q, q[:, :, :2], q[:, :, 2:], is_causal=True)
        return ops.reshape(attended, (-1, ops.shape(x)[1], 8))


@keras.saving.register_keras_serializable(package="tests")
class OwnCall(keras_layers.MultiHeadAttention):
    """Keras' layer in name: its call never comes to the seam, or comes to it after a softmax that is none of ours."""

    def __init__(self, *args, through_seam=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.through_seam = through_seam

    def call(self, query, value, key=None, **kwargs):
        if self.through_seam:
            return super().call(query, value, **kwargs)
        scores = ops.einsum("bthd,bshd->bhts", self._query_dense(query), self._key_dense(value))
        return ops.einsum("bhts,bsd->btd", ops.softmax(scores), value)


def model_of(layer, *, steps=None):
    x = keras.Input((steps, D))
    return keras.Model(x, keras_layers.Dense(3, activation="softmax")(layer(x)))


@every_softmax
def test_the_softmax_of_the_layer_is_its_map_and_that_of_the_head_is_not(kind, tmp_path):
    layer = TutorialAttention(kind, name="tutorial")
    model = model_of(layer)
    before = model.predict(QUERY, verbose=0)
    view = expose_attention(model)
    outputs = view.predict(QUERY, verbose=0)
    assert list(outputs) == ["output", "attention/tutorial"]
    scores = np.asarray(layer.score(QUERY))[..., 0]
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert_same(outputs["attention/tutorial"], expected[:, None, None])
    assert_same(outputs["output"], before)
    view.save(tmp_path / "view.keras")
    again = keras.saving.load_model(tmp_path / "view.keras").predict(QUERY, verbose=0)
    assert_same(again["attention/tutorial"], outputs["attention/tutorial"])
    assert "call" not in layer.__dict__


@every_softmax
def test_its_weights_are_changed(kind):
    layer = TutorialAttention(kind, name="tutorial")
    model = model_of(layer)
    mean = model.layers[-1](QUERY.mean(1))
    assert_same(intervene(model, {"tutorial": uniform()}).predict(QUERY, verbose=0), mean)


@keras.saving.register_keras_serializable(package="tests")
class MaskedAttention(keras_layers.Layer):
    """Keras' Softmax layer with a mask: it empties the rows that have no key."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.softmax = keras_layers.Softmax()

    def call(self, x):
        kept = ops.greater(x[..., 0], 0)[:, None, :] & ops.greater(x[..., 0], 0)[:, :, None]
        return ops.matmul(self.softmax(ops.einsum("btd,bsd->bts", x, x), mask=kept), x)


def test_rows_the_layer_empties_are_empty_in_the_map():
    model = model_of(MaskedAttention(name="masked"))
    (seen,) = capture_attention(model, QUERY)
    kept = QUERY[..., 0] > 0
    assert (seen.weights[:, 0][~kept] == 0).all()
    assert_same(seen.weights[:, 0].sum(-1), kept.astype("float32"))
    assert_same(intervene(model, {"masked": set_to(seen.weights)}).predict(QUERY, verbose=0), model(QUERY))


def test_groups_and_heads_are_heads():
    model = model_of(GroupedSelfAttn(name="grouped"))
    (seen,) = capture_attention(model, QUERY)
    assert seen.weights.shape == (B, 6, T, T)
    assert_same(intervene(model, {"grouped": set_to(seen.weights)}).predict(QUERY, verbose=0), model(QUERY))
    q = QUERY[..., :6].reshape(B, T, 6)
    scores = np.einsum("bth,bsh->bhts", q, q)
    assert_same(seen.weights, np.exp(scores) / np.exp(scores).sum(-1, keepdims=True), atol=1e-5)


def test_fused_attention_is_recomputed():
    model = model_of(FusedAttention(name="fused"))
    (seen,) = capture_attention(model, QUERY)
    assert seen.weights.shape == (B, 4, T, T)
    assert (seen.weights[..., ~np.tri(T, dtype=bool)] == 0).all()
    assert_same(intervene(model, {"fused": set_to(seen.weights)}).predict(QUERY, verbose=0), model(QUERY))


@pytest.mark.parametrize("through_seam", [False, True])
def test_a_subclass_with_a_call_of_its_own_has_each_map_once(through_seam):
    layer = OwnCall(H, 2, through_seam=through_seam, name="mha")
    x = keras.Input((None, D))
    model = keras.Model(x, layer(x, x))
    outputs = expose_attention(model).predict(QUERY, verbose=0)
    assert {name: one.shape for name, one in outputs.items()} == {"output": (B, T, D), "attention/mha": (B, H, T, T)}
    assert_same(outputs["output"], model.predict(QUERY, verbose=0))


def test_a_softmax_in_a_graph_goes_by_its_name():
    x = keras.Input((None, D))
    scores = keras_layers.Dot(2)([x, x])
    weights = keras_layers.Softmax(name="block_attention_scores")(scores)
    model = keras.Model(x, keras_layers.Softmax(name="head")(keras_layers.Dot((2, 1))([weights, x])))
    outputs = expose_attention(model).predict(QUERY, verbose=0)
    assert outputs["attention/block_attention_scores"].shape == (B, 1, T, T)
    assert len(outputs) == 2


@keras.saving.register_keras_serializable(package="tests")
class WindowAttention(keras_layers.Layer):
    """Attention inside windows of two steps, as vision models have it."""

    def call(self, x):
        windows = ops.reshape(x, (-1, 2, D))
        weights = ops.softmax(ops.einsum("btd,bsd->bts", windows, windows))
        return ops.reshape(ops.einsum("bts,bsd->btd", weights, windows), (-1, 4, D))


def test_windows_are_heads_of_a_record():
    model = model_of(WindowAttention(name="windows"), steps=4)
    (seen,) = capture_attention(model, QUERY[:, :4], batch_size=1)
    assert seen.weights.shape == (B, 2, 2, 2)
    assert_same(seen.weights.sum(-1), np.ones((B, 2, 2)))


class GatedAttention(keras_layers.Layer):
    """Calls itself attention, and has weights by another name."""

    def call(self, x):
        return ops.sigmoid(x) * x


def test_a_layer_without_a_softmax_is_named_when_nothing_else_attends():
    with pytest.raises(ModelError, match=r"No attention layer of the model .*GatedAttention 'gated'.*softmax"):
        expose_attention(model_of(GatedAttention(name="gated")))


def test_the_outer_layer_leaves_it_to_the_inner():
    class AttentionBlock(keras_layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.inner = TutorialAttention("ops", name="inner")

        def call(self, x):
            return self.inner(x) + ops.softmax(x[:, 0])

    assert [name for name, _ in attention_layers(model_of(AttentionBlock()))] == ["block/inner"]


def test_keras_still_has_one_softmax_and_one_fused_attention():
    heard = []

    def softmax(made, axis):
        heard.append("softmax")
        return made

    def fused(context, *rest):
        heard.append("fused")
        return context

    x = ops.ones((1, 2, 1, 2))
    own = seams.backend.nn.softmax, seams.backend.nn.dot_product_attention
    with seams.normalizers_heard(softmax=softmax, fused=fused):
        for call in (ops.softmax, ops.nn.softmax, keras.activations.softmax, keras_layers.Softmax(), tf.nn.softmax):
            call(x)
        assert heard == ["softmax"] * 5, MOVED.format("where its functions meet in backend.nn.softmax")
        ops.dot_product_attention(x, x, x)
    assert heard[5:] == ["fused"], MOVED.format("backend.nn.dot_product_attention")
    assert own == (seams.backend.nn.softmax, seams.backend.nn.dot_product_attention)
