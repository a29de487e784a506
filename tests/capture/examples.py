"""Models of every shape the capture must take: one function a shape, in one table."""

from typing import NamedTuple

import keras
import numpy as np
from keras import layers as keras_layers

from keras_attn_xai.layers import (
    AttentionDecoder,
    AttentionPooling,
    BahdanauAttention,
    HierarchicalAttention,
    LuongAttention,
    MultiHeadAttention,
    ScaledDotProductAttention,
)

B, H, T, S, D = 2, 3, 5, 7, 11  # every axis its own prime
QUERY = np.random.default_rng(1).normal(size=(B, T, D)).astype("float32")
MEMORY = np.random.default_rng(2).normal(size=(B, S, D)).astype("float32")
IDS = np.array([[3, 1, 4, 0, 0], [0, 0, 0, 0, 0]])  # the second row is padding only
DOCUMENTS = np.random.default_rng(3).normal(size=(B, T, S, D)).astype("float32")
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

    def compute_output_shape(self, shape):
        return shape


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
class Tower(keras_layers.Layer):
    """Layers inside layers inside a layer, by attribute and in a list."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = Block()
        self.others = [Block(name="named")]

    def build(self, shape):
        self.first.build(shape)
        self.others[0].build(shape)

    def call(self, x):
        return self.others[0](self.first(x))


@keras.saving.register_keras_serializable(package="tests")
class Mixed(keras.Model):
    """Subclassed around a Sequential and a Functional."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        luong = LuongAttention(return_weights=False, name="luong")
        self.start = keras.Sequential([keras.Input((None, D)), luong], name="start")
        x = keras.Input((None, D))
        self.graph = keras.Model(x, mha(name="mha")(x, x), name="graph")

    def call(self, x):
        return self.graph(self.start(x))


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
def nested_twice():
    x = keras.Input((None, D))
    inner = keras.Model(x, mha(name="mha")(x, x), name="inner")
    y = keras.Input((None, D))
    middle = keras.Model(y, inner(inner(y)), name="middle")
    z = keras.Input((None, D))
    calls = ["middle/inner/mha", *(f"middle/inner/mha#{i}" for i in (1, 2, 3))]
    return Example(keras.Model(z, middle(middle(z))), QUERY, ["output"], dict.fromkeys(calls, (H, T, T)))


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
def layers_inside_layers():
    x = keras.Input((None, D))
    maps = {"tower/first/attention": (H, T, T), "tower/named/attention": (H, T, T)}
    return Example(keras.Model(x, Tower(name="tower")(x)), QUERY, ["output"], maps)


@example
def mixed():
    x = keras.Input((None, D))
    y = Block(name="block")(Mixed(name="mixed")(x))
    maps = {"mixed/start/luong": (1, T, T), "mixed/graph/mha": (H, T, T), "block/attention": (H, T, T)}
    return Example(keras.Model(x, y), QUERY, ["output"], maps)


@example
def subclassed_around_others():
    return Example(Mixed(), QUERY, ["output"], {"start/luong": (1, T, T), "graph/mha": (H, T, T)})


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
def known_lengths():
    query, memory = keras.Input((T, D)), keras.Input((S, D))
    y = mha(name="mha")(query, memory)
    y = keras_layers.Attention(name="attention")([y, memory])
    y, _ = LuongAttention(name="luong")(y, memory)
    maps = {"mha": (H, T, S), "attention": (1, T, S), "luong": (1, T, S)}
    return Example(keras.Model([query, memory], y), [QUERY, MEMORY], ["output"], maps)


@example
def our_heads():
    query, memory = pair()
    y = MultiHeadAttention(6, 2, num_key_value_heads=3, return_weights=False, name="heads")(query, memory)
    return Example(keras.Model([query, memory], y), [QUERY, MEMORY], ["output"], {"heads": (6, T, S)})


@example
def pooling():
    x = keras.Input((None, D))
    hops, _ = AttentionPooling("multi_hop", hops=H, name="hops")(x)
    vector, _ = AttentionPooling("gated", name="pooling")(x)
    model = keras.Model(x, keras_layers.Concatenate()([keras_layers.Flatten()(hops), vector]))
    return Example(model, QUERY, ["output"], {"hops": (1, H, T), "pooling": (1, 1, T)})


@example
def hierarchical():
    x = keras.Input((None, None, D))
    y = HierarchicalAttention(return_weights=False, name="document")(x)
    maps = {"document/word_pooling": (1, T, S), "document/sentence_pooling": (1, 1, T)}
    return Example(keras.Model(x, y), DOCUMENTS, ["output"], maps)


@example
def decoder():
    query, memory = pair()
    decode = AttentionDecoder(keras_layers.GRUCell(3), BahdanauAttention(3), return_weights=False, name="decoder")
    model = keras.Model({"query": query, "memory": memory}, decode(query, memory))
    return Example(model, {"query": QUERY, "memory": MEMORY}, ["output"], {"decoder": (1, T, S)})


@example
def recurrent_around():
    x = keras.Input((T, D))
    y = keras_layers.Bidirectional(keras_layers.LSTM(3, return_sequences=True), name="both")(x)
    y = BahdanauAttention(3, return_weights=False, name="own")(y)
    y = keras_layers.TimeDistributed(keras_layers.Dense(2), name="each")(y)
    return Example(keras.Model(x, y), QUERY, ["output"], {"own": (1, T, T)})


@example
def inside_time_distributed():
    documents = keras.Input((2, S, D))  # a known number of sentences: a call each
    y = keras_layers.TimeDistributed(Block(), name="each")(documents)
    maps = {"each/layer/attention": (H, S, S), "each/layer/attention#1": (H, S, S)}
    return Example(keras.Model(documents, y), DOCUMENTS[:, :2], ["output"], maps)


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


@example
def top_weights():
    x = keras.Input((None, D))
    y, _, _ = ScaledDotProductAttention(top_k=2, name="few")(x)
    return Example(keras.Model(x, y), QUERY, ["output"], {"few": (1, T, T)})
