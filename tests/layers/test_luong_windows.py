"""Luong's local attention and attentional vector against loops over his equations."""

import keras
import numpy as np
import pytest

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.layers import LuongAttention
from tests import references
from tests.layers.contract import B, D, array, arrays, same, twin, variables_as_arrays

pytestmark = variables_as_arrays
T, S, WIDTH = 9, 11, 2
KEPT = np.arange(S) < np.array([[8], [11]])  # (B, S)


def tensors():
    rng = np.random.default_rng(3)
    return rng.normal(size=(B, T, D)).astype("float32"), rng.normal(size=(B, S, D)).astype("float32")


def local(score, query, key, centre_of, *, gaussian, kept=KEPT, width=WIDTH):
    """Weights (B, T, S) and centres (B, T) by eq. 7 to 10, one query at a time."""
    scores = {"dot": references.luong_dot_scores}[score](query, key)
    weights, centres = np.zeros(scores.shape), np.zeros(scores.shape[:2])
    for b, t in np.ndindex(centres.shape):
        length = kept[b].sum()
        p = centres[b, t] = centre_of(b, t, length)
        window = np.array([kept[b, s] and abs(s - p) <= width for s in range(S)])
        if window.any():
            weights[b, t] = references.masked_softmax(scores[b, t][None], window[None])[0]
        if gaussian:
            weights[b, t] *= np.exp(-((np.arange(S) - p) ** 2) / (2 * (width / 2) ** 2))
    return weights, centres


def predicted(layer, query):
    """Eq. 9 as a function of row, query and length."""
    W_p, v_p = array(layer.centre_dense.kernel), array(layer.centre_score_dense.kernel)[:, 0]

    def centre_of(b, t, length):
        return length / (1 + np.exp(-v_p @ np.tanh(query[b, t] @ W_p)))

    return centre_of


def layers(window, score="dot", **options):
    return LuongAttention(score, window=window, window_width=WIDTH, return_positions=True, **options)


def test_monotonic_looks_around_its_own_place():
    query, value = tensors()
    context, weights, positions = arrays(layers("monotonic")(query, value, value_mask=KEPT))
    expected, centres = local("dot", query, value, lambda b, t, length: t, gaussian=False)
    same(positions, centres)
    same(weights, expected, atol=1e-5)
    same(context, references.context(expected, value), atol=1e-4)


def test_predictive_looks_where_it_says_and_fades():
    query, value = tensors()
    layer = layers("predictive", kernel_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=2))
    context, weights, positions = arrays(layer(query, value, value_mask=KEPT))
    expected, centres = local("dot", query, value, predicted(layer, query), gaussian=True)
    assert np.ptp(centres) > 5
    same(positions, centres, atol=1e-4)
    same(weights, expected, atol=1e-5)
    same(context, references.context(expected, value), atol=1e-4)
    assert (weights.sum(-1) < 1).all()
    whole = arrays(twin(layer, renormalize=True)(query, value, value_mask=KEPT))[1]
    same(whole.sum(-1), np.ones((B, T)), atol=1e-5)
    same(whole, expected / expected.sum(-1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("window", ["monotonic", "predictive"])
def test_padding_on_either_side_moves_nothing(window):
    query, value = tensors()
    layer = layers(window)
    context, weights, positions = arrays(layer(query, value[:, :6]))
    for before in (0, 3):
        padded = np.full((B, S, D), 7, "float32")
        padded[:, before : before + 6] = value[:, :6]
        kept = np.broadcast_to((np.arange(S) >= before) & (np.arange(S) < before + 6), (B, S))
        got = arrays(layer(query, padded, value_mask=kept))
        same([got[0], got[1][..., before : before + 6], got[2]], [context, weights, positions], atol=1e-5)


@pytest.mark.parametrize("window", ["monotonic", "predictive"])
def test_blocks_steps_and_top_k_are_the_whole(window):
    query, value = tensors()
    layer = layers(window)
    context, weights, positions = arrays(layer(query, value, value_mask=KEPT))
    top = twin(layer, top_k=S, block_size=4)(query, value, value_mask=KEPT)
    assert len(top) == 4
    same([array(top[0]), array(top[3])], [context, positions], atol=1e-5)
    spread = np.zeros(weights.shape, "float32")
    np.put_along_axis(spread, array(top[2]), array(top[1]), axis=-1)
    same(spread, weights, atol=1e-5)


def test_a_window_past_the_end_is_empty():
    query, value = tensors()
    layer = layers("monotonic")
    weights = array(layer(query, value[:, :3])[1])
    assert (weights[:, 3 + WIDTH :] == 0).all()
    same(weights[:, : 3 + WIDTH].sum(-1), np.ones((B, 3 + WIDTH)))


def test_the_attentional_vector_is_a_layer_over_context_and_query():
    query, value = tensors()
    layer = LuongAttention("general", attentional_vector=6)
    vector, weights = arrays(layer(query, value, value_mask=KEPT))
    both = np.concatenate([references.context(weights, value), query], axis=-1)
    same(vector, np.tanh(both @ array(layer.context_dense.kernel)), atol=1e-5)
    assert layer(keras.Input((None, D)), keras.Input((None, D)))[0].shape == (None, None, 6)


@pytest.mark.parametrize("window", ["monotonic", "predictive"])
def test_a_model_reloads_predicts_and_learns(window, tmp_path):
    query, value = tensors()
    inputs = keras.Input((None, D)), keras.Input((None, D))
    context, weights, positions = layers(window, "general")(*inputs)
    assert positions.shape == (None, None)
    model = keras.Model(inputs, {"context": context, "weights": weights, "positions": positions})
    model.compile("sgd", {"context": "mse", "weights": None, "positions": None})
    model.train_on_batch([query, value], {"context": np.ones((B, T, D))})
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    same(again.predict([query, value], verbose=0), model.predict([query, value], verbose=0), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16"])
def test_half_precision_stays_finite(dtype):
    query, value = tensors()
    for window in ("monotonic", "predictive"):
        outputs = arrays(layers(window, dtype=dtype)(10 * query, 10 * value, value_mask=KEPT & [[True], [False]]))
        assert all(np.isfinite(one).all() for one in outputs)
        assert (outputs[1][1] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"window": "local"}, "window must be one of None, 'monotonic', 'predictive'; received 'local'"),
        ({"window": "monotonic", "window_width": 0}, "window_width must be a positive integer; received 0"),
        ({"return_positions": True}, "return_positions=True needs a window"),
        ({"attentional_vector": 2.5}, "attentional_vector must be a positive integer; received 2.5"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        LuongAttention(**arguments)


@pytest.mark.parametrize("window", ["monotonic", "predictive"])
@pytest.mark.parametrize("by_bias", [False, True])
def test_uniform_is_uniform_in_a_window_too(window, by_bias):
    layer = LuongAttention(window=window, window_width=WIDTH, fully_masked="uniform")
    nothing = {"score_bias": np.full((1, T, S), -np.inf)} if by_bias else {"value_mask": np.zeros((B, S), bool)}
    same(array(layer(*tensors(), **nothing)[1]), np.full((B, T, S), 1 / S))
