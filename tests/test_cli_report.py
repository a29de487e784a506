"""A saved explanation becomes a page, without a model, TensorFlow or shap."""

import json
import os
import subprocess
import sys

import pytest

from keras_attn_xai import load_explanation, save_explanation, write_report
from keras_attn_xai.cli import main
from tests.made import explanation


@pytest.fixture
def bundle(tmp_path):
    return save_explanation(explanation(5, rows=3, padding=2), tmp_path / "bundle")


def report(bundle, out, *more):
    return main(["report", str(bundle), "--out", str(out), *more])


def test_the_page_is_the_one_write_report_makes(bundle, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    assert report(bundle, page, "--classes", "bad,good") == 0
    expected = write_report(load_explanation(bundle), tmp_path / "other.html", class_names=["bad", "good"])
    assert page.read_text(encoding="utf-8") == expected.read_text(encoding="utf-8")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(page)
    assert [line.split()[:2] for line in lines[1:4]] == [["1", "good,"], ["2", "good,"], ["3", "good,"]]


def test_a_page_is_replaced(bundle, tmp_path):
    (tmp_path / "page.html").write_text("an older page")
    assert report(bundle, tmp_path / "page.html") == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_json_has_a_row_for_each_row(bundle, tmp_path, capsys):
    assert report(bundle, tmp_path / "page.html", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (len(document["rows"]), document["map"]["name"]) == (3, "encoder/att")
    assert document["written"] == [str(tmp_path / "page.html")]


def test_neither_a_model_nor_shap_is_loaded(bundle, tmp_path):
    code = f"""
import sys
from keras_attn_xai.cli import main
code = main(["report", {str(bundle)!r}, "--out", {str(tmp_path / "page.html")!r}])
print(code, [name for name in ("tensorflow", "keras", "shap", "matplotlib.pyplot") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_pipe_gets_utf_8_whatever_the_encoding_of_the_terminal(bundle, tmp_path):
    """A name of bytes that are no text, on a machine that writes ASCII."""
    page = bytes(tmp_path / "电影") + b"\xff.html"
    command = [sys.executable, "-m", "keras_attn_xai.cli", "report", str(bundle), "--json", "--out", page]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    (written,) = json.loads(done.stdout.decode("utf-8"))["written"]
    assert written.encode("utf-8", "surrogateescape") == page


def no_bundle(bundle, out):
    (bundle / "manifest.json").unlink()
    return [], "holds no manifest.json; expected a folder written by save_explanation."


def no_json(bundle, out):
    (bundle / "manifest.json").write_text("{")
    return [], "manifest.json is not JSON"


def damaged(bundle, out):
    (bundle / "arrays.npz").write_bytes(b"PK")
    return [], "the bundle is damaged"


def changed_by_hand(bundle, out):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["explanation"]["fields"] = "none"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return [], "is not a bundle that can be read: 'str' object has no attribute 'items'"


def too_few_classes(bundle, out):
    return ["--classes", "bad"], "class_names has 1 names; a row's target is class 1."


def no_rows(bundle, out):
    save_explanation(explanation(3)[:0], bundle)
    return [], "Expected at least one explained row"


def folder_in_the_way(bundle, out):
    out.mkdir()
    return [], "page.html: Is a directory."


def file_in_the_way(bundle, out):
    out.parent.write_text("years of work")
    return [], "/new: "


MISTAKES = [
    no_bundle, no_json, damaged, changed_by_hand, too_few_classes, no_rows, folder_in_the_way, file_in_the_way
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_one_sentence_and_nothing_written(bundle, tmp_path, capsys, mistake):
    page = tmp_path / ("new/page.html" if mistake is file_in_the_way else "page.html")
    more, sentence = mistake(bundle, page)
    before = sorted(tmp_path.rglob("*"))
    assert report(bundle, page, *more) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("keras-attn-xai report: ")
    assert sentence in line
    assert sorted(tmp_path.rglob("*")) == before
