"""Small models that read token ids; every axis has a prime of its own."""

import keras
import numpy as np
from keras import layers, ops

B, H, C, D, S, V = 2, 3, 5, 11, 7, 31  # rows, heads, classes, features, positions, vocabulary
MASK = 1  # the id that stands for an absent token


def token_ids(rows=B, positions=S, *, seed=0):
    """Ids of real tokens (rows, positions), each different from the others of its row."""
    draw = np.random.default_rng(seed)
    return np.stack([draw.permutation(np.arange(MASK + 1, V))[:positions] for _ in range(rows)])


def wide_weights(model, seed=0):
    """Weights of order one, so that attention is far from uniform and tokens matter together."""
    draw = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(draw.normal(scale=0.7, size=variable.shape))
    return model


def attention_model(*, length=S, mask_zero=False, activation=None, classes=C, name="reader"):
    """Ids to classes through one attention layer named ``mha``; it knows no positions."""
    ids = keras.Input((length,), dtype="int32", name="ids")
    x = layers.Embedding(V, D, mask_zero=mask_zero)(ids)
    x = layers.MultiHeadAttention(H, 2, name="mha")(x, x)
    x = layers.GlobalAveragePooling1D()(x)
    return wide_weights(keras.Model(ids, layers.Dense(classes, activation=activation)(x), name=name))


def sequential_model():
    """A Sequential without attention, which knows positions."""
    return wide_weights(
        keras.Sequential(
            [
                keras.Input((S,), dtype="int32"),
                layers.Embedding(V, D),
                layers.Conv1D(2, 5, activation="relu"),
                layers.Flatten(),
                layers.Dense(C),
            ]
        )
    )


class Subclassed(keras.Model):
    """Embedding, attention and a dense head written as a class."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, D)
        self.attend = layers.MultiHeadAttention(H, 2)
        self.head = layers.Dense(C)

    def call(self, ids):
        """Ids (B, S) to (B, C)."""
        x = self.embedding(ids)
        return self.head(ops.mean(self.attend(x, x), axis=1))


def subclassed_model():
    """A subclassed model that has seen one row."""
    model = Subclassed()
    model(token_ids(1))
    return wide_weights(model)


def linear_model():
    """``sum_s weight[s] * table[id_s]``, with its weights (S,) and table (V,)."""
    model = keras.Sequential(
        [keras.Input((S,), dtype="int32"), layers.Embedding(V, 1), layers.Flatten(), layers.Dense(1)]
    )
    wide_weights(model)
    table, weight, _ = model.get_weights()
    return model, weight[:, 0], table[:, 0]


def pairwise_model():
    """``sum_d (sum_s table[id_s])_d ** 2``: tokens matter in pairs and nothing beyond, so every method is exact."""
    ids = keras.Input((S,), dtype="int32")
    x = ops.sum(layers.Embedding(V, 3)(ids), axis=1)
    return wide_weights(keras.Model(ids, ops.sum(x * x, axis=-1, keepdims=True)))


def table_model(table, activation=None, *, squash=None):
    """The mean over positions of ``table[id]`` (V, C), through an activation or a layer."""
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(*table.shape, embeddings_initializer=lambda shape, dtype: table.astype(dtype))(ids)
    x = layers.GlobalAveragePooling1D()(x)
    if activation is not None:
        x = layers.Dense(
            table.shape[1], activation=activation, use_bias=False, kernel_initializer=keras.initializers.Identity()
        )(x)
    if squash is not None:
        x = squash(x)
    return keras.Model(ids, x)
