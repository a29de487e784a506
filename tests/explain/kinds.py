"""One tiny seeded model of every kind people explain, with rows, background rows and players.

``KINDS`` maps a name to a function that builds a `Case`. Every case is a scalar function of its inputs, whose
exact Shapley values `exact_values` finds by enumeration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.layers import BahdanauAttention
from tests.explain.enumeration import shapley_values

B, R, H, C, T, D, S, V = 3, 2, 3, 3, 5, 7, 4, 31  # rows, background, heads, classes, steps, features, memory, words
KINDS = {}


@dataclass
class Case:
    """A model as a scalar function.

    Attributes
    ----------
    model : keras.Model
    scalar : callable
        The model's outputs to one number per row.
    inputs, background : array, or list or dict of them
        Rows (B, ...) and (R, ...).
    players : list of int array, one per flat input
        Which player each cell of a row belongs to; -1 never leaves.
    """

    model: Any
    scalar: Callable
    inputs: Any
    background: Any
    players: list

    def function(self, inputs):
        """Inputs to (N,)."""
        return self.scalar(self.model(inputs, training=False))

    @property
    def layers(self):
        """Every layer of the model."""
        return all_layers(self.model)

    def of_players(self, values):
        """Values in the structure of the inputs, summed per player: (B, M)."""
        count = 1 + max(one.max() for one in self.players)
        flat = list(zip(tf.nest.flatten(values), self.players, strict=True))
        return np.stack(
            [sum(value[:, cells == player].sum(1) for value, cells in flat) for player in range(count)], axis=1
        )

    def exact_values(self, row):
        """Shapley values (M,) of one row's players; a padded id (0) of the row is padded in every coalition."""
        x = [np.asarray(one)[row] for one in tf.nest.flatten(self.inputs)]
        background = [np.asarray(one) for one in tf.nest.flatten(self.background)]
        count = 1 + max(one.max() for one in self.players)
        players = [
            np.where(one == 0, -1, cells) if one.dtype.kind == "i" else cells
            for one, cells in zip(x, self.players, strict=True)
        ]

        def worth(coalitions):
            there = np.concatenate([coalitions.astype(bool), np.ones((len(coalitions), 1), bool)], axis=1)
            filled = [
                np.where(there[:, None][..., cells], one, other[None])
                for one, other, cells in zip(x, background, players, strict=True)
            ]
            flat = [one.reshape(-1, *one.shape[2:]) for one in filled]
            values = self.function(tf.nest.pack_sequence_as(self.inputs, [tf.constant(one) for one in flat]))
            return np.asarray(tf.cast(values, tf.float64)).reshape(len(coalitions), -1).mean(1)

        return shapley_values(worth, np.ones(count), np.zeros((1, count)), range(count))


def kind(build):
    """Enter a function that builds a case under its name, after a seed."""

    def seeded():
        keras.utils.set_random_seed(7)
        case = build()
        for variable in case.model.trainable_variables:
            if variable.ndim > 1 and "float" in str(variable.dtype):
                variable.assign(variable * 2)
        return case

    KINDS[build.__name__] = seeded
    return build


def draw(*shape, seed=0):
    """Numbers of order one."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def words(rows, *, seed=0, length=T):
    """Ids without 0."""
    return np.random.default_rng(seed).integers(1, V, (rows, length)).astype("int32")


def along(shape, start=0):
    """Players along the first axis of a row."""
    index = np.arange(start, start + shape[0])
    return np.broadcast_to(index.reshape(-1, *[1] * (len(shape) - 1)), shape)


def logit(outputs):
    """The second class."""
    return tf.cast(outputs, tf.float32)[:, 1]


def case(model, shape, scalar=logit):
    """One float input of this shape."""
    return Case(model, scalar, draw(B, *shape), draw(R, *shape, seed=1), [along(shape)])


def sequence(body, scalar=logit):
    """A Functional model of a float series (T, D); ``body`` maps it to (N, features)."""
    x = keras.Input((T, D))
    return case(keras.Model(x, layers.Dense(C)(body(x))), (T, D), scalar)


def reader(body, *, mask_zero=False):
    """A Functional model of token ids."""
    ids = keras.Input((T,), dtype="int32")
    model = keras.Model(ids, layers.Dense(C)(body(layers.Embedding(V, D, mask_zero=mask_zero)(ids))))
    rows = words(B)
    if mask_zero:
        rows[0, 3:] = 0
    return Case(model, logit, rows, words(R, seed=1), [along((T,))])


def pooled(x):
    """The mean over steps."""
    return layers.GlobalAveragePooling1D()(x)


def multi_head(**options):
    """Attention with prime sizes."""
    return layers.MultiHeadAttention(H, 5, **options)


def encoder(x):
    """One transformer block."""
    x = layers.LayerNormalization()(x + multi_head()(x, x))
    return layers.LayerNormalization()(x + layers.Dense(D)(layers.Dense(11, activation="gelu")(x)))


def dense(activation):
    """Two hidden layers over seven features."""
    stack = [keras.Input((D,))]
    for units in (11, 5):
        stack += [layers.Dense(units)] + (
            [activation] if not isinstance(activation, str) else [layers.Activation(activation)]
        )
    return case(keras.Sequential([*stack, layers.Dense(C)]), (D,))


@kind
def dense_relu():
    return dense("relu")


@kind
def dense_gelu():
    return dense("gelu")


@kind
def dense_leaky_relu():
    return dense("leaky_relu")


@kind
def dense_swish():
    return dense("silu")


@kind
def layer_norm():
    x = keras.Input((D,))
    y = layers.LayerNormalization()(layers.Dense(11)(x))
    return case(keras.Model(x, layers.Dense(C)(layers.Dense(5, activation="tanh")(y))), (D,))


@kind
def multi_head_attention():
    return sequence(lambda x: pooled(multi_head()(x, x)))


@kind
def attention():
    return sequence(lambda x: pooled(layers.Attention()([layers.Dense(D)(x), x])))


@kind
def additive_attention():
    return sequence(lambda x: pooled(layers.AdditiveAttention()([layers.Dense(D)(x), x])))


@kind
def encoder_block():
    return sequence(lambda x: pooled(encoder(x)))


@kind
def lstm():
    return sequence(lambda x: layers.LSTM(5)(x))


def attention_pooling(x):
    """A softmax over steps, then their weighted sum."""
    weights = layers.Softmax(axis=1)(layers.Dense(1)(layers.Dense(5, activation="tanh")(x)))
    return ops.sum(weights * x, axis=1)


@kind
def bigru_attention_pooling():
    return sequence(lambda x: attention_pooling(layers.Bidirectional(layers.GRU(5, return_sequences=True))(x)))


@kind
def conv_max_pooling():
    return sequence(lambda x: layers.GlobalMaxPooling1D()(layers.Conv1D(11, 3, activation="relu")(x)))


def patches(size, side):
    """One player for each square patch of an image."""
    rows = np.arange(size) // side
    return rows[:, None] * (size // side) + rows[None]


def image(body, size=6):
    """A Functional model of an image with two channels."""
    x = keras.Input((size, size, 2))
    made = case(keras.Model(x, layers.Dense(C)(body(x))), (size, size, 2))
    made.players = [np.broadcast_to(patches(size, size // 2)[..., None], (size, size, 2))]
    return made


@kind
def cnn_batch_norm():
    def body(x):
        x = layers.Conv2D(5, 3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization(moving_mean_initializer="random_normal")(x))
        return layers.GlobalAveragePooling2D()(x)

    return image(body)


@kind
def embedding():
    return reader(lambda x: layers.Dense(5, activation="tanh")(layers.Flatten()(x)))


@kind
def embedding_mask_attention():
    return reader(lambda x: pooled(multi_head()(x, x)), mask_zero=True)


def two_towers(names):
    """Query (S, D) that attends to a memory (T, D); a list or a dict of inputs."""
    query, memory = keras.Input((S - 1, D), name="query"), keras.Input((S, D), name="memory")
    y = pooled(query + multi_head()(query, memory))
    inputs = {"query": query, "memory": memory} if names else [query, memory]
    model = keras.Model(inputs, layers.Dense(C)(y))
    rows, others = ([draw(n, S - 1, D, seed=seed), draw(n, S, D, seed=seed + 2)] for n, seed in ((B, 0), (R, 1)))
    players = [along((S - 1, D)), along((S, D), S - 1)]
    if not names:
        return Case(model, logit, rows, others, players)
    as_dict = lambda two: {"query": two[0], "memory": two[1]}  # noqa: E731
    return Case(model, logit, as_dict(rows), as_dict(others), players[::-1])  # TensorFlow sorts a dict by name


@kind
def cross_attention():
    return two_towers(names=False)


@kind
def dict_inputs():
    return two_towers(names=True)


@kind
def two_outputs():
    x = keras.Input((T, D))
    y = pooled(multi_head()(x, x))
    model = keras.Model(x, [layers.Dense(1)(y), layers.Dense(C)(y)])
    return case(model, (T, D), lambda outputs: outputs[1][:, 1])


@kind
def output_and_weights():
    x = keras.Input((T, D))
    y, weights = multi_head()(x, x, return_attention_scores=True)
    model = keras.Model(x, [layers.Dense(C)(pooled(y)), weights])
    return case(model, (T, D), lambda outputs: outputs[0][:, 1])


@kind
def sequence_output():
    x = keras.Input((T, D))
    return case(keras.Model(x, layers.Dense(C)(encoder(x))), (T, D), lambda outputs: outputs[:, 2, 1])


class Subclassed(keras.Model):
    """Attention and a dense head written as a class."""

    def __init__(self):
        super().__init__()
        self.attend, self.norm, self.head = multi_head(), layers.LayerNormalization(), layers.Dense(C)

    def call(self, x):
        """(N, T, D) to (N, C)."""
        return self.head(ops.max(self.norm(x + self.attend(x, x)), axis=1))


@kind
def subclassed():
    model = Subclassed()
    model(draw(1, T, D))
    return case(model, (T, D))


@kind
def lstm_silu():
    return sequence(lambda x: layers.LSTM(5, activation="silu")(x))


class EinsumAttention(layers.Layer):
    """Attention as people write it: einsum, exp, a sum and a division."""

    def build(self, shape):
        self.kernels = [self.add_weight(shape=(shape[-1], H, 5), name=name) for name in ("query", "key", "value")]

    def call(self, x):
        """(N, T, D) to (N, T, H, 5)."""
        query, key, value = (ops.einsum("ntd,dhk->nthk", x, kernel) for kernel in self.kernels)
        scores = ops.einsum("nthk,nshk->nhts", query, key) / 5**0.5
        scores = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
        return ops.einsum("nhts,nshk->nthk", scores / ops.sum(scores, axis=-1, keepdims=True), value)


@kind
def einsum_attention():
    return sequence(lambda x: ops.mean(layers.Reshape((T, H * 5))(EinsumAttention()(x)), axis=1))


@kind
def shared_attention():
    def body(x):
        attend = multi_head()
        x = attend(x, x)
        return pooled(attend(x, x))

    return sequence(body)


@kind
def grouped_query():
    return sequence(lambda x: pooled(layers.GroupQueryAttention(5, 4, 2)(x, x)))


@kind
def image_patches():
    def body(x):
        x = layers.Reshape((9, 11))(layers.Conv2D(11, 2, strides=2)(x))
        return pooled(x + multi_head()(x, x))

    return image(body)


@kind
def cnn_max_pooling():
    def body(x):
        x = layers.MaxPooling2D(2, padding="same")(layers.Conv2D(5, 2, activation="relu")(x))
        return layers.Flatten()(x)

    return image(body)


@kind
def seq2seq():
    source, target = (
        keras.Input((S,), dtype="int32", name="source"),
        keras.Input((S - 1,), dtype="int32", name="target"),
    )
    table = layers.Embedding(V, D, mask_zero=True)
    memory, state = layers.GRU(D, return_sequences=True, return_state=True)(table(source))
    y = layers.GRU(D, return_sequences=True)(table(target), initial_state=state)
    y = layers.Concatenate()([y, layers.Attention()([y, memory])])
    model = keras.Model([source, target], layers.Dense(C)(y))
    rows, others = (
        [words(n, seed=seed, length=S), words(n, seed=seed + 2, length=S - 1)] for n, seed in ((B, 0), (R, 1))
    )
    rows[0][1, 3:] = 0
    return Case(model, lambda outputs: outputs[:, -1, 1], rows, others, [along((S,)), along((S - 1,), S)])


@kind
def any_length_with_masks():
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(V, D, mask_zero=True)(ids)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
    rows = words(B)
    rows[0, 3:] = 0
    model = keras.Model(ids, layers.Dense(C)(pooled(layers.AdditiveAttention()([x, x]))))
    return Case(model, logit, rows, words(R, seed=1), [along((T,))])


@kind
def three_factors():
    def body(x):
        a, b, c = (layers.Dense(5)(x) for _ in range(3))
        return ops.einsum("ntd,nsd,nsd->nd", a, b, c) / T**2

    return sequence(body)


@kind
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return sequence(lambda x: pooled(encoder(x)))
    finally:
        keras.config.set_dtype_policy(before)


@kind
def half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return sequence(lambda x: pooled(multi_head()(x, x)))
    finally:
        keras.config.set_dtype_policy(before)


@kind
def log_odds():
    def scalar(outputs):
        chosen = tf.one_hot(1, C, on_value=True, off_value=False, dtype=tf.bool)
        others = tf.where(chosen, tf.constant(-float("inf"), outputs.dtype), outputs)
        return outputs[:, 1] - tf.reduce_logsumexp(others, axis=-1)

    return sequence(lambda x: pooled(encoder(x)), scalar)


class Gate(layers.Layer):
    """A relu written as a choice, the largest of two, and a clip."""

    def call(self, x):
        """(N, T, D) to the same."""
        x = ops.where(x > 0.1, x, 0.2 * x)
        return ops.clip(ops.maximum(x, ops.flip(x, axis=1)), -0.5, 2.0)


@kind
def hand_written_choices():
    return sequence(lambda x: layers.Flatten()(Gate()(layers.Dense(D)(x))))


@kind
def transposed_convolution():
    return image(
        lambda x: layers.Flatten()(layers.Conv2DTranspose(3, 3, activation="elu")(layers.AveragePooling2D(2)(x)))
    )


@kind
def conv_lstm():
    x = keras.Input((3, 4, 4, 2))
    y = layers.Flatten()(layers.ConvLSTM2D(3, 2)(x))
    return case(keras.Model(x, layers.Dense(C)(y)), (3, 4, 4, 2))


@kind
def stacked_cells():
    return sequence(lambda x: layers.RNN([layers.GRUCell(5), layers.LSTMCell(3)])(x))


@kind
def unit_normalization():
    return sequence(lambda x: pooled(layers.UnitNormalization()(layers.Dense(5, activation="selu")(x))))


@kind
def masking_gru():
    found = sequence(lambda x: layers.GRU(5)(layers.Masking(-1.0)(x)))
    found.inputs[0, 3:] = -1
    return found


@kind
def additive_of_any_length():
    """Our layer, which attends block by block where it does not know how many queries there are."""
    ids = keras.Input((None,), dtype="int32")
    context, _ = BahdanauAttention(5)(layers.Embedding(V, D, mask_zero=True)(ids))
    model = keras.Model(ids, layers.Dense(C)(layers.GlobalAveragePooling1D()(context)))
    rows = words(B)
    rows[0, 3:] = 0
    return Case(model, logit, rows, words(R, seed=1), [along((T,))])
