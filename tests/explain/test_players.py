"""Which player each number of an input belongs to."""

import numpy as np
import pytest

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.explain.players import PATCHES, Side, players_of

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
