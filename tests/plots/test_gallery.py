"""The code of the gallery runs, in its order, on models that have learned nothing."""

import ast
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_attn_xai.text import Vocabulary
from tests.plots.made import png

PAGE = Path(__file__).parents[2] / "docs" / "gallery" / "index.md"
SECTIONS = {
    title: "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    for title, text in re.findall(
        r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
}
DRAW = np.random.default_rng(0)
layers = keras.layers


def text():
    """Two blocks of self-attention over the words of three sentences."""
    rows = ["a fine film", "a dull , dull film", "so fine"]
    vocabulary = Vocabulary.build(rows, size=20, special=["[MASK]"])
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(len(vocabulary), 4, mask_zero=True)(ids)
    for block in ("one", "two"):
        x = layers.MultiHeadAttention(2, 3, name=block)(x, x)
    model = keras.Model(ids, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(x)))
    return {"model": model, "background": vocabulary.id_of("[MASK]"), "tokenizer": vocabulary, "rows": rows}


def target_and_source():
    """A word for each of seven places, from a source of seven words."""
    ids = keras.Input((7,), dtype="int32")
    states, places = layers.Embedding(5, 4)(ids), keras.ops.arange(7)[None]
    context = layers.MultiHeadAttention(1, 3, name="cross")(layers.Embedding(7, 4)(places + 0 * ids), states)
    model = keras.Model(ids, layers.Dense(5, activation="softmax", name="answer")(context))
    row, background = DRAW.integers(1, 5, (2, 1, 7)).astype("int32")
    return {
        "model": model,
        "background": background,
        "row": row,
        "answer": row[0],
        "truth": np.eye(7, dtype=bool)[::-1],
    }


def series():
    """Two features over eleven steps."""
    given = keras.Input((11, 2))
    x = layers.MultiHeadAttention(1, 3)(given, given)
    model = keras.Model(given, layers.Dense(1)(layers.Flatten()(x)))
    return {"model": model, "series": DRAW.normal(size=(1, 11, 2)).astype("float32"), "seconds": 0.5 * np.arange(11)}


def image():
    """Sixteen patches and a class token in front."""
    given = keras.Input((8, 8, 1))
    patches = layers.Reshape((16, 4))(layers.Conv2D(4, 2, 2)(given))
    x = layers.ZeroPadding1D((1, 0))(patches)
    x = layers.MultiHeadAttention(1, 3)(x, x)
    model = keras.Model(given, layers.Dense(1)(layers.Flatten()(x)))
    return {"model": model, "images": DRAW.random((1, 8, 8, 1)).astype("float32")}


GIVEN = {"Source and target": target_and_source, "A series": series, "An image": image}


def drawn(code, names):
    """Run code; the pictures that its lines make, which are not seen otherwise."""
    pictures = []
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.Expr):
            pictures.append(eval(ast.unparse(statement), names))
        else:
            exec(ast.unparse(statement), names)
    return pictures


@pytest.mark.filterwarnings("ignore::keras_attn_xai.errors.MaskWarning")
def test_every_block_runs():
    shared, pictures = text(), {}
    for title, code in SECTIONS.items():
        names = shared | GIVEN[title]() if title in GIVEN else shared
        pictures[title] = drawn(code, names)
    assert {title for title, found in pictures.items() if not found} == {"Scripts and fonts"}
    for picture in (one for found in pictures.values() for one in found):
        assert png(picture)[:4] == b"\x89PNG"
