"""Correlations equal to scipy's row by row, with ties and masks; their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import correlations, cosine, kendall_tau, pearson, spearman
from tests.metrics.made import kept, pairs_of_rows, two_rows

SCIPYS = {
    kendall_tau: lambda x, y: stats.kendalltau(x, y).statistic,
    spearman: lambda x, y: stats.spearmanr(x, y).statistic,
    pearson: lambda x, y: stats.pearsonr(x, y).statistic,
}
every_correlation = pytest.mark.parametrize("measure", SCIPYS)


@every_correlation
def test_it_is_scipys_row_by_row_with_ties_and_masks(measure):
    a, b, mask = two_rows()
    wanted = [SCIPYS[measure](x, y) for x, y in kept(a, b, mask)]
    np.testing.assert_allclose(measure(a, b, mask=mask), wanted, rtol=0, atol=1e-12)


@every_correlation
@given(pairs_of_rows())
@settings(max_examples=50, deadline=None)
def test_it_is_scipys_on_made_rows(measure, pair):
    x, y = np.array(pair, float)
    wanted = np.nan if np.ptp(x) == 0 or np.ptp(y) == 0 else SCIPYS[measure](x, y)
    np.testing.assert_allclose(measure(x[None], y[None])[0], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", [1, 13, 30, 2**19])
def test_blocks_of_any_size_give_the_same_tau(block, monkeypatch):
    a, b, mask = two_rows()
    wanted = kendall_tau(a, b, mask=mask)
    monkeypatch.setattr(correlations, "BLOCK", block)
    np.testing.assert_array_equal(kendall_tau(a, b, mask=mask), wanted)


@pytest.mark.parametrize("measure", [kendall_tau, spearman])
@given(pairs_of_rows())
@settings(max_examples=30, deadline=None)
def test_only_the_order_counts_and_its_reverse_turns_the_sign(measure, pair):
    a, b = np.array(pair, float)[:, None]
    found = measure(a, b)
    np.testing.assert_allclose(measure(np.exp(a), b**3), found, atol=1e-12)
    np.testing.assert_allclose(measure(-a, b), -found, atol=1e-12)


@pytest.mark.parametrize("measure", [kendall_tau, spearman])
def test_infinite_numbers_have_an_order_but_no_ties_have(measure):
    ties = np.array([[np.inf, np.inf, np.inf]])
    assert np.isnan(measure(ties, np.array([[1.0, 2.0, 3.0]]))[0])
    ends = np.array([[-np.inf, 5.0, np.inf]])
    assert measure(ends, np.array([[1.0, 2.0, 3.0]]))[0] == 1
    masked = np.array([[-np.inf, 5.0, 7.0, 6.0]]), np.array([[1.0, 2.0, 3.0, 9.0]])
    assert measure(*masked, mask=np.array([[True, True, True, False]]))[0] == 1


@every_correlation
def test_a_constant_row_has_no_correlation(measure):
    a = np.full((1, 7), 0.1)  # 0.1 less the mean of seven times 0.1 is not 0 in floats
    b = np.arange(7.0)[None]
    assert np.isnan(measure(a, b)[0])
    mask = np.arange(9)[None] < 7
    assert np.isnan(measure(np.pad(a, ((0, 0), (0, 2))), np.pad(b, ((0, 0), (0, 2))), mask=mask)[0])


@pytest.mark.parametrize("measure", [pearson, cosine])
@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1e200])
def test_scale_does_not_count(measure, scale):
    a, b, mask = two_rows()
    np.testing.assert_allclose(measure(a * scale, b * 3, mask=mask), measure(a, b, mask=mask), atol=1e-12)


def test_pearson_does_not_see_a_shift_and_cosine_does():
    a, b, mask = two_rows()
    np.testing.assert_allclose(pearson(a + 5, b, mask=mask), pearson(a, b, mask=mask), atol=1e-12)
    assert (np.abs(cosine(a + 5, b, mask=mask) - cosine(a, b, mask=mask)) > 0.01).all()


def test_cosine_by_hand():
    a, b, mask = two_rows()
    wanted = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in kept(a, b, mask)]
    np.testing.assert_allclose(cosine(a, b, mask=mask), wanted, rtol=0, atol=1e-12)
    assert np.isnan(cosine(np.zeros((1, 3)), np.ones((1, 3)))[0])


@pytest.mark.parametrize("measure", [pearson, cosine])
def test_infinite_numbers_get_a_sentence_where_sizes_count(measure):
    with pytest.raises(ArgumentError, match=r"Expected finite numbers .*received 1 NaN or infinite in shape"):
        measure(np.array([[np.inf, 1.0]]), np.ones((1, 2)))
