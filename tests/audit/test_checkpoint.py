"""Finished stages on disk: taken where all is the same, refused where something is not, and whole or not there."""

import json

import keras
import numpy as np
import pytest

from keras_attn_xai import Attribution, Explanation, Provenance
from keras_attn_xai.auditing import AttentionTest, audit
from keras_attn_xai.auditing.checkpoint import Checkpoint, Stage, fingerprint
from keras_attn_xai.auditing.faithfulness_table import Curve, FaithfulnessRow, FaithfulnessTable
from keras_attn_xai.errors import ArgumentError, FileFormatError
from keras_attn_xai.metrics import Interval
from tests.audit.planted import MASK, planted_rows, reader, trained

B = 5
INTERVAL = Interval(0.1, np.nan, float(np.float32(0.3)), 7)


def stage():
    """One of every kind of thing a stage holds."""
    table = FaithfulnessTable(
        (FaithfulnessRow("attention", "aopc", 0.1, np.nan, 0.3, 7),),
        (Curve("attention", "deletion", np.array([0.0, 1.0]), *np.array([[2.0, np.pi]] * 3)),),
        {("attention", "aopc"): np.array([np.nan, 0.1])},
        "log-odds",
        ("a note",),
    )
    words = [["fine", "film"]]
    moved = Attribution(
        values=[[2.0, 1.0]], base=[0.0], output=[3.0], target=[1], unit="log-odds", method="exact", evaluations=[4],
        player_labels=words,
    )  # fmt: skip
    test = AttentionTest("uniform", {"distance": np.arange(3.0)}, {"distance": INTERVAL}, "0 to 1.")
    return Stage(
        {"faithful": INTERVAL}, (test,), ("Something ä.",), table, Explanation((), (moved,), words, Provenance("m")),
        {"said": np.array([1, 0])},
    )  # fmt: skip


def shown(value):
    """A stage as text, its arrays with every digit."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.tolist()}"
    if hasattr(value, "items"):
        return str({name: shown(one) for name, one in value.items()})
    if isinstance(value, tuple):
        return f"{type(value).__name__} {[shown(one) for one in value]}"
    if hasattr(value, "__dataclass_fields__"):
        return f"{type(value).__name__} {[shown(getattr(value, name)) for name in value.__dataclass_fields__]}"
    return repr(value)


def test_a_stage_comes_back_as_it_was(tmp_path):
    made = stage()
    kept = Checkpoint(tmp_path / "kept", lambda: {"seed": 1})
    assert kept.stage("one", lambda: made) is made
    again = Checkpoint(tmp_path / "kept", lambda: {"seed": 1}).stage("one", lambda: pytest.fail("made again"))
    assert shown(again) == shown(made)
    assert not again.arrays["said"].flags.writeable
    files = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file())
    assert files == [
        "kept/asked.json", "kept/one/arrays.npz", "kept/one/explanation/arrays.npz",
        "kept/one/explanation/manifest.json", "kept/one/stage.json",
    ]  # fmt: skip


def test_without_a_folder_nothing_is_kept_or_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = Checkpoint(None, lambda: pytest.fail("asked"))
    assert kept.stage("one", Stage) is not kept.stage("one", Stage)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_was_stopped_leaves_whole_stages_alone(tmp_path, error):
    kept = Checkpoint(tmp_path, lambda: {"seed": 1})
    kept.stage("one", Stage)

    def stopped():
        raise error

    with pytest.raises(error):
        kept.stage("two", stopped)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["asked.json", "one"]


def test_an_audit_goes_on_where_it_was(tmp_path):
    model, _ = trained("learned")
    ids, labels, _ = planted_rows(B, seed=1)
    kept = tmp_path / "kept"
    plain = audit(model, ids, labels, background=MASK, seed=3)
    first = audit(model, ids, labels, background=MASK, seed=3, checkpoint=kept)
    assert sorted(one.name for one in kept.iterdir()) == [
        "asked.json", "explanation", "faithfulness", "small changes", "weights"
    ]  # fmt: skip
    described = json.loads((kept / "weights" / "stage.json").read_text(encoding="utf-8"))
    again = audit(model, ids, labels, background=MASK, seed=3, checkpoint=kept)
    for one in (first, again):
        assert str(one) == str(plain)
        assert str(one.rows) == str(plain.rows)
        assert one.to_dict() == plain.to_dict()
    untested = next(pair for pair in described["fields"] if pair[0] == "untested")
    untested[1] = ["Written by hand."]
    (kept / "weights" / "stage.json").write_text(json.dumps(described), encoding="utf-8")
    taken = audit(model, ids, labels, background=MASK, seed=3, checkpoint=kept)
    assert taken.untested[0] == "Written by hand."

    other, _ = reader("learned")
    for change, said in (
        ({"seed": 4}, "seed"),
        ({"background": 3}, "background"),
        ({"effort": "full"}, "effort"),
        ({"target": 0}, "target"),
        ({"y": 1 - labels}, "classes"),
        ({"x": ids[:, ::-1]}, "rows"),
        ({"model": other}, "model"),
        ({"model": other, "seed": 4}, "model, seed"),
    ):
        given = {"model": model, "x": ids, "y": labels, "background": MASK, "seed": 3} | change
        with pytest.raises(ArgumentError, match=f"audit with another {said}; give this audit a folder of its own"):
            audit(**given, checkpoint=kept)


def test_foreign_and_damaged_folders_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"does not hold asked.json"):
        Checkpoint(tmp_path, dict)
    kept = tmp_path / "kept"
    Checkpoint(kept, dict).stage("one", Stage)
    (kept / "one" / "stage.json").write_text("[")
    with pytest.raises(FileFormatError, match=r"one is damaged .*the stage is made again"):
        Checkpoint(kept, dict).stage("one", Stage)
    (kept / "asked.json").write_text('{"format": "another"}')
    with pytest.raises(FileFormatError, match=r"asked.json is not of 'keras-attn-xai audit stages', version 1"):
        Checkpoint(kept, dict)


def test_a_fingerprint_is_of_values():
    first, second, wider = (
        keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(1, act, name="d")], name="m")
        for act in (None, None, "tanh")
    )
    different = [
        None, 1, 1.0, "1", "a", ["a", "b"], ["ab"], ("a", "b"), {"a": "b"}, np.arange(3), np.arange(3.0),
        np.arange(3)[None], np.array(["a", "b"]), np.array(["a", "b"], object), len, fingerprint, Stage(), first,
        second,
    ]  # fmt: skip
    assert len({fingerprint(one) for one in different}) == len(different) - 1  # texts in an object array are a list
    second.set_weights(first.get_weights())
    assert fingerprint(first) == fingerprint(second)
    first.compile("adam", "mse")
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    wider.set_weights(first.get_weights())
    assert fingerprint(first) != fingerprint(wider)
