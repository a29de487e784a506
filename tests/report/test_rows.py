"""Each row in short: numbers looked up again by hand, and what there is to say where there is little."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from keras_attn_xai import AttentionMap, align
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.report.rows import describe
from tests.made import explanation


def test_the_strongest_are_the_ones_of_the_ruler():
    whole = explanation(7, rows=3, padding=2)
    seen = align(whole)
    found = describe(whole, class_names=["bad", "good"])
    assert found["map"] == {"name": "encoder/att", "heads": seen.heads, "query": seen.query}
    assert (found["model"], found["method"], found["unit"], len(found["rows"])) == ("reviews", "exact", "log-odds", 3)
    for i, row in enumerate(found["rows"]):
        moved, looked = seen.attribution[i, :7], seen.attention[i, :7]
        by_size = sorted(range(7), key=lambda place, moved=moved: -abs(moved[place]))[0]
        by_weight = sorted(range(7), key=lambda place, looked=looked: -looked[place])[0]
        label = whole.labels[i]
        assert row["strongest"] == {
            "shap": {"label": label[by_size], "position": by_size, "value": moved[by_size]},
            "attention": {"label": label[by_weight], "position": by_weight, "value": looked[by_weight]},
        }
        assert row["kendall_tau"] == pytest.approx(stats.kendalltau(looked, abs(moved)).statistic)
        assert row["text"] == "the film is a gorgeous $10 mess_up"
        assert (row["answer"], row["target"]) == ("good", 1)
        assert row["output"] == whole.attribution.output[i]
        assert row["probability"] == pytest.approx(1 / (1 + np.exp(-row["output"])))


def test_one_of_them_moves_the_answer_down():
    """The law above would hold for values without signs only, were none of the strongest negative."""
    rows = describe(explanation(7, rows=3, padding=2))["rows"]
    assert any(row["strongest"]["shap"]["value"] < 0 for row in rows)


def test_without_a_map_shap_stands_alone():
    found = describe(explanation(5, attention=False, unit="output"))
    assert found["map"] is None
    (row,) = found["rows"]
    assert (row["strongest"]["attention"], row["kendall_tau"], row["probability"]) == (None, None, None)
    assert row["answer"] == "output 1"
    assert row["strongest"]["shap"]["label"]


def test_a_map_of_other_positions_is_no_map():
    whole = explanation(5)
    other = AttentionMap("decoder/att", np.ones((1, 1, 1, 3)) / 3, [["?"]], [["x", "y", "z"]])
    assert describe(replace(whole, attention=(other,)))["map"] is None
    assert describe(replace(whole, attention=(*whole.attention, other)))["map"]["name"] == "encoder/att"


def test_padding_is_never_the_strongest():
    whole = explanation(3)
    moved = replace(
        whole.attribution,
        values=[[0.0, 0.0, 0.0]],
        base=whole.attribution.output,
        mask=[[False, False, True]],
        standard_error=None,
    )
    (row,) = describe(replace(whole, attention=(), attributions=(moved,)))["rows"]
    assert row["strongest"]["shap"] == {"label": "is", "position": 2, "value": 0.0}
    assert row["text"] == "is"
    nothing = replace(moved, mask=[[False, False, False]])
    (row,) = describe(replace(whole, attention=(), attributions=(nothing,)))["rows"]
    assert row["strongest"]["shap"] is None
    assert row["text"] == ""


def test_weights_without_an_order_have_no_tau():
    whole = explanation(5)
    even = replace(whole.attention[0], weights=np.full((1, 2, 3, 5), 0.2))
    found = describe(replace(whole, attention=(even,)))
    assert found["rows"][0]["kendall_tau"] is None
    json.dumps(found, allow_nan=False)


def test_texts_are_shown_as_they_were_written():
    found = describe(explanation(3, rows=2), texts=["The film is", "THE film, is"])
    assert [row["text"] for row in found["rows"]] == ["The film is", "THE film, is"]


def test_what_cannot_be_described_is_refused():
    with pytest.raises(ArgumentError, match="at least one explained row"):
        describe(explanation(3)[:0])
    with pytest.raises(ArgumentError, match="class_names has 1 names; a row's target is class 1"):
        describe(explanation(3), class_names=["bad"])
