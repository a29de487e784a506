"""Agreement measures equal to scipy, head measures to their papers; laws, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from keras_attn_xai import AttentionMap
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics import bootstrap_interval, head_distance, head_entropy, kendall_tau, top_k_overlap
from tests import references

rows = st.lists(st.integers(-5, 5), min_size=3, max_size=11)


def two_rows(seed=0, shape=(5, 7)):
    draw = np.random.default_rng(seed)
    return draw.integers(0, 6, shape).astype(float), draw.normal(size=shape), draw.random(shape) < 0.7


def test_tau_is_scipys_row_by_row_with_ties_and_masks():
    a, b, mask = two_rows()
    wanted = [stats.kendalltau(x[keep], y[keep]).statistic for x, y, keep in zip(a, b, mask, strict=True)]
    np.testing.assert_allclose(kendall_tau(a, b, mask=mask), wanted, atol=1e-12)


def test_masked_positions_do_not_count():
    a, b, mask = two_rows()
    np.testing.assert_array_equal(
        kendall_tau(np.where(mask, a, 99), np.where(mask, b, -99), mask=mask), kendall_tau(a, b, mask=mask)
    )


@given(rows)
@settings(max_examples=50, deadline=None)
def test_tau_is_one_with_itself_and_minus_one_reversed(row):
    a = np.array([row], float)
    if np.ptp(a) == 0:
        assert np.isnan(kendall_tau(a, a)[0])
    else:
        np.testing.assert_allclose([kendall_tau(a, a)[0], kendall_tau(a, -a)[0]], [1, -1])


@given(rows, rows)
@settings(max_examples=50, deadline=None)
def test_tau_is_symmetric_and_sees_only_the_order(first, second):
    size = min(len(first), len(second))
    a, b = np.array([first[:size]], float), np.array([second[:size]], float)
    tau = kendall_tau(a, b)
    np.testing.assert_allclose(kendall_tau(b, a), tau, equal_nan=True)
    np.testing.assert_allclose(kendall_tau(np.exp(a), b**3), tau, equal_nan=True)


def test_a_row_without_an_order_is_nan():
    a = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
    mask = np.array([[True] * 3, [True, False, False]])
    assert np.isnan(kendall_tau(a, a[:, ::-1], mask=mask)).all()


@pytest.mark.parametrize("k", [1, 2, 3, 11])
def test_overlap_by_brute_force(k):
    a, b, mask = two_rows(3)
    wanted = []
    for x, y, keep in zip(a, b, mask, strict=True):
        real = np.flatnonzero(keep)
        size = min(k, len(real))
        first, second = (set(sorted(real, key=lambda i: (-z[i], i))[:size]) for z in (x, y))
        wanted.append(len(first & second) / size)
    np.testing.assert_allclose(top_k_overlap(a, b, k=k, mask=mask), wanted)


def test_overlap_of_an_empty_row_is_nan():
    assert np.isnan(top_k_overlap(np.ones((1, 3)), np.ones((1, 3)), mask=np.zeros((1, 3), bool))[0])


def test_the_interval_holds_the_mean_and_narrows_with_rows():
    values = np.random.default_rng(0).normal(2, 1, 400)
    few, many = bootstrap_interval(values[:20]), bootstrap_interval(values)
    for one in (few, many):
        assert one.low < one.mean < one.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert few.rows == 20


def test_the_interval_is_seeded_and_leaves_out_nan():
    values = np.array([0.1, np.nan, 0.4, 0.3])
    assert bootstrap_interval(values) == bootstrap_interval(values[[0, 2, 3]])
    many = np.random.default_rng(0).normal(size=50)
    assert bootstrap_interval(many, seed=1) == bootstrap_interval(many, seed=1) != bootstrap_interval(many, seed=2)
    assert bootstrap_interval([0.5, np.nan])[:1] == (0.5,)
    assert np.isnan(bootstrap_interval([0.5]).low)


@pytest.mark.parametrize(
    ("a", "b", "mask"),
    [(np.ones(3), np.ones(3), None), (np.ones((2, 3)), np.ones((2, 4)), None), (*np.ones((2, 1, 3)), np.ones((1, 3)))],
)
def test_wrong_shapes_get_a_sentence(a, b, mask):
    for measure in (kendall_tau, top_k_overlap):
        with pytest.raises(ShapeError, match="Expected two arrays"):
            measure(a, b, mask=mask)


def test_k_counts_from_one():
    with pytest.raises(ArgumentError, match="k must be a positive integer; received 0"):
        top_k_overlap(np.ones((1, 3)), np.ones((1, 3)), k=0)


def test_infinite_ties_have_no_order():
    a = np.array([[np.inf, np.inf, np.inf]])
    assert np.isnan(kendall_tau(a, np.array([[1.0, 2.0, 3.0]]))[0])


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_is_a_share(confidence):
    with pytest.raises(ArgumentError, match=f"between 0 and 1, as 0.95; received {confidence}"):
        bootstrap_interval([0.1, 0.2], confidence=confidence)


# heads

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
