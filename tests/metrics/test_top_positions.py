"""Overlaps and agreements at k equal to their papers, case by case; their laws and bounds."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from keras_attn_xai import metrics
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import jaccard_at_k, rank_biased_overlap, top_k_kendall_distance, top_k_overlap
from tests import references
from tests.metrics.made import kept, pairs_of_rows, two_rows

AT_K = {
    metrics.feature_agreement: {},
    metrics.rank_agreement: {"ranked": True},
    metrics.sign_agreement: {"signed": True},
    metrics.signed_rank_agreement: {"ranked": True, "signed": True},
}
OF_K = (top_k_overlap, jaccard_at_k, top_k_kendall_distance, *AT_K)


@pytest.mark.parametrize("k", [1, 2, 3, 11])
def test_overlap_and_jaccard_by_brute_force(k):
    a, b, mask = two_rows(3)
    overlap, jaccard = [], []
    for x, y in kept(a, b, mask):
        size = min(k, len(x))
        first, second = set(references.largest(x, size)), set(references.largest(y, size))
        overlap.append(len(first & second) / size)
        jaccard.append(len(first & second) / len(first | second))
    np.testing.assert_allclose(top_k_overlap(a, b, k=k, mask=mask), overlap)
    np.testing.assert_allclose(jaccard_at_k(a, b, k=k, mask=mask), jaccard)


@pytest.mark.parametrize("k", [1, 2, 3, 11])
@pytest.mark.parametrize("measure", AT_K)
def test_agreement_at_k_is_the_papers(measure, k):
    a, b, mask = two_rows(3)
    a -= 2.5
    wanted = [references.agreement_at_k(x, y, min(k, len(x)), **AT_K[measure]) for x, y in kept(a, b, mask)]
    np.testing.assert_allclose(measure(a, b, k=k, mask=mask), wanted)


@given(pairs_of_rows())
@settings(max_examples=50, deadline=None)
def test_agreements_are_nested_and_features_are_the_overlap_of_magnitudes(pair):
    a, b = np.array(pair, float)[:, None]
    features, ranks, signs, both = (measure(a, b, k=3)[0] for measure in AT_K)
    assert 0 <= both <= min(ranks, signs) <= max(ranks, signs) <= features <= 1
    assert features == top_k_overlap(np.abs(a), np.abs(b), k=3)[0]
    overlap = top_k_overlap(a, b, k=3)
    np.testing.assert_allclose(jaccard_at_k(a, b, k=3), overlap / (2 - overlap))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rank_biased_overlap_is_the_papers(p):
    a, b, mask = two_rows(3)
    wanted = [references.rank_biased_overlap(x, y, p) for x, y in kept(a, b, mask)]
    np.testing.assert_allclose(rank_biased_overlap(a, b, p=p, mask=mask), wanted, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_rank_biased_overlap_is_lowest_for_the_reverse(n):
    orders = np.array(list(itertools.permutations(range(n))), float)
    found = rank_biased_overlap(np.tile(orders[:1], (len(orders), 1)), orders)
    assert found[0] == pytest.approx(1)
    assert (found[1:] < 1 - 1e-9).all()
    assert found[-1] == found.min() > 0  # the last permutation is the reverse


@pytest.mark.parametrize("k", [1, 2, 3, 11])
def test_top_k_kendall_is_the_papers_over_its_largest(k):
    a, b, mask = two_rows(3)
    found = top_k_kendall_distance(a, b, k=k, mask=mask)
    for row, (x, y) in enumerate(kept(a, b, mask)):
        size = min(k, len(x))
        ruler = np.arange(len(x), dtype=float)
        most = references.top_k_kendall(ruler, -ruler, size)
        assert found[row] == pytest.approx(references.top_k_kendall(x, y, size) / most)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_kendall_lies_between_0_and_1_and_reaches_both(n, k):
    orders = np.array(list(itertools.permutations(range(n))), float)
    found = top_k_kendall_distance(np.tile(orders[:1], (len(orders), 1)), orders, k=k)
    assert (found.min(), found.max(), found[-1]) == (0, 1, 1)


def test_a_swap_at_the_top_costs_more_than_one_further_down():
    row = np.arange(11.0, 0, -1)[None]
    top, bottom = row.copy(), row.copy()
    top[0, [0, 1]], bottom[0, [9, 10]] = top[0, [1, 0]], bottom[0, [10, 9]]
    assert rank_biased_overlap(row, top)[0] < rank_biased_overlap(row, bottom)[0] < 1
    assert top_k_kendall_distance(row, top, k=3)[0] > top_k_kendall_distance(row, bottom, k=3)[0] == 0


def test_ties_go_to_the_earlier_position_and_the_lowest_that_count_before_padding():
    flat, mask = np.ones((1, 4)), np.array([[True, True, False, True]])
    assert top_k_overlap(flat, np.array([[4.0, 3.0, 9.0, 2.0]]), k=2, mask=mask)[0] == 1
    lowest = np.array([[1.0, 2.0, np.inf, -np.inf]])
    assert top_k_overlap(lowest, np.array([[2.0, 1.0, np.nan, 3.0]]), k=3, mask=mask)[0] == 1


@pytest.mark.parametrize("measure", OF_K)
@pytest.mark.parametrize("k", [0, -1, 1.5, "3"])
def test_k_counts_from_one(measure, k):
    with pytest.raises(ArgumentError, match=f"k must be a positive integer; received {k!r}"):
        measure(np.ones((1, 3)), np.ones((1, 3)), k=k)


@pytest.mark.parametrize("p", [0, 1, 90])
def test_p_is_a_probability(p):
    with pytest.raises(ArgumentError, match=f"p must lie between 0 and 1, as 0.9; received {p}"):
        rank_biased_overlap(np.ones((1, 3)), np.ones((1, 3)), p=p)
