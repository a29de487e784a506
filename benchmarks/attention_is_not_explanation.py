"""Does attention order the words as gradients and leaving words out do? Three encoders, two attentions, several seeds.

Usage: python benchmarks/attention_is_not_explanation.py [SEEDS] [SENTENCES] [EPOCHS]      (default: 3 500 4)

Trains on movie-review sentences and measures Kendall's tau on sentences the models never saw, beside figures published
with Jain and Wallace 2019, "Attention is not explanation" (arXiv:1902.10186). Gradients and leaving out are theirs: the
gradient of the answer along each word's own vector with the attention held still, and the change of the answer when a
word is taken out of the sentence. An interval is of sentences, each with its mean over the seeds; below it stand the
least and the largest mean of one seed.
"""

import os
import sys
import time
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from keras_attn_xai import expose_attention, intervene
from keras_attn_xai.datasets import movie_reviews
from keras_attn_xai.layers import AttentionPooling
from keras_attn_xai.metrics import bootstrap_interval, kendall_tau
from keras_attn_xai.text import Vocabulary, tokenize

SPLIT_SEED, HELD_OUT, WORDS = 7, 1000, 8000  # as the demo splits
VECTOR, STATES, HIDDEN, DROPOUT, RATE, BATCH = 64, 64, 32, 0.4, 3e-3, 128
SCORES = {"tanh": "feedforward", "dot": "location"}
PAIRS = ("attention-gradient", "attention-leave-one-out", "gradient-leave-one-out")
PUBLISHED = {("LSTM", "tanh"): (0.351, 0.291, 0.656), ("average", "tanh"): (0.606, 0.623, 0.558)}
DIFFERENCES = f"""\
What differs from the paper, so that the two rows of figures are neighbours and no replication:
- data: held-out sentences of Rotten Tomatoes; theirs is SST, which is made of such sentences with labels of
  its own, without the neutral ones, and with its own split
- word vectors: {VECTOR} numbers, drawn at random and learned from 7,530 sentences; theirs start from pretrained ones
- sizes: {STATES} states in all ({STATES // 2} each way of the LSTM); theirs has 128 of an LSTM
- training: some epochs with dropout; theirs has weight decay and keeps the best of 20 epochs or less
- every word counts here; theirs puts a sign before and behind each sentence
- the dot attention is w.h, theirs is w.h / sqrt(states)
- the published figures are of tanh attention; those of a CNN and of dot attention are not at hand"""


class Data(NamedTuple):
    """Ids padded to one length, and labels."""

    training: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    held_out_labels: np.ndarray
    words: int


class Parts(NamedTuple):
    """A model in the two parts between which gradients are taken, and as a whole."""

    embedding: keras.layers.Layer  # ids to vectors
    body: keras.Model  # vectors and mask to the probability of "positive"
    whole: keras.Model


def read(sentences):
    """The demo's sentences, its vocabulary and its split."""
    reviews = movie_reviews()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(reviews.texts))
    held_out, training = order[:HELD_OUT], order[HELD_OUT:]
    vocabulary = Vocabulary.build([reviews.texts[i] for i in training], size=WORDS)
    ids, labels = tokenize(vocabulary, reviews.texts).ids, reviews.labels.astype("float32")
    held_out = held_out[:sentences]
    return Data(ids[training], labels[training], ids[held_out], labels[held_out], len(vocabulary))


def average(vectors, mask):
    """Each word by itself; its neighbours come in through the weighted mean alone."""
    return layers.Dense(STATES, activation="tanh")(vectors)


def cnn(vectors, mask):
    """Windows of one to seven words."""
    widths = (1, 3, 5, 7)
    windows = [layers.Conv1D(STATES // 4, width, padding="same", activation="relu")(vectors) for width in widths]
    return layers.Concatenate()(windows)


def lstm(vectors, mask):
    """Both directions."""
    return layers.Bidirectional(layers.LSTM(STATES // 2, return_sequences=True))(vectors, mask=mask)


ENCODERS = {"average": average, "CNN": cnn, "LSTM": lstm}


def built(encoder, score, words):
    """An untrained model."""
    vectors, mask = keras.Input((None, VECTOR)), keras.Input((None,), dtype="bool")
    real = vectors * ops.expand_dims(ops.cast(mask, "float32"), -1)  # a window at the end sees zeros behind it
    states = ENCODERS[encoder](layers.Dropout(DROPOUT)(real), mask)
    units = {"units": HIDDEN, "use_bias": True} if score == "tanh" else {}
    context, _ = AttentionPooling(SCORES[score], return_weights=True, name="attention", **units)(states, mask=mask)
    answer = layers.Dense(1, activation="sigmoid", name="sentiment")(layers.Dropout(DROPOUT)(context))
    body = keras.Model([vectors, mask], answer, name="body")
    ids, embedding = keras.Input((None,), dtype="int32"), layers.Embedding(words, VECTOR, name="embedding")
    return Parts(embedding, body, keras.Model(ids, body([embedding(ids), ops.not_equal(ids, 0)])))


class Batches(keras.utils.PyDataset):
    """Sentences in random order, those of about one length together, so that little padding is computed."""

    def __init__(self, ids, labels, seed):
        super().__init__()
        self.ids, self.labels, self.draw = ids, labels, np.random.default_rng(seed)
        self.lengths = np.count_nonzero(ids, axis=1)
        self.on_epoch_end()

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        rows = self.batches[index]
        return self.ids[rows, : self.lengths[rows].max()], self.labels[rows]

    def on_epoch_end(self):
        order = self.draw.permutation(len(self.ids))
        order = order[np.argsort(self.lengths[order] // 4, kind="stable")]
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        middle = self.draw.permutation(len(batches) - 2) + 1
        self.batches = [batches[i] for i in (-1, 0, *middle)]  # from the first two Keras learns that lengths differ


def fit(model, data, epochs, seed):
    """Train in place."""
    model.compile(keras.optimizers.Adam(RATE), "binary_crossentropy", jit_compile=False)
    model.fit(Batches(data.training, data.labels, seed), epochs=epochs, shuffle=False, verbose=0)


def in_batches(run, ids, size):
    """``run`` over rows of about one length at a time: (N, ...) in the order of ``ids``, zeros behind the short."""
    lengths = np.count_nonzero(ids, axis=1)
    order, found = np.argsort(lengths, kind="stable"), None
    for start in range(0, len(ids), size):
        rows = order[start : start + size]
        part = run(tf.constant(ids[rows, : lengths[rows].max()])).numpy()
        if found is None:
            found = np.zeros((len(ids), *ids.shape[1 : part.ndim]), part.dtype)
        found[(rows, *[slice(size) for size in part.shape[1:]])] = part
    return found


def traced(function):
    """One graph for every number and length of sentences."""
    return tf.function(function, input_signature=[tf.TensorSpec((None, None), tf.int32)])


def without_each(ids):
    """Every sentence without its first word, without its second, and so on; and the row and place taken out."""
    row, place = np.nonzero(ids)
    columns = np.arange(ids.shape[1] - 1)
    return ids[row[:, None], columns + (columns >= place[:, None])], row, place


def orders(model, ids):
    """Attention, gradient and leaving out, each (B, S) and without sign."""
    shown = expose_attention(model.whole)
    held = intervene(model.body, {"attention": ops.stop_gradient})

    @traced
    def attention(ids):
        return shown(ids, training=False)["attention/body/attention"][:, 0, 0]

    @traced
    def gradient(ids):
        vectors = model.embedding(ids)
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            answer = held([vectors, ops.not_equal(ids, 0)], training=False)
        return tf.abs(tf.reduce_sum(tape.gradient(answer, vectors) * vectors, axis=-1))

    @traced
    def answer(ids):
        return model.whole(ids, training=False)[:, 0]

    shorter, row, place = without_each(ids)
    left_out = np.zeros(ids.shape)
    left_out[row, place] = np.abs(in_batches(answer, ids, 256)[row] - in_batches(answer, shorter, 1024))
    return in_batches(attention, ids, 256), in_batches(gradient, ids, 256), left_out


def taus(model, ids):
    """Kendall's tau of the three pairs, (3, B)."""
    attention, gradient, left_out = orders(model, ids)
    pairs = ((attention, gradient), (attention, left_out), (gradient, left_out))
    return np.array([kendall_tau(one, other, mask=ids != 0) for one, other in pairs])


def lines(encoder, score, found, accuracies):
    """What is printed of one model: means with intervals, below them the seeds' own means, and what was published."""
    means, seeds = [], np.nanmean(found, axis=2)  # (seeds, 3)
    for one in found.swapaxes(0, 1):  # (seeds, B)
        mean, low, high, _ = bootstrap_interval(one.mean(0))
        means.append(f"{mean:6.3f} [{low:6.3f}, {high:6.3f}]")
    rows = [(f"{encoder:<8} {score:<6}{np.mean(accuracies):8.3f}", means)]
    rows.append(("    of one seed", [f"{one.min():6.3f} to {one.max():.3f}" for one in seeds.T]))
    if (encoder, score) in PUBLISHED:
        rows.append(("    published, SST", [f"{figure:6.3f}" for figure in PUBLISHED[encoder, score]]))
    return "\n".join(cells(*row) for row in rows)


def cells(first, others):
    """A line of a table."""
    return f"{first:<26}" + "".join(f"{one:<26}" for one in others).rstrip()


def main(seeds=3, sentences=500, epochs=4):
    tf.get_logger().setLevel("ERROR")  # every model has graphs of its own, which TensorFlow takes for a mistake
    data, start = read(sentences), time.perf_counter()
    print(f"{len(data.labels)} sentences to train on, {len(data.held_out)} held out, {seeds} seeds, {epochs} epochs")
    print(cells("encoder  att.  accuracy", PAIRS))
    for encoder in ENCODERS:
        for score in SCORES:
            found, accuracies = [], []
            for seed in range(seeds):
                keras.utils.set_random_seed(seed)
                model = built(encoder, score, data.words)
                fit(model.whole, data, epochs, seed)
                answers = in_batches(traced(model.whole), data.held_out, 256)[:, 0]
                accuracies.append(np.mean((answers > 0.5) == data.held_out_labels))
                found.append(taus(model, data.held_out))
                keras.backend.clear_session()
            print(lines(encoder, score, np.array(found), accuracies), flush=True)
    print(f"{time.perf_counter() - start:.0f} s\n\n{DIFFERENCES}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
