"""Make the pictures of the gallery: four small models, trained here, explained and drawn.

The seed is fixed; another processor or version may move the numbers a little. Run
`python docs/gallery/make_gallery.py`, or name some of text, series, image, reverse.
"""

import io
import sys
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_attn_xai import AttentionExplainer, choose_background, plots
from keras_attn_xai.auditing import audit
from keras_attn_xai.datasets import movie_reviews, planted_image, planted_reverse, planted_series
from keras_attn_xai.layers import BahdanauAttention
from keras_attn_xai.text import Vocabulary, tokenize

HERE = Path(__file__).parent.parent / "images"
SENTENCE = "a gorgeous , witty film that never bores , though the ending is dull ."
SEED, LONGEST = 7, 30
layers = keras.layers


def text():
    """A transformer of two blocks on review sentences of at most 30 words."""
    reviews = movie_reviews()
    short = np.array([len(text.split()) <= LONGEST for text in reviews.texts])
    texts, labels = np.array(reviews.texts)[short], reviews.labels[short]
    new = np.random.default_rng(SEED).permutation(len(texts))
    training, held_out = new[200:], new[:200]
    vocabulary = Vocabulary.build(texts[training], size=6000, special=["[MASK]"])
    mask_id = vocabulary.id_of("[MASK]")
    ids = np.zeros((len(texts), 2 * LONGEST), "int32")
    found = tokenize(vocabulary, list(texts)).ids
    ids[:, : found.shape[1]] = found[:, : 2 * LONGEST]
    hidden = (np.random.default_rng(SEED).random(ids.shape) < 0.1) & (ids != 0)
    model = transformer(len(vocabulary))
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    masked = np.where(hidden, mask_id, ids)
    model.fit(masked[training], labels[training], batch_size=64, epochs=2, verbose=2)

    explainer = AttentionExplainer(model, mask_id, tokenizer=vocabulary, seed=SEED)
    one = explainer([SENTENCE])
    save("tokens", plots.plot_tokens(one.attribution))
    save("heatmap", plots.plot_heatmap(one.attention[-1]))
    save("heads", plots.plot_heads(one.attention))
    save("rollout", plots.plot_rollout(one.attention))
    save("interactions", plots.plot_interactions(explainer.interactions([SENTENCE])))
    rows = [str(row) for row in texts[held_out]]
    save("scatter", plots.plot_scatter(explainer(rows[:60], budget=400, progress=False)))
    found = audit(model, rows[:40], labels[held_out][:40], background=mask_id, tokenizer=vocabulary, seed=SEED)
    save("curves", plots.plot_curves(found.tables["faithfulness"]))
    save("audit", plots.plot_audit(found))


def transformer(words):
    """Embeddings with positions, two blocks of self-attention, and the mean of what is real."""
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(words, 32, mask_zero=True)(ids)
    for block in ("one", "two"):
        seen = layers.MultiHeadAttention(4, 8, name=block)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, seen]))
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(ids, layers.Dense(2, activation="softmax")(x), name="reviews")


def series():
    """A pulse up or down in noise."""
    task = planted_series(2000, seed=SEED, height=2.5)
    given = keras.Input(task.x.shape[1:])
    states = layers.Dense(16, activation="gelu")(layers.Conv1D(16, 3, padding="same", activation="gelu")(given))
    query = layers.GlobalAveragePooling1D(keepdims=True)(states)
    context, _ = BahdanauAttention(16, name="attention")(query, states)
    model = trained(given, layers.Flatten()(context), task, epochs=8)
    explanation = AttentionExplainer(model, task.background, players="steps", seed=SEED)(task.x[:1])
    save("series", plots.plot_series(explanation, task.x[0], names=["pulse", "noise"]))


def image():
    """A line that lies or stands in one of sixteen patches."""
    task = planted_image(4000, seed=SEED)
    given = keras.Input(task.x.shape[1:])
    patches = layers.Reshape((16, 32))(layers.Conv2D(32, 4, strides=4, activation="gelu")(given))
    query = layers.GlobalAveragePooling1D(keepdims=True)(patches)
    context, _ = BahdanauAttention(16, name="attention")(query, patches)
    model = trained(given, layers.Flatten()(context), task, epochs=8)
    explanation = AttentionExplainer(model, task.background, players=task.players, seed=SEED)(task.x[:1])
    save("image", plots.plot_image(explanation, task.x[0], regions=task.players))


def reverse():
    """Seven words written again from the last to the first."""
    task = planted_reverse(4000, seed=SEED, lengths=(7, 7), words=12)
    given = keras.Input((7,), dtype="int32")
    places = layers.Embedding(7, 32)
    states = layers.Add()([layers.Embedding(13, 32)(given), places(keras.ops.arange(7)[None])])
    asked = layers.Embedding(7, 32)(keras.ops.zeros_like(given) + keras.ops.arange(7, dtype="int32")[None])
    context = layers.MultiHeadAttention(2, 16, name="cross")(asked, states)
    model = trained(given, context, task, epochs=12, classes=13)
    background, row = choose_background(task.x, 10), task.x[:1]
    steps = [AttentionExplainer(model, background, target=("output", (t, task.y[0, t])))(row) for t in range(7)]
    save("alignment", plots.plot_alignment(steps[0].attention[0], steps, gold=task.truth[0]))


def trained(given, features, task, *, epochs, classes=2):
    """A model that answers a planted task."""
    model = keras.Model(given, layers.Dense(classes, activation="softmax", name="answer")(features), name="planted")
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(task.x, task.y, batch_size=64, epochs=epochs, verbose=0)
    print(task.description, "accuracy", round(float(model.evaluate(task.x, task.y, verbose=0)[1]), 3))
    return model


def save(name, picture):
    """Write one picture, small."""
    with io.BytesIO() as png:
        (getattr(picture, "figure", None) or picture).savefig(png, dpi=80)
        few = Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(HERE / f"gallery_{name}.png", optimize=True)


def main():
    """Make all of them, or those that are named."""
    HERE.mkdir(exist_ok=True)
    for part in (text, series, image, reverse):
        if part.__name__ in (sys.argv[1:] or ("text", "series", "image", "reverse")):
            keras.utils.set_random_seed(SEED)
            part()


if __name__ == "__main__":
    main()
