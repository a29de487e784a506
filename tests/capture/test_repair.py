"""A repaired model predicts what its model predicts without padding, padded or not."""

import functools
import warnings

import keras
import numpy as np
import pytest
from keras import layers as keras_layers

from keras_attn_xai.capture import check_masks, expose_attention, repair_masks
from keras_attn_xai.capture.locate import all_layers, attention_layers
from keras_attn_xai.capture.masks.keeping import (
    KEEPING,
    GroupedQueryAttention,
    MultiHeadAttention,
)
from keras_attn_xai.capture.model_inputs import as_inputs
from keras_attn_xai.errors import MaskWarning, ModelError
from keras_attn_xai.layers.keras_mask import attached_mask
from tests.capture.padded import (
    IDS,
    PADDED,
    QUERY,
    STEPS,
    B,
    Block,
    D,
    H,
    LateBlock,
    S,
    T,
    embedding,
    ids_input,
    mha,
)

pytestmark = [
    # once masks arrive where they were deleted before, Keras tells of the next layer that has no use for them
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
every_model = pytest.mark.parametrize("name", PADDED)
# models whose masks are lost in attention alone
CURED = [
    "memory_read_twice", "post_norm_block", "sequential_of_blocks_and_a_memory", "attention_made_in_build",
    "encoder_and_decoder_nested", "shared_layer", "subclassed_translator", "grouped_queries_after_attention",
    "attention_used_once", "our_layers_read_one_memory_twice", "explicit_mask", "keras_single_heads",
]  # fmt: skip
every_cured_model = pytest.mark.parametrize("name", CURED)


@functools.cache
def repaired(name):
    """The example, what it predicted before, its copy, and what was said."""
    keras.utils.set_random_seed(2015)
    example = PADDED[name]()
    before = predicted(example.model, example.padded)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        copy = repair_masks(example.model)
    return example, before, copy, [one for one in said if "__array__" not in str(one.message)]


def predicted(model, inputs):
    outputs = keras.tree.flatten(model(as_inputs(model, inputs)[0]))
    return [keras.ops.convert_to_numpy(keras.ops.cast(one, "float32")) for one in outputs]


def first_row(outputs, like):
    """The first row, and the positions there are in an output for fewer of them."""
    return [one[:1][tuple(map(slice, other.shape))] for one, other in zip(outputs, like, strict=True)]


def assert_same(first, second, atol=1e-5):
    for one, other in zip(first, second, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=atol, rtol=0)


# The two laws


@every_model
def test_without_padding_the_copy_predicts_what_the_model_predicts(name):
    example, _, copy, _ = repaired(name)
    assert_same(predicted(copy, example.short), predicted(example.model, example.short))


@every_cured_model
def test_with_padding_the_copy_predicts_what_the_model_predicts_without(name):
    example, before, copy, said = repaired(name)
    short = predicted(example.model, example.short)
    assert_same(first_row(predicted(copy, example.padded), short), short)
    assert said == []
    if example.leaks:  # else nothing was wrong
        assert max(np.abs(a - b).max() for a, b in zip(first_row(before, short), short, strict=True)) > 1e-3


# What the lint says of them


@every_model
def test_the_copy_leaks_only_for_other_reasons(name):
    example, _, copy, _ = repaired(name)
    assert (name in CURED) <= (not example.repaired)
    leaks = {leak.name: str(leak) for leak in check_masks(copy, example.padded)}
    assert list(leaks) == list(example.repaired)
    for call, words in example.repaired.items():
        assert words in leaks[call]


@every_model
def test_what_remains_is_a_warning_each(name):
    example, _, _, said = repaired(name)
    assert {one.category for one in said} <= {MaskWarning}
    texts = [str(one.message) for one in said]
    assert all(one.filename == __file__ for one in said)
    guessed = [call for call, words in example.repaired.items() if "No mask is" in words or "end in zeros" in words]
    for call in set(example.repaired) - set(guessed):  # of padding that no mask speaks of, nothing can be known
        assert any(f"'{call}'" in text for text in texts), (call, texts)
    for words in example.warned:
        assert any(words in text for text in texts)
    if not example.repaired and not example.warned:
        assert texts == []


READERS = {
    "GlobalMaxPooling1D": lambda x: keras_layers.GlobalMaxPooling1D(name="reader")(x),
    "Flatten": lambda x: keras_layers.Flatten(name="reader")(x),
    "Lambda": lambda x: keras_layers.Lambda(lambda x: keras.ops.mean(x, axis=1), name="reader")(x),
    "Conv1D": lambda x: keras_layers.Conv1D(3, 3, padding="same", name="reader")(x),
    "LSTM behind a Lambda": lambda x: keras_layers.LSTM(3, name="reader")(keras_layers.Lambda(lambda x: x)(2.0 * x)),
    "last position": lambda x: keras.ops.max(x, axis=1),
}


@pytest.mark.parametrize("kind", READERS)
def test_what_reads_padding_is_named(kind):
    ids = keras.Input((S,), dtype="int32")
    x = embedding()(ids)
    model = keras.Model(ids, READERS[kind](mha("mha")(x, x)))
    with pytest.warns(
        MaskWarning, match=r"^repair_masks: ('reader', a keras \w+|the operation 'max.*'): reads padding"
    ):
        repair_masks(model)


HARMLESS = {
    "GlobalAveragePooling1D": keras_layers.GlobalAveragePooling1D(),
    "LSTM": keras_layers.LSTM(3),
    "first position": keras_layers.Lambda(lambda x: x[:, 0]),
    "position by position": keras_layers.Lambda(lambda x: 2.0 * x),
    "TimeDistributed": keras_layers.TimeDistributed(keras_layers.Dense(3)),
    "BatchNormalization": keras_layers.BatchNormalization(),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_reads_no_padding_is_not_named(kind):
    ids = keras.Input((S,), dtype="int32")
    x = embedding()(ids)
    model = keras.Model(ids, HARMLESS[kind](mha("mha")(x, x)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", MaskWarning)
        repair_masks(model)


# The copy is a model of its own, and like the other


@every_model
def test_the_model_is_untouched(name):
    example, before, copy, _ = repaired(name)
    assert_same(predicted(example.model, example.padded), before, atol=0)
    assert not any(isinstance(layer, tuple(KEEPING.values())) for layer in all_layers(example.model))
    assert not {id(layer) for layer in all_layers(example.model)} & {id(layer) for layer in all_layers(copy)}


@every_model
def test_names_weights_and_calls_are_those_of_the_model(name):
    example, _, copy, _ = repaired(name)
    assert copy.name == example.model.name
    assert [call for call, _ in attention_layers(copy)] == [call for call, _ in attention_layers(example.model)]
    for one, other in zip(copy.weights, example.model.weights, strict=True):
        assert one is not other
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


@pytest.mark.parametrize("name", ["memory_read_twice", "sequential_of_blocks_and_a_memory", "subclassed_translator"])
def test_the_copy_is_seen_by_a_view(name):
    example, _, copy, _ = repaired(name)
    one, other = (expose_attention(model).predict(example.padded, verbose=0) for model in (copy, example.model))
    assert list(one) == list(other)
    for call in example.leaks:
        weights = one[f"attention/{call}"][0]
        assert (weights[..., IDS[0] == 0] == 0).all()
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", [one for one in CURED if one != "subclassed_translator"])
def test_a_reloaded_copy_is_still_repaired(name, tmp_path):
    example, _, copy, _ = repaired(name)
    copy.save(tmp_path / "copy.keras")
    again = keras.models.load_model(tmp_path / "copy.keras")
    assert_same(predicted(again, example.padded), predicted(copy, example.padded), atol=1e-6)
    assert check_masks(again, example.padded) == []


def test_a_reloaded_sequential_is_still_repaired(tmp_path):
    layers = [embedding(), Block(name="a"), LateBlock(H, name="b"), keras_layers.GlobalAveragePooling1D()]
    copy = repair_masks(keras.Sequential([ids_input(), *layers]))
    copy.save(tmp_path / "copy.keras")
    again = keras.models.load_model(tmp_path / "copy.keras")
    assert {type(layer) for _, layer in attention_layers(again)} == {MultiHeadAttention}
    assert_same(predicted(again, IDS), predicted(copy, IDS), atol=1e-6)


def test_copy_and_original_read_each_others_weights(tmp_path):
    for name in ("sequential_of_blocks_and_a_memory", "subclassed_translator"):
        example, _, copy, _ = repaired(name)
        for one, other in ((copy, example.model), (example.model, copy)):
            one.save_weights(tmp_path / "one.weights.h5")
            other.load_weights(tmp_path / "one.weights.h5")
        assert check_masks(copy, example.padded) == []


def test_a_reloaded_subclassed_copy_has_the_layers_its_class_makes(tmp_path):
    example, _, copy, _ = repaired("subclassed_translator")
    copy.save(tmp_path / "copy.keras")
    again = keras.models.load_model(tmp_path / "copy.keras")
    assert [leak.name for leak in check_masks(again, example.padded)] == ["second"]
    assert check_masks(repair_masks(again), example.padded) == []


@pytest.mark.parametrize("name", ["post_norm_block", "sequential_of_blocks_and_a_memory"])
def test_the_copy_predicts_trains_and_exports(name, tmp_path):
    example, _, _, _ = repaired(name)
    copy = repair_masks(example.model)
    eager = predicted(copy, example.padded)
    assert_same([copy.predict(example.padded, verbose=0)], eager)
    copy.export(tmp_path / "saved", verbose=False)
    served = keras.layers.TFSMLayer(tmp_path / "saved", call_endpoint="serve")(keras.ops.cast(example.padded, "int32"))
    assert_same([keras.ops.convert_to_numpy(served)], eager)
    copy.compile(keras.optimizers.SGD(0.1), "mse")
    losses = copy.fit(example.padded, np.ones_like(eager[0]), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert_same(predicted(example.model, example.padded), repaired(name)[1], atol=0)


def test_a_compiled_model_has_a_compiled_copy_and_frozen_layers_stay_frozen():
    model = PADDED["post_norm_block"]().model
    model.get_layer("first").trainable = False
    model.compile("sgd", "mse")
    copy = repair_masks(model)
    assert copy.compiled
    assert len(copy.trainable_weights) == len(model.trainable_weights) < len(model.weights)


# The layers themselves

LAYERS = {
    "MultiHeadAttention": (
        keras_layers.MultiHeadAttention,
        MultiHeadAttention,
        {"num_heads": H, "key_dim": 2},
    ),
    "GroupQueryAttention": (
        keras_layers.GroupQueryAttention,
        GroupedQueryAttention,
        {"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2},
    ),
}
every_layer = pytest.mark.parametrize("kind", LAYERS)


def both(kind, **options):
    """A layer of Keras and its mask-keeping form, with the same weights."""
    theirs, ours, arguments = LAYERS[kind]
    one, other = theirs(**arguments, **options), ours(**arguments, **options)
    one(QUERY, STEPS)
    other(QUERY, STEPS)
    other.set_weights(one.get_weights())
    return one, other


def masked(array, mask):
    tensor = keras.ops.convert_to_tensor(array)
    tensor._keras_mask = keras.ops.convert_to_tensor(mask)
    return tensor


@every_layer
@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["fused", "unfused"])
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_explicit_masks_are_honoured_alone_and_together(kind, dropout, causal):
    theirs, ours = both(kind, dropout=dropout)
    key_mask = np.array([[1, 1, 1, 0, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1]], bool)
    attention_mask = np.random.default_rng(3).random((B, T, S)) > 0.3
    attention_mask[..., 0] = True
    for given in ({"value_mask": IDS > 0}, {"key_mask": key_mask}, {"attention_mask": attention_mask}, {
        "value_mask": IDS > 0, "key_mask": key_mask, "attention_mask": attention_mask,
    }):  # fmt: skip
        whole = functools.reduce(
            np.logical_and, [one if one.ndim == 3 else one[:, None] for one in given.values()], np.ones((B, T, S), bool)
        )
        expected = theirs(QUERY, STEPS, attention_mask=whole, use_causal_mask=causal)
        assert_same([np.asarray(ours(QUERY, STEPS, use_causal_mask=causal, **given))], [np.asarray(expected)])
        context, weights = ours(QUERY, STEPS, use_causal_mask=causal, return_attention_scores=True, **given)
        assert_same([np.asarray(context)], [np.asarray(expected)])
        assert (np.asarray(weights)[np.broadcast_to(~whole[:, None], weights.shape)] == 0).all()


@every_layer
def test_masks_stay_on_the_tensors_and_the_context_has_the_querys(kind):
    _, ours = both(kind)
    query, value = masked(QUERY, np.ones((B, T), bool)), masked(STEPS, IDS > 0)
    before = attached_mask(query), attached_mask(value)
    context = ours(query, value)
    assert (attached_mask(query), attached_mask(value)) == before
    np.testing.assert_array_equal(attached_mask(context), np.ones((B, T), bool))
    given = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
    for context in (ours(query, value, query_mask=given), ours(query, value, value, given)):
        np.testing.assert_array_equal(attached_mask(context), given)
    assert attached_mask(ours(QUERY, value)) is None


@every_layer
def test_the_mask_of_a_query_changes_no_weight(kind):
    _, ours = both(kind)
    given = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
    plain = ours(QUERY, STEPS, value_mask=IDS > 0)
    assert_same([np.asarray(ours(masked(QUERY, given), STEPS, value_mask=IDS > 0))], [np.asarray(plain)], atol=0)


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["fused", "unfused"])
def test_a_row_of_padding_alone_is_finite(kind, dtype, dropout):
    _, ours = both(kind, dropout=dropout, dtype=dtype)
    empty = np.array([[0] * S, [1] * S], bool)
    context = keras.ops.cast(ours(QUERY.astype("float32"), STEPS, value_mask=empty), "float32")
    assert np.isfinite(keras.ops.convert_to_numpy(context)).all()


@every_layer
def test_the_configuration_is_that_of_keras(kind):
    theirs, ours = both(kind)
    again = type(ours).from_config(ours.get_config())
    assert {**again.get_config(), "name": ""} == {**theirs.get_config(), "name": ""}


# What cannot be copied


@keras.saving.register_keras_serializable(package="tests")
class Secretive(keras.Model):
    """Gives Keras no way to make it again."""

    def __init__(self, function):
        super().__init__()
        self.function, self.embed, self.attention = function, embedding(), mha()

    def call(self, ids):
        x = self.embed(ids)
        return self.attention(self.function(x), x)


def test_a_model_that_cannot_be_copied_is_one_sentence():
    model = Secretive(keras.ops.tanh)
    before = predicted(model, IDS)
    with pytest.raises(ModelError, match=r"^The model 'secretive' cannot be copied: Secretive must give all arguments"):
        repair_masks(model)
    assert_same(predicted(model, IDS), before, atol=0)


@keras.saving.register_keras_serializable(package="tests")
class Forgets(keras.Model):
    """Its configuration has another depth, or another scale, than it was made with."""

    def __init__(self, depth=1, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.embed = scale, embedding()
        self.attend = [mha() for _ in range(depth)]

    def call(self, ids):
        x = y = self.embed(ids)
        for attend in self.attend:
            y = attend(y, x)
        return self.scale * y

    def get_config(self):
        return {"name": self.name}


def test_a_copy_of_another_size_is_refused():
    model = Forgets(depth=2)
    model(IDS)
    with pytest.raises(ModelError, match="has 9 weights where there are 17, or other shapes"):
        repair_masks(model)


def test_a_copy_that_computes_something_else_is_refused():
    model = Forgets(scale=3.0)
    model(IDS)
    with pytest.raises(ModelError, match="it computes something else"):
        repair_masks(model)


def test_a_model_without_attention_is_refused():
    with pytest.raises(ModelError, match="'plain' has no attention layer"):
        repair_masks(keras.Sequential([keras.Input((D,)), keras_layers.Dense(2)], name="plain"))


def test_a_repaired_model_is_repaired_again_to_the_same():
    example, _, copy, _ = repaired("post_norm_block")
    assert_same(predicted(repair_masks(copy), example.padded), predicted(copy, example.padded), atol=0)


def test_lengths_that_are_known_and_rows_that_are_full_change_nothing():
    ids = keras.Input((S,), batch_size=B, dtype="int32")
    x = embedding()(ids)
    model = keras.Model(ids, mha("mha")(x, x))
    full = np.where(IDS == 0, 1, IDS)
    assert_same(predicted(repair_masks(model), full), predicted(model, full))
