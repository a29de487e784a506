"""Dates in several languages: every field stands where the truth says."""

import datetime
import sys

import numpy as np
import pytest

from keras_attn_xai.datasets import dates
from keras_attn_xai.datasets.written_dates import written_date
from keras_attn_xai.errors import ArgumentError, MissingExtraError

WRITTEN = {  # the 5th of April 1973, by hand
    ("en", "medium"): "Apr 5, 1973",
    ("en", "long"): "April 5, 1973",
    ("fr", "long"): "5 avril 1973",
    ("de", "medium"): "05.04.1973",
    ("de", "long"): "5. April 1973",
    ("es", "long"): "5 de abril de 1973",
}
MONTHS = {"apr", "april", "avril", "04", "abril"}


@pytest.mark.parametrize(("language", "style"), WRITTEN)
def test_a_date_by_hand(language, style):
    pytest.importorskip("babel")
    text, spans = written_date(datetime.date(1973, 4, 5), language, style)
    assert text == WRITTEN[language, style]
    parts = {name: text[start:stop] for name, (start, stop) in spans.items()}
    assert parts["year"] == "1973"
    assert parts["month"].lower() in MONTHS
    assert int(parts["day"]) == 5


def test_truth_covers_the_characters_of_each_field():
    pytest.importorskip("babel")
    task = dates(499)
    alphabet = read_alphabet(task)
    for row in range(len(task)):
        iso = "".join("0123456789-"[i] for i in task.y[row])
        assert iso[:4] == covered(task, row, 0, alphabet) == covered(task, row, 3, alphabet)
        assert int(iso[8:]) == int(covered(task, row, 8, alphabet)) == int(covered(task, row, 9, alphabet))
        assert not task.truth[row, [4, 7]].any()
        assert (task.truth[row, 5] == task.truth[row, 6]).all()
        assert 2 <= task.truth[row, 5].sum() <= len("septiembre")
        assert not (task.truth[row, 0] & task.truth[row, 5]).any()
    assert len({tuple(day) for day in task.y.tolist()}) == len(task)  # no day twice
    np.testing.assert_array_equal(task.mask, task.x != 0)


def read_alphabet(task):
    """Characters by id, told from the years alone: their digits are known."""
    found = {}
    for row, place in np.ndindex(len(task), 4):
        found[task.x[row][task.truth[row, 0]][place]] = str(task.y[row, place])
    assert len(found) == len(set(found.values())) == 10
    return found


def covered(task, row, place, alphabet):
    return "".join(alphabet[one] for one in task.x[row][task.truth[row, place]])


def test_a_seed_gives_one_task():
    pytest.importorskip("babel")
    one, same, other = dates(7), dates(7), dates(7, seed=1)
    np.testing.assert_array_equal(one.x, same.x)
    np.testing.assert_array_equal(one.truth, same.truth)
    assert (one.y != other.y).any()


def test_what_cannot_be_made_is_one_sentence():
    pytest.importorskip("babel")
    with pytest.raises(ArgumentError, match="rows must be at most 36525"):
        dates(36526)
    with pytest.raises(ArgumentError, match="no date of language 'xx' and style 'long'"):
        dates(3, languages=["xx"], formats=["long"])
    with pytest.raises(ArgumentError, match="no date of language 'en' and style 'terse'"):
        dates(3, languages=["en"], formats=["terse"])


def test_without_babel_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(MissingExtraError, match="pip install babel"):
        dates(3)
