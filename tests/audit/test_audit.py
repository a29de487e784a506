"""Models whose attention explains, says nothing (uniform, random), or deceives; and what the audit says of each."""

import json
import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_attn_xai import AttentionExplainer
from keras_attn_xai.auditing import AttentionTest, Audit, audit
from keras_attn_xai.auditing.battery import difference_between_rows, taken
from keras_attn_xai.auditing.verdict import CHANGES, NO, NOTHING, YES
from keras_attn_xai.errors import ArgumentError, ModelError, ShapeError
from keras_attn_xai.layers import AttentionPooling
from keras_attn_xai.metrics import Interval, score_against_truth
from tests.audit.planted import LONGEST, MASK, planted_rows, trained
from tests.explain.models import linear_model, token_ids, wide_weights

ROWS = 41


@pytest.fixture(scope="module", params=["learned", "uniform", "random", "hidden"])
def audited(request):
    """A kind of model, its audit, and where its attention sat: the mass on the planted answer."""
    model, accuracy = trained(request.param)
    assert accuracy > (0.85 if request.param == "random" else 0.95)  # who attends at random overlooks some answers
    ids, labels, truth = planted_rows(ROWS, seed=5)
    found = audit(model, ids, labels, background=MASK, seed=2)
    weights = AttentionExplainer(model, MASK)(ids[:7], budget=50).attention[-1].weights[:, 0, 0]
    mass = score_against_truth(weights, truth[:7], mask=ids[:7] != 0).mass.mean()
    return request.param, found, mass


def test_the_verdict_is_that_of_the_planted_task(audited):
    kind, found, mass = audited
    expected = {
        "learned": (YES, 0.7, 1.0),
        "uniform": (NOTHING, 0.0, 0.2),
        "random": (NOTHING, 0.0, 0.3),
        "hidden": (NO, 0.0, 0.01),
    }
    verdict, low, high = expected[kind]
    assert low <= mass <= high  # the task is what it says it is
    assert found.verdict == verdict, str(found)


def test_reasons_and_tables_hold_the_numbers(audited):
    kind, found, _ = audited
    text = str(found)
    assert text.startswith(f"Verdict: {found.verdict}")
    assert all(reason in text for reason in (*found.reasons, *found.untested))
    assert "The model is right on" in text
    assert f"{ROWS} of {ROWS} rows" in text
    table = found.tables["faithfulness"]
    methods = {row.method for row in table.rows}
    assert methods == {"attention", "random"} | {
        form.format(name) for form in ("{}", "|{}|") for name in ("SHAP", "gradients", "leave-one-out")
    }
    assert {test.name for test in found.tables["tests"]} == {"permutation", "uniform", "erasure", *CHANGES}
    gain = table.row("attention", "comprehensiveness").mean - table.row("random", "comprehensiveness").mean
    assert f"{gain:.3f} [" in text
    if kind == "hidden":  # other explanations find the answer all the same
        assert table.row("|SHAP|", "normalized_aopc").low > 0.9 > 0.1 > table.row("attention", "normalized_aopc").high
    assert len(found.rows) > 50
    assert {len(row) for row in found.rows} == {7}


def test_the_page_holds_the_verdict_and_loads_nothing(audited, tmp_path):
    _, found, _ = audited
    page = found.to_html(tmp_path / "audit.html").read_text(encoding="utf-8")
    assert found.verdict in page
    assert page.count("<polyline") == 2 * 8 + 8  # two pictures and their key
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    points = page.split('points="')[1].split('"')[0].split()
    assert len(points) == 11
    assert points[0].startswith("0.0,")
    strokes = re.findall(r'<polyline class="([^"]+)"', page)
    assert len(set(strokes[:8])) == 8  # no two methods look the same
    assert strokes == strokes[:8] * 3
    assert all(f".{hue} {{ stroke" in page for stroke in strokes for hue in stroke.split(" ")[:1])


def test_an_audit_is_plain_data(audited):
    _, found, _ = audited
    document = found.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert [tuple(check.values()) for check in document["checks"]] == [tuple(check) for check in found.checks]
    assert (document["verdict"], document["unit"]) == (found.verdict, "log-odds")
    assert (document["untested"], document["notes"]) == (list(found.untested), list(found.notes))
    for given, (*names, mean, low, high, rows) in zip(document["numbers"], found.rows, strict=True):
        expected = [None if np.isnan(one) else one for one in (mean, low, high)]
        assert list(given.values()) == [*names, *expected, rows]
    undefined = AttentionTest("uniform", {}, {"distance": Interval(0.5, np.nan, np.nan, 1)}, "")
    (number,) = Audit("partly", (), tables={"tests": (undefined,)}).to_dict()["numbers"]
    assert (number["mean"], number["low"]) == (0.5, None)


def test_the_same_seed_gives_the_same_audit_and_nothing_is_printed(capfd):
    model, _ = trained("learned")
    ids, _, _ = planted_rows(5, seed=1)
    one, other = (audit(model, ids, background=MASK, seed=3) for _ in range(2))
    assert str(one) == str(other)
    assert one.rows == other.rows or str(one.rows) == str(other.rows)  # NaN is not NaN
    assert capfd.readouterr().out == ""
    assert any("More than 5 rows" in said for said in one.untested)
    assert any("reads each position alone: these need the training, build_and_fit" in said for said in one.untested)


def test_a_quick_audit_takes_a_hundred_rows_and_leaves_the_model_alone():
    model, _ = trained("uniform")
    before = [array.copy() for array in model.get_weights()]
    ids, labels, _ = planted_rows(103, seed=1)
    found = audit(model, ids, labels, background=MASK, build_and_fit=lambda seed, change: pytest.fail("trained"))
    assert any('reads each position alone: effort="full"' in said for said in found.untested)
    assert any("100 of 103 rows" in note for note in found.notes)
    assert {test.name: test.mean.rows for test in found.tables["tests"]} == {
        **dict.fromkeys(("permutation", "uniform", "erasure"), 100),
        **dict.fromkeys(CHANGES, 20),  # so many are changed a little
    }
    for array, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, old)


FURTHER = ["adversarial", "weight randomization", "cascading randomization"]
TRAINED = ["seeds", "uniform retrained", "diagnostic MLP"]


def test_full_adds_the_adversary_random_weights_and_training(tmp_path):
    """Three kinds of models stand for three trainings, and the training itself is stopped once."""
    model, _ = trained("hidden")
    ids, labels, _ = planted_rows(7, seed=1)
    asked = []

    def build_and_fit(seed, change=None):
        asked.append((seed, change is None))
        if len(asked) == 1:
            raise KeyboardInterrupt
        own = trained("hidden" if seed == 3 else "learned")[0]
        return own if change is None else change(own)

    given = {"background": MASK, "effort": "full", "build_and_fit": build_and_fit, "checkpoint": tmp_path, "seed": 3}
    with pytest.raises(KeyboardInterrupt):
        audit(model, ids, labels, **given)
    assert len(list(tmp_path.iterdir())) == 7  # six stages, and what was asked
    found = audit(model, ids, labels, **given)
    assert asked == [(3, True), *((seed, True) for seed in (3, 4, 5)), *((seed, False) for seed in (3, 4, 5))]
    assert [test.name for test in found.tables["tests"]][-6:] == FURTHER + TRAINED
    assert {"seeds", "uniform retrained", "diagnostic"} <= {check.name for check in found.checks}
    assert not any("training" in one for one in found.untested)
    assert all(len(test.mean) == 4 and test.mean.rows == 7 for test in found.tables["tests"])
    assert found.verdict == NO


def test_a_number_instead_of_classes_leaves_the_weights_untested():
    ids = keras.Input((7,), dtype="int32")
    x = layers.Embedding(31, 5)(ids)
    x, _ = AttentionPooling("location", name="pool")(x)
    model = wide_weights(keras.Model(ids, layers.Dense(1)(x)))
    found = audit(model, token_ids(11), background=MASK)
    assert found.verdict != YES
    assert any("one number, not a distribution" in one for one in found.untested)
    assert found.tables["tests"] == ()


def test_weights_of_the_position_alone_are_the_same_whatever_the_row():
    mask = np.ones((5, LONGEST), bool)
    mask[3:, 7:] = False
    fixed = np.where(mask, np.arange(1.0, LONGEST + 1), 0)
    np.testing.assert_allclose(difference_between_rows(fixed, mask), 0, atol=1e-9)
    moving = np.where(mask, np.random.default_rng(0).random(mask.shape), 0)
    assert (difference_between_rows(moving, mask) > 0.01).all()
    assert np.isnan(difference_between_rows(moving[2:4], mask[2:4])).all()


def test_rows_are_taken_of_every_kind_of_data():
    rows = np.array([2, 0])
    assert taken(["a", "b", "c"], rows) == ["c", "a"]
    assert taken({"x": ["a", "b", "c"]}, rows) == {"x": ["c", "a"]}
    two = taken((np.arange(6).reshape(3, 2), np.arange(3)[:, None]), rows)
    np.testing.assert_array_equal(two[0], [[4, 5], [0, 1]])
    np.testing.assert_array_equal(two[1], [[2], [0]])


def test_an_audit_is_a_frame():
    pytest.importorskip("pandas")
    frame = Audit("partly", ()).to_frame()
    assert list(frame.columns) == ["table", "method", "measure", "mean", "low", "high", "rows"]


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        (3, {"effort": "some"}, ArgumentError, "effort must be"),
        (1, {}, ArgumentError, "at least two rows"),
        (3, {"y": [0.5, 0.5, 1.0]}, ShapeError, "class of each of 3 rows.*float64"),
        (3, {"y": [[0, 1], [1, 0], [0, 1]]}, ShapeError, r"class of each of 3 rows.*\(3, 2\)"),
        (3, {"build_and_fit": lambda seed: None}, ArgumentError, "build_and_fit must take a seed and a change"),
        (3, {"players": "cells", "target": 0}, ArgumentError, "players along the positions|players"),
    ],
)
def test_what_cannot_be_meant_is_said(rows, options, error, message):
    with pytest.raises(error, match=message):
        audit(trained("learned")[0], planted_rows(rows)[0], background=MASK, **options)


def test_a_model_without_attention_is_refused():
    with pytest.raises(ModelError, match="no attention layer"):
        audit(linear_model()[0], token_ids(3), background=MASK)
