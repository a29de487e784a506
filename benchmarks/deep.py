"""DeepLIFT through attention and expected gradients: gaps, time, memory, and the distance to exact Shapley values.

Usage: python benchmarks/deep.py [block|long|gradients|kinds] ...     (default: all)

Every ratio is measured side by side in this one run. Gaps are relative: |base + sum - output| / |output - base|.
"""

import os
import resource
import sys
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_attn_xai.explain.deep import Deep, ExpectedGradients
from keras_attn_xai.explain.deep.engine import DEFAULT_PAIRS
from keras_attn_xai.explain.deep.rows import most_at_once

WIDTH, HEADS, SEED = 64, 4, 0


def block(length):
    """MultiHeadAttention and LayerNormalization over a series, mean over steps, two classes."""
    keras.utils.set_random_seed(SEED)
    x = keras.Input((length, WIDTH))
    y = keras.layers.LayerNormalization()(x + keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(x, x))
    hidden = keras.layers.Dense(4 * WIDTH, activation="gelu")(y)
    y = keras.layers.LayerNormalization()(y + keras.layers.Dense(WIDTH)(hidden))
    return keras.Model(x, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(y)))


def rows(count, length, seed=SEED):
    """Numbers of order one."""
    return np.random.default_rng(seed).normal(size=(count, length, WIDTH)).astype("float32")


def seconds(run, times=5):
    """The median of several calls, after one that is not counted."""
    run()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def measure_block(length=20, count=256, references=4):
    """The gap, and the time over that of a forward and backward pass per background row."""
    model = block(length)
    x, r = rows(count, length), rows(references, length, seed=1)
    engine = Deep(lambda one: model(one)[:, 1])
    found = engine(x, r)
    print(f"MHA + LayerNorm block, {count} rows, {references} background rows, {length} steps")
    print(f"  relative gap: median {np.median(found.relative_gap):.1e}, max {found.relative_gap.max():.1e}")

    @tf.function(input_signature=[tf.TensorSpec([None, length, WIDTH])], autograph=False)
    def forward_backward(one):
        y = model(one)[:, 1]
        return y, tf.gradients(y, one)[0]

    size = most_at_once([x], DEFAULT_PAIRS)
    batch = tf.constant(rows(size, length))
    plain = seconds(lambda: forward_backward(batch)[1].numpy()) / size
    ours = seconds(lambda: engine(x, r)) / (count * references)
    print(
        f"  ms per row and background row: {1e3 * ours:.3f}; of a forward and backward pass {1e3 * plain:.3f}; "
        f"ratio {ours / plain:.2f}"
    )


def peak():
    """Largest resident set so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_long(length=40):
    """Seconds and memory of 1,000 and 10,000 rows against one background row."""
    model = block(length)
    engine, r = Deep(lambda one: model(one)[:, 1]), rows(1, length, seed=1)
    engine(rows(10, length), r)
    print(f"rows of {length} steps, one background row")
    for count in (1000, 10000):
        x = rows(count, length)
        before, start = peak(), time.perf_counter()
        found = engine(x, r)
        took = time.perf_counter() - start
        size = found.values.nbytes / 2**20
        print(
            f"  {count} rows: {took:.2f} s, peak {peak():.0f} MiB (before {before:.0f}, the result {size:.0f}), "
            f"gap {found.relative_gap.max():.1e}"
        )


def measure_gradients(length=20):
    """The gap of expected gradients and of shap.GradientExplainer, at the same number of gradients."""
    import shap

    model = block(length)
    x, r = rows(8, length), rows(4, length, seed=1)
    output, base = (np.asarray(model(one), np.float64)[:, 1] for one in (x, r))
    print("gap at equal gradients: ours, shap.GradientExplainer")
    for nodes in (16, 32, 64):
        ours = ExpectedGradients(lambda one: model(one)[:, 1], tol=1e-12, cap=nodes, first=nodes)(x, r)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples = nodes * len(r)
            values = shap.GradientExplainer(model, r).shap_values(x, nsamples=samples, rseed=SEED)[..., 1]
        gap = base.mean() + np.reshape(values, (len(x), -1)).sum(1) - output
        theirs = np.abs(gap) / np.abs(output - base.mean())
        print(
            f"  {samples} gradients per row: median {np.median(ours.relative_gap):.1e} and {np.median(theirs):.1e}, "
            f"ratio {np.median(ours.relative_gap) / np.median(theirs):.4f}"
        )


def measure_kinds():
    """Every kind of ``tests/explain/kinds.py``: gap, correlation with exact Shapley values, relative error."""
    from tests.explain.kinds import KINDS

    print(f"{'gap, correlation, error':26s} | deep, softmax closed | deep, softmax nodes  | expected gradients")
    totals = []
    for name, build in KINDS.items():
        case = build()
        exact = np.stack([case.exact_values(row) for row in range(3)])
        engines = (
            Deep(case.function, layers=case.layers),
            Deep(case.function, layers=case.layers, softmax="quadrature"),
            ExpectedGradients(case.function, layers=case.layers),
        )
        cells, errors = [], []
        for engine in engines:
            found = engine(case.inputs, case.background)
            values = case.of_players(found.values)
            errors.append(np.linalg.norm(values - exact) / np.linalg.norm(exact))
            correlation = np.corrcoef(values.ravel(), exact.ravel())[0, 1]
            cells.append(f"{found.relative_gap.max():.0e}  {correlation:.3f}  {errors[-1]:.3f}")
        totals.append(errors)
        print(f"{name:26s} | {'  | '.join(cells)}", flush=True)
    print(f"{'median error':26s} | {np.median(totals, axis=0).round(3)}; mean {np.mean(totals, axis=0).round(3)}")
    closed, nodes = np.array(totals).T[:2]
    print(f"closed form nearer on {np.sum(closed < nodes - 1e-3)}, nodes on {np.sum(nodes < closed - 1e-3)}")


PARTS = {"block": measure_block, "long": measure_long, "gradients": measure_gradients, "kinds": measure_kinds}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
