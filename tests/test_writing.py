"""Folders and files appear whole or not at all."""

import pytest

from keras_attn_xai.writing import refuse_foreign, whole_folder, write_whole_file


def fill(path, text):
    with whole_folder(path, ours="mark") as folder:
        (folder / "mark").write_text(text)


def test_a_folder_is_new_or_replaced(tmp_path):
    for text in ("one", "two"):
        fill(tmp_path / "deep" / "out", text)
        assert (tmp_path / "deep" / "out" / "mark").read_text() == text
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["out"]


def test_an_empty_folder_is_taken(tmp_path):
    fill(tmp_path, "one")
    assert (tmp_path / "mark").read_text() == "one"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_everything_is_as_before(tmp_path, error):
    fill(tmp_path / "out", "one")

    def fail():
        with whole_folder(tmp_path / "out", ours="mark") as folder:
            (folder / "mark").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "out" / "mark").read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_foreign_folder_or_file_is_refused_before_any_work(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years")
    (tmp_path / "file").write_text("text")
    for name in ("thesis", "file"):
        with pytest.raises(FileExistsError, match="does not hold mark"):
            fill(tmp_path / name, "one")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years"


def test_a_file_is_replaced_and_readable(tmp_path):
    for text in ("a", "ü"):
        write_whole_file(tmp_path / "new" / "page.html", text)
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == "ü"
    assert (tmp_path / "new" / "page.html").stat().st_mode & 0o777 == 0o644
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_file_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_whole_file(tmp_path / "page.html", "\ud800")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_fits_is_not_refused(tmp_path):
    for path in (tmp_path / "new", tmp_path):
        refuse_foreign(path, ours="mark")
    fill(tmp_path / "out", "one")
    refuse_foreign(tmp_path / "out", ours="mark")
