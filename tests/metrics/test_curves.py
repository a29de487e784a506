"""Curves of scores: by hand, their bounds, and what they refuse."""

import numpy as np
import pytest

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics import FRACTIONS, aopc, area_under_curve, comprehensiveness, normalized_aopc, sufficiency

B, F = 5, len(FRACTIONS)


def scores(seed=0, steps=F):
    draw = np.random.default_rng(seed)
    return draw.random(B), draw.random((B, steps))


@pytest.mark.parametrize("measure", [aopc, comprehensiveness, sufficiency])
def test_the_mean_drop_row_by_row(measure):
    output, changed = scores()
    wanted = [sum(output[b] - changed[b, f] for f in range(F)) / F for b in range(B)]
    np.testing.assert_allclose(measure(output, changed), wanted, atol=1e-12)
    np.testing.assert_allclose(measure(output, np.tile(output[:, None], F)), 0, atol=1e-12)
    np.testing.assert_allclose(measure(np.ones(B), np.zeros((B, F))), 1)
    assert measure(output[:0], changed[:0]).shape == (0,)


def test_a_step_at_which_nothing_is_taken_makes_the_other_formula():
    output, changed = scores()
    with_first = aopc(output, np.concatenate([output[:, None], changed], 1))
    np.testing.assert_allclose(with_first, aopc(output, changed) * F / (F + 1), atol=1e-12)


def test_the_shares_are_erasers():
    assert FRACTIONS == (0.01, 0.05, 0.1, 0.2, 0.5)


def test_normalized_aopc_is_0_and_1_at_its_bounds_and_does_not_see_a_models_scale():
    low, high = np.array([-0.5, 0.25, 0.1]), np.array([0.5, 0.75, 0.1])
    np.testing.assert_array_equal(normalized_aopc(low, low, high), [0, 0, np.nan])
    np.testing.assert_array_equal(normalized_aopc(high, low, high), [1, 1, np.nan])
    found = normalized_aopc([0.3, 0.3, 0.3], low, high)
    np.testing.assert_allclose(found, [0.8, 0.1, np.nan])
    scaled = normalized_aopc(2 + 7 * np.full(3, 0.3), 2 + 7 * low, 2 + 7 * high)
    np.testing.assert_allclose(scaled, found)
    assert normalized_aopc([0.9], [0.0], [0.6])[0] == pytest.approx(1.5)  # a beam that missed the best ordering


def test_area_is_the_trapezoids():
    _, heights = scores(steps=11)
    x = np.sort(np.random.default_rng(1).random((B, 11)), axis=1)
    wanted = [
        sum((x[b, f + 1] - x[b, f]) * (heights[b, f] + heights[b, f + 1]) / 2 for f in range(10)) / (x[b, -1] - x[b, 0])
        for b in range(B)
    ]
    np.testing.assert_allclose(area_under_curve(heights, fractions=x), wanted)
    np.testing.assert_allclose(area_under_curve(heights, fractions=x[0])[0], wanted[0])


def test_area_of_known_curves():
    x = np.linspace(0, 1, 7)
    np.testing.assert_allclose(area_under_curve([1 - x, np.ones(7), 0 * x]), [0.5, 1, 0])
    short = area_under_curve([[1.0, 0.0, 0.0, 0.0]], fractions=[[0.0, 1.0, 1.0, 1.0]])  # two steps, the last repeated
    np.testing.assert_allclose(short, area_under_curve([[1.0, 0.0]]))
    np.testing.assert_allclose(area_under_curve([1 - x], fractions=x / 2), 0.5)  # mean height, whatever is covered


def test_what_is_no_curve_is_one_sentence():
    output, changed = scores()
    with pytest.raises(ShapeError, match=r"Expected one output for each row .*received \(4,\) and \(5, 5\)"):
        aopc(output[:4], changed)
    with pytest.raises(ShapeError, match=r"at least one score; received \(5,\) and \(5, 0\)"):
        aopc(output, changed[:, :0])
    with pytest.raises(ShapeError, match=r"Expected scores of shape \(any, any\); received \(5,\)"):
        aopc(output, output)
    with pytest.raises(ArgumentError, match=r"Expected finite numbers in output; received 1 NaN or infinite in \(1,\)"):
        aopc([np.nan], [[1.0]])
    with pytest.raises(ShapeError, match=r"Expected highest of shape \(5\); received \(4,\)"):
        normalized_aopc(output, output, output[:4])
    with pytest.raises(ArgumentError, match="lowest at most highest in every row; 1 of 2 rows"):
        normalized_aopc([1.0, 1.0], [0.0, 3.0], [2.0, 2.0])
    with pytest.raises(ShapeError, match=r"at least two steps; received scores \(5, 1\)"):
        area_under_curve(changed[:, :1])
    with pytest.raises(ShapeError, match=r"Expected fractions of shape \(5, 5\); received \(4,\)"):
        area_under_curve(changed, fractions=[0.0, 0.5, 0.75, 1.0])
    for fractions in ([0, 0.5, 0.4, 0.9, 1], [1, 1, 1, 1, 1]):
        with pytest.raises(ArgumentError, match="Expected fractions that rise"):
            area_under_curve(changed, fractions=fractions)
