"""Rollout and attention flow: equal to the paper's definitions, laws, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from keras_attn_xai.derived import attention_flow, rollout
from keras_attn_xai.errors import ArgumentError, ShapeError
from tests.derived import references
from tests.derived.made import B, S, T, attention, layers

BOTH = pytest.mark.parametrize("derive", [rollout, attention_flow])
RESIDUALS = pytest.mark.parametrize("residual", ["half", "add", None])
FUSED = {"mean": lambda a: a.mean(0), "max": lambda a: a.max(0), "min": lambda a: a.min(0), 1: lambda a: a[1]}


def by_hand(maps, row, residual="half", heads="mean"):
    return [references.with_residual(FUSED[heads](one.weights[row]), residual) for one in maps]


@RESIDUALS
@pytest.mark.parametrize("heads", FUSED)
def test_rollout_is_the_sum_over_paths(residual, heads):
    maps = layers()
    found = rollout(maps, residual=residual, heads=heads).weights
    for row in range(B):
        wanted = references.rollout(by_hand(maps, row, residual, heads))
        np.testing.assert_allclose(found[row, 0], wanted, atol=1e-14)


@RESIDUALS
@pytest.mark.parametrize("heads", ["mean", "max"])
def test_flow_is_the_narrowest_cut(residual, heads):
    maps = layers(sparse=True)
    found = attention_flow(maps, residual=residual, heads=heads, queries=[0, 3]).weights
    for row, place, key in np.ndindex(B, 2, T):
        wanted = references.flow(by_hand(maps, row, residual, heads), [0, 3][place], key)
        assert found[row, 0, place, key] == pytest.approx(wanted, abs=1e-8)


def test_flow_of_four_layers_is_the_narrowest_cut():
    maps = layers(4, queries=3, keys=3)
    found = attention_flow(maps, residual=None, heads=1).weights
    for row, query, key in np.ndindex(B, 3, 3):
        wanted = references.flow(by_hand(maps, row, None, 1), query, key)
        assert found[row, 0, query, key] == pytest.approx(wanted, abs=1e-8)


@RESIDUALS
def test_flow_of_two_layers_is_the_sum_of_what_fits_each_way(residual):
    """With one layer between, each way is a pair of edges of its own: the narrower counts."""
    maps = layers(2)
    found = attention_flow(maps, residual=residual).weights
    for row in range(B):
        first, last = by_hand(maps, row, residual)
        wanted = [[sum(min(last[t, m], first[m, s]) for m in range(T)) for s in range(T)] for t in range(T)]
        np.testing.assert_allclose(found[row, 0], wanted, atol=1e-8)


@BOTH
@RESIDUALS
def test_one_layer_is_its_weights(derive, residual):
    maps = layers(1)
    found = derive(maps, residual=residual).weights
    np.testing.assert_allclose(found[1, 0], by_hand(maps, 1, residual)[0], atol=1e-15)


@RESIDUALS
def test_rows_of_rollout_sum_to_one_where_those_of_the_weights_do(residual):
    np.testing.assert_allclose(rollout(layers(), residual=residual).weights.sum(-1), 1, atol=1e-14)


def test_both_residuals_are_the_same_where_rows_sum_to_one():
    half, add = (rollout(layers(), residual=kind).weights for kind in ("half", "add"))
    np.testing.assert_allclose(half, add, atol=1e-14)


def test_rollout_multiplies_from_output_to_input():
    """The last layer looks at position 1, where the first had brought position 2."""
    first, last = np.eye(T), np.eye(T)
    first[1], last[0] = np.eye(T)[2], np.eye(T)[1]
    maps = [attention(weights=np.broadcast_to(one, (B, 3, T, T))) for one in (first, last)]
    for derive in (rollout, attention_flow):
        np.testing.assert_allclose(derive(maps, residual=None).weights[:, 0, 0], [[0, 0, 1, 0, 0]] * B)


@pytest.mark.parametrize("heads", ["mean", "max"])
def test_a_flow_is_at_most_what_the_query_and_the_key_let_through(heads):
    maps = layers(4, sparse=True)
    found = attention_flow(maps, heads=heads).weights[:, 0]
    last, first = (np.stack([by_hand([one], row, heads=heads)[0] for row in range(B)]) for one in (maps[-1], maps[0]))
    assert (found <= last.sum(2)[:, :, None] + 1e-8).all()
    assert (found <= first.sum(1)[:, None] + 1e-8).all()


@BOTH
def test_padding_stays_0(derive):
    maps = layers(3, padding=2)
    found = derive(maps)
    assert not found.weights[..., -2:].any()
    assert not found.weights[:, :, -2:].any()
    real = derive([replace_size(one, T - 2) for one in maps])
    np.testing.assert_allclose(found.weights[:, :, :-2, :-2], real.weights, atol=1e-8)


def replace_size(one, size):
    """The map without the positions from `size` on."""
    return attention(one.name, size, size, weights=one.weights[:, :, :size, :size])


@BOTH
def test_weight_that_leaks_onto_padding_stays_visible(derive):
    mask = np.arange(T) < T - 2
    maps = [replace(one, query_mask=[mask] * B, mask=[mask] * B) for one in layers(2)]
    found = derive(maps).weights
    assert (found[:, :, :-2, -2:] > 0).all()
    assert not found[:, :, -2:].any()


@BOTH
@RESIDUALS
def test_queries_without_any_weight_do_no_harm(derive, residual):
    maps = layers(3)
    empty = [replace(one, weights=np.where(np.arange(T)[:, None] == 1, 0, one.weights)) for one in maps]
    found = derive(empty, residual=residual).weights
    assert np.isfinite(found).all()
    if residual is None:
        assert not found[:, :, 1].any()


@BOTH
def test_labels_and_masks_are_those_of_the_ends(derive):
    maps = layers(3, padding=1)
    found = derive(maps)
    assert found.name == derive.__name__
    assert found.weights.shape == (B, 1, T, T)
    assert (found.query_labels, found.key_labels) == (maps[-1].query_labels, maps[0].key_labels)
    np.testing.assert_array_equal(found.query_mask, maps[-1].query_mask)
    np.testing.assert_array_equal(found.mask, maps[0].mask)


def test_some_queries_are_rows_of_all():
    maps = layers(3, padding=1)
    whole = attention_flow(maps)
    for queries, rows in (([3, 0], [3, 0]), (-1, [4]), ([], [])):
        part = attention_flow(maps, queries=np.array(queries, int))
        np.testing.assert_array_equal(part.weights, whole.weights[:, :, rows])
        assert part.query_labels == tuple(tuple(row[i] for i in rows) for row in whole.query_labels)
        np.testing.assert_array_equal(part.query_mask, whole.query_mask[:, rows])


@BOTH
def test_largest_weights_and_single_precision(derive):
    maps = layers(2)
    keys = [np.argsort(-one.weights, axis=-1) for one in maps]
    parts = [
        replace(one, weights=np.take_along_axis(one.weights, k, -1).astype(np.float32), indices=k)
        for one, k in zip(maps, keys, strict=True)
    ]
    np.testing.assert_allclose(derive(parts).weights, derive(maps).weights, atol=1e-6)
    assert derive(tuple(one[:0] for one in maps)).weights.shape == (0, 1, T, T)


@BOTH
@pytest.mark.parametrize(
    ("maps", "options", "error", "match"),
    [
        ([], {}, ArgumentError, "needs at least one attention map; received none"),
        (attention(), {}, ArgumentError, r"takes a sequence of maps, .* received one map. Pass \[map\]"),
        ([np.ones(3)], {}, ArgumentError, "takes a sequence of AttentionMap; received ndarray"),
        ([attention(), attention("b", rows=3)], {}, ShapeError, "different numbers of rows: 'mha' 2, 'b' 3"),
        (
            [attention("a"), attention("b", S, T), attention("c", S, S)],
            {},
            ShapeError,
            r"T = S = 5; these \(T, S\) do not fit: 'b' \(7, 5\), 'c' \(7, 7\). .* generic_attention",
        ),
        ([attention("b", S, T)], {}, ShapeError, r"positions, T = S; these \(T, S\) do not fit: 'b' \(7, 5\)"),
        (
            [attention()],
            {"residual": "whole"},
            ArgumentError,
            "residual must be 'half', 'add' or None; received 'whole'",
        ),
        (
            [attention()],
            {"heads": 3},
            ArgumentError,
            "heads must be 'mean', 'max', 'min' or one of 3 heads; received 3",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(derive, maps, options, error, match):
    with pytest.raises(error, match=match):
        derive(maps, **options)


@pytest.mark.parametrize("queries", [5, -6, [0.5], [[0]], "all"])
def test_flow_refuses_queries_that_do_not_exist(queries):
    with pytest.raises(ArgumentError, match=r"queries must be positions of 5 \(0 to 4\); received"):
        attention_flow(layers(1), queries=queries)


def test_flow_refuses_weights_below_0():
    with pytest.raises(ArgumentError, match=r"weights of at least 0; received some down to -0\.5"):
        attention_flow([attention(weights=-np.ones((B, 3, T, T)))])
