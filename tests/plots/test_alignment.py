"""Target by source, read back as numbers."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_attn_xai import plots
from keras_attn_xai.errors import ArgumentError, ShapeError
from tests.made import explanation
from tests.plots.made import attention_map, names_along, png

REAL = np.ix_(range(5), range(7))


def steps_of(count, keys=10):
    return [explanation(keys - 3, rows=2, padding=3, seed=i) for i in range(count)]


@pytest.mark.parametrize("heads", ["mean", 1])
def test_attention_and_shap_side_by_side(heads):
    seen, steps = attention_map(padding=(2, 3)), steps_of(7)
    figure = plots.plot_alignment(seen, steps, row=1, heads=heads)
    left, right = figure.axes[:2]
    assert [left.get_label(), right.get_label()] == ["attention", "SHAP"]
    weights = seen.weights[1, 1] if heads == 1 else seen.weights[1].mean(0)
    np.testing.assert_allclose(left.images[0].get_array(), weights[REAL])
    moved = np.stack([step.attribution.values[1] for step in steps])
    np.testing.assert_allclose(right.images[0].get_array(), moved[REAL])
    largest = np.abs(moved[REAL]).max()
    assert right.images[0].get_clim() == pytest.approx((-largest, largest))
    assert names_along(left.yaxis) == [f"q{i}" for i in range(5)]
    assert names_along(right.xaxis) == [f"k{i}" for i in range(7)]


def test_steps_may_be_those_of_the_real_queries():
    seen = attention_map(padding=(2, 3))
    seen = replace(seen, query_mask=seen.query_mask[:, ::-1])  # padding in front
    every = plots.plot_alignment(seen, steps_of(7)).axes[1].images[0].get_array()
    real = plots.plot_alignment(seen, [step.attribution for step in steps_of(7)[2:]]).axes[1].images[0].get_array()
    np.testing.assert_allclose(every, real)


def test_the_truth_is_outlined_in_both_panels_and_not_on_padding():
    gold = np.zeros((7, 10), bool)
    gold[[0, 4, 6], [3, 6, 1]] = True  # the last is of a query that is padding
    figure = plots.plot_alignment(attention_map(padding=(2, 3)), steps_of(7), gold=gold)
    for ax in figure.axes[:2]:
        assert [patch.get_xy() for patch in ax.patches] == [(2.5, -0.5), (5.5, 3.5)]
        assert {(patch.get_width(), patch.get_height()) for patch in ax.patches} == {(1, 1)}


@pytest.mark.parametrize(("size", "dark"), [(5, False), (211, True)])
def test_five_and_two_hundred(size, dark):
    seen = attention_map(1, 1, size, size)
    assert png(plots.plot_alignment(seen, gold=np.eye(size, dtype=bool), dark=dark))[:4] == b"\x89PNG"


def test_the_users_figure_is_drawn_on_and_returned():
    own = Figure()
    assert plots.plot_alignment(attention_map(), fig=own) is own
    assert len(own.axes) == 2  # and the scale


def test_what_cannot_be_drawn_gets_a_sentence():
    seen = attention_map(padding=(2, 3))
    with pytest.raises(ArgumentError, match=r"Expected AttentionMap; received Explanation. Take the map of cross"):
        plots.plot_alignment(explanation(3))
    with pytest.raises(ShapeError, match="each of 7 target positions, or of the row's 5 real ones; received 6"):
        plots.plot_alignment(seen, steps_of(6))
    with pytest.raises(ShapeError, match=r"over the map's 10 source positions, \(B, 10\); received \(B, 11\)"):
        plots.plot_alignment(seen, steps_of(7, keys=11))
    with pytest.raises(ArgumentError, match="Expected Attribution; received str"):
        plots.plot_alignment(seen, ["a"] * 7)
    with pytest.raises(ShapeError, match=r"gold must be bool \(7, 10\), .* received int64 \(7, 10\)"):
        plots.plot_alignment(seen, gold=np.zeros((7, 10), int))
    one_by_one = [explanation(7, padding=3, seed=i) for i in range(7)]
    with pytest.raises(
        ArgumentError, match=r"Every step must have row 1, which the map has; step 0 has 1 rows. Explain"
    ):
        plots.plot_alignment(seen, one_by_one, row=1)
    with pytest.raises(ArgumentError, match="row must be 0 to 1, one of 2 rows; received 2"):
        plots.plot_alignment(seen, row=2)
