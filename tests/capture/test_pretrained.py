"""A real pretrained model, all-MiniLM-L6-v2: its 72 maps are those the formulas give from the weights in its file."""

import functools

import numpy as np
import pytest
from scipy.special import erf

from keras_attn_xai import expose_attention
from tests import references

pytestmark = [
    # Keras 3.15 reads its variables with np.array, and TensorFlow 2.21 has not brought their __array__ to NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
INSTALL = "run `make pretrained`, which installs it: {} is not here"
LAYERS, HEADS, WIDTH = 6, 12, 384
TEXTS = (
    "A man is eating food.",
    "Someone has a meal.",
    "Prices fell on the stock market today, after a week of gains.",
)


@pytest.fixture(scope="module")
def batch(minilm):
    """Ids and mask of three texts, two of them padded."""
    inputs, _ = minilm.encode(minilm.load_tokenizer(), TEXTS)
    assert (inputs["mask"].sum(1) < inputs["mask"].shape[1]).sum() == 2
    return inputs


@pytest.fixture(scope="module")
def exposed(minilm, batch):
    """The model, what it predicts, and what its view predicts."""
    model = minilm.load()
    return model, model.predict(batch, verbose=0), expose_attention(model).predict(batch, verbose=0)


@pytest.fixture(scope="module")
def by_hand(minilm, batch):
    """Maps of each layer and the hidden states, from the arrays of the file: by GELU's own formula, or by tanh."""
    arrays = minilm.load_file(minilm.folder() / "model.safetensors")
    return functools.cache(lambda gelu: bert(arrays, batch["ids"], batch["mask"], gelu))


def maps_of(outputs):
    return [one for name, one in outputs.items() if name.startswith("attention/")]


# BERT, slowly: Devlin et al. 2019 (arXiv:1810.04805), in float64


def gelu_by_erf(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def gelu_by_tanh(x):
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def bert(arrays, ids, mask, gelu):
    w = {name: array.astype("float64") for name, array in arrays.items() if array.dtype == np.float32}
    words, positions, kinds = (w[f"embeddings.{one}_embeddings.weight"] for one in ("word", "position", "token_type"))
    x = normalised(words[ids] + positions[: ids.shape[1]] + kinds[0], w, "embeddings")
    maps, keys = [], np.repeat(mask[:, None] > 0, ids.shape[1], axis=1)
    for i in range(LAYERS):
        name = f"encoder.layer.{i}"
        (W_q, b_q), (W_k, b_k), (W_v, b_v) = (
            heads(w, f"{name}.attention.self.{part}") for part in ("query", "key", "value")
        )
        maps.append(references.multi_head_weights(x, x, W_q, b_q, W_k, b_k, keys))
        W_o = w[f"{name}.attention.output.dense.weight"].T.reshape(HEADS, -1, WIDTH)
        attended = references.multi_head_context(maps[-1], x, W_v, b_v, W_o, w[f"{name}.attention.output.dense.bias"])
        x = normalised(x + attended, w, f"{name}.attention.output")
        x = normalised(
            x + dense(gelu(dense(x, w, f"{name}.intermediate.dense")), w, f"{name}.output.dense"), w, f"{name}.output"
        )
    return maps, x


def dense(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def heads(w, name):
    return w[f"{name}.weight"].T.reshape(WIDTH, HEADS, -1), w[f"{name}.bias"].reshape(HEADS, -1)


def normalised(x, w, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return x * w[f"{name}.LayerNorm.weight"] + w[f"{name}.LayerNorm.bias"]


# The plain port


def test_all_72_maps_are_those_of_the_formulas(exposed, by_hand):
    found, (expected, _) = maps_of(exposed[2]), by_hand(gelu_by_erf)
    assert sum(one.shape[1] for one in found) == 72
    for i in range(LAYERS):
        np.testing.assert_allclose(found[i], expected[i], atol=1e-5, rtol=0, err_msg=f"layer {i}")


def test_the_port_is_the_model(exposed, by_hand):
    np.testing.assert_allclose(exposed[1]["hidden"], by_hand(gelu_by_erf)[1], atol=1e-4, rtol=0)


def test_the_prediction_does_not_move(exposed):
    _, before, outputs = exposed
    for name, one in before.items():
        np.testing.assert_allclose(outputs[name], one, atol=1e-6, rtol=0)


def test_padding_gets_nothing_and_changes_nothing(minilm, batch, exposed):
    model, _, outputs = exposed
    for row, count in enumerate(batch["mask"].sum(1)):
        alone = expose_attention(model).predict(
            {name: one[row : row + 1, :count] for name, one in batch.items()}, verbose=0
        )
        for whole, one in zip(maps_of(outputs), maps_of(alone), strict=True):
            assert (whole[row, ..., count:] == 0).all()
            np.testing.assert_allclose(whole[row, :, :count, :count], one[0], atol=1e-5, rtol=0)
        np.testing.assert_allclose(outputs["sentence"][row], alone["sentence"][0], atol=1e-5, rtol=0)


def test_sentences_that_say_the_same_are_near(exposed):
    vectors = exposed[1]["sentence"]
    likeness = vectors @ vectors.T
    np.testing.assert_allclose(np.diag(likeness), 1, atol=1e-5)
    assert likeness[0, 1] > 0.6
    assert abs(likeness[:2, 2]).max() < 0.2


def test_a_file_that_lacks_a_weight_is_refused(minilm):
    layer = minilm.build().get_layer("encoder.layer.0.attention")
    with pytest.raises(ValueError, match=r"no weight 'encoder\.layer\.0\.attention\.self\.query\.weight'"):
        list(minilm.weights_of(layer, {}))


def test_the_example_prints_what_it_found(minilm, capsys):
    minilm.main(TEXTS[:2])
    printed = capsys.readouterr().out
    assert "[0.68 1.  ]" in printed
    assert "food looks at eating  (attention/encoder.layer.0.attention, head 2)" in printed


# The same weights through KerasHub


@pytest.fixture(scope="module")
def through_keras_hub(minilm, batch):
    """What the backbone predicts, and its view."""
    keras_hub = pytest.importorskip("keras_hub", reason=INSTALL.format("keras-hub"))
    backbone = keras_hub.models.BertBackbone.from_preset(str(minilm.folder()))
    segments = np.zeros_like(batch["ids"])
    inputs = {"token_ids": batch["ids"], "padding_mask": batch["mask"], "segment_ids": segments}
    return backbone.predict(inputs, verbose=0), expose_attention(backbone).predict(inputs, verbose=0)


def test_keras_hub_gives_the_same_maps_but_for_its_own_gelu(through_keras_hub, exposed, by_hand):
    """KerasHub's BERT has GELU by tanh: the first map comes before any, the others are 0.002 off the port's."""
    found, (expected, hidden) = maps_of(through_keras_hub[1]), by_hand(gelu_by_tanh)
    assert [one.shape[1] for one in found] == [HEADS] * LAYERS
    np.testing.assert_allclose(found[0], maps_of(exposed[2])[0], atol=1e-5, rtol=0)
    for i in range(LAYERS):
        np.testing.assert_allclose(found[i], expected[i], atol=1e-5, rtol=0, err_msg=f"layer {i}")
    np.testing.assert_allclose(through_keras_hub[0]["sequence_output"], hidden, atol=1e-4, rtol=0)


def test_the_prediction_of_keras_hub_does_not_move(through_keras_hub):
    before, outputs = through_keras_hub
    for name, one in before.items():
        np.testing.assert_allclose(outputs[name], one, atol=1e-6, rtol=0)
