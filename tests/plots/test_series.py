"""A signal with attention and SHAP, read back as numbers."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from keras_attn_xai import align, plots
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.plots.theme import LIGHT
from tests.made import explanation
from tests.plots.made import attention_map, png

SIGNAL = np.random.default_rng(3).normal(size=(7, 3))


def test_lines_band_and_bars():
    shown = explanation(5, rows=2, padding=2)
    above, below = plots.plot_series(shown, SIGNAL, row=1).axes[:2]
    ruler = align(shown)
    assert [above.get_label(), below.get_label()] == ["signal", "SHAP"]
    for line, feature in zip(above.lines, SIGNAL.T, strict=True):
        np.testing.assert_allclose(line.get_xydata(), np.stack([np.arange(5), feature[:5]], 1))
    np.testing.assert_allclose(np.ravel(above.collections[0].get_array()), ruler.attention[1, :5])
    assert above.collections[0].get_clim() == pytest.approx((0, ruler.attention[1].max()))
    np.testing.assert_allclose([bar.get_height() for bar in below.patches], ruler.attribution[1, :5])
    for bar in below.patches:
        assert bar.get_facecolor()[:3] == to_rgb(LIGHT.toward if bar.get_height() > 0 else LIGHT.against)
    assert below.get_ylabel() == "SHAP (log-odds)"
    assert [text.get_text() for text in above.get_legend().get_texts()] == [f"feature {i}" for i in range(3)]


def test_times_place_lines_band_and_bars():
    times = np.array([0.0, 1.0, 4.0, 5.0, 9.0])
    above, below = plots.plot_series(explanation(5), SIGNAL[:5, 0], times=times).axes[:2]
    np.testing.assert_allclose(above.lines[0].get_xdata(), times)
    edges = [-0.5, 0.5, 2.5, 4.5, 7.0, 11.0]
    np.testing.assert_allclose(above.collections[0].get_coordinates()[0, :, 0], edges)
    np.testing.assert_allclose([bar.get_width() for bar in below.patches], np.diff(edges))
    days = np.datetime64("2024-02-27") + np.arange(5)
    figure = plots.plot_series(explanation(5), SIGNAL[:5], times=days)
    png(figure)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), date2num(days))
    assert figure.axes[1].get_xlabel() == ""
    assert "2024-02-28" in {label.get_text() for label in figure.axes[1].get_xticklabels()}


def test_the_unit_of_times_stands_below():
    times = np.arange(5.0)

    def along(**options):
        return plots.plot_series(explanation(5), SIGNAL[:5], **options).axes[1].get_xlabel()

    assert along() == "step"
    assert along(times=times) == "time"
    assert along(times=times, time_unit="s") == "time (s)"
    with pytest.raises(ArgumentError, match="time_unit is of times= that are numbers; received 's' and no times"):
        along(time_unit="s")
    with pytest.raises(ArgumentError, match=r"received 's' and times datetime64\[D\]"):
        along(times=np.datetime64("2024-02-27") + np.arange(5), time_unit="s")


def test_an_alignment_brings_other_reductions():
    shown = explanation(7, rows=3)
    ruler = align(shown, heads="max", query="last")
    above, below = plots.plot_series(ruler, SIGNAL, row=2).axes[:2]
    np.testing.assert_allclose(np.ravel(above.collections[0].get_array()), ruler.attention[2])
    assert below.get_ylabel() == "SHAP"
    assert above.get_title(loc="left").endswith("encoder/att, heads: max, last")


def test_names_and_many_features():
    above = plots.plot_series(explanation(7), SIGNAL, names=["pulse", "$x_1$", "心拍"]).axes[0]
    said = above.get_legend().get_texts()
    assert [text.get_text() for text in said[:2]] == ["pulse", "$x_1$"]
    assert not any(text.get_parse_math() for text in said)
    assert plots.plot_series(explanation(7), np.zeros((7, 11))).axes[0].get_legend() is None
    assert plots.plot_series(explanation(7), np.zeros(7)).axes[0].get_legend() is None


@pytest.mark.parametrize(("steps", "dark"), [(1, False), (5, False), (211, True)])
def test_sizes(steps, dark):
    signal = np.cumsum(np.ones((steps, 2)), axis=0)
    signal[steps // 2] = np.nan  # a gap is drawn as one
    assert png(plots.plot_series(explanation(steps), signal, dark=dark))[:4] == b"\x89PNG"


def test_the_users_figure_is_drawn_on_and_returned():
    own = Figure()
    assert plots.plot_series(explanation(7), SIGNAL, fig=own) is own


def test_what_cannot_be_drawn_gets_a_sentence():
    with pytest.raises(ArgumentError, match="Expected Explanation or Alignment or Attribution; received AttentionMap"):
        plots.plot_series(attention_map(), SIGNAL)
    with pytest.raises(ShapeError, match=r"\(5,\) or \(5, F\), .* received float64 \(7, 3\)"):
        plots.plot_series(explanation(5), SIGNAL)
    with pytest.raises(ShapeError, match=r"received float64 \(2, 7, 3\)"):
        plots.plot_series(explanation(7), np.stack([SIGNAL] * 2))
    with pytest.raises(ShapeError, match="a name for each of 3 features; received 2"):
        plots.plot_series(explanation(7), SIGNAL, names=["a", "b"])
    with pytest.raises(ShapeError, match=r"datetime64 \(7,\); received float64 \(6,\)"):
        plots.plot_series(explanation(7), SIGNAL, times=np.arange(6.0))
    with pytest.raises(ArgumentError, match="times must rise"):
        plots.plot_series(explanation(7), SIGNAL, times=np.zeros(7))
    with pytest.raises(ArgumentError, match="row must be 0, the only row; received 1"):
        plots.plot_series(explanation(7), SIGNAL, row=1)
