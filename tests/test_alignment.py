"""Attention and attribution on one ruler, against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_attn_xai import AttentionMap, Attribution, Explanation, Provenance, align
from keras_attn_xai.errors import ArgumentError, RecordError

# 1 row, 2 heads, 3 queries of which the first and the last but one are real, 4 keys of which 3 are real
WEIGHTS = np.array(
    [
        [
            [[0.0, 0.2, 0.8, 0.0], [0.4, 0.6, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]],
            [[0.6, 0.4, 0.0, 0.0], [0.2, 0.0, 0.8, 0.0], [0.0, 1.0, 0.0, 0.0]],
        ]
    ]
)
QUERY_MASK = np.array([[True, True, False]])
MASK = np.array([[True, True, True, False]])
LABELS = [["un", "kind", "words", ""]]


def explanation(weights=WEIGHTS, *, others=(), word_ids=((0, 0, 1, -1),), mask=MASK):
    values = np.where(MASK, [[1.0, -0.25, 0.5, 0.0]], 0)
    attribution = Attribution(
        values=values,
        base=[0.0],
        output=[1.25],
        target=[1],
        unit="log-odds",
        method="exact",
        evaluations=[8],
        player_labels=LABELS,
        mask=MASK,
    )
    seen = AttentionMap("mha", weights, [["p", "q", ""]], LABELS, QUERY_MASK, mask)
    return Explanation((seen, *others), (attribution,), LABELS, Provenance("m"), word_ids=word_ids)


def other_map(name, queries, keys):
    weights = np.full((1, 1, queries, keys), 1 / keys)
    return AttentionMap(name, weights, [["q"] * queries], [["k"] * keys])


@pytest.mark.parametrize(
    ("heads", "query", "expected"),
    [
        ("mean", "mean over unmasked", [0.3, 0.3, 0.4]),
        ("max", "mean over unmasked", [0.5, 0.5, 0.8]),
        ("min", "mean over unmasked", [0.1, 0.1, 0.0]),
        (0, "mean over unmasked", [0.2, 0.4, 0.4]),
        (-1, "mean over unmasked", [0.4, 0.2, 0.4]),
        ("mean", "max over unmasked", [0.3, 0.3, 0.4]),
        ("max", "max over unmasked", [0.6, 0.6, 0.8]),
        ("mean", "first", [0.3, 0.3, 0.4]),
        (0, "first", [0.0, 0.2, 0.8]),
        (0, "last", [0.4, 0.6, 0.0]),  # the last real query, not the last
        (0, 2, [1.0, 0.0, 0.0]),
        (1, -1, [0.0, 1.0, 0.0]),
        (np.int64(1), np.int64(0), [0.6, 0.4, 0.0]),
    ],
)
def test_reductions(heads, query, expected):
    aligned = align(explanation(), heads=heads, query=query)
    np.testing.assert_allclose(aligned.attention, [[*expected, 0]])
    np.testing.assert_array_equal(aligned.attribution, [[1, -0.25, 0.5, 0]])
    np.testing.assert_array_equal(aligned.mask, MASK)
    assert aligned.labels == (("un", "kind", "words", ""),)
    assert len(aligned) == 1


def test_the_reductions_used_are_named():
    by_default = align(explanation())
    assert (by_default.map, by_default.heads, by_default.query) == ("mha", "mean", "mean over unmasked")
    chosen = align(explanation(), heads=1, query=2)
    assert (chosen.heads, chosen.query) == ("head 1", "query 2")


def test_pieces_are_merged_into_words():
    aligned = align(explanation(), heads=0, merge="words")
    np.testing.assert_allclose(aligned.attention, [[0.6, 0.4]])
    np.testing.assert_allclose(aligned.attribution, [[0.75, 0.5]])
    assert aligned.labels == (("unkind", "words"),)
    assert aligned.mask.all()


def test_rows_with_fewer_words_are_padded():
    two = Explanation(
        tuple(AttentionMap("mha", np.full((2, 1, 1, 3), 1 / 3), [["q"]] * 2, [["a", "b", "c"]] * 2) for _ in range(1)),
        (
            Attribution(
                values=[[1, 2, 4], [1, 2, 4]],
                base=[0, 0],
                output=[7, 7],
                target=[0, 0],
                unit="output",
                method="exact",
                evaluations=[8, 8],
                player_labels=[["a", "b", "c"]] * 2,
            ),
        ),
        [["a", "b", "c"]] * 2,
        Provenance("m"),
        word_ids=[[0, 1, 2], [5, 3, 3]],
    )
    aligned = align(two, merge="words")
    np.testing.assert_array_equal(aligned.attribution, [[1, 2, 4], [1, 6, 0]])
    np.testing.assert_array_equal(aligned.mask, [[True, True, True], [True, True, False]])
    assert aligned.labels == (("a", "b", "c"), ("a", "bc", ""))


def test_a_position_counts_where_both_speak_about_it():
    hidden = MASK & [[True, False, True, True]]
    aligned = align(explanation(mask=hidden))
    np.testing.assert_array_equal(aligned.mask, [[True, False, True, False]])
    np.testing.assert_array_equal(aligned.attribution, [[1, 0, 0.5, 0]])
    np.testing.assert_allclose(aligned.attention, [[0.3, 0, 0.4, 0]])


def test_by_default_the_last_map_that_fits_the_ruler():
    late = other_map("late", 1, 4)
    aligned = align(explanation(others=(late, other_map("later", 1, 3))))
    assert aligned.map == "late"
    np.testing.assert_allclose(aligned.attention, [[0.25, 0.25, 0.25, 0]])
    assert align(explanation(others=(late,)), map="mha").map == "mha"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"map": "gru"}, r"There is no attention map 'gru'; .* are: 'mha' \(1, 2, 3, 4\); 'far' \(1, 1, 1, 3\)"),
        ({"map": "far"}, r"No map with 4 keys to lay beside the attribution; the maps are: 'mha'"),
        ({"heads": "median"}, "heads must be 'mean', 'max', 'min' or one of 2 heads; received 'median'"),
        ({"heads": 2}, "one of 2 heads; received 2"),
        ({"heads": -3}, "one of 2 heads; received -3"),
        ({"query": "median"}, "query must be 'mean over unmasked', .*'last' or one of 3 positions; received 'median'"),
        ({"query": 3}, "one of 3 positions; received 3"),
        ({"merge": "sentences"}, "merge must be None or 'words'; received 'sentences'"),
    ],
)
def test_what_cannot_be_meant(options, match):
    with pytest.raises(ArgumentError, match=match):
        align(explanation(others=(other_map("far", 1, 3),)), **options)


def test_no_map_at_all():
    bare = explanation()
    bare = Explanation((), bare.attributions, bare.labels, bare.provenance)
    with pytest.raises(ArgumentError, match="has no attention map"):
        align(bare)


def test_words_need_a_tokenizer_that_tells_them():
    with pytest.raises(RecordError, match="merge='words' needs word_ids"):
        align(explanation(word_ids=None), merge="words")


def test_an_alignment_is_frozen_and_its_own():
    whole = explanation()
    aligned = align(whole)
    for array in (aligned.attention, aligned.attribution, aligned.mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0
        assert not np.shares_memory(array, whole.attribution.values)
        assert not np.shares_memory(array, whole.attribution.mask)


@st.composite
def stochastic_maps(draw):
    """A map whose rows sum to 1 over real keys, and an explanation of the same positions."""
    rows, heads, queries, keys = (draw(st.integers(1, 4)) for _ in range(4))
    mask = draw(arrays.arrays(bool, (rows, keys)))
    mask[:, draw(st.integers(0, keys - 1))] = True
    query_mask = draw(arrays.arrays(bool, (rows, queries)))
    query_mask[:, draw(st.integers(0, queries - 1))] = True
    scores = draw(arrays.arrays(float, (rows, heads, queries, keys), elements=st.floats(-30, 30)))
    weights = np.where(mask[:, None, None], np.exp(scores), 0)
    weights /= weights.sum(-1, keepdims=True)
    values = np.where(mask, draw(arrays.arrays(float, (rows, keys), elements=st.floats(-1e3, 1e3))), 0)
    labels = [[f"w{s}" for s in range(keys)]] * rows
    zeros = np.zeros(rows)
    attribution = Attribution(
        values, zeros, zeros, zeros.astype(int), "output", "exact", zeros.astype(int), labels, mask
    )
    seen = AttentionMap("map", weights, [["q"] * queries] * rows, labels, query_mask, mask)
    word_ids = np.where(mask, np.sort(draw(arrays.arrays(int, (rows, keys), elements=st.integers(0, keys)))), -1)
    return Explanation((seen,), (attribution,), labels, Provenance("m"), word_ids=word_ids)


@settings(max_examples=60, deadline=None)
@given(stochastic_maps(), st.sampled_from(["mean over unmasked", "first", "last"]), st.sampled_from([None, "words"]))
def test_aligned_softmax_attention_sums_to_one(whole, query, merge):
    aligned = align(whole, query=query, merge=merge)
    np.testing.assert_allclose(aligned.attention.sum(1), 1, atol=1e-9)
    np.testing.assert_allclose(aligned.attribution.sum(1), whole.attribution.values.sum(1), atol=1e-9)
    assert (aligned.attention[~aligned.mask] == 0).all()
    assert (aligned.attribution[~aligned.mask] == 0).all()


def test_a_map_of_the_largest_weights_aligns_like_the_whole():
    whole = explanation()
    seen = whole.attention[-1]
    keys = np.argsort(-seen.weights, axis=-1)
    sparse = replace(seen, weights=np.take_along_axis(seen.weights, keys, -1), indices=keys)
    again = align(replace(whole, attention=(sparse,)))
    np.testing.assert_allclose(again.attention, align(whole).attention, atol=1e-15)
    two = replace(sparse, weights=sparse.weights[..., :2], indices=keys[..., :2])
    spread = np.where(np.argsort(keys, axis=-1) < 2, seen.weights, 0)
    wanted = align(replace(whole, attention=(replace(seen, weights=spread),)))
    np.testing.assert_allclose(align(replace(whole, attention=(two,))).attention, wanted.attention, atol=1e-15)
