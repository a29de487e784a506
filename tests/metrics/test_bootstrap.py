"""Means with intervals: seeded, narrower with more rows, and what they refuse."""

import numpy as np
import pytest

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import bootstrap, bootstrap_interval
from keras_attn_xai.metrics.bootstrap import bootstrap_band


def test_the_interval_holds_the_mean_and_narrows_with_rows():
    values = np.random.default_rng(0).normal(2, 1, 400)
    few, many = bootstrap_interval(values[:20]), bootstrap_interval(values)
    for one in (few, many):
        assert one.low < one.mean < one.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert few.rows == 20


def test_the_interval_is_seeded_and_leaves_out_nan():
    values = np.array([0.1, np.nan, 0.4, 0.3])
    assert bootstrap_interval(values) == bootstrap_interval(values[[0, 2, 3]])
    many = np.random.default_rng(0).normal(size=50)
    assert bootstrap_interval(many, seed=1) == bootstrap_interval(many, seed=1) != bootstrap_interval(many, seed=2)
    assert bootstrap_interval([0.5, np.nan])[:1] == (0.5,)
    assert np.isnan(bootstrap_interval([0.5]).low)


@pytest.mark.parametrize("block", [1, 50, 700])
def test_blocks_of_any_size_give_the_same_interval(block, monkeypatch):
    values = np.random.default_rng(0).normal(size=101)
    wanted = bootstrap_interval(values)
    monkeypatch.setattr(bootstrap, "BLOCK", block)
    assert bootstrap_interval(values) == wanted


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_is_a_share(confidence):
    with pytest.raises(ArgumentError, match=f"between 0 and 1, as 0.95; received {confidence}"):
        bootstrap_interval([0.1, 0.2], confidence=confidence)


def test_a_band_is_the_intervals_of_its_columns():
    values = np.random.default_rng(0).normal(size=(97, 6)) * [1, 2, 3, 5, 0, 2]
    values[::3, 1], values[::3, 5], values[1:, 4] = np.nan, np.nan, np.nan
    found = bootstrap_band(values, resamples=20_000)
    for column, *one in zip(values.T, *found, strict=True):
        expected = bootstrap_interval(column, resamples=20_000)
        np.testing.assert_allclose(one, expected, atol=0.02 * np.nanstd(column), rtol=1e-12)
    assert found.rows.tolist() == [97, 64, 97, 97, 1, 64]
    assert np.isnan(bootstrap_band(np.full((3, 1), np.nan)).mean).all()


@pytest.mark.parametrize("block", [1, 500])
def test_blocks_of_any_size_give_the_same_band(block, monkeypatch):
    values = np.random.default_rng(0).normal(size=(101, 2))
    wanted = bootstrap_band(values)
    monkeypatch.setattr(bootstrap, "BLOCK", block)
    np.testing.assert_allclose(bootstrap_band(values), wanted, atol=1e-14)
