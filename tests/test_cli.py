"""The command line: one sentence and exit code 2 for every mistake, nothing half-written."""

import subprocess
import sys

import keras
import pytest

from keras_attn_xai.cli import main
from keras_attn_xai.layers import BahdanauAttention

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
    assert [line.rsplit("/", 1)[-1] for line in capsys.readouterr().out.splitlines()] == written


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
