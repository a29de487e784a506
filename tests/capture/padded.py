"""Models on padded batches: which attention calls of each read padding, and the word that names the cause."""

from typing import NamedTuple

import keras
import numpy as np
from keras import layers as keras_layers

from keras_attn_xai.layers import (
    AttentionDecoder,
    AttentionPooling,
    BahdanauAttention,
    LuongAttention,
    ScaledDotProductAttention,
)

B, H, T, S, D, WORDS = 2, 3, 5, 7, 11, 13  # every axis its own prime
IDS = np.array([[3, 1, 4, 0, 0, 0, 0], [2, 7, 1, 8, 2, 8, 1]])  # S positions; the second row is full
REAL = 3  # of the first row
SHORT = IDS[:1, :REAL]
QUERY = np.random.default_rng(1).normal(size=(B, T, D)).astype("float32")
STEPS = np.random.default_rng(2).normal(size=(B, S, D)).astype("float32") * (IDS > 0)[..., None]
PADDED = {}


class Example(NamedTuple):
    """A model, a padded batch, its first row without padding, the calls that leak and their causes."""

    model: keras.Model
    padded: object
    short: object
    leaks: dict  # call name -> a part of the text
    repaired: dict = {}  # the same, after repair_masks
    warned: tuple = ()  # what repair_masks must name besides


def example(build):
    PADDED[build.__name__] = build
    return build


def ids_input(name="ids"):
    return keras.Input((None,), dtype="int32", name=name)


def embedding(name="embedding", **kwargs):
    return keras_layers.Embedding(WORDS, D, embeddings_initializer="normal", name=name, **{"mask_zero": True, **kwargs})


def mha(name=None, **kwargs):
    return keras_layers.MultiHeadAttention(H, 2, name=name, kernel_initializer="he_normal", **kwargs)


def post_norm(x, attended):
    return keras_layers.LayerNormalization()(keras_layers.Add()([x, attended]))


@keras.saving.register_keras_serializable(package="tests.padded")
class Block(keras_layers.Layer):
    """A transformer's block that hands masks on, its attention made in __init__."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.attention, self.add = mha(), keras_layers.Add()
        self.norm = keras_layers.LayerNormalization()

    def build(self, shape):
        self.attention.build(shape, shape)
        self.norm.build(shape)

    def call(self, x):
        return self.norm(self.add([x, self.attention(x, x)]))


@keras.saving.register_keras_serializable(package="tests.padded")
class LateBlock(keras_layers.Layer):
    """The same, its attention made in build."""

    def __init__(self, heads, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.heads = heads

    def build(self, shape):
        self.attention, self.norm = keras_layers.MultiHeadAttention(self.heads, 2), keras_layers.LayerNormalization()
        self.attention.build(shape, shape)
        self.norm.build(shape)

    def call(self, x):
        return self.norm(x + self.attention(x, x))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable(package="tests.padded")
class Forgetful(keras_layers.Layer):
    """Hands no mask on, and has no **kwargs."""

    def __init__(self):
        super().__init__()
        self.dense = keras_layers.Dense(D)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return 2.0 * self.dense(x)


@keras.saving.register_keras_serializable(package="tests.padded")
class Translator(keras.Model):
    """Subclassed, two cross attentions over one memory, dict in."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed, self.first, self.second = embedding(), mha(), mha()

    def call(self, inputs):
        memory = self.embed(inputs["ids"])
        return self.second(self.first(inputs["query"], memory), memory)


@keras.saving.register_keras_serializable(package="tests.padded")
class Plus(keras.Model):
    """Subclassed, with a plain + that has no mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed, self.first, self.second = embedding(), mha(), mha()
        self.norm, self.pool = keras_layers.LayerNormalization(), keras_layers.GlobalAveragePooling1D()

    def call(self, ids):
        x = self.embed(ids)
        x = self.norm(x + self.first(x, x))
        return self.pool(self.second(x, x))


# Trap 1: an attention deletes the mask


@example
def memory_read_twice():
    query, ids = keras.Input((T, D), name="query"), ids_input()
    memory = embedding()(ids)
    y = mha("second")(mha("first")(query, memory), memory)
    leaks = {"second": "The mask of 'embedding' was deleted by 'first', a keras MultiHeadAttention"}
    return Example(keras.Model([query, ids], y), [QUERY, IDS], [QUERY[:1], SHORT], leaks)


@example
def post_norm_block():
    ids = ids_input()
    x = embedding()(ids)
    x = post_norm(x, mha("first")(x, x))
    y = keras_layers.GlobalAveragePooling1D()(mha("next")(x, x))
    return Example(keras.Model(ids, y), IDS, SHORT, {"next": "'embedding' was deleted by 'first'"})


@example
def sequential_of_blocks_and_a_memory():
    ids = ids_input()
    memory = embedding()(ids)
    stack = keras.Sequential([keras.Input((None, D)), Block(name="a"), LateBlock(H, name="b")], name="stack")
    y = keras_layers.GlobalAveragePooling1D()(mha("cross")(stack(memory), memory))
    return Example(keras.Model(ids, y), IDS, SHORT, {"cross": "'embedding' was deleted by 'stack/a/attention'"})


@example
def attention_made_in_build():
    ids = ids_input()
    memory = embedding()(ids)
    y = keras_layers.GlobalAveragePooling1D()(mha("cross")(LateBlock(H, name="late")(memory), memory))
    return Example(keras.Model(ids, y), IDS, SHORT, {"cross": "'embedding' was deleted by 'late/attention'"})


@example
def encoder_and_decoder_nested():
    inner = ids_input("inner")
    x = embedding()(inner)
    encoder = keras.Model(inner, post_norm(x, mha("self")(x, x)), name="encoder")
    source, target = ids_input("source"), ids_input("target")
    memory, y = encoder(source), embedding("target_embedding")(target)
    y = keras_layers.Add()([y, mha("causal")(y, y, use_causal_mask=True)])
    for name in ("one", "two"):
        y = keras_layers.Add()([y, mha(name)(y, memory)])
    model = keras.Model({"source": source, "target": target}, y)
    cause = "The mask of 'encoder/embedding' was deleted by 'encoder/self'"
    leaks = {"one": cause, "two": cause}
    return Example(model, {"source": IDS, "target": IDS[:, :T]}, {"source": SHORT, "target": SHORT}, leaks)


@example
def shared_layer():
    query, ids = keras.Input((T, D), name="query"), ids_input()
    memory, attend = embedding()(ids), mha("mha")
    y = attend(attend(query, memory), memory)
    leaks = {"mha#1": "deleted by 'mha', a keras MultiHeadAttention (an earlier call of the same layer)"}
    return Example(keras.Model([query, ids], y), [QUERY, IDS], [QUERY[:1], SHORT], leaks)


@example
def subclassed_translator():
    model = Translator()
    padded = {"query": QUERY, "ids": IDS}
    model(padded)
    short = {"query": QUERY[:1], "ids": SHORT}
    return Example(model, padded, short, {"second": "The mask of 'embed' was deleted by 'first'"})


@example
def grouped_queries_after_attention():
    steps = keras.Input((None, D), name="steps")
    x = keras_layers.Masking(name="masking")(steps)
    y = mha("first")(x, x)
    y = keras_layers.GroupQueryAttention(2, 6, 3, name="grouped")(y, x)
    y = keras_layers.GlobalAveragePooling1D()(y)
    leaks = {"grouped": "The mask of 'masking' was deleted by 'first'"}
    return Example(keras.Model(steps, y), STEPS, STEPS[:1, :REAL], leaks)


# Other causes


@example
def sequential_with_a_lambda():
    layers = [
        embedding(),
        keras_layers.Lambda(lambda x: 2.0 * x, name="twice"),
        LuongAttention(return_weights=False, name="luong"),
        keras_layers.Reshape((-1, D), name="reshape"),
    ]
    cause = "The mask of 'embedding' is not passed on by 'twice', a keras Lambda. Give 'twice' mask="
    model = keras.Sequential([ids_input(), *layers, LateBlock(H, name="self")])
    leaks = {"luong": cause, "self/attention": "Nor is it passed on by 'reshape', a keras Reshape"}
    return Example(model, IDS, SHORT, leaks, leaks)


@example
def custom_layer_without_masking():
    ids = ids_input()
    x = Forgetful()(embedding()(ids))
    leaks = {"mha": "is not passed on by 'forgetful"}
    return Example(keras.Model(ids, mha("mha")(x, x)), IDS, SHORT, leaks, {"mha": "supports_masking = True"})


@example
def plain_operation():
    ids = ids_input()
    x = embedding()(ids) + 1.0
    leaks = {"mha": "is not passed on by the operation 'add"}
    return Example(keras.Model(ids, mha("mha")(x, x)), IDS, SHORT, leaks, leaks)


@example
def deleted_and_not_handed_on():
    ids = ids_input()
    x = embedding()(ids)
    x = keras_layers.Dense(D)(x + mha("first")(x, x))
    leaks = {
        "next": "deleted by 'first', a keras MultiHeadAttention, which takes the masks off the tensors it reads. Nor"
    }
    return Example(
        keras.Model(ids, mha("next")(x, x)), IDS, SHORT, leaks, {"next": "is not passed on by the operation"}
    )


@example
def subclassed_with_a_plain_plus():
    model = Plus(name="plus")
    model(IDS)
    leaks = {"second": "is lost in plain operations inside 'plus', a Plus"}
    return Example(model, IDS, SHORT, leaks, leaks, ("GlobalAveragePooling1D",))


@example
def no_mask_at_all():
    ids = ids_input()
    x = embedding(mask_zero=False)(ids)
    leaks = {"mha": "No mask is ever made: the ids of 'embedding' end in runs of 0"}
    return Example(keras.Model(ids, mha("mha")(x, x)), IDS, SHORT, leaks, leaks)


@example
def no_masking_of_steps():
    steps = keras.Input((None, D), name="steps")
    pool = AttentionPooling(return_weights=False, name="pool")
    leaks = {"pool": "rows of input 'steps' end in zeros"}
    return Example(keras.Model(steps, pool(steps)), STEPS, STEPS[:1, :REAL], leaks, leaks)


@example
def decoder_and_top_k_without_masks():
    query, ids = keras.Input((T, D), name="query"), ids_input()
    memory = embedding(mask_zero=False)(ids)
    decoder = AttentionDecoder(keras_layers.GRUCell(D), LuongAttention(), return_weights=False, name="decoder")
    y, _, _ = ScaledDotProductAttention(top_k=2, name="top")(decoder(query, memory), memory)
    leaks = {"decoder": "No mask is ever made", "top": "No mask is ever made"}
    return Example(keras.Model([query, ids], y), [QUERY, IDS], [QUERY[:1], SHORT], leaks, leaks)


def with_mask_input(attend):
    ids, mask = ids_input("token_ids"), keras.Input((None,), dtype="int32", name="padding_mask")
    x = embedding(mask_zero=False)(ids)
    model = keras.Model({"token_ids": ids, "padding_mask": mask}, attend(x, mask))
    real = (IDS > 0).astype("int32")
    short = {"token_ids": SHORT, "padding_mask": real[:1, :REAL]}
    return model, {"token_ids": IDS, "padding_mask": real}, short


@example
def mask_input_that_is_not_passed():
    leaks = {"mha": "The mask of input 'padding_mask' is not passed to it"}
    return Example(*with_mask_input(lambda x, mask: mha("mha")(x, x)), leaks, leaks)


@example
def inverted_mask():
    def attend(x, mask):
        return mha("mha")(x, x, attention_mask=keras.ops.equal(mask[:, None], 0))

    leaks = {"mha": "The mask 'mha' is given is inverted: it keeps the padding of input 'padding_mask'"}
    return Example(*with_mask_input(attend), leaks, leaks)


@example
def mask_of_the_query_alone():
    ids = ids_input()
    x = embedding()(ids)
    mask = keras.ops.not_equal(ids, 0)
    y = keras_layers.Attention(name="attention")([x, x], mask=[mask, keras.ops.ones_like(mask)])
    leaks = {"attention": "The mask 'attention' is given does not cover the padding of 'embedding'"}
    return Example(keras.Model(ids, y), IDS, SHORT, leaks, leaks)


# Nothing to find


@example
def attention_used_once():
    ids = ids_input()
    x = embedding()(ids)
    y = keras_layers.GlobalAveragePooling1D()(mha("mha")(x, x))
    return Example(keras.Model(ids, y), IDS, SHORT, {})


@example
def our_layers_read_one_memory_twice():
    query, ids = keras.Input((T, D), name="query"), ids_input()
    memory = embedding()(ids)
    y, _ = BahdanauAttention(3, name="first")(query, memory)
    y, _ = LuongAttention(name="second")(y, memory)
    return Example(keras.Model([query, ids], y), [QUERY, IDS], [QUERY[:1], SHORT], {})


@example
def explicit_mask():
    def attend(x, mask):
        y = mha("one")(x, x, attention_mask=mask[:, None])
        y = keras_layers.Add()([x, y])
        return mha("two")(y, y, attention_mask=mask[:, None])

    return Example(*with_mask_input(attend), {})


@example
def causal_with_trailing_padding():
    ids = ids_input()
    x = embedding(mask_zero=False)(ids)
    x = keras_layers.Add()([x, mha("one")(x, x, use_causal_mask=True)])
    return Example(keras.Model(ids, mha("two")(x, x, use_causal_mask=True)), IDS, SHORT, {})


@example
def keras_single_heads():
    ids = ids_input()
    x = embedding()(ids)
    y = keras_layers.Attention(name="dot")([x, x])
    y = keras_layers.AdditiveAttention(name="additive")([y, x])
    return Example(keras.Model(ids, keras_layers.GlobalAveragePooling1D()(y)), IDS, SHORT, {})


@example
def blocks_of_a_transformer():
    ids = ids_input()
    x = LateBlock(H, name="b")(Block(name="a")(embedding()(ids)))
    return Example(keras.Model(ids, keras_layers.GlobalAveragePooling1D()(x)), IDS, SHORT, {})


@example
def segments_beside_the_words():
    ids, segments = ids_input("token_ids"), ids_input("segment_ids")
    x = keras_layers.Add()([embedding("kinds", mask_zero=False)(segments), embedding(mask_zero=False)(ids)])
    kinds = (IDS % 2).astype("int32")
    kinds[:, -2:] = 0  # not padding
    full = np.where(IDS == 0, 5, IDS)
    return Example(keras.Model([ids, segments], mha("mha")(x, x)), [full, kinds], [full, kinds], {})
