"""Make the pictures of the docs with the public API: ``python docs/make_images.py``.

A small model is trained on movie-review sentences (extra ``demo``), then one sentence it has not seen is explained.
The seed is fixed; another processor or version may move the numbers a little.
"""

from pathlib import Path

import keras
import numpy as np

from keras_attn_xai import AttentionExplainer, plots
from keras_attn_xai.datasets import movie_reviews
from keras_attn_xai.layers import BahdanauAttention
from keras_attn_xai.text import Vocabulary, tokenize

HERE = Path(__file__).parent / "images"
SENTENCE = "this is a good movie in spurts , but when it doesn't work , it's at important times ."
SEED = 7


def trained():
    """A model, its vocabulary and the class names; the sentence itself is kept out of the training."""
    keras.utils.set_random_seed(SEED)
    reviews = movie_reviews()
    training = np.array([text != SENTENCE for text in reviews.texts])
    vocabulary = Vocabulary.build(np.array(reviews.texts)[training], size=8000, special=["[MASK]"])
    ids = tokenize(vocabulary, reviews.texts).ids
    hidden = (np.random.default_rng(SEED).random(ids.shape) < 0.1) & (ids != 0)
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(len(vocabulary), 32, mask_zero=True)(tokens)
    states = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(embedded)
    query = layers.GlobalAveragePooling1D(keepdims=True)(states)
    context, _ = BahdanauAttention(16, name="attention")(query, states)
    answer = layers.Dense(2, activation="softmax")(layers.Dropout(0.3)(layers.Flatten()(context)))
    model = keras.Model(tokens, answer, name="reviews")
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    masked = np.where(hidden, vocabulary.id_of("[MASK]"), ids)
    model.fit(masked[training], reviews.labels[training], batch_size=64, epochs=2, verbose=2)
    return model, vocabulary, reviews.class_names


def main():
    model, vocabulary, names = trained()
    explainer = AttentionExplainer(model, vocabulary.id_of("[MASK]"), tokenizer=vocabulary, seed=SEED)
    figure = plots.plot_side_by_side(explainer([SENTENCE]), class_names=names)
    HERE.mkdir(exist_ok=True)
    figure.savefig(HERE / "side_by_side.png", dpi=120)


if __name__ == "__main__":
    main()
