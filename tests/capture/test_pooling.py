"""Maps of pooling layers: one query, a query a hop, a query a head, a query a sentence."""

import keras
import numpy as np
import pytest

from keras_attn_xai import expose_attention
from keras_attn_xai.layers import AttentionPooling, HierarchicalAttention
from tests.layers.contract import array, same, variables_as_arrays

pytestmark = variables_as_arrays
B, S, V, R, H = 2, 7, 13, 5, 11
IDS = np.array([[3, 1, 4, 1, 5, 9, 2], [6, 5, 0, 0, 0, 0, 0]])
SHAPES = {  # of a map without its batch
    "location": (1, 1, S),
    "feedforward": (1, 1, S),
    "gated": (1, 1, S),
    "multi_hop": (1, R, S),
    "query": (H, 1, S),
}
every_score = pytest.mark.parametrize("score", SHAPES)


def classifier(score, **kwargs):
    """Ids to a pooled vector to one number, and the weights as a second output if they come out."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    outputs = AttentionPooling(score, hops=R, num_heads=H, name="pooling", **kwargs)(
        keras.layers.Embedding(17, V, mask_zero=True)(ids)
    )
    return keras.Model(ids, outputs)


@every_score
def test_a_map_has_the_weights_of_the_layer(score):
    model = classifier(score)
    context, weights = model.predict(IDS, verbose=0)
    view = expose_attention(model)
    shown = view.predict(IDS, verbose=0)["attention/pooling"]
    assert shown.shape == (B, *SHAPES[score])
    same(shown.reshape(weights.shape), weights)
    assert (shown[1, ..., 2:] == 0).all()
    same(shown.sum(-1), np.ones(shown.shape[:-1]), atol=1e-5)
    same(model.predict(IDS, verbose=0), [context, weights])


@every_score
def test_top_weights_are_spread_over_the_positions(score):
    model = classifier(score, top_k=2)
    _, largest, indices = model.predict(IDS, verbose=0)
    shown = expose_attention(model).predict(IDS, verbose=0)["attention/pooling"]
    assert shown.shape == (B, *SHAPES[score])
    shown = shown.reshape(*largest.shape[:-1], S)
    same(np.take_along_axis(shown, indices, axis=-1), largest)
    same(shown.sum(-1), largest.sum(-1))


def test_the_view_of_a_sequential_survives_saving(tmp_path):
    layers = [
        keras.layers.Embedding(17, V, mask_zero=True),
        AttentionPooling("gated", return_weights=False, name="pooling"),
        keras.layers.Dense(1),
    ]
    view = expose_attention(keras.Sequential([keras.Input((S,), dtype="int32"), *layers]))
    expected = view.predict(IDS, verbose=0)
    view.save(tmp_path / "view.keras")
    again = keras.saving.load_model(tmp_path / "view.keras").predict(IDS, verbose=0)
    assert set(again) == {"output", "attention/pooling"}
    same(again["attention/pooling"], expected["attention/pooling"])
    same(again["output"], array(layers[2](layers[1](layers[0](IDS)))), atol=1e-5)


@pytest.mark.parametrize("weighted", [True, False])
def test_dropout_and_scores_do_not_reach_the_map(weighted):
    model = classifier("location", weighted_sequence=weighted, dropout=0.5, weights_kind="scores")
    shown = expose_attention(model)(IDS, training=True)["attention/pooling"]
    same(array(shown).sum(-1), np.ones((B, 1, 1)))


def documents(*poolings, **kwargs):
    """Ids (B, N, W) to a document's vector, and its weights."""
    ids = keras.Input((None, None), dtype="int32")
    words = keras.Sequential([keras.Input((None,), dtype="int32"), keras.layers.Embedding(17, V, mask_zero=True)])
    layer = HierarchicalAttention(*poolings, word_encoder=words, name="han", **kwargs)
    names = ("vector", "words", "sentences")
    return keras.Model(ids, dict(zip(names, layer(ids), strict=True)))


@pytest.mark.parametrize("poolings", [(), (AttentionPooling("gated"), AttentionPooling())], ids=["by name", "layers"])
def test_both_levels_of_a_document_are_shown(poolings):
    model = documents(*poolings)
    ids = np.array([[[3, 1, 4, 1, 5], [9, 2, 6, 0, 0], [0] * 5], [[5, 3, 5, 8, 9], [7, 9, 0, 0, 0], [3, 0, 0, 0, 0]]])
    own = model.predict(ids, verbose=0)
    shown = expose_attention(model).predict(ids, verbose=0)
    assert set(shown) == {*own, "attention/han/word_pooling", "attention/han/sentence_pooling"}
    same(shown["attention/han/word_pooling"], own["words"][:, None])
    same(shown["attention/han/sentence_pooling"], own["sentences"][:, None, None])
    assert ((shown["attention/han/word_pooling"][:, 0] > 0) == (ids > 0)).all()
    same([shown[name] for name in own], list(own.values()))
