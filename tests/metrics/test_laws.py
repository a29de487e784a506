"""What every measure of two arrays keeps to: one table, and the laws it drives."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from keras_attn_xai import metrics
from keras_attn_xai.errors import ArgumentError, ShapeError
from tests.metrics.made import B, S, two_rows


class Row(NamedTuple):
    """A measure, its value for an array and itself and for the reverse order, and how many positions it needs."""

    measure: object
    same: float
    worst: float | None
    fewest: int
    signed: bool = True


K = 4
TABLE = {
    "kendall_tau": Row(metrics.kendall_tau, 1, -1, 2),
    "spearman": Row(metrics.spearman, 1, -1, 2),
    "pearson": Row(metrics.pearson, 1, None, 2),
    "cosine": Row(metrics.cosine, 1, None, 1),
    "top_k_overlap": Row(partial(metrics.top_k_overlap, k=K), 1, 0, 1),
    "jaccard_at_k": Row(partial(metrics.jaccard_at_k, k=K), 1, 0, 1),
    "rank_biased_overlap": Row(metrics.rank_biased_overlap, 1, None, 1),
    "top_k_kendall_distance": Row(partial(metrics.top_k_kendall_distance, k=K), 0, 1, 2),
    "feature_agreement": Row(partial(metrics.feature_agreement, k=K), 1, 0, 1),
    "rank_agreement": Row(partial(metrics.rank_agreement, k=K), 1, 0, 1),
    "sign_agreement": Row(partial(metrics.sign_agreement, k=K), 1, 0, 1),
    "signed_rank_agreement": Row(partial(metrics.signed_rank_agreement, k=K), 1, 0, 1),
    "jensen_shannon": Row(metrics.jensen_shannon, 0, None, 1, signed=False),
    "total_variation": Row(metrics.total_variation, 0, None, 1, signed=False),
}
every_measure = pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)


def made(row, seed=0):
    """Two arrays without ties, which the earlier position would win, and a mask."""
    draw = np.random.default_rng(seed)
    a, b = draw.permuted(np.tile(np.arange(1.0, S + 1), (2 * B, 1)), axis=1).reshape(2, B, S)
    b = b**1.5
    _, _, mask = two_rows(seed)
    return (a - S / 2.3, b - S, mask) if row.signed else (a, b, mask)


@every_measure
def test_the_same_array_twice(row):
    a, _, mask = made(row)
    np.testing.assert_allclose(row.measure(a, a.copy(), mask=mask), row.same, atol=1e-12)


@every_measure
def test_the_reverse_order(row):
    a = np.tile(np.arange(1.0, S + 1), (B, 1))
    found = row.measure(a, a[:, ::-1])
    if row.worst is not None:
        np.testing.assert_allclose(found, row.worst, atol=1e-12)
    assert (np.abs(found - row.same) > 0.05).all()


@every_measure
def test_masked_positions_can_hold_anything(row):
    a, b, mask = made(row)
    wanted = row.measure(a, b, mask=mask)
    assert not np.isnan(wanted).any()
    for filling in (1e9, -1e9, np.nan, np.inf, -np.inf):
        found = row.measure(np.where(mask, a, filling), np.where(mask, b, filling), mask=mask)
        np.testing.assert_array_equal(found, wanted)


@every_measure
def test_a_masked_row_is_the_shorter_row(row):
    a, b, mask = made(row)
    wanted = [row.measure(x[None, keep], y[None, keep])[0] for x, y, keep in zip(a, b, mask, strict=True)]
    np.testing.assert_allclose(row.measure(a, b, mask=mask), wanted, atol=1e-12)


@every_measure
def test_positions_have_no_order_of_their_own(row):
    a, b, mask = made(row)
    order = np.random.default_rng(1).permutation(S)
    moved = row.measure(a[:, order], b[:, order], mask=mask[:, order])
    np.testing.assert_allclose(moved, row.measure(a, b, mask=mask), atol=1e-12)


@every_measure
def test_either_array_can_come_first(row):
    a, b, mask = made(row)
    np.testing.assert_allclose(row.measure(b, a, mask=mask), row.measure(a, b, mask=mask), atol=1e-12)


@every_measure
def test_what_is_given_is_not_written_to(row):
    a, b, mask = made(row)
    for one in (a, b, mask):
        one.setflags(write=False)
    before = a.copy(), b.copy(), mask.copy()
    row.measure(a, b, mask=mask)
    for one, wanted in zip((a, b, mask), before, strict=True):
        np.testing.assert_array_equal(one, wanted)


@every_measure
def test_rows_that_are_too_short_are_nan(row):
    a, b, mask = made(row)
    mask = np.arange(S) < np.arange(B)[:, None]  # 0, 1, 2, ... positions
    np.testing.assert_array_equal(np.isnan(row.measure(a, b, mask=mask)), mask.sum(1) < row.fewest)
    assert row.measure(a[:0], b[:0]).shape == (0,)
    assert np.isnan(row.measure(a[:, :0], b[:, :0])).all()


@every_measure
def test_single_precision_integers_and_lists(row):
    a = np.array([[5, 2, 9, 1, 7]])
    b = np.array([[1, 2, 5, 4, 3]])
    wanted = row.measure(a, b)
    np.testing.assert_array_equal(row.measure(a.astype(np.float32), b.tolist()), wanted)
    assert wanted.dtype == np.float64


@every_measure
def test_wrong_shapes_get_a_sentence(row):
    for a, b, mask in (
        (np.ones(3), np.ones(3), None),
        (np.ones((2, 3)), np.ones((2, 4)), None),
        (np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 1), bool)),
        (np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3))),
    ):
        with pytest.raises(
            ShapeError, match=r"Expected two arrays \(rows, positions\) and a boolean mask of one shape"
        ):
            row.measure(a, b, mask=mask)


@every_measure
def test_a_nan_that_counts_gets_a_sentence(row):
    a = np.array([[1.0, np.nan, 2.0, np.nan]])
    with pytest.raises(ArgumentError, match=r"at every position that counts; received 2 NaN.* in shape \(1, 4\)"):
        row.measure(a, np.ones((1, 4)))
    with pytest.raises(ArgumentError, match="received 1 NaN"):
        row.measure(np.ones((1, 4)), a, mask=np.array([[True, True, True, False]]))
