"""Which player each number of an input belongs to."""

import numpy as np
import pytest

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.explain.players import NAMES, NOBODY, PATCHES, SEGMENTS, Side, players_of
from keras_attn_xai.text import Vocabulary, tokenize

B, T, F = 2, 5, 3


def side(*shape, real=None, dtype="float32", name="x"):
    """Numbers of one kind; nothing is padding."""
    array = np.arange(np.prod((B, *shape))).reshape(B, *shape).astype(dtype)
    return Side(name, array, np.ones(B, bool) if real is None else np.array(real))


def ids(words=None):
    """Five tokens, the last one of the second row is padding."""
    real = np.array([[True] * T, [True] * 4 + [False]])
    pieces = (("un", "know", "able", "film", "!"), ("a", "good", "film", "!", ""))
    numbers = np.where(real, np.arange(T), -1) if words is None else np.array(words)
    return Side("ids", np.ones((B, T), int), real, pieces, numbers)


def test_auto_goes_by_what_a_row_is():
    kinds = {(): "features", (F,): "features", (T, F): "steps", (8, 8, 1): "patches", (4, 4, 4, 2): "steps"}
    assert {shape: players_of(side(*shape)).kind for shape in kinds} == kinds
    assert players_of(ids()).kind == "tokens"
    assert players_of(side(T, dtype="bool")).kind == "none"


@pytest.mark.parametrize(
    ("kind", "shape", "cells"),
    [
        ("steps", (2,), [[0, 0, 0], [1, 1, 1]]),
        ("features", (3,), [[0, 1, 2], [0, 1, 2]]),
        ("cells", (2, 3), [[0, 1, 2], [3, 4, 5]]),
        (np.array([7, 4]), (2,), [[1, 1, 1], [0, 0, 0]]),
        (np.array([[0, 0, -1], [-1, 1, 1]]), (2,), [[0, 0, -1], [-1, 1, 1]]),
    ],
)
def test_each_number_of_a_series_has_its_player(kind, shape, cells):
    players = players_of(side(2, F), kind)
    assert players.shape == shape
    assert players.count == len(players.labels[0]) == np.prod(shape)
    np.testing.assert_array_equal(np.broadcast_to(players.cells, (B, 2, F)), [cells] * B)


def test_a_group_keeps_the_number_it_was_given():
    assert players_of(side(2, F), [7, 4]).labels == (("group 4", "group 7"),) * B
    assert players_of(side(2, F), [-1, 4]).labels == (("group 4",),) * B


@pytest.mark.parametrize("size", [(5, 3), (8, 8), (29, 17), (32, 32)])
def test_patches_are_a_grid_of_at_most_eight_by_eight(size):
    players = players_of(side(*size, 2), "patches")
    assert players.shape == tuple(min(PATCHES, one) for one in size)
    cells = np.broadcast_to(players.cells[0], (*size, 2))
    counts = np.bincount(cells.ravel())
    assert len(counts) == players.count
    assert counts.max() <= 2 * (size[0] // players.shape[0] + 1) * (size[1] // players.shape[1] + 1)
    for number in range(players.count):  # each a rectangle
        rows, columns = np.nonzero((cells == number)[..., 0])
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert players.labels[0][-1] == f"patch {players.shape[0] - 1}, {players.shape[1] - 1}"


def test_padding_is_never_a_player():
    players = players_of(ids())
    np.testing.assert_array_equal(players.cells[1], [0, 1, 2, 3, -1])
    np.testing.assert_array_equal(players.having(), ids().real)
    steps = players_of(side(3, F, real=[[True, True, False], [True, True, True]]))
    np.testing.assert_array_equal(np.broadcast_to(steps.cells, (B, 3, F))[0, 2], [-1] * F)
    assert steps.labels[0] == ("step 0", "step 1", "")
    features = players_of(side(3, F, real=[[True, True, False], [True, True, True]]), "features")
    assert features.having().all()
    np.testing.assert_array_equal(features.cells[0], [[0, 1, 2], [0, 1, 2], [-1, -1, -1]])


def test_pieces_of_a_word_are_one_player():
    players = players_of(ids(words=[[0, 0, 0, 1, 2], [0, 1, 2, 3, -1]]), "words")
    assert players.shape == (4,)
    np.testing.assert_array_equal(players.cells, [[0, 0, 0, 1, 2], [0, 1, 2, 3, -1]])
    assert players.labels == (("unknowable", "film", "!", ""), ("a", "good", "film", "!"))
    np.testing.assert_array_equal(players.having(), [[True, True, True, False], [True] * 4])


def texts(*given, tokenizer=Vocabulary(["", "[UNK]", "a"])):  # noqa: B008
    """Texts as an input."""
    tokens = tokenize(tokenizer, given)
    return Side("ids", tokens.ids, tokens.mask, tokens.pieces, tokens.word_ids)


def holed(*shape):
    """A series of seven steps: all, the middle and the two ends of them are real."""
    real = np.array([[1] * 7, [0, 0, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 1]], bool)
    return Side("x", np.zeros((3, 7, *shape)), real)


def every_side():
    """Inputs of every kind, with padding where there can be any."""
    real = np.ones((B, 3, T), bool)
    real[1, 1:] = real[0, 2, 3:] = False
    several = Side("ids", np.arange(B * 3 * T).reshape(B, 3, T), real, tuple(("a",) * 3 * T for _ in range(B)))
    return {
        "numbers": side(),
        "features": side(F),
        "series": holed(F),
        "image": side(13, 11, F),
        "masked image": Side("x", np.zeros((3, 7, 5, F)), holed().real[:, :, None].repeat(5, axis=2)),
        "mask": side(T, dtype="bool"),
        "ids": ids(),
        "texts": texts("A film. A good one! So", "One"),
        "ids along two axes": several,
    }


@pytest.mark.parametrize("kind", NAMES)
def test_each_real_number_has_one_player_and_padding_none(kind):
    met = 0
    for one in every_side().values():
        try:
            players = players_of(one, kind)
        except ArgumentError:
            continue
        met += 1
        real = one.real.reshape(one.real.shape + (1,) * (one.array.ndim - one.real.ndim))
        cells = np.broadcast_to(players.cells, one.array.shape)
        wanted = np.broadcast_to(real, one.array.shape) & (players.kind != NOBODY)
        np.testing.assert_array_equal(cells >= 0, wanted)
        assert cells.max() < max(players.count, 1)
        there = players.having()
        for row, own in enumerate(cells):
            np.testing.assert_array_equal(np.flatnonzero(there[row]), np.unique(own[own >= 0]))
        assert [[label != "" for label in row] for row in players.labels] == there.tolist()
    assert met >= 2


def test_sentences_end_with_a_full_stop():
    players = players_of(texts("A good film. A very dull end!", "Is it? Yes. No"), "sentences")
    assert players.kind == "sentences"
    assert players.shape == (3,)
    np.testing.assert_array_equal(players.cells, [[0] * 4 + [1] * 5, [0] * 3 + [1] * 2 + [2] + [-1] * 3])
    assert players.labels == (("A good film.", "A very dull end!", ""), ("Is it?", "Yes.", "No"))


@pytest.mark.parametrize("text", ["a good film", "a good film.", "so, a film?!", "... a film...", '"a film."', "!!!"])
def test_a_text_of_one_sentence_has_one_player(text):
    players = players_of(texts(text), "sentences")
    assert players.shape == (1,)
    assert (players.cells == 0).all()


def test_a_long_sentence_is_named_by_its_first_words():
    (label,) = players_of(texts("I " + "really " * 9 + "liked it."), "sentences").labels[0]
    assert label == "I really really really really really..."
    assert len(label) <= 43


def test_sentences_keep_the_pieces_of_a_word_together():
    side = ids(words=[[0, 0, 0, 1, 2], [0, 1, 2, 2, -1]])
    stopped = Side("ids", side.array, side.real, (("a", ".", "b", "c", "d"), ("a", "b", ".", "c", "")), side.word_ids)
    players = players_of(stopped, "sentences")
    np.testing.assert_array_equal(players.cells, [[0, 0, 0, 0, 0], [0, 0, 0, 0, -1]])
    assert players.labels == (("a.b c d",), ("a b.c",))


def test_sentences_of_ids_need_their_words():
    array = ids().array
    bare = Side("ids", array, ids().real, tuple(tuple(map(str, row)) for row in array), ids().word_ids)
    with pytest.raises(ArgumentError, match="players='sentences' needs texts and a tokenizer that tells the words; "):
        players_of(bare, "sentences")
    assert players_of(bare, "words").count == T  # each id is a word


@pytest.mark.parametrize("real", [1, 2, 11, 12, 13, 23, 24, 29])
def test_segments_are_equal_pieces_of_what_is_real(real):
    mask = np.zeros((1, 29), bool)
    mask[0, np.random.default_rng(real).permutation(29)[:real]] = True  # with holes
    players = players_of(Side("x", np.zeros((1, 29, F)), mask), "segments")
    own = players.cells[0, :, 0][mask[0]]
    assert players.count == min(real, SEGMENTS)
    sizes = np.bincount(own)
    assert len(sizes) == players.count
    assert np.ptp(sizes) <= 1
    assert (np.diff(own) >= 0).all()


def test_a_shorter_row_has_fewer_segments():
    players = players_of(holed(F), "segments")
    assert players.shape == (7,)
    np.testing.assert_array_equal(players.having().sum(1), [7, 3, 2])
    assert players.labels[1] == ("step 2", "step 3", "step 4", *[""] * 4)
    assert players.labels[2] == ("step 0", "step 6", *[""] * 5)
    assert players_of(side(29, F), "segments").labels[0][:2] == ("steps 0-2", "steps 3-4")


def test_segments_of_texts_are_named_by_their_words():
    players = players_of(texts(" ".join(f"word{i}" for i in range(24)), "a (very) good film"), "segments")
    assert players.labels[0][:2] == ("word0 word1", "word2 word3")
    assert players.labels[1] == ("a", "(", "very", ")", "good", "film", *[""] * 6)
    cut = Side("x", np.ones((1, 26), int), np.ones((1, 26), bool), (("ab", "c") * 13,), np.arange(26)[None] // 2)
    assert players_of(cut, "segments").labels[0][:3] == ("abc ab", "c ab", "c ab")


def test_a_whole_input_is_one_player():
    players = players_of(ids(), "inputs")
    assert players.shape == (1,)
    assert players.labels == (("ids",), ("ids",))
    np.testing.assert_array_equal(players.cells, [[0] * T, [0] * 4 + [-1]])
    assert players_of(side(T, dtype="bool"), "inputs").kind == NOBODY  # a mask
    empty = Side("x", np.zeros((B, 2, F)), np.array([[True, True], [False, False]]))
    assert players_of(empty, "inputs").labels == (("x",), ("",))


def test_who_has_a_number_that_is_wanted():
    players = players_of(side(2, F), "features")
    wanted = np.zeros((B, 2, F), bool)
    wanted[0, 1, 2] = wanted[1, :, 0] = True
    np.testing.assert_array_equal(players.having(wanted), [[False, False, True], [True, False, False]])


@pytest.mark.parametrize(
    ("shape", "kind", "match"),
    [
        ((T,), "tokens", r"players='tokens' needs token ids.*the input 'x' is float32 of shape \(2, 5\)"),
        ((T,), "words", "players='words' needs texts and a tokenizer"),
        ((T,), "sentences", "players='sentences' needs texts and a tokenizer that tells the words; .* float32"),
        ((), "segments", r"players='segments' needs an axis of positions, \(B, S\) or \(B, T, \.\.\.\)"),
        ((), "steps", "players='steps' needs an axis of steps"),
        ((), "cells", "players='cells' needs at least two axes"),
        ((T,), "patches", r"players='patches' needs an image, \(B, height, width, C\)"),
        ((T, F), np.zeros(4, int), r"integers of shape \(5, 3\) or its first axes .* received shape \(4,\)"),
        ((T, F), np.zeros((T, F)), "received .* dtype float64"),
        ((T, F), -np.ones(T, int), "from 0, or -1"),
        ((T, F), [[0], [1, 2]], "An index array of players"),
    ],
)
def test_players_an_input_does_not_have(shape, kind, match):
    with pytest.raises(ArgumentError, match=match):
        players_of(side(*shape), kind)
