"""AttentionExplainer against shap over model.predict: same values, how much faster.

Usage: python benchmarks/explain.py [ROWS]      (default 8)

Every ratio is measured side by side in this one run: the two explain the same rows with the same seed
and the same 400 evaluations, after one untimed warm-up each.
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import shap

from keras_attn_xai import AttentionExplainer
from keras_attn_xai.layers import BahdanauAttention

WORDS, POSITIONS, MASK, BUDGET, SEED = 500, 20, 1, 400, 0


def attention_block():
    """Embedding, one MultiHeadAttention block, mean over positions."""
    ids = keras.Input((POSITIONS,), dtype="int32")
    x = keras.layers.Embedding(WORDS, 32)(ids)
    x = keras.layers.LayerNormalization()(x + keras.layers.MultiHeadAttention(4, 8)(x, x))
    return ids, keras.layers.GlobalAveragePooling1D()(x)


def recurrent():
    """Embedding with a mask, BiLSTM, Bahdanau attention, mean over positions."""
    ids = keras.Input((POSITIONS,), dtype="int32")
    x = keras.layers.Embedding(WORDS, 32, mask_zero=True)(ids)
    x = keras.layers.Bidirectional(keras.layers.LSTM(16, return_sequences=True))(x)
    context, _ = BahdanauAttention(16)(x)
    return ids, keras.layers.GlobalAveragePooling1D()(context)


def build(trunk):
    """A binary classifier whose weights are large enough for effects to be seen."""
    keras.utils.set_random_seed(SEED)
    ids, features = trunk()
    hidden = keras.layers.Dense(16, activation="relu")(features)
    model = keras.Model(ids, keras.layers.Dense(2, activation="softmax")(hidden))
    for weight in model.trainable_weights:
        weight.assign(weight * 2)
    return model


def log_odds(model):
    """The scalar both explain, computed the way a user of shap would."""

    def function(rows):
        probability = model.predict(rows.astype("int32"), verbose=0).astype("float64")
        return np.log(probability[:, 1] / probability[:, 0])

    return function


def by_shap(model, method, rows):
    function, background = log_odds(model), np.full((1, POSITIONS), MASK)
    if method == "kernel":
        np.random.seed(SEED)
        return shap.KernelExplainer(function, background).shap_values(rows, nsamples=BUDGET, l1_reg=False, silent=True)
    explainer = shap.PermutationExplainer(function, shap.maskers.Independent(background), seed=SEED)
    return explainer(rows, max_evals=BUDGET, silent=True).values


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def main(count):
    rows = np.random.default_rng(SEED).integers(2, WORDS, (count, POSITIONS)).astype("int32")
    print(f"{count} rows of {POSITIONS} tokens, {BUDGET} evaluations each; shap {shap.__version__}")
    print(
        f"{'model':18}{'method':13}{'shap ms/row':>12}{'ours ms/row':>12}{'ratio':>8}{'max difference':>16}{'gap':>9}"
    )
    for trunk in (attention_block, recurrent):
        model = build(trunk)
        for method in ("permutation", "kernel"):
            explainer = AttentionExplainer(model, MASK, method=method, target=1, seed=SEED, attention=None)
            explainer(rows[:1], budget=BUDGET, progress=False)
            by_shap(model, method, rows[:1])
            ours, own_time = timed(lambda e=explainer: e(rows, budget=BUDGET, progress=False))
            theirs, shap_time = timed(lambda m=model, n=method: by_shap(m, n, rows))
            moved = ours.attribution
            print(
                f"{trunk.__name__:18}{method:13}{1e3 * shap_time / count:12.1f}{1e3 * own_time / count:12.1f}"
                f"{shap_time / own_time:8.1f}{np.abs(moved.values - theirs).max():16.1e}{moved.relative_gap.max():9.0e}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
