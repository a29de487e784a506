"""Attention heads as players: a head that is absent has weights of 0."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_attn_xai import AttentionExplainer, align, intervene
from keras_attn_xai.capture import zero
from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.layers import BahdanauAttention, MultiHeadAttention
from tests.explain.enumeration import shapley_values
from tests.explain.kinds import KINDS, B, D, H, T, draw
from tests.explain.models import attention_model, sequential_model, token_ids, wide_weights


def two_calls():
    """Two heads of ours, then one call of another layer."""
    x = keras.Input((T, D))
    y, _ = MultiHeadAttention(2, 3, name="near")(x, x)
    y, _ = BahdanauAttention(5, name="far")(y, x)
    return wide_weights(keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y))))


def one_layer_twice():
    """Two heads, asked twice: each call has heads of its own."""
    x = keras.Input((T, D))
    attend = layers.MultiHeadAttention(2, 3, name="both")
    y = attend(x, x)
    return wide_weights(keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(attend(y, y)))))


def by_enumeration(model, calls, x, target, row):
    """Shapley values of the heads of ``calls`` (name to count), each coalition a model of its own by `intervene`."""
    numbers = [(call, head) for call, count in calls.items() for head in range(count)]
    one = [part[row : row + 1] for part in x] if isinstance(x, list) else x[row : row + 1]

    def worth_of(present):
        off = {call: [h for (c, h), on in zip(numbers, present, strict=True) if c == call and not on] for call in calls}
        changes = {call: zero(heads=heads) for call, heads in off.items() if heads}
        outputs = intervene(model, changes)(one) if changes else model(one)
        return np.asarray(outputs)[:, target]

    def worth(several):
        return np.concatenate([worth_of(present) for present in several])

    count = len(numbers)
    return shapley_values(worth, np.ones(count), np.zeros((1, count)), range(count))


CASES = {
    "Keras multi-head, ids": (lambda: attention_model(mask_zero=True), {"mha": 3}, lambda: token_ids()),
    "one layer twice": (one_layer_twice, {"both": 2, "both#1": 2}, lambda: draw(B, T, D)),
    "two calls of ours": (two_calls, {"near": 2, "far": 1}, lambda: draw(B, T, D)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_equal_every_set_of_heads_switched_off(name):
    build, calls, rows = CASES[name]
    model, x = build(), rows()
    found = AttentionExplainer(model, None, players="heads", target=2, method="exact")(x).attribution
    expected = by_enumeration(model, calls, x, 2, row=1)
    np.testing.assert_allclose(found.values[1], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected).min() > 1e-4
    assert (found.players, found.input_name) == ("heads", "heads")
    assert found.player_labels[0] == tuple(f"{call} head {head}" for call, n in calls.items() for head in range(n))
    nobody = intervene(model, {call: zero(heads=list(range(n))) for call, n in calls.items()})
    np.testing.assert_allclose(found.base, np.asarray(nobody(x))[:, 2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.output, np.asarray(model(x))[:, 2], rtol=1e-5, atol=1e-6)


def test_heads_between_two_towers():
    case = KINDS["cross_attention"]()
    found = AttentionExplainer(case.model, None, players="heads", target=1, method="exact")(case.inputs)
    (seen,) = found.attention
    expected = by_enumeration(case.model, {seen.name: 3}, case.inputs, 1, row=2)
    np.testing.assert_allclose(found.attribution.values[2], expected, rtol=1e-4, atol=1e-5)


def test_a_head_that_is_multiplied_by_zero_gets_zero():
    model = attention_model()
    kernel = model.get_layer("mha")._output_dense.kernel
    kernel.assign(np.asarray(kernel) * np.array([1, 0, 1])[:, None, None])
    values = AttentionExplainer(model, None, players="heads", target=2, method="kernel")(token_ids()).attribution.values
    np.testing.assert_allclose(values[:, 1], 0, atol=1e-5)
    assert np.abs(values[:, [0, 2]]).min() > 1e-2


def test_equal_heads_get_the_same():
    model = attention_model()
    mha = model.get_layer("mha")
    weights = mha.get_weights()
    for array in weights:  # kernels (D, H, K), biases (H, K), and (H, K, D) on the way out
        if array.ndim > 1:
            heads = array.swapaxes(0, array.shape.index(H))
            heads[2] = heads[0]
    mha.set_weights(weights)
    values = AttentionExplainer(model, None, players="heads", target=2, method="exact")(token_ids()).attribution.values
    np.testing.assert_allclose(values[:, 2], values[:, 0], rtol=1e-4)
    assert np.abs(values[:, 1] - values[:, 0]).min() > 1e-3


def test_which_heads_play_and_what_is_left_as_it_was():
    model = two_calls()
    before = [sorted(vars(layer)) for layer in model._flatten_layers()]
    found = AttentionExplainer(model, None, players="heads", attention=["near"])(draw(B, T, D))
    assert found.attribution.player_labels[0] == ("near head 0", "near head 1")
    assert [one.name for one in found.attention] == ["near"]
    silent = AttentionExplainer(model, None, players="heads", attention=None)(draw(B, T, D))
    assert silent.attention == ()
    assert silent.attribution.values.shape == (B, 3)
    assert [sorted(vars(layer)) for layer in model._flatten_layers()] == before
    assert found.provenance.background == "attention weights of 0"


def test_heads_are_refused_with_a_sentence():
    with pytest.raises(ArgumentError, match="players='heads' takes background=None: a head that is off"):
        AttentionExplainer(attention_model(), 1, players="heads")
    with pytest.raises(ArgumentError, match=r"needs attention; the model 'sequential.*' has none"):
        AttentionExplainer(sequential_model(), None, players="heads")(token_ids())
    case = KINDS["einsum_attention"]()
    with pytest.raises(ModelError, match="No attention layer of the model"):
        AttentionExplainer(case.model, None, players="heads", target=1)(case.inputs)
    found = AttentionExplainer(attention_model(), None, players="heads")(token_ids())
    with pytest.raises(ArgumentError, match=r"tokens, words or steps; this explanation has heads \(2, 3\)"):
        align(found)
    assert found.to_shap().feature_names == ["mha head 0", "mha head 1", "mha head 2"]
