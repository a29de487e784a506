"""The main job on real text: train a model with attention, look, explain, compare, serve."""

import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from keras_attn_xai.alignment import align
from keras_attn_xai.datasets import movie_reviews
from keras_attn_xai.explain.explainer import AttentionExplainer
from keras_attn_xai.export import export_saved_model
from keras_attn_xai.layers import BahdanauAttention
from keras_attn_xai.metrics import Interval, bootstrap_interval, row_agreement
from keras_attn_xai.plots import plot_side_by_side
from keras_attn_xai.report import save_explanation, write_report
from keras_attn_xai.text import Vocabulary, tokenize
from keras_attn_xai.writing import refuse_foreign, whole_folder

SEED = 7
WORDS = 8000
MASK = "[MASK]"
HELD_OUT = 1000
EXPLAINED = 120  # sentences over which agreement is measured
SHOWN = 8  # of them on the page and as pictures
BUDGET = 1000
EPOCHS = 4
HIDDEN_WORDS = 0.1  # of the words are masked in training, so that the model knows what "absent" looks like
MARKER = "report.html"


class DemoResult(NamedTuple):
    """What the demo measured and where it wrote."""

    folder: Path
    accuracy: float  # on sentences the model never saw
    tau: Interval
    overlap: Interval
    written: tuple[str, ...]


def run_demo(out="demo-output", *, sentences=EXPLAINED, epochs=EPOCHS, say=print):
    """Train on Rotten Tomatoes sentences, explain held-out ones, write everything to a folder.

    Parameters
    ----------
    out : str or path, default "demo-output"
        The folder; an earlier demo's is replaced. It appears whole or not at all.
    sentences : int, default 120
        Held-out sentences to explain.
    epochs : int, default 4
    say : callable, default print
        Told in one line what is going on.

    Returns
    -------
    DemoResult
    """
    refuse_foreign(out, ours=MARKER)
    keras.utils.set_random_seed(SEED)
    say("1/5  Reading movie-review sentences")
    reviews = movie_reviews()
    order = np.random.default_rng(SEED).permutation(len(reviews.texts))
    held_out, training = order[:HELD_OUT], order[HELD_OUT:]
    vocabulary = Vocabulary.build([reviews.texts[i] for i in training], size=WORDS, special=(MASK,))
    tokens = tokenize(vocabulary, reviews.texts)

    say(f"2/5  Training a BiLSTM with Bahdanau attention on {len(training):,} sentences")
    model = build_model(len(vocabulary))
    mask_id = vocabulary.id_of(MASK)
    fit(model, tokens.ids[training], reviews.labels[training], mask_id=mask_id, epochs=epochs)
    accuracy = accuracy_of(model, tokens.ids[held_out], reviews.labels[held_out])
    say(f"     validation accuracy {accuracy:.3f} on {len(held_out):,} sentences it never saw")

    say(f"3/5  Explaining {sentences} held-out sentences: attention, and SHAP with {BUDGET} evaluations each")
    explainer = AttentionExplainer(model, mask_id, tokenizer=vocabulary, seed=SEED)
    explanation = explainer(
        [reviews.texts[i] for i in held_out[:sentences]], budget=BUDGET, progress=sys.stderr.isatty()
    )

    say("4/5  Comparing attention with SHAP")
    tau, overlap = compare(explanation)

    say("5/5  Writing the page, pictures, model, SavedModel and explanations")
    shown = explanation[: min(SHOWN, sentences)]
    with whole_folder(out, ours=MARKER) as folder:
        model.save(folder / "model.keras")
        vocabulary.write(folder / "vocabulary.txt")
        export_saved_model(model, folder / "saved_model")
        save_explanation(explanation, folder / "explanations")
        (folder / "pictures").mkdir()
        for row in range(len(shown)):
            figure = plot_side_by_side(shown[row], class_names=reviews.class_names)
            figure.savefig(folder / "pictures" / f"sentence_{row + 1}.png", dpi=150)
        write_report(
            shown, folder / MARKER, class_names=reviews.class_names, title="Movie reviews: attention beside SHAP"
        )
        written = tuple(sorted(entry.name for entry in folder.iterdir()))
    return DemoResult(Path(out), accuracy, tau, overlap, written)


def build_model(words):
    """A BiLSTM read by additive attention, asked by its own last state.

    Parameters
    ----------
    words : int
        Size of the vocabulary.

    Returns
    -------
    keras.Model
        Token ids (B, S), 0 is padding, to class probabilities (B, 2).
    """
    layers = keras.layers
    ids = keras.Input((None,), dtype="int32", name="ids")
    embedded = layers.Dropout(0.4)(layers.Embedding(words, 48, mask_zero=True, name="embedding")(ids))
    states, forward, _, backward, _ = layers.Bidirectional(
        layers.LSTM(24, return_sequences=True, return_state=True), name="bilstm"
    )(embedded)
    last = layers.Reshape((1, 48))(layers.Concatenate()([forward, backward]))
    context, _ = BahdanauAttention(24, name="attention")(last, states)
    features = layers.Dropout(0.4)(layers.Reshape((48,))(context))
    return keras.Model(ids, layers.Dense(2, activation="softmax", name="sentiment")(features), name="reviews")


def fit(model, ids, labels, *, mask_id, epochs, batch=64):
    """Train with a bar; every epoch hides other words behind the mask token."""
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    random = np.random.default_rng(SEED)
    with tqdm(
        total=epochs * -(-len(ids) // batch), desc="     training", unit="batch", disable=not sys.stderr.isatty()
    ) as bar:
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update())
        for _ in range(epochs):
            hidden = (random.random(ids.shape) < HIDDEN_WORDS) & (ids != 0)
            model.fit(np.where(hidden, mask_id, ids), labels, batch_size=batch, verbose=0, callbacks=[callback])


def accuracy_of(model, ids, labels):
    """Share of rows whose predicted class is the label."""
    return float(model.evaluate(ids, labels, batch_size=256, verbose=0, return_dict=True)["accuracy"])


def compare(explanation):
    """Kendall tau and top-3 overlap of attention with |SHAP|, each with its bootstrap interval."""
    found = row_agreement(align(explanation), measures=("kendall_tau", "top_k_overlap"))
    return tuple(map(bootstrap_interval, found.values()))
