"""Our layers against the nearest Keras layer with its scores asked for: time, and memory of long inputs.

Usage: python benchmarks/layers.py [speed|memory|growth|long] ...     (default: all)

Every ratio is measured side by side in this one run: the two are called in turns, as graph functions, and
their medians are divided. Memory is measured in a fresh process for each layer, as the peak of the resident
set above what it was just before the call.
"""

import multiprocessing
import os
import sys
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_attn_xai.layers import BahdanauAttention, LuongAttention, MultiHeadAttention, ScaledDotProductAttention

SIZES = [(8, 128, 128, 64), (2, 512, 512, 128)]
LONG = (2, 1024, 1024, 128)
SEED = 0


class BehindDense(keras.layers.Attention):
    """Keras' attention with the matrix of Luong's "general" in front of its keys, as a user would put it there."""

    def build(self, input_shape):
        self.dense = keras.layers.Dense(input_shape[0][-1], use_bias=False)
        self.dense.build(input_shape[1])
        super().build(input_shape)

    def call(self, inputs, **options):
        query, value = inputs
        return super().call([query, value, self.dense(value)], **options)


def ours_and_keras(units):
    """Name, our layer, the nearest Keras layer called so that its weights come out."""
    scores = {"return_attention_scores": True}
    return [
        ("dot", LuongAttention("dot"), keras.layers.Attention(), scores),
        ("scaled dot", ScaledDotProductAttention(), keras.layers.Attention(), scores),
        ("general", LuongAttention("general"), BehindDense(), scores),
        ("additive", BahdanauAttention(units), keras.layers.AdditiveAttention(), scores),
        ("multi-head", MultiHeadAttention(8, units // 8), keras.layers.MultiHeadAttention(8, units // 8), scores),
        (
            "grouped query",
            MultiHeadAttention(8, units // 8, num_key_value_heads=2),
            keras.layers.GroupQueryAttention(units // 8, 8, 2),
            scores,
        ),
    ]


def tensors(size):
    batch, queries, keys, features = size
    rng = np.random.default_rng(SEED)
    return tuple(tf.constant(rng.normal(size=(batch, n, features)), tf.float32) for n in (queries, keys))


def called(layer, options, query, value):
    """Context and weights, in the call form of ours and of Keras' layers."""
    if isinstance(layer, keras.layers.Attention):  # AdditiveAttention is one
        return layer([query, value], **options)
    return layer(query, value, **options)


def forward(layer, options, size):
    """A traced function of no arguments; a part of the weights is used, so that they must be computed."""

    @tf.function(autograph=False)
    def run(query, value):
        context, weights = called(layer, options, query, value)
        return context, tf.reduce_sum(weights[..., 0])

    return traced(run, size)


def forward_and_backward(layer, options, size):
    @tf.function(autograph=False)
    def run(query, value):
        with tf.GradientTape() as tape:
            tape.watch([query, value])
            context, weights = called(layer, options, query, value)
            loss = tf.reduce_sum(tf.square(context)) + tf.reduce_sum(weights[..., 0])
        return tape.gradient(loss, [query, value, *(weight.value for weight in layer.trainable_weights)])

    return traced(run, size)


def traced(run, size):
    inputs = tensors(size)
    run = run.get_concrete_function(*inputs)
    return lambda: [one.numpy() for one in run(*inputs)]


def medians(functions, rounds):
    """The median time of each function, called in turns."""
    for function in functions:
        function()
    times = [[] for _ in functions]
    for _ in range(rounds):
        for function, spent in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            spent.append(time.perf_counter() - start)
    return [float(np.median(spent)) for spent in times]


def speed(rounds=40):
    print(f"\n{'layer':15}{'(B, T, S, D)':>22}{'pass':>20}{'Keras ms':>10}{'ours ms':>10}{'ratio':>8}")
    for size in SIZES:
        for name, layer, other, options in ours_and_keras(size[-1]):
            for title, make in (("forward", forward), ("forward + backward", forward_and_backward)):
                own, theirs = medians([make(layer, {}, size), make(other, options, size)], rounds)
                print(f"{name:15}{size!s:>22}{title:>20}{1e3 * theirs:10.1f}{1e3 * own:10.1f}{own / theirs:8.2f}")


def peak_of(function):
    """Bytes the resident set grew by, at most, while the function ran."""
    page, top, running = os.sysconf("SC_PAGE_SIZE"), [0], [True]

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * page

    before = resident()

    def watch():
        while running[0]:
            top[0] = max(top[0], resident() - before)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    running[0] = False
    watcher.join()
    return top[0]


def _measure(which, size, backward, queue):
    _, layer, other, options = next(one for one in ours_and_keras(size[-1]) if one[0] == "additive")
    make = forward_and_backward if backward else forward
    small = (1, 8, 8, size[-1])
    layer, options = (layer, {}) if which == "ours" else (other, options)
    make(layer, options, small)()  # libraries are loaded and variables made before the count begins
    run = make(layer, options, size)
    peak = peak_of(run)
    start = time.perf_counter()
    run()
    queue.put((peak, time.perf_counter() - start))


def in_fresh_process(target, *arguments):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=target, args=(*arguments, queue))
    process.start()
    result = queue.get()
    process.join()
    return result


def memory(size=LONG):
    print(f"\nadditive at (B, T, S, D) = {size}, each in a process of its own")
    print(f"{'pass':20}{'Keras MB':>10}{'ours MB':>10}{'1 of':>8}{'Keras s':>10}{'ours s':>10}{'ratio':>8}")
    for backward, title in ((False, "forward"), (True, "forward + backward")):
        (theirs, slow), (own, fast) = (in_fresh_process(_measure, who, size, backward) for who in ("keras", "ours"))
        print(
            f"{title:20}{theirs / 2**20:10.0f}{own / 2**20:10.0f}{theirs / own:8.1f}{slow:10.2f}{fast:10.2f}"
            f"{fast / slow:8.2f}"
        )


def _long(positions, top_k, queue):
    layer = MultiHeadAttention(8, 32, top_k=top_k)

    def run(size):
        return traced(tf.function(lambda query, value: layer(query, value)[:2], autograph=False), size)

    run((1, 64, 64, 256))()
    whole = run((1, positions, positions, 256))
    peak = peak_of(whole)
    start = time.perf_counter()
    whole()
    queue.put((peak, time.perf_counter() - start))


def long():
    print("\n8 heads of 32, batch 1, the 16 largest weights of each query (top_k=16) beside all of them")
    print(f"{'T = S':>8}{'top_k MB':>12}{'top_k s':>10}{'all MB':>10}{'all s':>10}")
    for positions in (512, 1024, 2048, 4096, 8192):
        peak, seconds = in_fresh_process(_long, positions, 16)
        dense = in_fresh_process(_long, positions, None) if positions <= 2048 else (np.nan, np.nan)
        print(f"{positions:8}{peak / 2**20:12.0f}{seconds:10.2f}{dense[0] / 2**20:10.0f}{dense[1]:10.2f}")


def growth(rounds=5):
    print("\nforward, batch 1, D = 64, by T = S: milliseconds")
    lengths = (64, 128, 256, 512, 1024)
    print(f"{'layer':24}" + "".join(f"{length:>10}" for length in lengths))
    for name, layer, other, options in ours_and_keras(64):
        rows = [medians([forward(layer, {}, size), forward(other, options, size)], rounds) for size in
                [(1, length, length, 64) for length in lengths]]  # fmt: skip
        for who, place in (("ours", 0), ("Keras", 1)):
            print(f"{name + ', ' + who:24}" + "".join(f"{1e3 * row[place]:10.1f}" for row in rows))


PARTS = {"speed": speed, "memory": memory, "growth": growth, "long": long}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
