"""What it costs to see: a view beside its model, a capture beside the bare forward passes.

Usage: python benchmarks/capture.py [views|captures] ...     (default: both)

Every ratio is measured side by side in this one run: the two are called in turns, as compiled graphs, and their medians
are divided. "moved" is the largest difference of the two predictions.
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_attn_xai import capture_attention, expose_attention, layers

BATCH, LENGTH, WIDTH, HEADS, BLOCKS = 8, 128, 128, 8, 4


def encoder(attend):
    """Post-norm blocks, each with the attention that ``attend`` makes."""
    x = keras.Input((LENGTH, WIDTH))
    y = x
    for block in range(BLOCKS):
        y = keras.layers.LayerNormalization()(y + attend(f"block_{block}")(y, y))
        hidden = keras.layers.Dense(4 * WIDTH, activation="relu")(y)
        y = keras.layers.LayerNormalization()(y + keras.layers.Dense(WIDTH)(hidden))
    return keras.Model(x, y)


def keras_attention(name):
    layer = keras.layers.Attention(name=name)
    return lambda query, value: layer([query, value])


def models():
    """Name and model."""
    size = WIDTH // HEADS
    multi_head, own = keras.layers.MultiHeadAttention, layers.MultiHeadAttention
    return [
        ("Keras MultiHeadAttention, fused", encoder(lambda name: multi_head(HEADS, size, name=name))),
        (
            "Keras MultiHeadAttention, dropout",
            encoder(lambda name: multi_head(HEADS, size, dropout=0.1, name=name)),
        ),
        ("Keras Attention", encoder(keras_attention)),
        ("ours", encoder(lambda name: own(HEADS, size, return_weights=False, name=name))),
    ]


def compiled(model):
    """The model as one graph function of no arguments."""
    rows = tf.constant(np.random.default_rng(0).normal(size=(BATCH, LENGTH, WIDTH)), tf.float32)
    run = tf.function(lambda x: model(x, training=False), autograph=False).get_concrete_function(rows)
    return lambda: run(rows)


def medians(functions, rounds):
    """The median time of each function, called in turns."""
    times = [[] for _ in functions]
    for turn in range(rounds + 3):
        for function, spent in zip(functions, times, strict=True):
            start = time.perf_counter()
            tf.nest.map_structure(lambda one: one.numpy(), function())
            if turn >= 3:
                spent.append(time.perf_counter() - start)
    return [float(np.median(spent)) for spent in times]


def views(rounds=40):
    print(f"\n{BLOCKS} blocks, {HEADS} heads, rows ({BATCH}, {LENGTH}, {WIDTH})")
    print(f"{'model':36}{'model ms':>10}{'view ms':>10}{'ratio':>8}{'moved':>9}")
    for name, model in models():
        view = expose_attention(model)
        own, other = compiled(model), compiled(view)
        moved = np.abs(own() - other()["output"]).max()
        alone, seen = medians([own, other], rounds)
        print(f"{name:36}{1e3 * alone:10.1f}{1e3 * seen:10.1f}{seen / alone:8.2f}{moved:9.1e}")


def captures(rounds=5, rows=64):
    """All maps of all rows as records, beside the same rows through the model alone."""
    data = np.random.default_rng(1).normal(size=(rows, LENGTH, WIDTH)).astype("float32")
    print(f"\n{rows} rows, all maps as records")
    print(f"{'model':36}{'MB':>8}{'model ms':>10}{'capture':>10}{'ratio':>8}")
    for name, model in models():
        run = tf.function(lambda x, model=model: model(x, training=False), autograph=False)

        def bare(run=run):
            return [run(data[start : start + 32]) for start in range(0, rows, 32)]

        def capture(model=model):
            capture.maps = capture_attention(model, data, progress=False)
            return tf.zeros(())

        alone, seen = medians([bare, capture], rounds)
        size = sum(one.weights.nbytes for one in capture.maps) / 1e6
        print(f"{name:36}{size:8.0f}{1e3 * alone:10.0f}{1e3 * seen:10.0f}{seen / alone:8.2f}")


if __name__ == "__main__":
    for name in sys.argv[1:] or ["views", "captures"]:
        globals()[name]()
