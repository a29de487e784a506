"""What shap explained goes into the pictures as it is, and so do the slices of an explanation."""

import numpy as np
import pytest
import shap

from keras_attn_xai import plots
from keras_attn_xai.errors import ArgumentError, RecordError
from tests.made import explanation
from tests.plots.made import attention_map, png
from tests.plots.test_heatmap import interactions

B, T, F, C = 3, 5, 2, 7
DRAW = np.random.default_rng(5)
WORDS = np.array([[f"w{row}{place}" for place in range(T)] for row in range(B)])


def of_shap(*axes, data=None, outputs=()):
    """Values of shap (B, ..., outputs) and their base values."""
    base = DRAW.normal(size=(B, *outputs))
    return shap.Explanation(values=DRAW.normal(size=(B, *axes, *outputs)), base_values=base, data=data)


def words_of(ax):
    return [text.get_text() for text in ax.texts if text.get_bbox_patch() is not None]


def test_tokens():
    given = of_shap(T, data=WORDS)
    for ax in (plots.plot_tokens(given, row=1), plots.plot_tokens(given[1]), plots.plot_tokens(given[1:2])):
        png(ax)
        assert words_of(ax) == list(WORDS[1])
        assert ax.get_title(loc="left") == f"SHAP of tokens in output, largest {np.abs(given.values[1]).max():.2g}"


def test_tokens_of_texts_of_several_lengths():
    texts = [["so ", "fine "], ["a ", "dull ", "film"]]
    values = [np.array([0.5, 1.0]), np.array([0.0, -3.0, 0.25])]
    given = shap.Explanation(values=values, base_values=np.zeros(2), data=texts)
    assert [words_of(plots.plot_tokens(given, row=row)) for row in range(2)] == [["so", "fine"], ["a", "dull", "film"]]


def test_one_of_several_outputs():
    given = of_shap(T, data=WORDS, outputs=(C,))
    assert words_of(plots.plot_tokens(given[..., 3])) == list(WORDS[0])
    with pytest.raises(RecordError, match=r"values \(3, 5, 7\) and base_values \(3, 7\). Select an output with"):
        plots.plot_tokens(given)


@pytest.mark.parametrize("axes", [(T,), (T, F)])
def test_series_without_attention(axes):
    given = of_shap(*axes, data=np.zeros((B, *axes)))
    figure = plots.plot_series(given, np.arange(float(T)), row=2)
    png(figure)
    above, below = figure.axes
    assert not above.collections
    assert above.get_title(loc="left") == "The signal"
    wanted = given.values[2].reshape(T, -1).sum(1)
    np.testing.assert_allclose([bar.get_height() for bar in below.patches], wanted)
    assert below.get_ylabel() == "SHAP (output)"


def test_series_of_an_attribution_and_of_an_explanation_without_maps():
    shown = explanation(T, rows=2, padding=2, attention=False)
    for given in (shown, shown.attribution):
        below = plots.plot_series(given, np.zeros(T + 2), row=1).axes[1]
        np.testing.assert_allclose([bar.get_height() for bar in below.patches], shown.attribution.values[1, :T])
        assert below.get_ylabel() == "SHAP (log-odds)"


def test_images():
    given = of_shap(4, 6, 3, data=DRAW.random((B, 4, 6, 3)))
    for figure in (plots.plot_image(given, given.data[1], row=1), plots.plot_image(given[1], given.data[1])):
        png(figure)
        assert [ax.get_label() for ax in figure.axes[:2]] == ["picture", "SHAP"]
        np.testing.assert_allclose(figure.axes[1].images[1].get_array(), given.values[1].sum(2))
    regions = np.arange(T).repeat(4).reshape(4, T)
    veil = plots.plot_image(of_shap(T), np.zeros((4, T)), regions=regions).axes[1].images[1]
    assert np.unique(veil.get_array()).size == T


def test_interactions():
    pairs = DRAW.normal(size=(B, T, T))
    pairs += pairs.swapaxes(1, 2)
    given = shap.Explanation(values=pairs, base_values=np.zeros(B), data=WORDS)
    for ax in (plots.plot_interactions(given, row=1), plots.plot_interactions(given[1])):
        png(ax)
        np.testing.assert_allclose(ax.images[0].get_array(), pairs[1])
        assert [label.get_text() for label in ax.get_xticklabels()] == list(WORDS[1])
    ours = interactions()
    np.testing.assert_allclose(
        plots.plot_interactions(ours.to_shap()).images[0].get_array(),
        plots.plot_interactions(ours).images[0].get_array(),
    )
    with pytest.raises(RecordError, match="values of pairs of players"):
        plots.plot_interactions(of_shap(T))


def test_steps_of_an_alignment():
    steps = [of_shap(7) for _ in range(T)]
    seen = attention_map(B, queries=T, keys=7)
    right = plots.plot_alignment(seen, steps, row=1).axes[1]
    np.testing.assert_allclose(right.images[0].get_array(), np.stack([step.values[1] for step in steps]))


@pytest.mark.parametrize("draw", [plots.plot_side_by_side, plots.plot_scatter, plots.plot_heatmap])
def test_pictures_of_attention_say_that_there_is_none(draw):
    with pytest.raises(ArgumentError, match=r"A shap.Explanation has no attention to draw; plot_tokens, plot_series"):
        draw(of_shap(T))


def test_ours_goes_to_shap_and_comes_back_the_same():
    shown = explanation(T, rows=2, padding=2)
    drawn = [plots.plot_tokens(one, row=1) for one in (shown.attribution, shown.to_shap(), shown.attribution.to_shap())]
    shades = [[text.get_bbox_patch().get_facecolor() for text in ax.texts if text.get_bbox_patch()] for ax in drawn]
    assert words_of(drawn[0]) == words_of(drawn[1]) == words_of(drawn[2]) == list(shown.labels[1][:T])
    np.testing.assert_array_equal(shades[0], shades[1])
    np.testing.assert_array_equal(shades[0], shades[2])


@pytest.mark.parametrize(
    "index", [1, -2, slice(1, 3), [1], [2, 0], np.array([False, True, False]), [True, False, True]]
)
def test_pictures_take_slices(index):
    whole = explanation(T, rows=B, padding=2)
    first = int(np.atleast_1d(np.arange(B)[index])[0])
    part = whole[index]
    values = whole.attribution.values[first, :T]
    below = plots.plot_series(part, np.zeros(T + 2)).axes[1]
    np.testing.assert_allclose([bar.get_height() for bar in below.patches], values)
    mirror = plots.plot_side_by_side(part[0]).axes[2]
    np.testing.assert_allclose([bar.get_height() for bar in mirror.patches], values)
    heat = plots.plot_heatmap(part.attention[0]).images[0].get_array()
    np.testing.assert_allclose(heat, whole.attention[0].weights[first].mean(0)[:, :T])
    assert len(plots.plot_scatter(part).collections[0].get_offsets()) == T * len(part)
    assert words_of(plots.plot_tokens(part.attribution)) == list(whole.labels[first][:T])
    picture = plots.plot_image(part.attention[0], np.zeros((1, T + 2)), grid=(1, T + 2))
    assert picture.axes[1].images[1].get_array().shape == (1, T + 2)


def test_a_row_that_is_not_there_is_an_index_error():
    with pytest.raises(IndexError, match="row 3 of 3"):
        explanation(T, rows=B)[3]
