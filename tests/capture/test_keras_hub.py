"""Backbones and tasks of KerasHub, tiny and with random weights: their attention comes out."""

import functools
import re
from typing import NamedTuple

import keras
import numpy as np
import pytest

from keras_attn_xai.capture import check_masks, expose_attention
from keras_attn_xai.capture.record import named_outputs

keras_hub = pytest.importorskip("keras_hub", reason="run `make pretrained`, which installs it: keras-hub is not here")

pytestmark = [
    # Keras 3.15 reads its variables with np.array, and TensorFlow 2.21 has not brought their __array__ to NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # T5 embeds with mask_zero=True, and its attention takes the mask as an argument
    pytest.mark.filterwarnings("ignore:Layer '(self|cross)_attention' .of type T5MultiHeadAttention. was passed"),
]
hub = keras_hub.models
H, T, FRAMES, PATCHES = 3, 5, 7, 16
IDS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
KEPT = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
IMAGES = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype("float32")
SOUND = np.random.default_rng(2).normal(size=(2, 2 * FRAMES, 6)).astype("float32")  # halved by a convolution
TEXT = {"token_ids": IDS, "padding_mask": KEPT}
SEGMENTS = {**TEXT, "segment_ids": 0 * IDS}
TWO_TEXTS = {f"{side}_{name}": one for side in ("encoder", "decoder") for name, one in TEXT.items()}
SPEECH = {"encoder_features": SOUND, "decoder_token_ids": IDS, "decoder_padding_mask": KEPT}
SIZES = {"num_layers": 2, "num_heads": H, "hidden_dim": 12, "intermediate_dim": 13}
WORDS = {"vocabulary_size": 29, "max_sequence_length": T}
SQUARE = {"image_shape": (16, 16, 3), "patch_size": 4}


class Case(NamedTuple):
    """How a model is made, what it takes, and the (T, S) of its maps."""

    make: object
    inputs: object
    maps: list


def clip():
    text = hub.CLIPTextEncoder(embedding_dim=12, **SIZES, **WORDS)
    return hub.CLIPBackbone(hub.CLIPVisionEncoder(**SIZES, **SQUARE), text, projection_dim=7)


def vit():
    return hub.ViTBackbone(num_layers=2, num_heads=H, hidden_dim=12, mlp_dim=13, **SQUARE)


def electra():
    return hub.ElectraBackbone(29, embedding_dim=7, max_sequence_length=T, **SIZES)


def whisper():
    return hub.WhisperBackbone(
        29, num_mels=6, max_encoder_sequence_length=2 * FRAMES, max_decoder_sequence_length=T, **SIZES
    )


def of_words(name, **kwargs):
    return lambda: getattr(hub, name)(**SIZES, **WORDS, **kwargs)


def grouped(name, **kwargs):
    """Decoders whose query heads share keys."""
    sizes = {"num_layers": 2, "hidden_dim": 12, "intermediate_dim": 13, "num_query_heads": H, "num_key_value_heads": 1}
    return lambda: getattr(hub, name)(29, **sizes, **kwargs)


def many_words(name, **kwargs):
    return lambda: getattr(hub, name)(29, **SIZES, **kwargs)


def segformer():
    mit = hub.MiTBackbone(
        layerwise_depths=[1, 1],
        num_layers=2,
        layerwise_num_heads=[H, H],
        layerwise_sr_ratios=[2, 1],
        max_drop_path_rate=0.0,
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        image_shape=(16, 16, 3),
        hidden_dims=[6, 12],
    )
    return hub.SegFormerImageSegmenter(hub.SegFormerBackbone(mit, projection_filters=5), 2)


TWICE = [(T, T)] * 2
CASES = {
    "Albert": Case(of_words("AlbertBackbone", embedding_dim=7), SEGMENTS, TWICE),  # one layer, called twice
    "Bart": Case(of_words("BartBackbone"), TWO_TEXTS, TWICE * 3),
    "Bert": Case(of_words("BertBackbone"), SEGMENTS, TWICE),
    "CLIP": Case(clip, {"token_ids": IDS, "images": IMAGES}, [*TWICE, *[(PATCHES + 1,) * 2] * 2]),
    "DINOV2": Case(
        lambda: hub.DINOV2Backbone(**SIZES, **SQUARE, position_embedding_shape=(16, 16)),
        {"images": IMAGES},
        [(PATCHES + 1,) * 2] * 2,
    ),
    "DeiT": Case(lambda: hub.DeiTBackbone(**SIZES, **SQUARE), IMAGES, [(PATCHES + 2,) * 2] * 2),
    "DistilBert": Case(of_words("DistilBertBackbone"), TEXT, TWICE),
    "Electra": Case(electra, SEGMENTS, TWICE),
    "GPT2": Case(of_words("GPT2Backbone"), TEXT, TWICE),
    "OPT": Case(of_words("OPTBackbone"), TEXT, TWICE),
    "Roberta": Case(of_words("RobertaBackbone"), TEXT, TWICE),
    "ViT": Case(vit, IMAGES, [(PATCHES + 1,) * 2] * 2),
    "Whisper": Case(whisper, SPEECH, [*[(FRAMES, FRAMES)] * 2, (T, T), (T, FRAMES), (T, T), (T, FRAMES)]),
    "Bloom": Case(many_words("BloomBackbone"), TEXT, TWICE),
    "DINOV3": Case(lambda: hub.DINOV3Backbone(**SIZES, **SQUARE), {"pixel_values": IMAGES}, [(PATCHES + 5,) * 2] * 2),
    "DebertaV3": Case(of_words("DebertaV3Backbone"), TEXT, TWICE),
    "Falcon": Case(
        lambda: hub.FalconBackbone(29, num_layers=2, num_attention_heads=H, hidden_dim=12, intermediate_dim=13),
        TEXT,
        TWICE,
    ),
    "GPTNeoX": Case(of_words("GPTNeoXBackbone", rotary_percentage=0.5), TEXT, TWICE),
    "Gemma": Case(grouped("GemmaBackbone", head_dim=4), TEXT, TWICE),
    "Llama": Case(grouped("LlamaBackbone"), TEXT, TWICE),
    "Mistral": Case(grouped("MistralBackbone"), TEXT, TWICE),
    "Phi3": Case(grouped("Phi3Backbone"), TEXT, TWICE),
    "Qwen3": Case(grouped("Qwen3Backbone", head_dim=4), TEXT, TWICE),
    "SegFormerImageSegmenter": Case(segformer, IMAGES, [(16, 4), (4, 4)]),
    "T5": Case(many_words("T5Backbone"), TWO_TEXTS, TWICE * 3),
    "XLNet": Case(many_words("XLNetBackbone"), SEGMENTS, TWICE),
    "BertTextClassifier": Case(lambda: hub.BertTextClassifier(CASES["Bert"].make(), 2), SEGMENTS, TWICE),
    "LlamaCausalLM": Case(lambda: hub.LlamaCausalLM(CASES["Llama"].make()), TEXT, TWICE),
    "GPT2CausalLM": Case(lambda: hub.GPT2CausalLM(CASES["GPT2"].make()), TEXT, TWICE),
    "BartSeq2SeqLM": Case(lambda: hub.BartSeq2SeqLM(CASES["Bart"].make()), TWO_TEXTS, TWICE * 3),
    "ViTImageClassifier": Case(lambda: hub.ViTImageClassifier(vit(), 2), IMAGES, [(PATCHES + 1,) * 2] * 2),
}
PADDED = {
    name for name, case in CASES.items() if any(case.inputs is one for one in (TEXT, SEGMENTS, TWO_TEXTS, SPEECH))
}
PADDED -= {"XLNet"}  # it reshapes its mask where it ought to transpose it: the rows of a batch get each other's
CAUSAL = {
    "Bloom",
    "Falcon",
    "GPT2",
    "GPT2CausalLM",
    "GPTNeoX",
    "Gemma",
    "Llama",
    "LlamaCausalLM",
    "Mistral",
    "OPT",
    "Phi3",
    "Qwen3",
}
every_model = pytest.mark.parametrize("name", CASES)


@functools.cache
def exposed(name):
    """The model, and the outputs and maps of its view."""
    case = CASES[name]
    keras.utils.set_random_seed(2015)
    model = case.make()
    outputs = expose_attention(model).predict(case.inputs, verbose=0)
    maps = {call: one for call, one in outputs.items() if call.startswith("attention/")}
    return model, outputs, maps


@every_model
def test_every_call_has_its_map(name):
    _, _, maps = exposed(name)
    assert sorted(one.shape for one in maps.values()) == sorted((2, H, *axes) for axes in CASES[name].maps)
    for weights in maps.values():
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)


@every_model
def test_the_prediction_does_not_move(name):
    model, outputs, _ = exposed(name)
    before = model.predict(CASES[name].inputs, verbose=0)
    before = named_outputs(model, keras.tree.map_structure(keras.ops.convert_to_tensor, before))
    for output, expected in before.items():
        np.testing.assert_allclose(outputs[output], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", sorted(PADDED))
def test_padding_gets_nothing(name):
    for call, weights in exposed(name)[2].items():
        if weights.shape[-1] == T:  # not the frames of a sound
            assert (weights[1, ..., KEPT[1] == 0] == 0).all(), call


@pytest.mark.parametrize("name", sorted(CAUSAL))
def test_the_future_gets_nothing(name):
    for call, weights in exposed(name)[2].items():
        assert (weights[..., ~np.tri(T, dtype=bool)] == 0).all(), call


def test_the_maps_are_the_scores_that_the_layer_returns_when_asked():
    model, _, maps = exposed("Bert")
    x = keras.Model(model.inputs, model.get_layer("embeddings_dropout").output)(SEGMENTS)
    for i, weights in enumerate(maps.values()):
        x, expected = model.get_layer(f"transformer_layer_{i}")(x, padding_mask=KEPT, return_attention_scores=True)
        np.testing.assert_allclose(weights, expected, atol=1e-6, rtol=0)


LEAKS = {  # their masks are (B, 1, T, 1), over the queries: every key is read
    "ESM": lambda: hub.ESMBackbone(29, **SIZES),
    "RoformerV2": lambda: hub.RoformerV2Backbone(29, head_size=4, **SIZES),
}


@pytest.mark.parametrize("name", LEAKS)
def test_the_lint_finds_the_padding_that_two_of_them_read(name):
    inputs = {"token_ids": IDS, "segment_ids": 0 * IDS}
    model = LEAKS[name]()
    found = check_masks(model, {one: inputs[one] for one in model.input})
    assert len(found) == 2
    for leak, call in zip(found, ("transformer_layer_0", "transformer_layer_1"), strict=True):
        assert re.match(rf"{call}/attention_layer: .* lands on padded keys \(worst row 1: (39.9|40) %\)", str(leak))
