"""The contract table: one line a layer, and the arrays every test feeds it."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from keras_attn_xai.layers import (
    BahdanauAttention,
    LuongAttention,
    MultiHeadAttention,
    ScaledDotProductAttention,
    normalizers,
    positions,
    weights_regularizers,
)
from tests import references

B, T, S, D, V, U = 2, 5, 7, 11, 13, 3  # every axis its own prime: no wrong transpose can pass
KEPT = np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]], bool)  # (B, S)
LENGTHS = KEPT.sum(axis=1)


class Case(NamedTuple):
    """One layer of the table."""

    name: str
    cls: type
    arguments: dict  # what makes it this layer
    others: dict  # another value for each constructor argument of its own
    key_size: int
    scores: Callable  # (layer, query, key) -> scores (B, T, S) or (B, H, T, S), from references.py
    context: Callable = lambda layer, weights, value: references.context(weights, value)
    heads: int | None = None
    features: int = V  # of the context

    def weights_shape(self, *sizes):
        """(B, T, S), or (B, H, T, S)."""
        return sizes if self.heads is None else (sizes[0], self.heads, *sizes[1:])

    def softmax(self, scores, mask=None, **options):
        """The reference's weights for scores of this layer and a mask (B, S)."""
        if mask is not None:
            mask = mask[:, None] if self.heads is None else mask[:, None, None]
        return references.masked_softmax(scores, mask, **options)

    def make(self, **kwargs):
        return self.cls(**{**self.arguments, **kwargs})


def _kernel(dense):
    return array(dense.kernel).T  # Dense multiplies from the right, the papers from the left


def _multi_head_scores(layer, query, key):
    own = {"/".join(weight.path.split("/")[-2:]): array(weight) for weight in layer.weights}
    return references.multi_head_scores(
        query, key, own["query/kernel"], own["query/bias"], own["key/kernel"], own["key/bias"]
    )


def _multi_head_context(layer, weights, value):
    own = {"/".join(weight.path.split("/")[-2:]): array(weight) for weight in layer.weights}
    return references.multi_head_context(
        weights, value, own["value/kernel"], own["value/bias"], own["attention_output/kernel"],
        own["attention_output/bias"],
    )  # fmt: skip


SHARED = {
    "normalizer": normalizers.Entmax(1.25, temperature=2.0),
    "return_weights": False,
    "weights_kind": "dropped",
    "fully_masked": "uniform",
    "top_k": 3,
    "block_size": 2,
    "weights_regularizer": weights_regularizers.GuidedAlignment(0.5, width=0.75),
    "dropout": 0.25,
    "seed": 3,
}
PROJECTED = SHARED | {
    "use_bias": True,
    "kernel_initializer": keras.initializers.HeNormal(seed=1),
    "bias_initializer": "ones",
    "kernel_regularizer": keras.regularizers.L2(0.5),
    "bias_regularizer": keras.regularizers.L1(0.25),
    "kernel_constraint": keras.constraints.MaxNorm(2.0),
    "bias_constraint": keras.constraints.NonNeg(),
}
LUONG = PROJECTED | {
    "units": 17,
    "window": "predictive",
    "window_width": 3,
    "renormalize": True,
    "return_positions": True,
    "attentional_vector": 19,
}
MULTI_HEAD = PROJECTED | {
    "use_bias": False,
    "num_heads": 6,
    "key_dim": 17,
    "value_dim": 19,
    "num_key_value_heads": 1,
    "output_shape": 23,
    "position_bias": positions.RelativeBias(5),
}
CASES = [
    Case(
        "bahdanau", BahdanauAttention, {"units": U}, PROJECTED | {"units": 17, "normalize": True}, 17,
        lambda layer, query, key: references.bahdanau_scores(
            query, key, _kernel(layer.query_dense), _kernel(layer.key_dense), _kernel(layer.score_dense)[0]
        ),
    ),
    Case(
        "luong_dot", LuongAttention, {"score": "dot"}, LUONG | {"score": "concat"}, D,
        lambda layer, query, key: references.luong_dot_scores(query, key),
    ),
    Case(
        "luong_general", LuongAttention, {"score": "general"}, LUONG | {"score": "concat"}, 17,
        lambda layer, query, key: references.luong_general_scores(query, key, _kernel(layer.key_dense)),
    ),
    Case(
        "luong_concat", LuongAttention, {"score": "concat", "units": U},
        LUONG | {"score": "general"}, 17,
        lambda layer, query, key: references.luong_concat_scores(
            query, key, np.hstack([_kernel(layer.query_dense), _kernel(layer.key_dense)]), _kernel(layer.score_dense)[0]
        ),
    ),
    Case(
        "scaled_dot", ScaledDotProductAttention, {}, SHARED | {"scale": 0.75, "position_bias": positions.ALiBi()}, D,
        lambda layer, query, key: references.scaled_dot_scores(query, key),
    ),
    Case(
        "multi_head", MultiHeadAttention, {"num_heads": 2, "key_dim": U, "value_dim": 5}, MULTI_HEAD, 17,
        _multi_head_scores, _multi_head_context, heads=2, features=D,
    ),
    Case(
        "grouped_query", MultiHeadAttention,
        {"num_heads": 4, "key_dim": U, "num_key_value_heads": 2, "output_shape": 3}, MULTI_HEAD, 17,
        _multi_head_scores, _multi_head_context, heads=4, features=3,
    ),
]  # fmt: skip
CONCAT, SCALED_DOT = CASES[3:5]
DOUBLE = ops.ones((1, 1), "float64")
KEEPS_DOUBLE = keras.backend.standardize_dtype(ops.matmul(DOUBLE, DOUBLE).dtype) == "float64"  # Keras on torch does not
DTYPES = ["float16", "mixed_float16", "bfloat16", "mixed_bfloat16", *["float64"] * KEEPS_DOUBLE]
# Keras 3.15 reads its variables with np.array, and TensorFlow 2.21 has not brought their __array__ to NumPy 2
variables_as_arrays = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
every_layer = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def tensors(case, *, batch=B):
    """Query (B, T, D), value (B, S, V) and key (B, S, K) of the case."""
    rng = np.random.default_rng(7)

    def draw(*shape):
        return rng.normal(size=shape).astype("float32")

    return draw(batch, T, D), draw(batch, S, V), draw(batch, S, case.key_size)


def array(tensor):
    """A tensor, a variable or an array as NumPy, float32 at least."""
    tensor = ops.convert_to_tensor(tensor)
    narrow = keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    return ops.convert_to_numpy(ops.cast(tensor, "float32") if narrow else tensor)


def arrays(outputs):
    """The arrays of a layer's outputs."""
    return [array(output) for output in outputs]


def by_key(weights):
    """Weights (B, ..., S) as (B, S, ...), for a mask (B, S)."""
    return np.moveaxis(weights, -1, 1)


def same(first, second, *, atol=1e-6):
    """Assert that two tensors, or two lists of them, agree."""
    for one, other in zip(keras.tree.flatten(first), keras.tree.flatten(second), strict=True):
        np.testing.assert_allclose(one, other, atol=atol, rtol=0)


def twin(layer, **changes):
    """A layer with the same weights and another configuration, built on the same inputs."""
    other = type(layer).from_config({**layer.get_config(), **changes})
    other.build_from_config(layer.get_build_config())
    other.set_weights(layer.get_weights())
    return other


def cross_model(layer, case):
    """A model of one layer with unknown T and S, its outputs in a dict."""
    sizes = {"query": D, "value": V, "key": case.key_size}
    inputs = {name: keras.Input((None, size), name=name) for name, size in sizes.items()}
    kept = keras.Input((None,), dtype="bool", name="kept")
    context, weights = layer(**inputs, value_mask=kept)
    return keras.Model({**inputs, "kept": kept}, {"context": context, "weights": weights})


def cross_inputs(case):
    """What `cross_model` takes; the second row has no key at all."""
    query, value, key = tensors(case)
    return {"query": query, "value": value, "key": key, "kept": KEPT & [[True], [False]]}
