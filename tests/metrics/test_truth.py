"""Values against planted positions: ties by enumeration, chance, masks, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics import score_against_truth
from tests import references
from tests.metrics.made import B, S, two_rows

small = st.integers(1, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-2, 2), min_size=n, max_size=n), st.lists(st.booleans(), min_size=n, max_size=n)
    )
)


@given(small)
@settings(max_examples=60, deadline=None)
def test_ties_count_as_their_mean_over_all_orders(row):
    values, truth = row
    hits, mass = score_against_truth([values], [truth])
    if not any(truth):
        assert np.isnan(hits[0])
        assert np.isnan(mass[0])
        return
    assert hits[0] == pytest.approx(references.expected_hit_rate(values, truth))
    total = sum(map(abs, values))
    planted = sum(abs(v) for v, t in zip(values, truth, strict=True) if t)
    assert mass[0] == pytest.approx(planted / total if total else np.nan, nan_ok=True)


def test_the_truth_itself_uniform_values_and_the_opposite():
    truth = np.zeros((B, S), bool)
    truth[:, [2, 3, 7]] = True
    for values, wanted in ((truth, 1), (np.full((B, S), 0.3), 3 / S), (~truth, 0)):
        hits, mass = score_against_truth(values, truth)
        np.testing.assert_allclose(hits, wanted)
        np.testing.assert_allclose(mass, wanted)


def test_sign_and_scale_do_not_count():
    _, values, mask = two_rows()
    truth = np.random.default_rng(1).random((B, S)) < 0.3
    truth[:, 1] = True
    wanted = score_against_truth(values, truth, mask=mask)
    for found in (-5 * values, np.abs(values)):
        for one, other in zip(score_against_truth(found, truth, mask=mask), wanted, strict=True):
            np.testing.assert_allclose(one, other)


def test_masked_positions_are_neither_hit_nor_planted():
    _, values, mask = two_rows()
    truth = np.random.default_rng(1).random((B, S)) < 0.3
    truth[:, 1] = True
    rows = zip(values, truth, mask, strict=True)
    wanted = [score_against_truth(v[None, m], t[None, m]) for v, t, m in rows]
    for filling, flag in ((99.0, True), (np.nan, False), (-np.inf, True)):
        found = score_against_truth(np.where(mask, values, filling), np.where(mask, truth, flag), mask=mask)
        for name in ("hit_rate", "mass"):
            np.testing.assert_allclose(getattr(found, name), [getattr(one, name)[0] for one in wanted])


def test_rows_without_anything_are_nan():
    hits, mass = score_against_truth(np.zeros((1, 3)), np.array([[True, False, False]]))
    assert hits[0] == pytest.approx(1 / 3)
    assert np.isnan(mass[0])
    for part in score_against_truth(np.ones((2, 0)), np.ones((2, 0), bool)):
        assert np.isnan(part).all()
    assert score_against_truth(np.ones((0, 3)), np.ones((0, 3), bool)).mass.shape == (0,)


def test_what_is_no_truth_is_one_sentence():
    with pytest.raises(
        ShapeError, match=r"Expected truth as a boolean array \(1, 2\); received \(1, 2\) of dtype int64"
    ):
        score_against_truth(np.ones((1, 2)), np.array([[0, 1]]))
    with pytest.raises(ArgumentError, match="Expected finite numbers"):
        score_against_truth(np.array([[np.nan, 1.0]]), np.array([[True, False]]))
