"""Explanations made by hand, for the tests of the array side."""

import numpy as np

from keras_attn_xai import AttentionMap, Attribution, Explanation, Provenance
from keras_attn_xai.records import pad_labels

SENTENCE = "the film is a gorgeous $10 mess_up that never quite decides what it wants to be , yet i loved it ."


def explanation(words=5, *, rows=1, padding=0, attention=True, unit="log-odds", labels=None, seed=0):
    """Rows of `words` words and `padding` more positions, with two heads and three queries."""
    draw = np.random.default_rng(seed)
    positions = words + padding
    own = labels or (SENTENCE.split() * words)[:words]
    pieces = pad_labels([own] * rows, positions)
    mask = np.broadcast_to(np.arange(positions) < words, (rows, positions))
    values = np.where(mask, draw.normal(size=(rows, positions)), 0)
    weights = np.where(mask[:, None, None], draw.random((rows, 2, 3, positions)), 0)
    weights /= weights.sum(-1, keepdims=True)
    base = draw.normal(size=rows)
    moved = Attribution(
        values=values,
        base=base,
        output=base + values.sum(1),
        target=np.ones(rows, int),
        unit=unit,
        method="exact",
        evaluations=np.full(rows, 32),
        player_labels=pieces,
        mask=mask,
        standard_error=np.abs(values) / 10,
    )
    seen = AttentionMap("encoder/att", weights, [["q0", "q1", "q2"]] * rows, pieces, mask=mask)
    words_of = np.where(mask, np.arange(positions) // 2, -1)
    origin = Provenance("reviews", "token id 2", seed=7, versions=(("keras", "3"),), notes=("A note.",))
    return Explanation((seen,) if attention else (), (moved,), pieces, origin, word_ids=words_of)
