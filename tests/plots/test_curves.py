"""Deletion and insertion curves, read back as numbers."""

from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_attn_xai import plots
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.plots.theme import LIGHT
from tests.plots.made import png


class Curve(NamedTuple):
    """Those of a table of faithfulness, with ends of their own."""

    method: str
    kind: str
    fractions: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


class Row(NamedTuple):
    """A line of the table."""

    method: str
    measure: str
    mean: float
    low: float
    high: float


class Table(NamedTuple):
    """What has curves, rows and a unit."""

    curves: tuple
    rows: tuple
    unit: str


RULER = np.linspace(0, 1, 7)
METHODS = ("attention", "random", "|$x$|", "d", "e", "f", "g", "h")


def curves(methods=METHODS[:3], kinds=("deletion", "insertion"), ends=False):
    draw = np.random.default_rng(2)
    made = []
    for method in methods:
        for kind in kinds:
            mean = draw.normal(size=7)
            more = {"low": mean - 0.5, "high": mean + 0.25} if ends and method == "attention" else {}
            made.append(Curve(method, kind, RULER, mean, **more))
    return made


def test_a_line_for_each_method_and_kind():
    made = curves()
    figure = plots.plot_curves(made)
    assert [ax.get_label() for ax in figure.axes] == ["deletion", "insertion"]
    for ax in figure.axes:
        wanted = [one for one in made if one.kind == ax.get_label()]
        for line, one in zip(ax.lines, wanted, strict=True):
            np.testing.assert_allclose(line.get_xydata(), np.stack([RULER, one.mean], 1))
        assert [text.get_text() for text in ax.get_legend().get_texts()] == list(METHODS[:3])
    assert figure.axes[0].get_ylabel() == "mean target"
    assert plots.plot_curves(made, unit="logits").axes[0].get_ylabel() == "mean target (logits)"


def test_bands_lie_between_low_and_high():
    made = curves(ends=True)
    for ax in plots.plot_curves(made).axes:
        (band,) = ax.collections
        one = next(one for one in made if one.kind == ax.get_label() and one.low is not None)
        corners = {tuple(point) for point in band.get_paths()[0].vertices.round(9)}
        for x, low, high in zip(RULER, one.low, one.high, strict=True):
            assert {(round(x, 9), round(low, 9)), (round(x, 9), round(high, 9))} <= corners


def test_of_many_methods_intervals_stand_at_markers_that_take_turns():
    made = [one._replace(low=one.mean - 0.5, high=one.mean + 0.25) for one in curves(METHODS, ["deletion"])]
    (ax,) = plots.plot_curves(made).axes
    marked = set()
    for line, lines, one in zip(ax.lines, ax.collections, made, strict=True):
        start, every = line.get_markevery()
        marked.add(start)
        ends = np.stack([[RULER, one.low], [RULER, one.high]]).transpose(2, 0, 1)[start::every]
        np.testing.assert_allclose(lines.get_segments(), ends)
    assert marked == {0, 1}


def test_no_colour_is_spent_on_chance():
    (ax,) = plots.plot_curves(curves(METHODS, ["deletion"])).axes
    assert [line.get_color() for line in ax.lines if line.get_color() != LIGHT.faint] == list(LIGHT.lines)


def test_the_legend_has_the_areas_of_the_table():
    rows = (Row("attention", "deletion_area", 0.5, -0.25, 0.75), Row("attention", "insertion_area", 2, 1, 3))
    figure = plots.plot_curves(Table(tuple(curves(METHODS[:2])), rows, "log-odds"))
    said = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in figure.axes]
    assert said[0] == ["attention: area 0.500 [-0.250, 0.750]", "random"]
    assert said[1][0] == "attention: area 2.000 [1.000, 3.000]"
    assert figure.axes[0].get_ylabel() == "mean target (log-odds)"


def test_eight_methods_look_different_and_random_is_faint():
    (ax,) = plots.plot_curves(curves(METHODS, ["deletion"])).axes
    assert len({line.get_marker() for line in ax.lines}) == 8
    dashes = [line._unscaled_dash_pattern for line in ax.lines]  # there is no public way to read them
    assert all(dashes.index(one) == place for place, one in enumerate(dashes[:7]))
    assert (ax.lines[7].get_color(), dashes[7]) != (ax.lines[0].get_color(), dashes[0])
    assert ax.lines[1].get_color() == LIGHT.faint


@pytest.mark.parametrize("dark", [False, True])
def test_names_are_no_mathematics_and_the_users_figure_is_used(dark):
    own = Figure()
    assert plots.plot_curves(curves(ends=True), dark=dark, fig=own) is own
    assert png(plots.plot_curves(curves(), dark=dark))[:4] == b"\x89PNG"
    assert not any(text.get_parse_math() for text in own.axes[0].get_legend().get_texts())


def test_what_cannot_be_drawn_gets_a_sentence():
    with pytest.raises(ArgumentError, match=r"received none. `faithfulness` measures them"):
        plots.plot_curves([])
    with pytest.raises(ArgumentError, match="received Curve with 'other'"):
        plots.plot_curves(curves(kinds=["other"]))
    with pytest.raises(ArgumentError, match="received ndarray with None"):
        plots.plot_curves(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"high of 'attention' must have a number for each of \(7,\) .* \(5,\)"):
        plots.plot_curves([curves()[0]._replace(high=np.zeros(5))])
