"""The command line: one sentence and exit code 2 for every mistake, nothing half-written."""

import csv
import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_attn_xai.auditing.verdict import PARTLY, YES
from keras_attn_xai.cli import _asked, _parser, main
from keras_attn_xai.layers import BahdanauAttention
from keras_attn_xai.terminal import MARKS, MEASURES, VERDICTS

WORDS = ["", "[UNK]", "[MASK]", "a", "dull", "fine", "film"]


def build(*, attention=True, length=None):
    ids = keras.Input((length,), dtype="int32")
    states = keras.layers.Embedding(len(WORDS), 5, mask_zero=True)(ids)
    if attention:
        states, _ = BahdanauAttention(7, name="att")(states)
    pooled = keras.layers.GlobalAveragePooling1D()(states)
    return keras.Model(ids, keras.layers.Dense(2, activation="softmax")(pooled), name="tiny")


@pytest.fixture
def files(tmp_path):
    build().save(tmp_path / "model.keras")
    (tmp_path / "texts.txt").write_text("A fine film\na dull, dull film\n", encoding="utf-8")
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return tmp_path


def arguments(files, **changes):
    given = {
        "model": files / "model.keras", "texts": files / "texts.txt", "vocabulary": files / "words.txt",
        "mask-token": "[MASK]", "out": files / "out",
    } | {name.replace("_", "-"): value for name, value in changes.items()}  # fmt: skip
    model = given.pop("model")
    return ["explain", str(model), *(part for name, value in given.items() for part in (f"--{name}", str(value)))]


def test_info_prints_versions(capsys):
    assert main(["info"]) == 0
    assert f"keras {keras.__version__}" in capsys.readouterr().out


def test_explain_writes_everything(files, capsys):
    assert main(arguments(files, classes="bad,good")) == 0
    written = sorted(entry.name for entry in (files / "out").iterdir())
    assert written == ["explanations", "pictures", "report.html", "saved_model"]
    assert len(list((files / "out" / "pictures").iterdir())) == 2
    page = (files / "out" / "report.html").read_text(encoding="utf-8")
    assert "dull" in page
    assert "good" in page or "bad" in page
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4:] == [str(files / "out" / name) for name in written]
    for line, text in zip(lines[1:], ("A fine film", "a dull, dull film"), strict=False):
        assert re.fullmatch(rf"\d  (bad|good), \d+% +[+-]\S+ \S+ +0\.\d+ \S+ +(none|[+-]\d\.\d\d)  {text}", line)


def test_a_model_without_attention_is_explained_and_told(files, capsys):
    build(attention=False).save(files / "model.keras")
    assert main(arguments(files)) == 0
    assert "no attention layer" in capsys.readouterr().out
    assert "no attention map" in (files / "out" / "report.html").read_text(encoding="utf-8")


def missing(files):
    return {"texts": files / "nowhere.txt"}, "there is no file"


def unreadable_model(files):
    (files / "model.keras").write_text("not a model")
    return {}, "is not a Keras model"


def missing_model(files):
    return {"model": files / "nowhere.keras"}, "there is no file"


def empty_text(files):
    (files / "texts.txt").write_text("a film\n\na film\n")
    return {}, "line 2 is an empty text"


def no_text_at_all(files):
    (files / "texts.txt").write_text("")
    return {}, "line 1 is an empty text"


def text_too_long(files):
    build(length=3).save(files / "model.keras")
    (files / "texts.txt").write_text("a film\na fine fine film\n")
    return {}, "the model takes 3"


def unknown_mask_token(files):
    return {"mask_token": "<mask>"}, "'<mask>' is not in the vocabulary"


def text_not_text(files):
    (files / "texts.txt").write_bytes(b"a film\n\xff\n")
    return {}, "texts.txt is not UTF-8 text: invalid start byte at byte 7"


def out_inside_a_file(files):
    return {"out": files / "texts.txt" / "out"}, "texts.txt"


def vocabulary_not_text(files):
    (files / "words.txt").write_bytes(b"\xff\xfe\x00")
    return {}, "is not UTF-8"


def unknown_method(files):
    return {"method": "guess"}, "method must be one of"


def budget_too_small(files):
    return {"method": "permutation", "budget": 3}, "budget of at least"


def foreign_folder(files):
    (files / "out").mkdir()
    (files / "out" / "thesis.tex").write_text("years of work")
    return {}, "does not hold report.html"


def vocabulary_larger_than_the_model(files):
    (files / "words.txt").write_text("\n".join([*WORDS, "splendid"]) + "\n")
    (files / "texts.txt").write_text("a splendid film\n")
    return {}, "refused its input"


MISTAKES = [
    missing, unreadable_model, missing_model, empty_text, no_text_at_all, text_too_long, unknown_mask_token,
    text_not_text, out_inside_a_file, vocabulary_not_text, unknown_method, budget_too_small, foreign_folder,
    vocabulary_larger_than_the_model,
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_one_sentence_and_code_2(files, capsys, mistake):
    changes, sentence = mistake(files)
    before = sorted(files.rglob("*"))
    assert main(arguments(files, **changes)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("keras-attn-xai explain: ")
    assert sentence in said[0]
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [({"budget": 0}, "at least 1, not '0'"), ({"budget": "many"}, "not 'many'"), ({"seed": 2**32}, "to 4294967295")],
)
def test_argparse_refuses_numbers_that_cannot_be_meant(files, capsys, mistake, sentence):
    with pytest.raises(SystemExit) as stop:
        main(arguments(files, **mistake))
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_a_foreign_folder_is_refused_before_the_model_is_read(files, capsys):
    (files / "model.keras").unlink()
    assert main(arguments(files, out=files)) == 2
    assert "does not hold report.html" in capsys.readouterr().err


def test_a_real_process_prints_one_line(files):
    command = [sys.executable, "-m", "keras_attn_xai.cli", *arguments(files, mask_token="<mask>")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "keras-attn-xai explain: '<mask>' is not in the vocabulary of 7 words.\n"


# lint


def leaking():
    """Its second attention reads the padding, for the first one deletes the mask."""
    query, ids = keras.Input((3, 7), name="query"), keras.Input((None,), dtype="int32", name="ids")
    memory = keras.layers.Embedding(11, 7, mask_zero=True, name="embedding")(ids)
    first = keras.layers.MultiHeadAttention(1, 7, name="first")(query, memory)
    return keras.Model([query, ids], keras.layers.MultiHeadAttention(1, 7, name="second")(first, memory), name="two")


@pytest.fixture
def linted(tmp_path):
    leaking().save(tmp_path / "model.keras")
    np.savez(tmp_path / "batch.npz", ids=[[3, 4, 0, 0]], query=np.ones((1, 3, 7)))
    return tmp_path


def lint(files, model="model.keras", inputs="batch.npz"):
    return main(["lint", str(files / model), "--inputs", str(files / inputs)])


def test_lint_prints_a_leak_a_line_and_a_summary(linted, capsys):
    assert lint(linted) == 1
    leak, summary = capsys.readouterr().out.splitlines()
    assert leak.startswith("second: 50 % of its weight lands on padded keys (worst row 0: 50 %). ")
    assert "'embedding' was deleted by 'first'" in leak
    assert summary == f"1 attention call reads padding of {linted / 'batch.npz'}."


def test_lint_of_a_batch_without_padding_is_clean(linted, capsys):
    np.savez(linted / "batch.npz", ids=[[3, 4, 1, 2]], query=np.ones((1, 3, 7)))
    assert lint(linted) == 0
    assert capsys.readouterr().out == f"No attention call reads padding of {linted / 'batch.npz'}.\n"


def test_lint_fits_an_only_array_to_an_only_input_whatever_its_name(files, capsys):
    np.savez(files / "batch.npz", whatever=[[3, 4, 0, 0]])
    assert lint(files) == 0
    assert capsys.readouterr().out.startswith("No attention call reads padding")


def wrong_names(files):
    np.savez(files / "batch.npz", ids=[[3, 4]], queries=np.ones((1, 3, 7)))
    return "has 'ids', 'queries', and the model 'two' takes 'query', 'ids'"


def wrong_shape(files):
    np.savez(files / "batch.npz", ids=[3, 4], query=np.ones((1, 3, 7)))
    return "'ids' (None, None); received"


def unknown_id(files):
    np.savez(files / "batch.npz", ids=[[3, 99]], query=np.ones((1, 3, 7)))
    return "two refused"


def no_file(files):
    (files / "batch.npz").unlink()
    return "there is no file"


def no_npz(files):
    (files / "batch.npz").write_text("3 4 0 0")
    return "batch.npz is not an npz file"


def objects(files):
    np.savez(files / "batch.npz", ids=np.array([{}], dtype=object))
    return "is not an npz file that can be read: Object arrays"


def no_model(files):
    (files / "model.keras").unlink()
    return "there is no file"


def no_attention(files):
    build(attention=False).save(files / "model.keras")
    np.savez(files / "batch.npz", [[3, 4]])
    return "'tiny' has no attention layer"


@pytest.mark.parametrize(
    "mistake",
    [wrong_names, wrong_shape, unknown_id, no_file, no_npz, objects, no_model, no_attention],
    ids=lambda mistake: mistake.__name__,
)
def test_what_lint_cannot_do_is_one_sentence_and_code_2(linted, capsys, mistake):
    sentence = mistake(linted)
    assert lint(linted) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("keras-attn-xai lint: ")
    assert sentence in lines[0]


# audit


@pytest.fixture
def audited(tmp_path):
    """Eleven rows of seven ids, their classes, and a model that reads them."""
    keras.utils.set_random_seed(0)
    build().save(tmp_path / "model.keras")
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "rows.npz", ids=draw.integers(3, len(WORDS), (11, 7)), y=draw.integers(0, 2, 11))
    return tmp_path


def audit(files, *more, data="rows.npz"):
    return main(["audit", str(files / "model.keras"), "--data", str(files / data), "--out", str(files / "out"), *more])


def test_audit_prints_the_verdict_and_writes_every_number(audited, capsys):
    assert audit(audited, "--background", "2", "--seed", "3") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Verdict: ")
    assert "An absent position is id 2." in printed
    assert "The model is right on" in printed
    assert "seed 3" in printed
    out = audited / "out"
    assert sorted(entry.name for entry in out.iterdir()) == ["audit.csv", "audit.html", "audit.json"]
    assert printed.splitlines()[-3:] == [str(out / name) for name in ("audit.html", "audit.csv", "audit.json")]
    document = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert f"Verdict: {document['verdict']}\n" in printed
    assert VERDICTS.keys() == {YES, PARTLY}
    assert MARKS.keys() >= {check["speaks"] for check in document["checks"]}
    (order,) = [line.split() for line in printed.splitlines() if line.startswith("attention  ")]
    means = {row["measure"]: row["mean"] for row in document["numbers"] if row["method"] == "attention"}
    assert order[1:] == [f"{means[measure]:z.3f}" for measure in MEASURES]
    assert all(check["sentence"] in printed for check in document["checks"])
    assert all(one in printed for one in (*document["untested"], *document["notes"]))
    assert {row["table"] for row in document["numbers"]} == {"agreement", "faithfulness", "tests"}
    assert {len(curve["mean"]) for curve in document["curves"]} == {11}
    table = list(csv.DictReader((out / "audit.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["mean"] for row in table] == ["" if r["mean"] is None else str(r["mean"]) for r in document["numbers"]]
    assert document["verdict"] in (out / "audit.html").read_text(encoding="utf-8")


def series_model(names):
    """Steps of the first input, read with attention, beside a mean of the others."""
    inputs = [keras.Input((5, 3), name=name) for name in names]
    context, _ = BahdanauAttention(7, name="att")(inputs[0])
    pooled = [keras.layers.GlobalAveragePooling1D()(one) for one in (context, *inputs[1:])]
    joined = keras.layers.Concatenate()(pooled) if len(pooled) > 1 else pooled[0]
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(joined), name="series")


@pytest.mark.parametrize(
    ("given", "more", "mean", "said"),
    [
        ({}, [], 4, "that of the mean row of rows.npz."),
        ({"background": 2}, [], 2, "that of 2 background rows, averaged over."),
        ({"far": 3}, ["--background", "far"], 3, "that of 3 background rows, averaged over."),
        ({"background": 2}, ["--background", "mean"], 4, "that of the mean row of rows.npz."),
        ({"background": 2}, ["--background", "zeros"], 0, "the number 0."),
        ({}, ["--background=-0.5"], -0.5, "the number -0.5."),
    ],
    ids=["mean", "background", "far", "asked-mean", "zeros", "number"],
)
def test_what_an_absent_step_is(given, more, mean, said):
    arrays = {name: np.full((rows, 5, 3), float(rows)) for name, rows in {"steps": 4, **given}.items()}
    asked = _parser().parse_args(["audit", "m", "--data", "rows.npz", "--out", "o", *more])
    x, options, note = _asked(series_model(["steps"]), arrays, asked)
    assert np.shape(x) == (4, 5, 3)
    assert np.mean(options["background"]) == mean
    assert note == f"An absent position is {said}"


def test_audit_of_several_inputs_judges_the_positions_of_one(tmp_path, capsys):
    keras.utils.set_random_seed(0)
    series_model(["y", "other"]).save(tmp_path / "model.keras")
    draw = np.random.default_rng(0)
    arrays = {name: draw.normal(size=(3, 5, 3)) for name in ("y", "other")}
    np.savez(tmp_path / "rows.npz", **arrays)
    assert audit(tmp_path) == 2  # y is an input here
    assert "takes 'y', 'other'; say with --players" in capsys.readouterr().err
    np.savez(tmp_path / "rows.npz", **arrays, right=[0, 1, 0])
    assert audit(tmp_path, "--labels", "right", "--players", "y", "--json") == 0
    printed = capsys.readouterr().out
    document = json.loads(printed)
    assert document.pop("written") == [str(tmp_path / "out" / f"audit.{kind}") for kind in ("html", "csv", "json")]
    assert document == json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    notes = document["notes"]
    assert any("The model is right on" in note for note in notes)
    assert notes[-1] == f"An absent position is that of the mean row of {tmp_path / 'rows.npz'}."


def ids_without_background(files):
    return [], "ids have no mean: give --background"


def foreign_name(files):
    return ["--background", "far"], "or an array of"


def padding(files):
    return ["--background", "zeros"], "0"


def no_labels(files):
    return ["--background", "2", "--labels", "right"], "and no 'right' beside the inputs"


def soft_labels(files):
    np.savez(files / "rows.npz", ids=[[3, 4, 5]] * 2, y=np.ones((2, 2)))
    return ["--background", "2"], "y must be the class of each of 2 rows"


def one_row(files):
    np.savez(files / "rows.npz", ids=[[3, 4, 5]])
    return ["--background", "2"], "at least two rows"


def no_data(files):
    (files / "rows.npz").unlink()
    return ["--background", "2"], "there is no file"


def unknown_ids(files):
    np.savez(files / "rows.npz", ids=[[3, 99]] * 2)
    return ["--background", "2"], ""


def audit_in_the_way(files):
    (files / "out").mkdir()
    (files / "out" / "thesis.tex").write_text("years of work")
    return ["--background", "2"], "does not hold audit.html"


def plain(files):
    build(attention=False).save(files / "model.keras")
    return ["--background", "2"], "'tiny' has no attention layer"


@pytest.mark.parametrize(
    "mistake",
    [
        ids_without_background, foreign_name, padding, no_labels, soft_labels, one_row, no_data, unknown_ids,
        audit_in_the_way, plain,
    ],
    ids=lambda mistake: mistake.__name__,
)  # fmt: skip
def test_what_audit_cannot_do_is_one_sentence_and_nothing_written(audited, capsys, mistake):
    more, sentence = mistake(audited)
    before = sorted(audited.rglob("*"))
    assert audit(audited, *more) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("keras-attn-xai audit: ")
    assert sentence in lines[0]
    assert sorted(audited.rglob("*")) == before
