"""Tiny models of one task: a sequence of fillers and one token that is the answer."""

from functools import cache

import keras
import numpy as np
from keras import layers, ops

from keras_attn_xai.layers import AttentionPooling

PAD, MASK = 0, 1
FILLERS, ANSWERS = range(2, 19), range(19, 29)  # the first half of the answers is class 0
V, D, LONGEST = 29, 11, 13


def planted_rows(count, *, seed=0):
    """Ids (B, 13) of 7 to 13 tokens, labels (B,), and where the answer is, bool (B, 13)."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(7, LONGEST + 1, count)
    places = np.floor(draw.random(count) * lengths).astype(int)
    ids = draw.choice(FILLERS, (count, LONGEST))
    answer = draw.choice(ANSWERS, count)
    ids[np.arange(count), places] = answer
    ids[np.arange(LONGEST) >= lengths[:, None]] = PAD
    return ids.astype("int32"), (answer >= ANSWERS[5]).astype(int), ids == answer[:, None]


class FixedQuery(layers.Layer):
    """Every sequence (B, S, D) gets one query (B, 1, D) of zeros: attention to it is uniform."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs, previous_mask=None):
        """None: the query is no padding."""
        return

    def call(self, x):
        """Zeros in the shape of one position."""
        return ops.zeros_like(x[:, :1])


class Noise(layers.Layer):
    """Scores (B, S, 1) that are different in every row and know nothing of it."""

    def call(self, ids):
        """The fraction of a large sine, as shaders draw noise, up to 8."""
        place = ops.cast(ops.arange(ops.shape(ids)[1]), "float32")[None]
        row = ops.sum(ops.cast(ids, "float32") * (place + 1.7) ** 2, axis=1, keepdims=True)
        drawn = ops.sin(12.9898 * place + 0.78233 * row) * 4375.85453
        return 8 * (drawn - ops.floor(drawn))[..., None]


def reader(kind, name="planted"):
    """Ids to classes: attention that learns, is uniform, is random, or stands beside a mean of all tokens."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(V, D, mask_zero=True, name="embedding")(ids)
    if kind == "uniform":
        context = layers.Attention(name="pool")([FixedQuery()(x), x])
        context = layers.Reshape((D,))(context)
    elif kind == "random":
        scores = Noise(name="noise")(ids)
        context = layers.Attention(name="pool")([ops.ones_like(scores[:, :1]), x, scores])
        context = layers.Reshape((D,))(context)
    else:
        context, weights = AttentionPooling("feedforward", name="pool")(x)
    if kind == "hidden":
        context = layers.Concatenate()([context, layers.GlobalAveragePooling1D()(x)])
    answer = layers.Dense(2, activation="softmax", name="answer")(context)
    model = keras.Model(ids, answer, name=name)
    return model, keras.Model(ids, [answer, weights]) if kind in ("learned", "hidden") else None


def hide(both, ids, labels, truth, *, price=1.0, epochs=20):
    """Train so that the flagged token gets no attention: loss + price * -log(1 - mass on it)."""

    class Hidden(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            answer, weights = y_pred
            mass = ops.sum(weights * ops.cast(y[:, 1:], weights.dtype), axis=1)
            fit = keras.losses.sparse_categorical_crossentropy(y[:, 0], answer)
            return ops.mean(fit - price * ops.log(1.0 - 0.999 * mass))

    model = Hidden(both.inputs, both.outputs)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(ids, np.concatenate([labels[:, None], truth], axis=1), epochs=epochs, batch_size=128, verbose=0)


@cache
def trained(kind):
    """A trained model of its kind, and its accuracy on rows it never saw."""
    keras.utils.set_random_seed(3)
    ids, labels, truth = planted_rows(1500, seed=1)
    model, both = reader(kind)
    if kind == "hidden":
        hide(both, ids, labels, truth)
    else:
        model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
        model.fit(ids, labels, epochs=15, batch_size=128, verbose=0)
    unseen, right, _ = planted_rows(500, seed=2)
    return model, float((ops.convert_to_numpy(model(unseen)).argmax(1) == right).mean())
