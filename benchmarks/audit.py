"""What an audit costs: the quick one of a hundred sentences, and faithfulness beside the plain forward pass.

Usage: python benchmarks/audit.py [quick|faithfulness] ...     (default: all)
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from turns import in_turns, seconds

from keras_attn_xai import AttentionExplainer, audit, demo
from keras_attn_xai.auditing import attention_order, faithfulness, leave_one_out, random_order
from keras_attn_xai.datasets import movie_reviews
from keras_attn_xai.text import Vocabulary, tokenize

SEED = 0


def demo_model(count, epochs=0):
    """The demo's model, its sentences as ids, their labels, and the id of a word that is away."""
    reviews = movie_reviews()
    vocabulary = Vocabulary.build(reviews.texts, size=4000, special=("[MASK]",))
    keras.utils.set_random_seed(SEED)
    model, draw = demo.build_model(len(vocabulary)), np.random.default_rng(SEED).permutation(len(reviews.texts))
    ids, labels = tokenize(vocabulary, reviews.texts).ids, np.asarray(reviews.labels)
    if epochs:
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(ids[draw[count:]], labels[draw[count:]], epochs=epochs, batch_size=128, verbose=0)
    few = ids[draw[:count]]
    return model, few[:, : np.count_nonzero(few, axis=1).max()], labels[draw[:count]], vocabulary.id_of("[MASK]")


class Counting:
    """An explainer that counts the coalitions it is asked for."""

    def __init__(self, explainer):
        self.explainer, self.asked = explainer, 0

    def coalitions(self, x):
        """Its coalitions, counted."""
        self.own = self.explainer.coalitions(x)
        self.mask, self.unit = self.own.mask, self.own.unit
        return self

    def __call__(self, present, rows):
        self.asked += len(rows)
        return self.own(present, rows)


def measure_quick():
    """A quick audit of a hundred sentences the model has not seen."""
    model, ids, labels, away = demo_model(100, epochs=2)
    took, found = seconds(lambda: audit(model, ids, labels, background=away, seed=SEED))
    print(f"quick audit of {len(ids)} sentences of up to {ids.shape[1]} words: {took:.1f} s")
    print(found, flush=True)


def measure_faithfulness():
    """Every measure of four orders, over the forward pass on as many rows as were evaluated."""
    model, ids, _, away = demo_model(100)
    explainer = AttentionExplainer(model, away, seed=SEED)
    explained, coalitions = explainer(ids, budget=200, progress=False), explainer.coalitions(ids)
    orders = {
        "attention": attention_order(explained),
        "|SHAP|": np.abs(explained.attribution.values),
        "leave-one-out": leave_one_out(coalitions),
        "random": random_order(coalitions.mask.shape, seed=SEED),
    }
    forward = tf.function(lambda one: model(one, training=False), reduce_retracing=True)
    counting = Counting(explainer)
    faithfulness(counting, ids, orders, search=False, seed=SEED)  # traced, and batch sizes tried
    print(f"faithfulness of {len(orders)} orders, {len(ids)} sentences: {counting.asked} coalitions")
    in_turns(
        forward, ids, counting.asked, lambda: faithfulness(counting, ids, orders, search=False, seed=SEED), rounds=11
    )


PARTS = {"quick": measure_quick, "faithfulness": measure_faithfulness}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
