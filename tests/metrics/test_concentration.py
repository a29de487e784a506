"""How concentrated a row is: equal to scipy or the paper, bounds, masks, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics import attention_of_set, entropy, gini
from tests import references
from tests.metrics.made import B, S, kept, two_rows

whole = st.lists(st.integers(0, 4), min_size=2, max_size=11)


@given(whole)
@settings(max_examples=50, deadline=None)
def test_entropy_is_scipys_over_the_most(row):
    found = entropy(np.array([row], float))[0]
    if any(row):
        assert found == pytest.approx(stats.entropy(row) / np.log(len(row)), abs=1e-12)
        assert 0 <= found <= 1
    else:
        assert np.isnan(found)


@given(whole)
@settings(max_examples=50, deadline=None)
def test_gini_is_the_mean_difference(row):
    found = gini(np.array([row], float))[0]
    if any(row):
        assert found == pytest.approx(references.gini(row), abs=1e-12)
    else:
        assert np.isnan(found)


@pytest.mark.parametrize(("measure", "flat", "peaked"), [(entropy, 1, 0), (gini, 0, 1 - 1 / S)])
def test_the_same_everywhere_and_all_on_one(measure, flat, peaked):
    np.testing.assert_allclose(measure(np.full((B, S), 0.1)), flat, atol=1e-12)
    np.testing.assert_allclose(measure(3 * np.eye(S)), peaked, atol=1e-12)


@pytest.mark.parametrize("measure", [entropy, gini])
def test_masks_order_and_scale_of_one_array(measure):
    a, _, mask = two_rows()
    wanted = [measure(x[None])[0] for x, _ in kept(a, a, mask)]
    for filling in (99.0, -99.0, np.nan):
        np.testing.assert_allclose(measure(np.where(mask, a, filling), mask=mask), wanted, atol=1e-12)
    np.testing.assert_allclose(measure(7 * a[:, ::-1], mask=mask[:, ::-1]), wanted, atol=1e-12)
    assert measure(a[:0]).shape == (0,)
    assert np.isnan(measure(a[:, :0])).all()


def test_one_position_alone_has_no_entropy_to_compare():
    mask = np.array([[True, False]])
    assert np.isnan(entropy(np.ones((1, 2)), mask=mask)[0])
    assert gini(np.ones((1, 2)), mask=mask)[0] == 0


def test_attention_of_a_set_and_of_the_rest_is_all_of_it():
    a, _, mask = two_rows()
    flagged = np.random.default_rng(1).random(a.shape) < 0.4
    found = attention_of_set(a, flagged, mask=mask)
    np.testing.assert_allclose(found, [x[f & m].sum() for x, f, m in zip(a, flagged, mask, strict=True)])
    np.testing.assert_allclose(found + attention_of_set(a, ~flagged, mask=mask), np.where(mask, a, 0).sum(1))
    np.testing.assert_array_equal(attention_of_set(np.where(mask, a, np.nan), flagged, mask=mask), found)
    assert not attention_of_set(a, np.zeros(a.shape, bool)).any()


def test_what_one_array_cannot_be_is_one_sentence():
    for measure in (entropy, gini):
        with pytest.raises(ShapeError, match=r"Expected an array \(rows, positions\).*received \(3,\) and \(3,\)"):
            measure(np.ones(3))
        with pytest.raises(ArgumentError, match=f"{measure.__name__} takes shares of a whole.*some down to -1"):
            measure(np.array([[1.0, -1.0]]))
    for flagged in (np.ones((1, 2)), np.ones((1, 3), bool)):
        with pytest.raises(ShapeError, match=r"Expected flagged as a boolean array \(1, 2\); received"):
            attention_of_set(np.ones((1, 2)), flagged)
