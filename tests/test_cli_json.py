"""One JSON document for a script: nothing else on standard output, whatever is said meanwhile."""

import io
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_attn_xai import demo, load_explanation
from keras_attn_xai.cli import LIBRARIES, main
from keras_attn_xai.metrics import Interval
from tests.test_cli import WORDS, build, leaking


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    keras.utils.set_random_seed(0)
    build(attention=False).save(folder / "plain.keras")
    leaking().save(folder / "leaking.keras")
    (folder / "texts.txt").write_text("A fine film\na dull, [red]dull[/] 电影\n", encoding="utf-8")
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    np.savez(folder / "padded.npz", ids=[[3, 4, 0, 0]], query=np.ones((1, 3, 7)))
    np.savez(folder / "whole.npz", ids=[[3, 4, 1, 2]], query=np.ones((1, 3, 7)))
    return folder


@pytest.fixture
def run(capsysbinary):
    """The exit code, the document on standard output, and what stands on standard error."""

    def run(*arguments):
        code = main([*map(str, arguments), "--json"])
        said = capsysbinary.readouterr()
        assert said.out.endswith(b"}\n")
        return code, json.loads(said.out.decode("utf-8"), parse_constant=pytest.fail), said.err.decode()

    return run


def explain(files, out="out"):
    return (
        "explain", files / "plain.keras", "--texts", files / "texts.txt", "--vocabulary", files / "words.txt",
        "--mask-token", "[MASK]", "--classes", "bad,good", "--out", files / out,
    )  # fmt: skip


def test_info_has_a_version_or_null_for_each_library(run):
    code, document, _ = run("info")
    assert code == 0
    assert list(document["versions"]) == ["python", *LIBRARIES]
    assert document["versions"]["keras"] == keras.__version__


def test_a_library_that_is_not_there_is_null(run, monkeypatch):
    monkeypatch.setattr("keras_attn_xai.cli.LIBRARIES", ("no-such-package",))
    assert run("info")[1]["versions"]["no-such-package"] is None


def test_explain_says_what_the_bundle_holds(run, files):
    code, document, said = run(*explain(files))
    assert code == 0
    assert said == "The model 'tiny' has no attention layer, so there is no map; SHAP is shown alone.\n"
    assert document["written"] == [str(files / "out" / name) for name in ("explanations", "report.html")]
    assert document["map"] is None
    moved = load_explanation(files / "out" / "explanations").attribution
    texts = ["A fine film", "a dull, [red]dull[/] 电影"]
    for place, (row, text) in enumerate(zip(document["rows"], texts, strict=True)):
        assert row["text"] == text
        assert row["answer"] == ("bad", "good")[moved.target[place]]
        strongest = row["strongest"]["shap"]
        assert strongest["value"] == moved.values[place, strongest["position"]]
        assert abs(strongest["value"]) == np.abs(moved.values[place]).max()
        assert row["strongest"]["attention"] is None


@pytest.mark.parametrize(("batch", "code", "names"), [("padded", 1, ["second"]), ("whole", 0, [])])
def test_lint_keeps_its_exit_code(run, files, batch, code, names):
    inputs = files / f"{batch}.npz"
    found, document, said = run("lint", files / "leaking.keras", "--inputs", inputs)
    assert (found, said) == (code, "")
    assert (document["model"], document["inputs"]) == ("two", str(inputs))
    assert [leak["name"] for leak in document["leaks"]] == names
    for leak in document["leaks"]:
        assert leak["share"] == pytest.approx(0.5, abs=0.1)
        assert leak["sentence"].endswith(f"{leak['cause']} {leak['cure']}")
        assert leak.keys() == {"name", "share", "worst_row", "worst_share", "cause", "cure", "sentence"}


def test_the_demo_tells_its_progress_elsewhere(run, monkeypatch):
    def short(out, *, sentences, epochs, say):
        say(f"1/5  Reading {sentences} sentences for {epochs} epochs")
        nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
        return demo.DemoResult(Path(out), 0.75, Interval(0.5, 0.25, 0.75, 5), nothing, ("model.keras", "report.html"))

    monkeypatch.setattr(demo, "run_demo", short)
    code, document, said = run("demo", "--out", "shown", "--sentences", "5", "--epochs", "1")
    assert (code, said) == (0, "1/5  Reading 5 sentences for 1 epochs\n")
    assert document == {
        "accuracy": 0.75,
        "kendall_tau": {"mean": 0.5, "low": 0.25, "high": 0.75, "rows": 5},
        "top_3_overlap": {"mean": None, "low": None, "high": None, "rows": 0},
        "written": ["shown/model.keras", "shown/report.html"],
    }


@pytest.mark.parametrize("command", ["explain", "lint", "audit", "report"])
def test_a_mistake_is_a_sentence_and_no_document(capsys, files, command):
    nowhere = str(files / "nowhere")
    more = {
        "explain": ["--texts", nowhere, "--vocabulary", nowhere, "--mask-token", "a", "--out", str(files / "no")],
        "lint": ["--inputs", nowhere],
        "audit": ["--data", nowhere, "--out", str(files / "no")],
        "report": ["--out", str(files / "no.html")],
    }[command]
    assert main([command, nowhere, *more, "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"keras-attn-xai {command}: ")
    assert said.err.count("\n") == 1


def test_without_bytes_beneath_as_in_a_notebook_it_is_text(monkeypatch):

    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    assert main(["info", "--json"]) == 0
    assert "python" in json.loads(written.getvalue())["versions"]
