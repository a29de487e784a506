"""Background rows out of a data set."""

import numpy as np
import pytest

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.explain.choose_background import choose_background

N, T, F, R = 29, 5, 3, 7


def data(*shape, seed=0, rows=N):
    """Rows that differ from one another."""
    return np.random.default_rng(seed).normal(size=(rows, *shape)).astype("float32")


def places(chosen, among):
    """The row of the data that each chosen row is."""
    same = (chosen[:, None] == among[None]).reshape(len(chosen), len(among), -1).all(-1)
    assert (same.sum(1) == 1).all()
    return same.argmax(1)


@pytest.mark.parametrize("how", ["sample", "kmeans"])
@pytest.mark.parametrize("shape", [(), (F,), (T, F), (T, 2, F)])
def test_rows_of_the_data_without_repetition(how, shape):
    given = data(*shape)
    before = given.copy()
    chosen = choose_background(given, R, how=how)
    assert chosen.shape == (R, *shape)
    assert chosen.dtype == given.dtype
    assert len(set(places(chosen, given))) == R
    np.testing.assert_array_equal(given, before)
    assert not np.shares_memory(chosen, given)


@pytest.mark.parametrize("how", ["sample", "kmeans"])
@pytest.mark.parametrize("count", [N, N + 1])
def test_every_row_where_there_are_no_more(how, count):
    chosen = choose_background(data(F), count, how=how)
    np.testing.assert_array_equal(chosen, data(F))
    assert not np.shares_memory(chosen, choose_background(data(F), count, how=how))


def test_drawn_rows_keep_their_order_and_each_is_as_likely():
    given = np.arange(N)
    drawn = [choose_background(given, R, seed=seed) for seed in range(300)]
    assert all((np.diff(one) > 0).all() for one in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=N)
    expected = 300 * R / N
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("share", [(20, 9), (27, 2), (11, 13, 5)])
def test_a_cluster_has_as_many_rows_as_its_share(share):
    # a cluster of equal rows is one cluster to KMeans, whatever its size
    given = np.repeat(np.arange(len(share)) * 50.0, share)[:, None]
    for seed in range(5):
        found = np.unique(choose_background(given, R, how="kmeans", seed=seed), return_counts=True)
        kept = dict(zip((found[0] // 50).astype(int).tolist(), found[1].tolist(), strict=True))
        for one, size in enumerate(share):
            assert abs(kept.get(one, 0) - R * size / N) < 1


@pytest.mark.parametrize("seed", range(7))
def test_clusters_that_lie_together_have_their_share(seed):
    given = np.concatenate([data(2, rows=900), data(2, rows=100, seed=1) + 20])
    chosen = choose_background(given, 10, how="kmeans", seed=seed)
    assert (chosen[:, 0] > 10).sum() == 1


def test_where_the_rows_are_taken_from_is_drawn():
    assert len({float(choose_background(data(), 1, how="kmeans", seed=seed)[0]) for seed in range(20)}) > 5


def test_every_row_is_as_likely_with_clusters():
    given = np.concatenate([data(F, rows=20), data(F, rows=9, seed=1) + 20])
    counts = np.zeros(N)
    for seed in range(150):
        counts[places(choose_background(given, R, how="kmeans", seed=seed), given)] += 1
    expected = 150 * R / N
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_clusters_stand_for_the_data_better_than_drawn_rows():
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(4, F)) * 5
    given = centres[draw.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05])] + draw.normal(size=(300, F))
    worth = lambda x: np.maximum(x, 0).sum(1)  # noqa: E731

    def error(how):
        means = [worth(choose_background(given, 20, how=how, seed=seed)).mean() for seed in range(20)]
        return np.sqrt(np.mean(np.square(means - worth(given).mean())))

    assert error("kmeans") < 0.6 * error("sample")


def test_no_unit_decides_about_clusters():
    # two clusters by the first feature; the second is the same spread in a small unit, the third never changes
    first = np.repeat([0.0, 1.0], [20, 9])[:, None] + data(1, seed=1) * 0.01
    noise = np.linspace(-1, 1, N)[np.random.default_rng(2).permutation(N)][:, None]
    given, in_grams = np.hstack([first, noise * 0.1, np.ones((N, 1))]), np.array([1, 10_000, 1])
    chosen = [choose_background(one, R, how="kmeans") for one in (given, given * in_grams)]
    np.testing.assert_allclose(chosen[0] * in_grams, chosen[1])


def test_a_mean_is_one_row():
    chosen = choose_background(data(T, F), how="mean")
    assert chosen.dtype == np.float32
    np.testing.assert_allclose(chosen, data(T, F).mean(0)[None], rtol=1e-5, atol=1e-7)
    same = np.full((20011, F), 0.1, np.float32)  # adding these up in float32 drifts
    assert (choose_background(same, how="mean") == same[:1]).all()


@pytest.mark.parametrize("how", ["sample", "kmeans", "mean"])
@pytest.mark.parametrize("form", [list, tuple, dict])
def test_several_inputs_keep_their_rows_together(how, form):
    parts = {"series": data(T, F), "table": data(2, seed=1)}
    given = parts if form is dict else form(parts.values())
    chosen = choose_background(given, R, how=how)
    assert type(chosen) is form
    series, table = chosen.values() if form is dict else chosen
    if how == "mean":
        assert (series.shape, table.shape) == ((1, T, F), (1, 2))
    else:
        np.testing.assert_array_equal(places(series, parts["series"]), places(table, parts["table"]))


def test_clusters_are_of_all_inputs_together():
    still, moves = np.zeros((N, 2)), np.repeat([0.0, 50.0], [20, 9])[:, None]
    for seed in range(7):
        moves = np.random.default_rng(seed).permutation(moves)
        _, chosen = choose_background([still, moves], R, how="kmeans", seed=seed)
        assert abs((chosen == 50).sum() - R * 9 / N) < 1


def test_ids_and_masks_can_be_drawn():
    ids = np.arange(N * T).reshape(N, T).astype("int32")
    chosen, mask = choose_background([ids, ids % 2 == 0], R)
    assert (chosen.dtype, mask.dtype) == (np.int32, bool)
    np.testing.assert_array_equal(chosen % 2 == 0, mask)


def test_a_list_of_numbers_is_one_array():
    assert choose_background([[1.0, 2.0], [3.0, 4.0]], 1).shape == (1, 2)
    assert isinstance(choose_background([data(F)], R), list)


@pytest.mark.parametrize("how", ["sample", "kmeans"])
def test_the_seed_decides_and_the_global_generator_stays(how):
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    first, again, other = (choose_background(data(F), R, how=how, seed=seed) for seed in (3, 3, 4))
    assert np.random.random() == expected
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


HOLED = np.where(np.arange(6).reshape(3, 2) == 3, np.nan, 1.0)


@pytest.mark.parametrize(
    ("given", "options", "error", "match"),
    [
        (HOLED, {}, ArgumentError, r"finite; 'x' has 1 NaN or infinite numbers in shape \(3, 2\)\. Fill them in"),
        (np.zeros((0, 2)), {}, ShapeError, r"one number of rows, at least one; received x: \(0, 2\)"),
        ([], {}, ShapeError, r"at least one; received x: \(0,\)"),
        ({}, {}, ShapeError, "at least one; received no array"),
        ([np.zeros((3, 2)), np.zeros(2)], {}, ShapeError, r"received x\[0\]: \(3, 2\), x\[1\]: \(2,\)"),
        ({"a": np.zeros(3), "b": np.zeros(2)}, {}, ShapeError, r"received a: \(3,\), b: \(2,\)"),
        ([[1.0], [1.0, 2.0]], {}, ArgumentError, "rows of numbers .* of one shape; 'x' has shape .*, dtype object"),
        (["a good film"], {}, ArgumentError, "dtype <U11. Turn texts into padded ids first"),
        (np.array(3.0), {}, ArgumentError, r"'x' has shape \(\)"),
        (np.ones((3, 2), int), {"how": "kmeans"}, ArgumentError, "how='kmeans' averages; 'x' is int64.*how='sample'"),
        ({"ids": np.ones((3, 2), int)}, {"how": "mean"}, ArgumentError, "how='mean' averages; 'ids' is int64"),
        (np.ones(3), {"how": "median"}, ArgumentError, "how must be .*'kmeans'.*received 'median'"),
        (np.ones(3), {"count": 0}, ArgumentError, "count must be an integer from 1; received 0"),
        (np.ones(3), {"count": 2.5}, ArgumentError, "count must be an integer from 1; received 2.5"),
        (np.ones(3), {"count": True}, ArgumentError, "count must be an integer from 1; received True"),
        (np.ones(3), {"seed": -1}, ArgumentError, "seed must be an integer from 0 to 4294967295; received -1"),
        (np.ones(3), {"seed": 2**32}, ArgumentError, "seed must be an integer from 0 to 4294967295"),
    ],
)
def test_what_cannot_be_chosen_from(given, options, error, match):
    with pytest.raises(error, match=match):
        choose_background(given, **options)
