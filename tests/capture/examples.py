"""Models of every shape the capture must take: one function a shape, in one table."""

from typing import NamedTuple

import keras
import numpy as np
from keras import layers as keras_layers

from keras_attn_xai.layers import BahdanauAttention, LuongAttention, ScaledDotProductAttention

B, H, T, S, D = 2, 3, 5, 7, 11  # every axis its own prime
QUERY = np.random.default_rng(1).normal(size=(B, T, D)).astype("float32")
MEMORY = np.random.default_rng(2).normal(size=(B, S, D)).astype("float32")
IDS = np.array([[3, 1, 4, 0, 0], [0, 0, 0, 0, 0]])  # the second row is padding only
MODELS = {}


class Example(NamedTuple):
    """A model, what it takes, and the maps it must give."""

    model: keras.Model
    inputs: object
    outputs: list  # names of the model's own outputs in the view
    maps: dict  # call name -> (H, T, S)


def example(build):
    MODELS[build.__name__] = build
    return build


def mha(**kwargs):
    return keras_layers.MultiHeadAttention(H, 2, **kwargs)


def pair():
    return keras.Input((None, D), name="query"), keras.Input((None, D), name="memory")


@keras.saving.register_keras_serializable(package="tests")
class Block(keras_layers.Layer):
    """Names neither itself nor its part: only attributes tell them apart."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = mha()

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x):
        return x + self.attention(x, x)


@keras.saving.register_keras_serializable(package="tests")
class Stack(keras.Model):
    """Lists of blocks, one of them nested."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(), Block()]
        self.levels = [[LuongAttention(return_weights=False)]]
        self.head = keras_layers.Dense(2)

    def build(self, shape):
        for block in self.blocks:
            block.build(shape)
        self.levels[0][0].build(shape)
        self.head.build(shape)

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(self.levels[0][0](x))


@keras.saving.register_keras_serializable(package="tests")
class Pair(keras.Model):
    """Dict in, dict out, subclassed."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.read = BahdanauAttention(3)

    def call(self, inputs):
        context, weights = self.read(inputs["query"], inputs["memory"])
        return {"context": context, "weights": weights}


@example
def functional():
    x = keras.Input((None, D))
    y = keras_layers.GlobalAveragePooling1D()(mha(name="mha")(x, x))
    return Example(keras.Model(x, keras_layers.Dense(2)(y)), QUERY, ["output"], {"mha": (H, T, T)})


@example
def sequential():
    layers = [LuongAttention("general", return_weights=False, name="luong"), keras_layers.Dense(2)]
    return Example(keras.Sequential([keras.Input((T, D)), *layers]), QUERY, ["output"], {"luong": (1, T, T)})


@example
def sequential_built_by_its_first_call():
    model = keras.Sequential([ScaledDotProductAttention(return_weights=False, name="dot"), keras_layers.Dense(2)])
    model(QUERY)
    return Example(model, QUERY, ["output"], {"dot": (1, T, T)})


@example
def nested():
    x = keras.Input((None, D))
    own = BahdanauAttention(3, return_weights=False, name="own")
    inner = keras.Sequential([keras.Input((None, D)), own], name="inner")
    encoder = keras.Model(x, inner(mha(name="mha")(x, x)), name="encoder")
    z = keras.Input((None, D))
    maps = {"encoder/mha": (H, T, T), "encoder/inner/own": (1, T, T), "last": (H, T, T)}
    y = encoder(z)
    return Example(keras.Model(z, mha(name="last")(y, y)), QUERY, ["output"], maps)


@example
def subclassed():
    maps = {"blocks/0/attention": (H, T, T), "blocks/1/attention": (H, T, T), "levels/0/0": (1, T, T)}
    return Example(Stack(), QUERY, ["output"], maps)


@example
def subclassed_with_dicts():
    return Example(Pair(), {"query": QUERY, "memory": MEMORY}, ["context", "weights"], {"read": (1, T, S)})


@example
def subclassed_layers_in_a_functional():
    x = keras.Input((None, D))
    y = Block(name="second")(Block(name="first")(x))
    maps = {"first/attention": (H, T, T), "second/attention": (H, T, T)}
    return Example(keras.Model(x, y), QUERY, ["output"], maps)


@example
def shared_layer():
    query, memory = pair()
    attend = mha(name="mha")
    y = attend(attend(query, memory), query)
    return Example(keras.Model([query, memory], y), [QUERY, MEMORY], ["output"], {"mha": (H, T, S), "mha#1": (H, T, T)})


@example
def dict_inputs_and_outputs():
    query, memory = pair()
    context, weights = LuongAttention(name="luong")(query, memory)
    model = keras.Model({"query": query, "memory": memory}, {"context": context, "inner": {"weights": weights}})
    inputs = {"memory": MEMORY, "query": QUERY}
    return Example(model, inputs, ["context", "inner/weights"], {"luong": (1, T, S)})


@example
def list_outputs():
    query, memory = pair()
    y = mha(name="mha")(query, memory)
    outputs = [keras_layers.Dense(2, name="a")(y), keras_layers.Dense(3, name="b")(y)]
    return Example(keras.Model([query, memory], outputs), [QUERY, MEMORY], ["a", "b"], {"mha": (H, T, S)})


@example
def attention_among_the_outputs():
    query, memory = pair()
    outputs = mha(name="mha")(query, memory, return_attention_scores=True)
    return Example(keras.Model([query, memory], outputs), [QUERY, MEMORY], ["mha", "mha_1"], {"mha": (H, T, S)})


def keras_layer(layer):
    query, memory = pair()
    return keras.Model([query, memory], layer([query, memory]))


@example
def keras_attention():
    layer = keras_layers.Attention(use_scale=True, score_mode="concat", name="attention")
    return Example(keras_layer(layer), [QUERY, MEMORY], ["output"], {"attention": (1, T, S)})


@example
def keras_additive_attention():
    layer = keras_layers.AdditiveAttention(name="additive")
    return Example(keras_layer(layer), [QUERY, MEMORY], ["output"], {"additive": (1, T, S)})


@example
def keras_grouped_queries():
    query, memory = pair()
    y = keras_layers.GroupQueryAttention(2, 6, 3, name="grouped")(query, memory)
    return Example(keras.Model([query, memory], y), [QUERY, MEMORY], ["output"], {"grouped": (6, T, S)})


@example
def causal():
    x = keras.Input((None, D))
    y = mha(name="mha")(x, x, use_causal_mask=True)
    y = keras_layers.GroupQueryAttention(2, 6, 3, name="grouped")(y, y, use_causal_mask=True)
    y, _ = ScaledDotProductAttention(name="dot")(y, use_causal_mask=True)
    maps = {"mha": (H, T, T), "grouped": (6, T, T), "dot": (1, T, T)}
    return Example(keras.Model(x, y), QUERY, ["output"], maps)


@example
def padded():
    ids = keras.Input((None,), dtype="int32")
    x = keras_layers.Embedding(7, D, mask_zero=True)(ids)
    y, _ = BahdanauAttention(3, name="own")(x)
    y = keras_layers.Attention(name="attention")([y, y])
    y = mha(name="mha")(y, y)
    maps = {"own": (1, T, T), "attention": (1, T, T), "mha": (H, T, T)}
    return Example(keras.Model(ids, y), IDS, ["output"], maps)


@example
def half_precision():
    ids = keras.Input((None,), dtype="int32")
    x = keras_layers.Embedding(7, D, mask_zero=True, dtype="mixed_float16")(ids)
    y = mha(name="mha", dtype="mixed_float16")(x, x, use_causal_mask=True)
    y = LuongAttention("general", return_weights=False, name="luong", dtype="mixed_float16")(y)
    return Example(keras.Model(ids, y), IDS, ["output"], {"mha": (H, T, T), "luong": (1, T, T)})


@example
def dropout():
    x = keras.Input((None, D))
    y = mha(name="mha", dropout=0.5)(x, x)
    y = BahdanauAttention(3, dropout=0.5, return_weights=False, name="own")(y)
    return Example(keras.Model(x, y), QUERY, ["output"], {"mha": (H, T, T), "own": (1, T, T)})
