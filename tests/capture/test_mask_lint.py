"""The lint finds every attention call that reads padding, names why, and leaves correct models alone."""

import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as keras_layers

from keras_attn_xai.capture import MaskLeak, check_masks, expose_attention
from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.capture.masks.padding import padding_of_inputs, real_by_zeros
from keras_attn_xai.capture.masks.trail import watched
from keras_attn_xai.capture.model_inputs import as_inputs
from keras_attn_xai.errors import ModelError, ShapeError
from tests.capture.padded import IDS, PADDED, QUERY, REAL, STEPS, B, D, S, T, embedding, ids_input, mha

pytestmark = [
    # Keras says of many a layer here that it destroys masks: that is what is looked for
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask:UserWarning"),
    # Keras 3.15 reads its variables with np.array, and TensorFlow 2.21 has not brought their __array__ to NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
every_model = pytest.mark.parametrize("name", PADDED)


@functools.cache
def linted(name):
    """The example, what it predicted before, and its leaks."""
    keras.utils.set_random_seed(2015)
    example = PADDED[name]()
    before = predicted(example.model, example.padded)
    return example, before, check_masks(example.model, example.padded)


def predicted(model, inputs):
    return [np.asarray(one) for one in keras.tree.flatten(model(as_inputs(model, inputs)[0]))]


def assert_untouched(model):
    parts = [model, *all_layers(model), *(part for _, part in watched(model))]
    assert all("call" not in vars(part) for part in parts)
    for part in parts:
        assert not {"attend", "attend_all", "_apply_scores", "_compute_attention"} & set(vars(part)), part.name


# Every model


@every_model
def test_the_calls_that_read_padding_are_named_with_their_cause(name):
    example, _, leaks = linted(name)
    assert [leak.name for leak in leaks] == list(example.leaks)
    for leak in leaks:
        assert str(leak).startswith(f"{leak.name}: ")
        assert example.leaks[leak.name] in str(leak)


@every_model
def test_the_model_is_untouched(name):
    example, before, _ = linted(name)
    assert_untouched(example.model)
    for one, other in zip(predicted(example.model, example.padded), before, strict=True):
        np.testing.assert_array_equal(one, other)


@every_model
def test_a_batch_without_padding_has_no_leaks(name):
    example, _, _ = linted(name)
    assert check_masks(example.model, example.short) == []


@pytest.mark.parametrize("name", ["memory_read_twice", "encoder_and_decoder_nested", "subclassed_translator"])
def test_a_view_leaks_where_its_model_does(name):
    example, _, leaks = linted(name)
    assert [str(leak) for leak in check_masks(expose_attention(example.model), example.padded)] == [
        str(leak) for leak in leaks
    ]


# The numbers


@pytest.mark.parametrize("name", ["memory_read_twice", "no_mask_at_all", "sequential_with_a_lambda", "inverted_mask"])
def test_the_share_is_the_weight_on_padding_of_real_queries(name):
    example, _, leaks = linted(name)
    outputs = expose_attention(example.model)(as_inputs(example.model, example.padded)[0])
    for leak in leaks:
        weights = np.asarray(outputs[f"attention/{leak.name}"])
        real = np.ones((B, T), bool) if weights.shape[2] == T else IDS > 0
        shares = [[] for _ in range(B)]
        for b, h, t in np.ndindex(weights.shape[:3]):
            if real[b, t]:
                shares[b].append(sum(weights[b, h, t, s] for s in range(S) if IDS[b, s] == 0))
        assert leak.share == pytest.approx(np.mean(np.concatenate(shares)), abs=1e-6)
        assert leak.worst_share == pytest.approx(np.mean(shares[0]), abs=1e-6)
        assert leak.worst_row == 0


def uniform_decoder():
    """The two readers of one memory in docs/explanation/masks.md: weights [.5 .5 0 0], then [.25 .25 .25 .25]."""
    ids, query = keras.Input((4,), dtype="int32"), keras.Input((1, 8))
    memory = keras_layers.Embedding(10, 8, mask_zero=True, embeddings_initializer="ones", name="embedding")(ids)
    first = keras_layers.MultiHeadAttention(1, 8, name="first")(query, memory)
    return keras.Model([query, ids], keras_layers.MultiHeadAttention(1, 8, name="second")(first, memory))


def test_the_trap_has_the_numbers_of_the_page_about_masks():
    model, batch = uniform_decoder(), [np.ones((1, 1, 8), "float32"), np.array([[3, 4, 0, 0]])]
    outputs = expose_attention(model)(batch)
    np.testing.assert_allclose(outputs["attention/first"][0, 0, 0], [0.5, 0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(outputs["attention/second"][0, 0, 0], [0.25, 0.25, 0.25, 0.25], atol=1e-6)
    (leak,) = check_masks(model, batch)
    assert str(leak) == (
        "second: 50 % of its weight lands on padded keys (worst row 0: 50 %). The mask of 'embedding' was deleted by "
        "'first', a keras MultiHeadAttention, which takes the masks off the tensors it reads. Use repair_masks(model), "
        "or keras_attn_xai.layers.MultiHeadAttention in the place of 'first'."
    )
    assert repr(leak) == str(leak)
    assert (leak.share, leak.worst_row, leak.worst_share) == (pytest.approx(0.5), 0, pytest.approx(0.5))


def test_a_post_norm_block_leaves_the_next_attention_uniform():
    ids = keras.Input((4,), dtype="int32")
    x = keras_layers.Embedding(10, 8, mask_zero=True, embeddings_initializer="ones")(ids)
    x = keras_layers.LayerNormalization()(
        keras_layers.Add()([x, keras_layers.MultiHeadAttention(1, 8, name="a")(x, x)])
    )
    model = keras.Model(ids, keras_layers.MultiHeadAttention(1, 8, name="b")(x, x))
    (leak,) = check_masks(model, np.array([[3, 4, 0, 0], [1, 2, 3, 4]]))
    assert leak.name == "b"
    assert leak.worst_share == pytest.approx(0.5, abs=1e-3)
    assert leak.share == pytest.approx(2 * 0.5 / 6, abs=1e-3)  # of 2 and 4 real queries


def test_a_causal_query_that_sees_leading_padding_is_reported():
    ids = ids_input()
    x = embedding(mask_zero=False)(ids)
    model = keras.Model(ids, mha("mha")(x, x, use_causal_mask=True))
    assert check_masks(model, IDS) == []
    assert [leak.name for leak in check_masks(model, IDS[:, ::-1])] == ["mha"]


def test_rows_without_a_real_key_do_not_count():
    model = uniform_decoder()
    query = np.ones((2, 1, 8), "float32")
    assert check_masks(model, [query, np.zeros((2, 4), int)]) == []
    (leak,) = check_masks(model, [query, np.array([[0, 0, 0, 0], [1, 2, 3, 0]])])
    assert (leak.worst_row, leak.share) == (1, pytest.approx(0.25))


def test_a_leak_is_frozen():
    (leak,) = check_masks(uniform_decoder(), [np.ones((1, 1, 8)), np.array([[3, 4, 0, 0]])])
    assert isinstance(leak, MaskLeak)
    with pytest.raises(AttributeError):
        leak.share = 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_dtypes_give_the_same_calls(policy):
    keras.config.set_dtype_policy(policy)
    try:
        for name in ("memory_read_twice", "post_norm_block", "attention_used_once", "our_layers_read_one_memory_twice"):
            example = PADDED[name]()
            leaks = [leak.name for leak in check_masks(example.model, example.padded)]
            # a cast tensor is another one, so the mask of the first is not deleted
            assert leaks == list(example.leaks), name
    finally:
        keras.config.set_dtype_policy("float32")


# What is padding


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[5, 6, 0], [7, 8, 9]], [[1, 1, 0], [1, 1, 1]]),
        ([[0, 5, 6], [7, 8, 9]], [[0, 1, 1], [1, 1, 1]]),
        ([[0, 5, 6], [0, 8, 9]], None),  # a first token 0 everywhere
        ([[5, 0, 6], [7, 8, 0]], None),  # 0 is a word
        ([[0, 0, 0], [7, 8, 9]], None),
        ([[0, 0, 0], [7, 8, 0]], [[1, 1, 1], [1, 1, 0]]),
        ([[5, 6, 7]], None),
    ],
)
def test_zeros_are_padding_at_the_ends_alone(rows, expected):
    real = real_by_zeros(np.array(rows) != 0)
    assert (real if real is None else real.astype(int).tolist()) == expected


@pytest.mark.parametrize(
    ("inputs", "padded"),
    [
        ({"ids": IDS}, {"ids": "input 'ids'"}),
        ({"segment_ids": IDS}, {}),
        ({"ids": np.array([[1, 1, 0, 0]])}, {}),  # two kinds, no words
        ({"ids": np.array([[0, 1, 2, 3]])}, {}),
        ({"ids": np.array([[4, 3, 2, 1, 0]])}, {}),  # counted down
        ({"ids": IDS, "mask": IDS > 0}, {"ids": "input 'mask'", "mask": "input 'mask'"}),
        ({"ids": IDS, "any": IDS > 0}, {"ids": "input 'any'", "any": "input 'any'"}),
        ({"ids": IDS, "mask_positions": IDS}, {"ids": "input 'ids'"}),
        (
            {"encoder_ids": IDS, "encoder_padding_mask": IDS > 0, "decoder_ids": IDS, "decoder_padding_mask": IDS > 1},
            {
                "encoder_ids": "input 'encoder_padding_mask'",
                "encoder_padding_mask": "input 'encoder_padding_mask'",
                "decoder_ids": "input 'decoder_padding_mask'",
                "decoder_padding_mask": "input 'decoder_padding_mask'",
            },
        ),
        ({"steps": STEPS}, {"steps": "input 'steps'"}),
        ({"images": np.zeros((2, 5, 5, 3))}, {}),
        ({"numbers": IDS.astype("float32")}, {}),  # features of a row, not steps
    ],
)
def test_which_inputs_say_where_padding_is(inputs, padded):
    assert {name: one.maker for name, one in padding_of_inputs(inputs).items()} == padded


def test_ids_that_come_as_fractions_are_ids_all_the_same():
    ids = keras.Input((None,), name="ids")  # float32
    x = embedding(mask_zero=False)(ids)
    model = keras.Model(ids, mha("mha")(x, x))
    (leak,) = check_masks(model, IDS)
    assert "the ids of 'embedding' end in runs of 0" in leak.cause


def test_joined_sequences_keep_the_padding_of_both():
    one, other = ids_input("one"), ids_input("other")
    x = keras_layers.Concatenate(axis=1)([embedding("a", mask_zero=False)(one), embedding("b", mask_zero=False)(other)])
    model = keras.Model([one, other], mha("mha")(x, x))
    (leak,) = check_masks(model, [IDS, IDS[:, :T]])
    queries = 2 * REAL + S + T
    assert leak.share == pytest.approx((2 * REAL) * leak.worst_share / queries)


def test_a_vector_with_as_many_features_as_there_are_positions_has_no_padding():
    ids = keras.Input((S,), dtype="int32")
    x = keras_layers.Embedding(13, S)(ids)
    x = keras_layers.RepeatVector(S)(keras_layers.GlobalAveragePooling1D()(x))
    assert check_masks(keras.Model(ids, mha("mha")(x, x)), IDS) == []


@keras.saving.register_keras_serializable(package="tests.mask_lint")
class OwnAttention(keras_layers.Layer):
    """Scaled dots in plain operations, value first, that use no mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, v, k, q):
        scores = keras.ops.einsum("btd,bsd->bts", q, k) / D**0.5
        return keras.ops.matmul(keras.ops.softmax(scores), v)


def test_attention_of_somebody_else_is_followed_by_the_names_of_its_arguments():
    query, ids = keras.Input((T, D), name="query"), ids_input()
    memory = embedding()(ids)
    model = keras.Model([query, ids], OwnAttention(name="own")(memory, memory, query))
    (leak,) = check_masks(model, [QUERY, IDS])
    assert leak.name == "own"
    assert "The mask of 'embedding' arrives with its keys, and 'own', an OwnAttention, does not use it" in str(leak)


# Inputs that do not fit, and models that raise


def test_what_is_no_model_is_refused():
    with pytest.raises(ModelError, match=r"keras\.Model; received Dense"):
        check_masks(keras_layers.Dense(1), IDS)


def test_a_model_without_attention_is_refused():
    model = keras.Sequential([keras.Input((D,)), keras_layers.Dense(2)], name="plain")
    with pytest.raises(ModelError, match="'plain' has no attention layer"):
        check_masks(model, np.ones((2, D)))


@pytest.mark.parametrize(
    ("batch", "received"),
    [
        (IDS, r"received \(2, 7\)\.$"),
        ([QUERY, IDS, IDS], r"received \(2, 5, 11\) and \(2, 7\) and \(2, 7\)"),
        ([QUERY, IDS[0]], r"received \(2, 5, 11\) and \(7,\)"),
        ({"query": QUERY, "words": IDS}, r"received 'query' \(2, 5, 11\), 'words' \(2, 7\)"),
    ],
)
def test_a_batch_that_does_not_fit_is_one_sentence(batch, received):
    model = PADDED["memory_read_twice"]().model
    with pytest.raises(ShapeError, match=r"takes 'query' \(None, 5, 11\), 'ids' \(None, None\); " + received):
        check_masks(model, batch)


def test_a_subclassed_model_says_what_it_received():
    model = PADDED["subclassed_translator"]().model
    with pytest.raises(ShapeError, match=r"refused its input of 'query' \(2, 5, 11\), 'words' \(2, 7\): "):
        check_masks(model, {"query": QUERY, "words": IDS})
    assert_untouched(model)


@keras.saving.register_keras_serializable(package="tests.mask_lint")
class Breaks(keras.Model):
    """Raises after its attention has run, when it is told to."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed, self.attention = embedding(), mha()
        self.broken = False

    def call(self, ids):
        x = self.embed(ids)
        y = self.attention(x, x)
        if self.broken:
            raise RuntimeError("after the attention")
        return y


def test_a_model_that_raises_is_untouched():
    model = Breaks()
    before = predicted(model, IDS)
    model.broken = True
    with pytest.raises(RuntimeError, match="after the attention"):
        check_masks(model, IDS)
    assert_untouched(model)
    model.broken = False
    np.testing.assert_array_equal(predicted(model, IDS)[0], before[0])


def test_a_model_that_was_never_called_is_linted_all_the_same():
    leaks = check_masks(type(PADDED["subclassed_translator"]().model)(), {"query": QUERY, "ids": IDS})
    assert [leak.name for leak in leaks] == ["second"]


@keras.saving.register_keras_serializable(package="tests.mask_lint")
class Compiled(Breaks):
    """Its call is a compiled function."""

    @tf.function
    def call(self, ids):
        x = self.embed(ids)
        return self.attention(x, x)


def test_a_compiled_call_is_refused_with_the_cure():
    model = Compiled()
    with pytest.raises(ModelError, match=r"take the tf\.function off"):
        check_masks(model, IDS)
    assert_untouched(model)


def test_keras_warnings_about_lost_masks_do_not_come_through():
    example = PADDED["sequential_with_a_lambda"]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_masks(example.model, example.padded)
