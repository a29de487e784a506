"""What is said of a background that hides something."""

import warnings

import numpy as np
import pytest

from keras_attn_xai.errors import BackgroundWarning
from keras_attn_xai.explain.background import Background, check_background
from keras_attn_xai.explain.players import Side

B, R, S, F = 3, 5, 7, 2


def numbers(array, real=None):
    """A float input."""
    return Side("x", array, np.ones(len(array), bool) if real is None else real)


def ids(array, pad_id=0):
    """Token ids."""
    return Side("ids", array, array != pad_id, tuple(tuple(map(str, row)) for row in array))


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def lengths(*given):
    """Ids with so many real positions per row, all different."""
    at = np.arange(len(given) * S).reshape(len(given), S) + 1
    return np.where(np.arange(S) < np.array(given)[:, None], at, 0)


def test_nothing_is_said_without_need():
    row, image = drawn(B, F), drawn(B, 4, 4, F)
    assert check_background([numbers(row)], [drawn(R, F, seed=1)]) == ()
    assert check_background([numbers(image)], [np.zeros((1, 4, 4, F))]) == ()  # a number
    assert check_background([ids(lengths(3, 5, 7))], [np.full((1, S), 99)], pad_id=0) == ()  # one token id
    assert check_background([ids(lengths(3, 5, 7))], [np.where(lengths(4) > 0, 99, 0)]) == ()  # one row
    assert (
        check_background([ids(lengths(7, 7, 7))], [np.where(lengths(2, 3) > 0, 99, 0)]) == ()
    )  # nobody knows what is padding
    assert check_background([ids(lengths(3, 5, 7))], [np.where(lengths(5, 7, 3, 3), 99, 0)], pad_id=0) == ()
    assert check_background([numbers(row)], [drawn(1, F)[:1] + 9], base=[4.0], output=[4.0] * B) == ()


def test_rows_that_equal_a_background_row():
    row = drawn(B, F)
    background = np.concatenate([drawn(R - 2, F, seed=1), row[[2, 0]]])
    (said,) = check_background([numbers(row)], [background])
    assert said.startswith(
        "2 of 3 rows (0, 2) equal a row of the background: against it all their values are 0, and it"
    )
    assert "it is 1 of 5. Take background rows that are not explained, say choose_background" in said
    (said,) = check_background([numbers(row)], [row[:1]])
    assert said.startswith("1 of 3 rows (0) equals a row of the background: against it all their values are 0. Take")
    (said,) = check_background([numbers(np.zeros((11, F)))], [np.zeros((1, F))])
    assert said.startswith("11 of 11 rows (0, 1, 2, 3, 4, ...) equal")


def test_rows_are_compared_as_the_model_is_given_them():
    row = drawn(B, F)
    assert len(check_background([numbers(row)], [row.astype("float64") + 1e-12])) == 1
    assert check_background([numbers(np.array([[1, 2]]))], [np.array([[1.5, 2.5]])]) == ()


def test_a_difference_anywhere_is_a_difference():
    row = np.zeros((1, 13, 11, F), "float32")
    for place in np.ndindex(13, 11, F):
        other = np.zeros((1, 13, 11, F))
        other[(0, *place)] = 1
        assert check_background([numbers(row)], [other]) == ()


def test_padding_is_not_compared():
    row = lengths(3, 5, 7)
    background = np.where(row > 0, row, 99)[[1]]
    (said,) = check_background([ids(row)], [background])
    assert said.startswith("1 of 3 rows (1) equals")
    real = np.array([[True] * S, [True] * 4 + [False] * 3, [False] * S])
    series = drawn(B, S, F)
    other = series.copy()
    other[:, 4:] += 1
    (said,) = check_background([numbers(series, real)], [other])
    assert said.startswith("1 of 3 rows (1) equal")  # not the one that is all padding


def test_every_input_that_plays_must_be_equal():
    first, second = drawn(B, F), drawn(B, S, seed=1)
    sides = [numbers(first), numbers(second)]
    background = [first[[1, 2]], second[[0, 2]]]
    (said,) = check_background(sides, background)
    assert said.startswith("1 of 3 rows (2) equals")
    (said,) = check_background(sides, background, playing=[True, False])
    assert said.startswith("2 of 3 rows (1, 2) equal")
    mask = Side("mask", np.ones((B, S), bool), np.ones(B, bool))
    (said,) = check_background([*sides, mask], [*background, np.zeros((1, S))])
    assert said.startswith("1 of 3 rows (2) equals")
    assert check_background([mask], [np.ones((1, S), bool)]) == ()


def test_background_rows_of_another_length():
    rows, background = ids(lengths(5, 7, 7)), lengths(5, 3, 4, 7, 6) + 100 * (lengths(5, 3, 4, 7, 6) > 0)
    (said,) = check_background([rows], [background], pad_id=0)
    assert said.startswith(
        "3 of 5 background rows of 'ids' have 3 to 6 real positions, the rows have 5 to 7: where the"
    )
    assert "an absent token becomes padding" in said
    assert said.endswith("Take background rows as long as the rows, or one token id.")
    assert check_background([rows], [background]) == (said,)  # what the rows are padded with
    (said,) = check_background([ids(lengths(7, 7))], [background[[1, 1, 3]]], pad_id=0)
    assert said.startswith("2 of 3 background rows of 'ids' have 3 real positions, the rows have 7:")
    full, padded = lengths(7, 7) + 1, np.where(lengths(3, 7) > 0, 99, 1)
    (said,) = check_background([ids(full, pad_id=1)], [padded], pad_id=1)
    assert said.startswith("1 of 2 background rows of 'ids' have 3 real positions, the rows have 7:")


def spread(base, output):
    return check_background([numbers(drawn(B, F))], [drawn(R, F, seed=1)], base=base, output=output)


def test_a_background_too_small_for_the_effect():
    base = np.array([1.0, -1.0, 2.0, -2.0, 0.0])
    error = base.std(ddof=1) / np.sqrt(R)
    (said,) = spread(base, np.array([3.99, -3.99, 3.99]) * error)
    assert said.startswith("5 background rows are few: the base's standard error, 0.71, is more than a quarter of what")
    assert "2.8 in the median. Take more rows, choose_background(data, 6), or explain against one row." in said
    assert spread(base, np.array([4.01, -4.01, 4.01]) * error) == ()
    (said,) = spread(base, np.zeros(B))
    assert "0 in the median. Take more rows, or explain" in said


def test_as_many_rows_as_are_named_would_do():
    base = np.random.default_rng(0).normal(size=R)
    (said,) = spread(base, base.mean() + np.array([0.5, 0.5, 0.5]))
    wanted = int(said.split("choose_background(data, ")[1].split(")")[0])
    assert base.std(ddof=1) / np.sqrt(wanted) <= 0.5 / 4 < base.std(ddof=1) / np.sqrt(wanted - 1)


def test_each_row_may_have_a_target_of_its_own():
    base = np.array([[0.0, 0.0], [0.0, 8.0], [0.0, 8.0]])  # errors 0, 4, 4 and bases 0, 4, 4
    assert len(spread(base, np.array([0.0, 19.0, 19.0]))) == 1
    assert spread(base, np.array([0.0, 21.0, 21.0])) == ()
    assert spread(np.full(R, 2.0), np.full(B, 2.0)) == ()


def test_it_takes_what_a_background_brings():
    row = drawn(B, F)
    side = numbers(row)
    rows = Background(row, ["x"], [False]).rows([side], [True])
    (said,) = check_background([side], rows)
    assert said.startswith("3 of 3 rows (0, 1, 2) equal")
    with pytest.warns(BackgroundWarning, match="Take background rows that are not explained"):
        warnings.warn(said, BackgroundWarning, stacklevel=2)
    assert issubclass(BackgroundWarning, UserWarning)
