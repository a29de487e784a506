"""The signature picture, read back as numbers."""

import subprocess
import sys
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from keras_attn_xai import align, plots
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import kendall_tau, top_k_overlap
from keras_attn_xai.plots.theme import DARK, LIGHT
from tests.made import explanation


def heights(ax):
    return np.array([bar.get_height() for bar in ax.patches])


def words_of(ax):
    return [text for text in ax.texts if text.get_bbox_patch() is not None]


def tints(ax):
    """Distance of every word's background from the page."""
    return np.array([np.linalg.norm(np.array(w.get_bbox_patch().get_facecolor()[:3]) - 1) for w in words_of(ax)])


def test_bars_are_the_alignment_and_padding_is_not_drawn():
    shown = explanation(5, padding=3)
    ruler = align(shown)
    top, bars, mirror, bottom = plots.plot_side_by_side(shown).axes
    np.testing.assert_allclose(heights(bars), ruler.attention[0, :5])
    np.testing.assert_allclose(heights(mirror), shown.attribution.values[0, :5])
    for ax in (top, bottom):
        assert [word.get_text() for word in words_of(ax)] == list(shown.labels[0][:5])
    assert [tick.get_text() for tick in mirror.get_xticklabels()] == list(shown.labels[0][:5])


def test_signs_have_two_colours_and_tints_grow_with_magnitude():
    shown = explanation(11)
    top, _, mirror, bottom = plots.plot_side_by_side(shown).axes
    values, attention = shown.attribution.values[0], align(shown).attention[0]
    for bar, value in zip(mirror.patches, values, strict=True):
        assert bar.get_facecolor()[:3] == to_rgb(LIGHT.toward if value > 0 else LIGHT.against)
    assert (np.argsort(tints(top)) == np.argsort(attention)).all()
    for sign in (values > 0, values < 0):
        assert (np.argsort(tints(bottom)[sign]) == np.argsort(np.abs(values[sign]))).all()


@pytest.mark.parametrize(("words", "mirrored"), [(["סרט", "טוב", "מאוד"], True), (["a", "fine", "film"], False)])
def test_bars_run_as_the_words_are_written(words, mirrored):
    top, bars, mirror, _ = plots.plot_side_by_side(explanation(3, labels=words)).axes
    assert [ax.xaxis_inverted() for ax in (bars, mirror)] == [mirrored] * 2
    ways = np.diff([word.get_position()[0] for word in words_of(top)])
    assert (ways < 0 if mirrored else ways > 0).all()


@pytest.mark.parametrize(("words", "turned"), [(["fine"] * 5, 0), (["fine"] * 40, 90), (["好看的電影很好"] * 8, 90)])
def test_names_are_turned_where_they_have_no_room(words, turned):
    figure = plots.plot_side_by_side(explanation(len(words), labels=words))
    labels = figure.axes[2].get_xticklabels()
    assert {label.get_rotation() for label in labels} == {turned}
    figure._repr_png_()
    boxes = [label.get_window_extent() for label in labels]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_the_caption_has_the_numbers_of_metrics():
    shown = explanation(7, padding=2)
    ruler = align(shown)
    said = " ".join(text.get_text() for text in plots.plot_side_by_side(shown).texts)
    sizes = np.abs(ruler.attribution)
    assert f"{kendall_tau(ruler.attention, sizes, mask=ruler.mask)[0]:+.2f}" in said
    assert f"{round(3 * top_k_overlap(ruler.attention, sizes, mask=ruler.mask)[0])} of the 3" in said
    assert "'encoder/att', heads: mean, query: mean over unmasked" in said


def test_the_title_is_the_answer():
    shown = explanation(3)
    title = plots.plot_side_by_side(shown, class_names=["bad", "good"]).axes[0].get_title(loc="left")
    probability = 1 / (1 + np.exp(-shown.attribution.output[0]))
    assert title.startswith(f"The model says: good, {probability:.0%} (log-odds")
    plain = plots.plot_side_by_side(explanation(3, unit="output")).axes[0].get_title(loc="left")
    assert plain.startswith("The model says: output 1 = ")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("words", [1, 5, 200])
def test_one_word_to_two_hundred(words, dark):
    figure = plots.plot_side_by_side(explanation(words), dark=dark)
    assert figure._repr_png_()[:4] == b"\x89PNG"
    assert len(heights(figure.axes[1])) == words
    assert figure.get_facecolor()[:3] == to_rgb((DARK if dark else LIGHT).page)


def test_every_word_stays_on_the_page():
    figure = plots.plot_side_by_side(explanation(30, labels=["x" * 90, *["word"] * 29]))
    figure._repr_png_()
    page = figure.bbox
    for ax in (figure.axes[0], figure.axes[3]):
        for word in words_of(ax):
            box = word.get_window_extent()
            assert page.x0 <= box.x0
            assert box.x1 <= page.x1
    assert words_of(figure.axes[0])[0].get_text().endswith("…")


def test_words_are_never_mathematics():
    figure = plots.plot_side_by_side(explanation(4, labels=["$x_1$", "a^b", "$", "\\frac"]))
    figure._repr_png_()
    assert [word.get_text() for word in words_of(figure.axes[0])] == ["$x_1$", "a^b", "$", "\\frac"]
    assert not any(word.get_parse_math() for word in words_of(figure.axes[0]))


def test_pieces_become_words():
    shown = explanation(6, labels=["play", "ing", "well", "ness", "a", "b"])
    figure = plots.plot_side_by_side(shown, merge="words")
    assert [word.get_text() for word in words_of(figure.axes[0])] == ["playing", "wellness", "ab"]
    np.testing.assert_allclose(heights(figure.axes[2]).sum(), shown.attribution.values.sum())


def test_the_users_figure_is_drawn_on_and_returned():
    own = Figure()
    assert plots.plot_side_by_side(explanation(3), fig=own) is own
    assert len(own.axes) == 4


def test_matplotlibs_global_state_is_untouched():
    import matplotlib.pyplot as plt

    before, settings = plt.get_fignums(), dict(mpl.rcParams)
    plots.plot_side_by_side(explanation(3))
    assert plt.get_fignums() == before
    assert dict(mpl.rcParams) == settings


def test_it_works_where_pyplot_never_was():
    code = "import sys; from tests.made import explanation; from keras_attn_xai import plots; "
    code += "plots.plot_side_by_side(explanation(3))._repr_png_(); sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_several_rows_or_no_map_get_a_sentence():
    with pytest.raises(ArgumentError, match=r"one row; received 2. Pass explanation\[i\]"):
        plots.plot_side_by_side(explanation(3, rows=2))
    with pytest.raises(ArgumentError, match=r"has no attention map .* write_report shows SHAP alone"):
        plots.plot_side_by_side(explanation(3, attention=False))
    with pytest.raises(ArgumentError, match="class_names has 1 names"):
        plots.plot_side_by_side(explanation(3), class_names=["only"])


def test_white_space_inside_a_word_takes_one_line():
    figure = plots.plot_side_by_side(explanation(3, labels=["a\nb", "\t", "c"]))
    figure._repr_png_()
    assert [word.get_text() for word in words_of(figure.axes[0])] == ["a b", "", "c"]
