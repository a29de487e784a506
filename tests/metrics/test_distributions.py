"""Distances of distributions: equal to scipy, their bounds, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import jensen_shannon, total_variation
from tests.metrics.made import kept, pairs_of_rows, two_rows


def test_jensen_shannon_is_scipys_squared_with_masks():
    a, b, mask = two_rows()
    b = np.abs(b)
    wanted = [distance.jensenshannon(x, y) ** 2 for x, y in kept(a, b, mask)]
    np.testing.assert_allclose(jensen_shannon(a, b, mask=mask), wanted, rtol=0, atol=1e-12)


@given(pairs_of_rows(st.integers(0, 4)))
@settings(max_examples=50, deadline=None)
def test_both_on_made_rows(pair):
    x, y = np.array(pair, float)
    found = jensen_shannon(x[None], y[None])[0], total_variation(x[None], y[None])[0]
    if not x.any() or not y.any():
        assert np.isnan(found).all()
        return
    assert found[0] == pytest.approx(distance.jensenshannon(x, y) ** 2, abs=1e-12)
    p, q = x / x.sum(), y / y.sum()
    largest = max(abs(p[chosen].sum() - q[chosen].sum()) for chosen in (p > q, p < q))  # over all sets of positions
    assert found[1] == pytest.approx(largest, abs=1e-12)
    assert found[1] ** 2 / 2 - 1e-12 <= found[0] <= np.log(2) * found[1] + 1e-12  # Pinsker, and Lin 1991, theorem 3


def test_nothing_in_common_is_the_most():
    a, b = np.array([[0.2, 0.8, 0, 0]]), np.array([[0, 0, 3.0, 1.0]])
    assert jensen_shannon(a, b)[0] == pytest.approx(np.log(2))
    assert total_variation(a, b)[0] == pytest.approx(1)


@pytest.mark.parametrize("measure", [jensen_shannon, total_variation])
@pytest.mark.parametrize("scale", [1e-300, 1e-3, 1e307])
def test_each_row_is_divided_by_its_sum(measure, scale):
    a, b, mask = two_rows()
    b = np.abs(b)
    np.testing.assert_allclose(measure(a * scale, b * 7, mask=mask), measure(a, b, mask=mask), atol=1e-12)


@pytest.mark.parametrize("measure", [jensen_shannon, total_variation])
def test_numbers_below_0_get_a_sentence_where_they_count(measure):
    a = np.array([[0.5, -0.25, 0.5]])
    message = rf"{measure.__name__} takes shares of a whole.*received some down to -0.25\. Pass abs\(values\)"
    for pair in ((a, np.ones((1, 3))), (np.ones((1, 3)), a)):
        with pytest.raises(ArgumentError, match=message):
            measure(*pair)
    assert measure(a, np.ones((1, 3)), mask=a > 0)[0] == pytest.approx(0)
    with pytest.raises(ArgumentError, match="Expected finite numbers"):
        measure(np.array([[np.inf, 1.0]]), np.ones((1, 2)))
