"""The table of agreement: equal to the ruler's arrays measured by hand, complete, and open about what it leaves out."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from keras_attn_xai import AttentionMap, align
from keras_attn_xai.errors import ArgumentError, MissingExtraError, ShapeError
from keras_attn_xai.metrics import agreement, bootstrap_interval, kendall_tau, pearson, row_agreement, top_k_overlap
from keras_attn_xai.metrics.agreement import MEASURES, USUAL
from tests.made import explanation

ROWS = 11


def of_two_maps(**changes):
    """A map of two heads and three queries, one of one head and one query, and one that does not fit."""
    given = explanation(7, rows=ROWS, padding=2, **changes)
    seen = given.attention[0]
    single = replace(
        seen,
        name="pool",
        weights=seen.weights[:, :1, :1],
        query_labels=[["q"]] * ROWS,
        query_mask=np.ones((ROWS, 1), bool),
    )
    other = AttentionMap("decoder", np.full((ROWS, 1, 1, 5), 0.2), [["q"]] * ROWS, [["k"] * 5] * ROWS)
    return replace(given, attention=(seen, single, other))


def test_every_line_is_the_rulers_arrays_measured():
    given = of_two_maps()
    table = agreement(given, seed=3)
    assert len(table.rows) == (4 + 1) * len(USUAL)
    for row in table.rows:
        ruler = align(given, map=row.map, heads=row.heads, query=row.query)
        measure, _ = MEASURES[row.measure]
        values = measure(ruler.attention, np.abs(ruler.attribution), mask=ruler.mask)
        assert row[4:] == bootstrap_interval(values, seed=3)
        assert row.low <= row.mean <= row.high
        assert row.rows == ROWS


def test_the_first_line_is_what_align_shows_and_one_head_or_query_is_measured_once():
    rows = agreement(of_two_maps(), measures="pearson").rows
    assert [row[:4] for row in rows] == [
        ("encoder/att", "mean", "mean over unmasked", "pearson"),
        ("encoder/att", "mean", "max over unmasked", "pearson"),
        ("encoder/att", "max", "mean over unmasked", "pearson"),
        ("encoder/att", "max", "max over unmasked", "pearson"),
        ("pool", "mean", "mean over unmasked", "pearson"),
    ]


def test_reductions_can_be_one_or_several_and_heads_numbers():
    table = agreement(of_two_maps(), maps="encoder/att", heads=(0, 1, "min"), query="last", measures=["cosine"])
    assert [(row.heads, row.query) for row in table.rows] == [("head 0", "last"), ("head 1", "last"), ("min", "last")]
    assert agreement(of_two_maps(), maps=["pool"], heads=0, query=0, measures=["cosine"]).rows[0].heads == "head 0"


def test_the_sign_of_the_attribution_does_not_count():
    given = of_two_maps()
    moved = given.attribution
    turned = replace(moved, values=-moved.values, output=moved.base - moved.values.sum(1))
    assert agreement(replace(given, attributions=(turned,))) == agreement(given)


def test_the_words_are_those_of_the_pictures():
    given = of_two_maps()
    rows = agreement(given, maps="pool", measures=["kendall_tau"], merge="words").rows
    ruler = align(given, map="pool", merge="words")
    assert rows[0].mean == kendall_tau(ruler.attention, np.abs(ruler.attribution), mask=ruler.mask).mean()
    assert rows[0].mean != agreement(given, maps="pool", measures=["kendall_tau"]).rows[0].mean


def test_row_agreement_is_each_measure_of_each_row():
    ruler = align(of_two_maps(), map="pool")
    found = row_agreement(ruler)
    assert tuple(found) == USUAL
    sizes = np.abs(ruler.attribution)
    np.testing.assert_array_equal(found["kendall_tau"], kendall_tau(ruler.attention, sizes, mask=ruler.mask))
    five = row_agreement(ruler, measures={"overlap of 5": partial(top_k_overlap, k=5)})
    np.testing.assert_array_equal(five["overlap of 5"], top_k_overlap(ruler.attention, sizes, k=5, mask=ruler.mask))


def test_every_measure_by_name_takes_an_alignment():
    found = row_agreement(align(of_two_maps(), map="pool"), measures=list(MEASURES))
    assert list(found) == list(MEASURES)
    assert all(values.shape == (ROWS,) and np.isfinite(values).all() for values in found.values())


def test_rows_without_an_order_do_not_count():
    given = of_two_maps()
    flat = given.attention[1].weights.copy()
    flat[:3] = np.where(given.attribution.mask[:3, None, None], 1 / 7, 0)
    given = replace(given, attention=(replace(given.attention[1], weights=flat),))
    table = agreement(given, measures=["kendall_tau", "top_k_overlap"])
    assert [row.rows for row in table.rows] == [ROWS - 3, ROWS]
    assert np.isnan(agreement(given[:3], measures=["kendall_tau"]).rows[0].mean)


def test_the_text_is_aligned_and_says_what_the_numbers_mean():
    table = agreement(of_two_maps())
    lines = str(table).splitlines()
    body = lines[: 1 + len(table.rows)]
    assert len({len(line) for line in body}) == 1
    for line, row in zip(body[1:], table.rows, strict=True):
        cells = [cell for cell in line.split("  ") if cell]
        assert [cell.strip() for cell in cells[:5]] == [row.map, row.heads, row.query, row.measure, f"{row.mean:.3f}"]
    notes = lines[len(body) :]
    assert notes[0] == "attention against |attribution|"
    assert notes[1:-1] == [f"{name}: {MEASURES[name][1]}" for name in USUAL]
    assert notes[-1] == "left out, for other positions: decoder"
    own = agreement(of_two_maps(), measures={"mine": pearson})
    assert own.meanings == ()


def test_the_frame_has_the_rows():
    table = agreement(of_two_maps())
    frame = table.to_frame()
    assert list(frame.columns) == ["map", "heads", "query", "measure", "mean", "low", "high", "rows"]
    assert [tuple(row) for row in frame.itertuples(index=False)] == list(table.rows)


def test_without_pandas_the_frame_says_what_to_install(monkeypatch):
    table = agreement(of_two_maps(), measures=["cosine"])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="to_frame needs pandas: pip install pandas"):
        table.to_frame()


def test_what_cannot_be_compared_is_one_sentence():
    given = of_two_maps()
    with pytest.raises(ArgumentError, match=r"measures must be some of kendall_tau, .*; received 'tau'"):
        agreement(given, measures=["kendall_tau", "tau"])
    with pytest.raises(ArgumentError, match="or functions by name; received none"):
        row_agreement(align(given, map="pool"), measures=[])
    with pytest.raises(ArgumentError, match="Agreement is measured over rows; the explanation has none"):
        agreement(given[:0])
    with pytest.raises(ArgumentError, match="No map with 9 keys"):
        agreement(replace(given, attention=given.attention[2:]))
    with pytest.raises(ArgumentError, match="no attention map to lay beside"):
        agreement(replace(given, attention=()))
    with pytest.raises(ArgumentError, match="There is no attention map 'other'"):
        agreement(given, maps="other")
    with pytest.raises(ArgumentError, match="heads must be 'mean', 'max', 'min' or one of 2 heads; received 'best'"):
        agreement(given, heads=["mean", "best"])
    with pytest.raises(ShapeError, match=r"'sum' must return one number for each of 11 rows; it returned shape \(\)"):
        agreement(given, measures={"sum": lambda a, b, mask: a.sum()})
