"""The explanation as a table, and as what a notebook shows."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from keras_attn_xai import align
from keras_attn_xai.errors import MissingExtraError
from keras_attn_xai.report import page as page_module
from keras_attn_xai.report.page import SHOWN
from tests.made import explanation


def test_one_line_per_row_input_and_position():
    pytest.importorskip("pandas")
    shown = explanation(5, rows=3, padding=2)
    frame, seen = shown.to_frame(), align(shown)
    assert list(frame.columns) == ["row", "input", "position", "label", "attention", "value", "mask"]
    assert len(frame) == 3 * 7
    for row in range(3):
        lines = frame[frame["row"] == row]
        assert tuple(lines["position"]) == tuple(range(7))
        assert tuple(lines["label"]) == shown.labels[row]
        np.testing.assert_array_equal(lines["attention"], seen.attention[row])
        np.testing.assert_array_equal(lines["value"], shown.attribution.values[row])
        np.testing.assert_array_equal(lines["mask"], shown.attribution.mask[row])


def test_what_has_no_attention_gets_nan():
    pytest.importorskip("pandas")
    one = explanation(3, rows=2)
    second = replace(one.attribution, input_name="second")
    both = replace(one, attributions=(one.attribution, second)).to_frame()
    assert list(both["input"][:6]) == ["input"] * 3 + ["second"] * 3
    assert list(both["row"]) == [0] * 6 + [1] * 6
    assert both["attention"].notna().tolist() == ([True] * 3 + [False] * 3) * 2
    assert explanation(3, attention=False).to_frame()["attention"].isna().all()
    features = replace(one, attributions=(replace(one.attribution, players="features", player_labels=[["x"] * 3] * 2),))
    assert features.to_frame()["attention"].isna().all()
    assert list(features.to_frame()["label"]) == ["x"] * 6


def test_no_attribution_is_an_empty_table():
    pytest.importorskip("pandas")
    assert replace(explanation(3), attributions=()).to_frame().shape == (0, 7)


def test_without_pandas_the_frame_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="to_frame needs pandas: pip install pandas"):
        explanation(3).to_frame()


def test_a_notebook_gets_a_frame_that_may_run_its_script_and_nothing_else():
    html = explanation(3, rows=SHOWN + 1)._repr_html_()
    assert html.startswith('<iframe sandbox="allow-scripts" title="Attention beside SHAP, the first 20 of 21 rows"')
    assert html.count("&lt;section") == SHOWN
    assert "allow-same-origin" not in html
    frame, still = html.split('">', 1)
    assert frame.count("<") == 1  # the page inside is escaped
    assert still.strip().startswith("<p>Trust this notebook to choose layers and heads here")
    assert still.endswith("</iframe>")


def test_a_notebook_that_drops_frames_gets_tinted_words():
    hostile = ["</iframe><script>x</script>", "fine", '"><b>']
    one = explanation(3, rows=2, labels=hostile)
    still = one._repr_html_().split('">', 1)[1].removesuffix("</iframe>")
    assert set(re.findall(r"</?(\w+)", still)) == {"p", "b", "span"}
    assert still.count("<span") == 2 * 2 * 3
    assert still.count("<b>") == 2
    shares = np.abs(one.attribution.values) / np.abs(one.attribution.values).max(1, keepdims=True)
    signs = {"d55e00": 1, "0072b2": -1}
    found = [signs[hue] * int(tint, 16) for hue, tint in re.findall("#(d55e00|0072b2)(..)", still)]
    np.testing.assert_allclose(found, (184 * shares * np.sign(one.attribution.values)).ravel(), atol=1.1)
    looked = align(one).attention
    found = [int(tint, 16) for tint in re.findall("#6a4fb3(..)", still)]
    np.testing.assert_allclose(found, (184 * looked / looked.max(1, keepdims=True)).ravel(), atol=1.1)
    assert "Attention:" not in explanation(3, attention=False)._repr_html_()


def test_of_rows_with_millions_of_weights_a_notebook_shows_fewer(monkeypatch):
    monkeypatch.setattr(page_module, "MANY", 3 * 2 * 3 * 5)  # three rows of two heads, three queries, five words
    html = explanation(5, rows=7)._repr_html_()
    assert "the first 3 of 7 rows" in html
    assert html.count("&lt;section") == 3
    monkeypatch.setattr(page_module, "MANY", 1)
    assert explanation(5, rows=7)._repr_html_().count("&lt;section") == 1


def test_a_notebook_gets_a_sentence_where_there_is_no_page():
    one = explanation(3)
    several = replace(one, attributions=(one.attribution, replace(one.attribution, input_name="<b>")))
    assert "has 2 attributions (input, &lt;b&gt;)" in several._repr_html_()
    assert "at least one explained row" in explanation(3)[:0]._repr_html_()
