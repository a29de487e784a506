"""AttentionExplainer against shap and against the model's own forward pass: how much faster, how near.

Usage: python benchmarks/explain.py [speed|kernel|floor|kinds|block|long|gradients] ...     (default: all)

Every ratio is measured side by side in this one run, after an untimed warm-up of both sides. The last three parts are
those of ``benchmarks/deep.py``.
"""

import os
import sys
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # for tests.explain.kinds

import keras
import numpy as np
import shap
import tensorflow as tf
from deep import measure_block, measure_gradients, measure_kinds, measure_long
from turns import in_turns

from keras_attn_xai import AttentionExplainer, demo
from keras_attn_xai.datasets import movie_reviews
from keras_attn_xai.explain.repair_tensorflow import repair_tensorflow
from keras_attn_xai.layers import BahdanauAttention
from keras_attn_xai.text import Vocabulary, tokenize

WORDS, POSITIONS, MASK, SEED = 500, 12, 1, 0


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


def token_rows(count):
    """Ids without the mask."""
    return np.random.default_rng(SEED).integers(2, WORDS, (count, POSITIONS)).astype("int32")


def log_odds(model):
    """The scalar both explain, computed the way a user of shap would."""

    def function(rows):
        probability = model.predict(rows.astype("int32"), verbose=0).astype("float64")
        return np.log(probability[:, 1] / probability[:, 0])

    return function


def by_shap(model, method, rows, budget):
    function, background = log_odds(model), np.full((1, POSITIONS), MASK)
    if method == "kernel":
        np.random.seed(SEED)
        return shap.KernelExplainer(function, background).shap_values(rows, nsamples=budget, l1_reg=False, silent=True)
    explainer = shap.PermutationExplainer(function, shap.maskers.Independent(background), seed=SEED)
    return explainer(rows, max_evals=budget, silent=True).values


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def distance(values, exact):
    """The relative error."""
    return np.linalg.norm(values - exact) / np.linalg.norm(exact)


def measure_speed(count=32, budget=400):
    """The same rows, seed and evaluations by shap over ``model.predict`` and here."""
    rows = token_rows(count)
    print(f"{count} rows of {POSITIONS} tokens, {budget} evaluations each; shap {shap.__version__}")
    print(
        f"{'model':16}{'method':13}{'shap ms/row':>12}{'ours ms/row':>12}{'ratio':>8}{'difference':>12}{'errors':>16}"
    )
    for trunk in (attention_block, recurrent):
        model = build(trunk)
        exact = AttentionExplainer(model, MASK, method="exact", target=1, attention=None)(rows).attribution.values
        for method in ("permutation", "kernel"):
            explainer = AttentionExplainer(model, MASK, method=method, target=1, seed=SEED, attention=None)
            for few in (rows[:1], rows):
                explainer(few, budget=budget, progress=False)
            by_shap(model, method, rows[:1], budget)
            own, own_time = timed(lambda e=explainer: e(rows, budget=budget, progress=False).attribution.values)
            theirs, shap_time = timed(lambda m=model, n=method: by_shap(m, n, rows, budget))
            errors = f"{distance(theirs, exact):.3f} and {distance(own, exact):.3f}"
            print(
                f"{trunk.__name__:16}{method:13}{1e3 * shap_time / count:12.1f}{1e3 * own_time / count:12.1f}"
                f"{shap_time / own_time:8.1f}{np.abs(own - theirs).max():12.1e}{errors:>16}",
                flush=True,
            )


def measure_kernel(count=6, seeds=4):
    """The error of paired_kernel over that of shap's Kernel explainer, on as many distinct coalitions."""
    from keras_attn_xai.explain.game import play
    from keras_attn_xai.explain.paired_kernel import paired_kernel_values
    from keras_attn_xai.explain.sampling import every_coalition, exact_values

    print(f"{count} rows of {POSITIONS} tokens, {seeds} seeds: relative error against exact Shapley values")
    print(f"{'model':16}{'coalitions':>11}{'shap':>9}{'shap, l1 auto':>15}{'ours':>9}{'ratio':>8}{'error / s.e.':>14}")
    present = every_coalition(POSITIONS)
    for trunk in (attention_block, recurrent):
        explainer = AttentionExplainer(build(trunk), MASK, target=1, attention=None)
        worth = explainer.coalitions(token_rows(count))
        tables = [worth(present, np.full(len(present), row)) for row in range(count)]
        for budget in (100, 200, 400, 1000, 2000):
            found = []
            for table in tables:
                game = Table(table)
                exact = play(exact_values(game), game).values
                for seed in range(seeds):
                    ours = play(paired_kernel_values(game, budget, seed=seed), game)
                    theirs = [kernel_of_shap(game, budget - 2, seed, l1_reg) for l1_reg in (False, "auto")]
                    scaled = np.sqrt(np.mean(((ours.values - exact) / ours.standard_error) ** 2))
                    found.append([*(distance(one, exact) for one in (*theirs, ours.values)), scaled])
            plain, sparse, own, scaled = np.mean(found, axis=0)
            print(
                f"{trunk.__name__:16}{budget:11}{plain:9.4f}{sparse:15.4f}{own:9.4f}{own / plain:8.2f}{scaled:14.2f}",
                flush=True,
            )


class Table:
    """A game of which every coalition is known."""

    def __init__(self, values):
        self.values, self.base, self.output = values, values[0], values[-1]

    def __len__(self):
        return POSITIONS

    def __call__(self, present):
        return self.values[np.asarray(present).astype(int) @ (1 << np.arange(POSITIONS))]


def kernel_of_shap(game, coalitions, seed, l1_reg):
    np.random.seed(seed)
    explainer = shap.KernelExplainer(game, np.zeros((1, POSITIONS)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explainer.shap_values(np.ones((1, POSITIONS)), nsamples=coalitions, l1_reg=l1_reg, silent=True)[0]


def measure_floor(count=64, budget=1000):
    """The demo's model: all the time, over that of its plain forward pass on as many rows."""
    reviews = movie_reviews()
    vocabulary = Vocabulary.build(reviews.texts, size=4000, special=("[MASK]",))
    keras.utils.set_random_seed(SEED)
    model = demo.build_model(len(vocabulary))
    longest = sorted(reviews.texts, key=lambda text: -len(text.split()))
    ids = tokenize(vocabulary, longest[:: len(longest) // count][:count]).ids
    forward = tf.function(lambda one: model(one, training=False), reduce_retracing=True)
    explainer = AttentionExplainer(model, vocabulary.id_of("[MASK]"), method="paired_kernel", attention=None)
    explainer(ids, budget=budget, progress=False)
    distinct = explainer(ids, budget=budget, progress=False).attribution.evaluations.sum()  # all batch sizes are tried
    print(
        f"demo model, {count} sentences, up to {ids.shape[1]} words, {budget} evaluations each: {distinct} are distinct"
    )
    in_turns(forward, ids, distinct, lambda: explainer(ids, budget=budget, progress=False), rounds=7)


def shap_on_kinds():
    """shap's DeepExplainer and GradientExplainer on every kind of model: relative gap, or what they raise."""
    from tests.explain.kinds import KINDS

    print(f"{'shap alone':26} | DeepExplainer                      | GradientExplainer")
    for name, build_case in KINDS.items():
        cells = [_by_shap_on(build_case(), kind) for kind in (shap.DeepExplainer, shap.GradientExplainer)]
        print(f"{name:26} | {cells[0]:34} | {cells[1]}", flush=True)


def _by_shap_on(case, kind):
    """The largest relative gap of the second output, or the error's name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {"check_additivity": False} if kind is shap.DeepExplainer else {"nsamples": 400, "rseed": SEED}
            values = kind(case.model, case.background).shap_values(case.inputs, **options)
            x, r = (np.asarray(case.model(one), np.float64) for one in (case.inputs, case.background))
            parts = values if isinstance(values, list) else [values]
            total = sum(np.asarray(one)[..., 1].reshape(len(x), -1).sum(1) for one in parts)
            effect = x[:, 1] - r[:, 1].mean()
            return f"gap {np.max(np.abs(total - effect) / np.abs(effect)):.0e}"
    except Exception as error:  # every kind of failure is what is measured here
        return f"{type(error).__name__}: {str(error).splitlines()[0][:22]}"
    finally:
        repair_tensorflow()


def measure_all_kinds():
    """Ours, then shap's own two."""
    measure_kinds()
    shap_on_kinds()


PARTS = {
    "speed": measure_speed,
    "kernel": measure_kernel,
    "floor": measure_floor,
    "kinds": measure_all_kinds,
    "block": measure_block,
    "long": measure_long,
    "gradients": measure_gradients,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
