"""Attention against the magnitude of SHAP, read back as numbers."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from keras_attn_xai import align, plots
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import bootstrap_interval, kendall_tau
from keras_attn_xai.plots.theme import DARK, LIGHT
from tests.made import explanation
from tests.plots.made import attention_map, png


@pytest.mark.parametrize("dark", [False, True])
def test_a_point_for_each_real_position_of_each_row(dark):
    shown = explanation(5, rows=3, padding=2)
    ax = plots.plot_scatter(shown, dark=dark)
    png(ax)
    ruler = align(shown)
    wanted = np.stack([ruler.attention[:, :5].ravel(), np.abs(ruler.attribution[:, :5]).ravel()], 1)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), wanted)
    theme = DARK if dark else LIGHT
    for colour, value in zip(ax.collections[0].get_facecolors(), ruler.attribution[:, :5].ravel(), strict=True):
        assert tuple(colour[:3]) == pytest.approx(to_rgb(theme.toward if value > 0 else theme.against))
    assert ax.get_ylabel() == "|SHAP| in log-odds"


def test_the_title_has_tau_within_rows_with_its_interval():
    shown = explanation(7, rows=5, padding=2)
    ruler = align(shown)
    tau = kendall_tau(ruler.attention, np.abs(ruler.attribution), mask=ruler.mask)
    mean, low, high, _ = bootstrap_interval(tau)
    said = plots.plot_scatter(shown).get_title(loc="left")
    assert said == f"Kendall tau within a row: {mean:+.2f} [{low:+.2f}, {high:+.2f}], 5 rows"
    (one,) = kendall_tau(ruler.attention[:1], np.abs(ruler.attribution[:1]), mask=ruler.mask[:1])
    assert plots.plot_scatter(shown[0]).get_title(loc="left") == f"Kendall tau within a row: {one:+.2f}, 1 row"
    assert plots.plot_scatter(explanation(1)).get_title(loc="left").endswith("no order to compare")


def test_other_reductions_come_as_an_alignment():
    shown = explanation(5, rows=2)
    ruler = align(shown, heads="max", query="last")
    own = Figure().add_subplot()
    assert plots.plot_scatter(ruler, ax=own) is own
    np.testing.assert_allclose(own.collections[0].get_offsets()[:, 0], ruler.attention.ravel())
    assert own.get_xlabel() == "weights of encoder/att, heads: max, last"


def test_beyond_two_thousand_points_it_is_a_density():
    shown = explanation(211, rows=11)
    ax = plots.plot_scatter(shown)
    png(ax)
    assert ax.collections[0].get_array().sum() == 211 * 11
    assert len(ax.collections[0].get_array()) < 2000
    assert ax.collections[0].get_clim()[0] == 0


def test_what_cannot_be_drawn_gets_a_sentence():
    with pytest.raises(ArgumentError, match="Expected Explanation or Alignment; received AttentionMap"):
        plots.plot_scatter(attention_map())
    with pytest.raises(ArgumentError, match="has no attention map"):
        plots.plot_scatter(explanation(3, attention=False))
    with pytest.raises(ArgumentError, match="received 0 rows without"):
        plots.plot_scatter(explanation(3, rows=2)[:0])
