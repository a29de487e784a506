"""The attention of many rows as records: the same numbers as one row at a time, and nothing left behind."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers as keras_layers

from keras_attn_xai.capture import capture_attention, compiled, expose_attention
from keras_attn_xai.capture.model_inputs import zero_is_padding
from keras_attn_xai.errors import ArgumentError, ModelError, ShapeError
from keras_attn_xai.layers import AttentionDecoder, AttentionPooling, BahdanauAttention, ScaledDotProductAttention
from tests.capture.examples import MODELS, QUERY, D, H, T, mha
from tests.capture.test_expose import assert_same, assert_untouched, maps_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Layer '(query|key|value)' .of type EinsumDense. was passed an input with a"),
]
ROWS = [np.array(row) for row in ([3, 1, 4], [1, 5, 9, 2, 6, 5, 3], [5, 8, 9], [7])]


@keras.saving.register_keras_serializable(package="tests")
class Counting(keras_layers.Layer):
    """Counts how often Python runs it: once a trace."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.traces = 0

    def call(self, x):
        self.traces += 1
        return x


def reader(*, mask_zero=True, attention=mha, **kwargs):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = Counting(name="counting")(keras_layers.Embedding(11, D, mask_zero=mask_zero)(ids))
    y = attention(name="mha", **kwargs)(x, x)
    return keras.Model(ids, AttentionPooling(return_weights=False, name="pool")(y))


@pytest.mark.parametrize("name", MODELS)
def test_records_hold_the_maps_of_the_view(name):
    example = MODELS[name]()
    expected = maps_of(expose_attention(example.model).predict(example.inputs, verbose=0))
    for batch_size in (1, 2, 32):
        records = capture_attention(example.model, example.inputs, batch_size=batch_size)
        assert [one.name for one in records] == list(expected)
        for one in records:
            assert_same(
                one.weights, expected[one.name].astype(one.weights.dtype), atol=2e-3 if "half" in name else 1e-6
            )
    assert_untouched(example.model)


@pytest.mark.parametrize("mask_zero", [True, False])
def test_rows_of_several_lengths_are_as_each_is_alone(mask_zero):
    model = reader(mask_zero=mask_zero)
    together = capture_attention(model, ROWS, values=True)
    assert [one.weights.shape for one in together] == [(4, H, 7, 7), (4, 1, 1, 7)]
    for number, row in enumerate(ROWS):
        alone = capture_attention(model, row[None], values=True)
        for one, other in zip(together, alone, strict=True):
            queries, keys = other.weights.shape[2:]
            assert_same(one.weights[number, :, :queries, :keys], other.weights[0])
            assert (one.weights[number, :, queries:] == 0).all()
            assert (one.weights[number, ..., keys:] == 0).all()
            assert_same(one.values[number, :, :keys], other.values[0])
            assert one.mask[number].tolist() == [True] * keys + [False] * (7 - keys)
            assert one.key_labels[number] == (*map(str, row), *[""] * (7 - keys))


def test_padded_rows_and_rows_of_several_lengths_agree():
    model = reader()
    padded = np.array([[*row, *[0] * (7 - len(row))] for row in ROWS])
    for one, other in zip(capture_attention(model, ROWS), capture_attention(model, padded), strict=True):
        real = one.query_mask[:, None, :, None]  # a padded query has a row of its own where it is run at all
        assert_same(one.weights * real, other.weights * real, atol=1e-5)
        assert (one.mask == other.mask).all()
        assert one.key_labels == other.key_labels
        assert (one.query_mask == other.query_mask).all()


def test_a_mask_of_the_models_own_is_the_mask_of_the_record():
    x = keras.Input((None, D))
    masked = keras_layers.Masking()(x)
    model = keras.Model(x, ScaledDotProductAttention(name="own", return_weights=False)(masked))
    rows = np.where(np.arange(T)[None, :, None] < np.array([3, 5])[:, None, None], QUERY, 0)
    (record,) = capture_attention(model, rows)
    assert record.mask.sum(1).tolist() == record.query_mask.sum(1).tolist() == [3, 5]
    assert record.key_labels[0] == ("0", "1", "2", "3", "4")


def test_largest_weights_come_with_keys_of_the_right_size():
    model = reader(mask_zero=False)
    whole, some = (capture_attention(model, ROWS[:3], top_k=k)[0] for k in (None, 2))
    assert some.weights.shape == some.indices.shape == (3, H, 7, 2)
    assert some.mask.shape == (3, 7)
    for number, row in enumerate(ROWS[:3]):
        here = whole.weights[number, :, : len(row)]
        assert_same(np.sort(here)[..., :-3:-1], some.weights[number, :, : len(row)])
    assert_same((some.dense() > 0).sum(-1)[0, :, :3], np.full((H, 3), 2))


def test_inputs_by_name_or_in_order():
    ids, steps = keras.Input((None,), dtype="int32", name="ids"), keras.Input((None, D), name="steps")
    x = keras_layers.Embedding(11, D)(ids)
    model = keras.Model({"steps": steps, "ids": ids}, mha(name="mha")(steps, x))
    data = {"ids": np.array([[1, 2, 3]] * 2), "steps": QUERY}
    (record,) = capture_attention(model, data)
    assert record.weights.shape == (2, H, T, 3)
    assert record.key_labels[0] == ("1", "2", "3")
    assert record.query_labels[0] == ("0", "1", "2", "3", "4")
    ragged = {"ids": [np.array([1, 2]), np.array([1, 2, 3])], "steps": [QUERY[0, :2], QUERY[1]]}
    (record,) = capture_attention(model, ragged)
    assert record.mask.tolist() == [[True, True, False], [True] * 3]
    assert record.query_mask.sum(1).tolist() == [2, 5]
    listed = keras.Model([ids, steps], model.output)
    assert_same(capture_attention(listed, [data["ids"], QUERY])[0].weights, capture_attention(model, data)[0].weights)
    by_name = capture_attention(listed, data)
    assert_same(by_name[0].weights, capture_attention(model, data)[0].weights)


def test_a_decoder_is_captured_with_its_queries():
    ids, memory = keras.Input((None,), dtype="int32"), keras.Input((None, D))
    x = keras_layers.Embedding(5, D, mask_zero=True)(ids)
    decoder = AttentionDecoder(keras_layers.GRUCell(4), BahdanauAttention(3), name="one", return_weights=False)
    model = keras.Model([ids, memory], decoder(x, memory))
    (record,) = capture_attention(model, [np.array([[1, 2, 0], [3, 4, 1]]), QUERY])
    assert record.weights.shape == (2, 1, 3, T)
    assert record.query_labels == (("1", "2", ""), ("3", "4", "1"))
    assert record.query_mask.sum(1).tolist() == [2, 3]


# What it costs


def test_asking_again_traces_nothing_and_keeps_nothing():
    model = reader()
    counting = model.get_layer("counting")
    rows = np.random.default_rng(0).integers(1, 11, (5, 7))
    capture_attention(model, rows)
    gc.collect()
    traces, objects = counting.traces, len(gc.get_objects())
    for _ in range(1000):
        capture_attention(model, rows, batch_size=3)
    gc.collect()
    assert counting.traces == traces
    assert len(gc.get_objects()) - objects < 500  # half an object a capture


def test_a_view_called_again_traces_and_keeps_nothing():
    view = expose_attention(reader())
    rows = np.random.default_rng(0).integers(1, 11, (5, 7))
    view.predict_on_batch(rows)
    counting = view.get_layer("capture").model.get_layer("counting")
    gc.collect()
    traces, objects = counting.traces, len(gc.get_objects())
    for _ in range(1000):
        view.predict_on_batch(rows)
    gc.collect()
    assert counting.traces == traces
    assert len(gc.get_objects()) - objects < 500


def test_nothing_keeps_a_model_alive():
    model = reader()
    capture_attention(model, ROWS)
    assert model in compiled._FUNCTIONS
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_a_model_that_changed_is_traced_anew():
    model = reader()
    before = capture_attention(model, ROWS)[0].weights
    model.get_layer("mha").query_dense.enable_lora(2)
    lora = model.get_layer("mha").query_dense
    lora.lora_kernel_a.assign(np.ones(lora.lora_kernel_a.shape))
    lora.lora_kernel_b.assign(np.random.default_rng(0).normal(size=lora.lora_kernel_b.shape))
    after = capture_attention(model, ROWS)[0].weights
    assert np.abs(after - before).max() > 1e-4
    for one in model.weights:
        one.assign(one * 0)
    assert_same(capture_attention(model, ROWS[1:2])[0].weights, np.full((1, H, 7, 7), 1 / 7))


def test_no_more_than_the_limit_is_taken():
    model, rows = reader(), np.ones((100, 7), int)
    with pytest.raises(ArgumentError, match=r"attention of 100 rows takes .*kB, and memory_limit is 10\.0kB; choose"):
        capture_attention(model, rows, memory_limit=10_000)
    some = capture_attention(model, rows, memory_limit=10_000, layers="pool")
    assert [one.weights.shape for one in some] == [(100, 1, 1, 7)]


def test_records_own_the_arrays_that_were_filled():
    for one in capture_attention(reader(), ROWS):
        assert one.weights.base is None
        assert not one.weights.flags.writeable


def test_a_bar_is_shown_when_asked_for(capsys):
    capture_attention(reader(), ROWS, progress=True)
    assert "attention: 100%" in capsys.readouterr().err
    capture_attention(reader(), ROWS, progress=False)
    assert capsys.readouterr().err == ""


# What cannot be meant


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones((2, 3, 4)), r"'ids' \(None, None\) must have rows of one rank, 1; received rows of ranks \[2\]"),
        ({"words": np.ones((2, 3))}, "takes the inputs ids; received words"),
        ([np.ones((2, 3)), np.ones((2, 3))], r"rows of ranks \[2\]"),
        (np.ones((0, 3), int), r"one number of rows, at least 1; received \[0\]"),
        ([], r"at least 1; received \[0\]"),
        ((np.ones((2, 3), int), np.ones((3, 3), int)), "of one shape|ranks"),
    ],
)
def test_data_the_model_does_not_take_is_refused(data, message):
    with pytest.raises(ShapeError, match=message):
        capture_attention(reader(), data)


def test_a_fixed_length_is_insisted_on():
    x = keras.Input((T, D), name="steps")
    model = keras.Model(x, mha(name="mha")(x, x))
    with pytest.raises(ShapeError, match=r"'steps' takes \(None, 5, 11\); received a row of shape \(4, 11\)"):
        capture_attention(model, QUERY[:, :4])


def test_arguments_are_checked():
    model = reader()
    with pytest.raises(ArgumentError, match="batch_size must be a positive integer; received 0"):
        capture_attention(model, ROWS, batch_size=0)
    with pytest.raises(ArgumentError, match="no attention call 'other'; the calls are: mha, pool"):
        capture_attention(model, ROWS, layers="other")
    with pytest.raises(ModelError, match=r"capture_attention takes a keras\.Model"):
        capture_attention(mha(), ROWS)


def test_zero_is_padding_only_where_an_embedding_masks_it():
    """A start sign 0 of what is written is no padding because the source has some."""
    source, written = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "written"))
    read = keras.layers.Embedding(11, 3, mask_zero=True)(source)
    asks = keras.layers.Embedding(11, 3)(written)
    context = keras.layers.MultiHeadAttention(1, 3, name="cross")(asks, read, read)
    model = keras.Model([source, written], keras.layers.Dense(2)(context))
    (seen,) = capture_attention(model, [np.array([[3, 4, 5, 0, 0]]), np.array([[0, 2, 3]])])
    assert seen.query_mask.tolist() == [[True, True, True]]
    assert seen.mask.tolist() == [[True, True, True, False, False]]
    assert seen.query_labels == (("0", "2", "3"),)
    assert zero_is_padding(model, 2) == [True, False]
    shared = keras.layers.Embedding(11, 3, mask_zero=True)
    both = keras.Model([source, written], shared(source)[:, 0] + shared(written)[:, 0])
    assert zero_is_padding(both, 2) == [True, True]
