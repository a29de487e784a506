"""A decoder that reads dates in four languages and writes them as ISO: does its attention look where the answer is?

Usage: python benchmarks/date_translation.py [EPOCHS]      (default 5; needs `pip install babel`)

The source is put together field by field, so that the characters of year, month and day are known. Dates of the
test set are in no format part of the training set. Attention gets no guidance: the translations are all it learns from.
"""

import os
import sys
import time
from datetime import timedelta

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers, ops

from keras_attn_xai.datasets.written_dates import DAYS, FIELDS, FIRST, LANGUAGES, written_date
from keras_attn_xai.layers import AttentionDecoder, BahdanauAttention, beam_search, greedy_decode

FORMATS = ("medium", "long", "full")
TRAIN, TEST_DAYS, SEED = 12000, 1000, 0
PAD, START, STOP = 0, 1, 2


def examples(days, count, rng):
    """Sources, spans and ISO dates."""
    chosen = rng.choice(days, count)
    found = []
    for offset in chosen:
        day = FIRST + timedelta(days=int(offset))
        text, spans = written_date(day, str(rng.choice(LANGUAGES)), str(rng.choice(FORMATS)))
        found.append((text.lower(), spans, day.isoformat()))
    return found


def encoded(texts, alphabet, length):
    """Ids (rows, length), padded behind."""
    ids = np.full((len(texts), length), PAD)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = [alphabet[character] for character in text]
    return ids


class Translator(keras.Model):
    """Bidirectional GRU over characters, Bahdanau's decoder, and a head over output characters."""

    def __init__(self, source_size, target_size, steps):
        super().__init__()
        self.steps = steps
        self.source_embedding = layers.Embedding(source_size, 32, mask_zero=True)
        self.encoder = layers.Bidirectional(layers.GRU(48, return_sequences=True))
        self.target_embedding = layers.Embedding(target_size, 16)
        self.decoder = AttentionDecoder(layers.GRUCell(96), BahdanauAttention(64))
        self.head = layers.Dense(target_size)

    def remembered(self, source):
        """The memory: what a character is beside what surrounds it, and its mask."""
        embedded = self.source_embedding(source)
        return self.encoder(embedded), ops.not_equal(source, PAD)

    def call(self, inputs):
        memory, mask = self.remembered(inputs["source"])
        outputs, _ = self.decoder(self.target_embedding(inputs["late"]), memory, memory_mask=mask)
        return self.head(outputs)


class Decoding(keras.Model):
    """The translator as it is used: no target, and the whole search in one compiled step."""

    def __init__(self, translator, beams=None):
        super().__init__()
        self.translator = translator
        self.beams = beams

    def call(self, source):
        model = self.translator
        memory, mask = model.remembered(source)
        search = greedy_decode if self.beams is None else beam_search
        more = {} if self.beams is None else {"beams": self.beams}
        found = search(
            model.decoder, memory, memory_mask=mask, embed=model.target_embedding, to_logits=model.head,
            start=START, stop=STOP, max_steps=model.steps, **more,
        )  # fmt: skip
        return found._asdict()


def shares_inside(alignment, spans):
    """For each field, the share of output characters whose largest weight lies inside the field's span."""
    looked = alignment.argmax(axis=-1)  # (rows, steps)
    return {
        name: np.mean(
            [[span[name][0] <= looked[row, t] < span[name][1] for t in steps] for row, span in enumerate(spans)]
        )
        for name, steps in FIELDS.items()
    }


def main(epochs):
    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    days = rng.permutation(DAYS)
    train, test = examples(days[TEST_DAYS:], TRAIN, rng), examples(days[:TEST_DAYS], TEST_DAYS, rng)
    sources = [text for text, _, _ in train + test]
    alphabet = {character: 1 + i for i, character in enumerate(sorted(set("".join(sources))))}
    digits = {character: 3 + i for i, character in enumerate("0123456789-")}
    length = max(map(len, sources))
    source, held_out = (encoded([text for text, _, _ in part], alphabet, length) for part in (train, test))
    target = np.pad(encoded([iso for _, _, iso in train], digits, 10), ((0, 0), (0, 1)), constant_values=STOP)
    late = np.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=START)

    model = Translator(1 + len(alphabet), 3 + len(digits), steps=11)
    batch = 64
    rate = keras.optimizers.schedules.CosineDecay(4e-3, epochs * (TRAIN // batch))
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    start = time.perf_counter()
    model.fit({"source": source, "late": late}, target, batch_size=batch, epochs=epochs, verbose=2)
    seconds = time.perf_counter() - start

    truth = np.pad(encoded([iso for _, _, iso in test], digits, 10), ((0, 0), (0, 1)), constant_values=STOP)
    greedy = Decoding(model).predict(held_out, batch_size=250, verbose=0)
    beams = Decoding(model, beams=4).predict(held_out, batch_size=250, verbose=0)
    inside = shares_inside(greedy["alignment"], [spans for _, spans, _ in test])
    total = sum(inside[name] * len(steps) for name, steps in FIELDS.items()) / sum(map(len, FIELDS.values()))
    print(f"{TRAIN} dates in {epochs} epochs, {seconds:.0f} s; {TEST_DAYS} dates held out; keras {keras.__version__}")
    print(f"exact match, greedy           {(greedy['ids'] == truth).all(axis=1).mean():8.1%}")
    print(f"exact match, 4 beams          {(beams['ids'][:, 0] == truth).all(axis=1).mean():8.1%}")
    print(f"attention inside the true span{total:8.1%}")
    for name, share in inside.items():
        print(f"    {name:26}{share:8.1%}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
