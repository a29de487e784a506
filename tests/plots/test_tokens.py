"""One text tinted once, and the fonts and lines of all texts."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from keras_attn_xai import Attribution, plots
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.plots import fonts
from keras_attn_xai.plots.theme import DARK, LIGHT, tint
from tests.made import explanation
from tests.plots.made import attention_map, png


def words_of(ax):
    return [text for text in ax.texts if text.get_bbox_patch() is not None]


def shades(ax):
    return np.array([word.get_bbox_patch().get_facecolor()[:3] for word in words_of(ax)])


@pytest.mark.parametrize("dark", [False, True])
def test_tints_are_shap_with_its_sign(dark):
    shown = explanation(11, rows=2, padding=3)
    ax = plots.plot_tokens(shown.attribution, row=1, dark=dark)
    values, theme = shown.attribution.values[1, :11], DARK if dark else LIGHT
    assert [word.get_text() for word in words_of(ax)] == list(shown.labels[1][:11])
    wanted = [
        tint(theme, theme.toward if value > 0 else theme.against, abs(value) / np.abs(values).max()) for value in values
    ]
    np.testing.assert_allclose(shades(ax), wanted)
    assert ax.get_title(loc="left") == f"SHAP of tokens in log-odds, largest {np.abs(values).max():.2g}"


@pytest.mark.parametrize(("query", "heads"), [("mean over unmasked", "max"), ("last", 1), (2, "mean")])
def test_tints_are_attention_as_align_reduces_it(query, heads):
    seen = attention_map(padding=(2, 3))
    ax = plots.plot_tokens(seen, row=1, query=query, heads=heads)
    weights = seen.weights[1, 1] if heads == 1 else getattr(seen.weights[1], heads)(0)
    values = {"last": weights[4], 2: weights[2]}.get(query, weights[:5].mean(0))[:7]
    wanted = [tint(LIGHT, LIGHT.attention, value / values.max()) for value in values]
    np.testing.assert_allclose(shades(ax), wanted, atol=1e-9)
    assert f"largest {values.max():.2g}" in ax.get_title(loc="left")


def test_players_along_several_axes_are_read_row_by_row():
    moved = Attribution(
        values=[[[1.0, 0.0, -2.0], [0.5, 0.0, 0.0]]], base=[0.0], output=[-0.5], target=[0], unit="output",
        method="exact", evaluations=[1], player_labels=[["a", "b", "c", "d", "e", "f"]], players="cells",
        mask=[[[True, True, True], [True, True, False]]],
    )  # fmt: skip
    assert [word.get_text() for word in words_of(plots.plot_tokens(moved))] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("words", [1, 7, 601])
def test_every_word_of_one_to_six_hundred_stays_on_the_page(words):
    ax = plots.plot_tokens(explanation(words, labels=["x" * 200, *["word"] * (words - 1)]).attribution)
    png(ax)
    assert len(words_of(ax)) == words
    for word in words_of(ax):
        box = word.get_bbox_patch().get_window_extent()
        assert ax.figure.bbox.x0 <= box.x0
        assert box.x1 <= ax.figure.bbox.x1
        assert ax.figure.bbox.y0 <= box.y0
        assert box.y1 <= ax.figure.bbox.y1
    plain = [word.get_bbox_patch().get_window_extent() for word in words_of(ax)[1:]]
    tops = {round(box.y0): box.y1 for box in plain}  # by line; no line runs into the one above
    assert all(tops[low] <= above for low, above in pairwise(sorted(tops)))


def test_on_given_axes_letters_shrink_until_the_text_fits():
    figure = Figure(figsize=(4, 3))
    left, right = figure.subplots(1, 2)
    assert plots.plot_tokens(explanation(60).attribution, ax=right) is right
    assert not left.texts
    assert words_of(right)[0].get_fontsize() < 11
    width = right.get_window_extent().width * 72 / figure.dpi
    assert right.get_xlim() == pytest.approx((0, width))
    assert right.get_ylim()[1] <= right.get_window_extent().height * 72 / figure.dpi


def test_words_are_never_mathematics():
    ax = plots.plot_tokens(explanation(3, labels=["$x_1$", "$", "\\frac"]).attribution)
    png(ax)
    assert [word.get_text() for word in words_of(ax)] == ["$x_1$", "$", "\\frac"]
    assert not any(text.get_parse_math() for text in words_of(ax))


def test_any_script_is_drawn_without_a_warning():
    labels = [
        "電影很好看",
        "영화",
        "사랑",
        "ภาพยนตร์",
        "🎬",
        "\u200bzero\u200d",
        "\x07bell",
        "ﬁlm",
        "\ud800",
        "नमस्ते",
        "שלום",
    ]
    shown = explanation(11, labels=labels)
    for picture in (
        plots.plot_tokens(shown.attribution),
        plots.plot_side_by_side(shown),
        plots.plot_heatmap(shown.attention[0]),
    ):
        assert png(picture)[:4] == b"\x89PNG"


def test_white_space_inside_a_word_takes_one_line():
    ax = plots.plot_tokens(explanation(3, labels=["a\nb", "\t", "c"]).attribution)
    png(ax)
    assert [word.get_text() for word in words_of(ax)] == ["a b", "", "c"]


def test_a_character_no_font_has_is_a_box_or_nothing():
    (text, unseen, plain), _ = fonts.legible(["a\U00012000b", "a\U000e0001b", "a"])
    assert (text, unseen, plain) == ("a□b", "ab", "a")


def test_a_tone_of_skin_is_left_out():
    assert fonts.legible(["👍🏽", "ab🏽🏽"])[0] == [fonts.legible(["👍"])[0][0], "ab"]


def test_another_installed_font_stands_in():
    own, other = (fonts._characters_of(name) for name in (FontProperties().get_family()[0], "STIXGeneral"))
    only = next(one for one in sorted(other - own) if one.isprintable())
    texts, families = fonts.legible([f"a{only}"])
    assert texts == [f"a{only}"]
    assert families[:-1] == FontProperties().get_family()
    assert only in fonts._characters_of(families[-1])  # STIXGeneral, or one that is asked before it
    png(plots.plot_tokens(explanation(1, labels=[only]).attribution))


def test_text_written_from_right_to_left_begins_at_the_right():
    lines = []
    for labels in (["סרט", "טוב", "מאוד", "x"], ["a", "fine", "film", "x"]):
        ax = plots.plot_tokens(explanation(4, labels=labels).attribution)
        lines.append([word.get_position()[0] for word in words_of(ax)])
    assert lines[0] == sorted(lines[0], reverse=True)
    assert lines[1] == sorted(lines[1])
    assert lines[0][0] > 500 > 50 > lines[1][0]


def test_what_cannot_be_drawn_gets_a_sentence():
    with pytest.raises(ArgumentError, match=r"Expected Attribution or AttentionMap; received Explanation. plot_side"):
        plots.plot_tokens(explanation(3))
    with pytest.raises(ArgumentError, match="row must be 0, the only row; received 1"):
        plots.plot_tokens(explanation(3).attribution, row=1)
    with pytest.raises(ArgumentError, match="nothing but padding"):
        plots.plot_tokens(attention_map(keys=0, padding=(0, 2)))
    with pytest.raises(ArgumentError, match="query must be"):
        plots.plot_tokens(attention_map(), query="some")
