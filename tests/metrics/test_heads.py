"""Head measures equal to their papers; laws, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from keras_attn_xai import AttentionMap
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics import head_distance, head_entropy
from tests import references

B, H, T, S = 2, 3, 5, 7


def seen(queries=T, keys=S, *, padding=2, seed=0):
    """A map whose last `padding` keys and first query are padding, and whose third query has no weight at all."""
    draw = np.random.default_rng(seed)
    mask = np.broadcast_to(np.arange(keys) < keys - padding, (B, keys))
    weights = draw.dirichlet(np.ones(keys), size=(B, H, queries)) * mask[:, None, None]
    weights /= weights.sum(-1, keepdims=True)
    weights[:, :, 2] = 0
    query_mask = np.broadcast_to(np.arange(queries) > 0, (B, queries))
    labels = [["q"] * queries] * B, [["k"] * keys] * B
    return AttentionMap("encoder/mha", weights, *labels, query_mask, mask)


def test_entropy_is_the_papers():
    wanted = references.head_entropies(seen().weights, seen().query_mask)
    np.testing.assert_allclose(head_entropy(seen()), wanted, atol=1e-12)
    np.testing.assert_allclose(head_entropy(seen(), normalized=True), wanted / np.log(5), atol=1e-12)


def test_entropy_is_0_on_one_key_and_log_of_the_keys_on_all():
    weights = np.stack([np.eye(S), np.full((S, S), 1 / S)])[None]
    labels = [["k"] * S]
    one = AttentionMap("att", weights, labels, labels)
    np.testing.assert_allclose(head_entropy(one), [[0, np.log(S)]], atol=1e-12)
    np.testing.assert_allclose(head_entropy(one, normalized=True), [[0, 1]], atol=1e-12)


def test_distance_is_the_papers():
    whole = seen(S, S)
    wanted = references.head_distances(whole.weights, whole.query_mask)
    np.testing.assert_allclose(head_distance(whole), wanted, atol=1e-12)


def test_distance_of_a_shift_is_its_length():
    labels = [["k"] * S]
    weights = np.stack([np.eye(S, k=-shift) for shift in range(4)])[None]
    np.testing.assert_allclose(head_distance(AttentionMap("att", weights, labels, labels)), [[0, 1, 2, 3]])


def test_head_metrics_take_the_largest_weights_and_single_precision():
    whole = seen(S, S)
    keys = np.argsort(-whole.weights, axis=-1)
    part = replace(whole, weights=np.take_along_axis(whole.weights, keys, -1).astype(np.float32), indices=keys)
    for measure in (head_entropy, head_distance):
        np.testing.assert_allclose(measure(part), measure(whole), rtol=1e-6)


def test_heads_without_a_query_that_counts_are_nan():
    nothing = replace(seen(S, S), query_mask=np.zeros((B, S), bool))
    for measure in (head_entropy, head_distance):
        assert np.isnan(measure(nothing)).all()
        assert measure(seen(S, S)[:0]).shape == (0, H)
    alone = AttentionMap("att", [[[[1.0, 0.0]]]], [["q"]], [["k", ""]], mask=[[True, False]])
    assert head_entropy(alone)[0, 0] == 0
    assert np.isnan(head_entropy(alone, normalized=True)[0, 0])


def test_head_metrics_refuse():
    with pytest.raises(ShapeError, match="as many queries as keys; 'encoder/mha' has 5 queries and 7 keys"):
        head_distance(seen())
    with pytest.raises(ArgumentError, match="at least 0; 'encoder/mha' has some down to -1"):
        head_entropy(replace(seen(), weights=-np.ones((B, H, T, S))))
