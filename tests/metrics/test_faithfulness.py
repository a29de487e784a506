"""What explanations foretell of changes: linear models have closed answers; masks, bounds, refusals."""

import numpy as np
import pytest
from scipy import stats

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics import faithfulness_correlation, infidelity, max_sensitivity, sensitivity_n
from tests import references

B, N, S = 3, 17, 11
every_correlation = pytest.mark.parametrize("measure", [faithfulness_correlation, sensitivity_n])


def made(seed=0, size=4):
    """Signed values, subsets of one size for each row and for all, noisy drops, and a mask that keeps 7 positions."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(B, S))
    subsets = draw.permuted(np.tile(np.arange(S) < size, (B, N, 1)), axis=2)
    drops = np.einsum("bns,bs->bn", subsets, values) + draw.normal(size=(B, N))
    mask = draw.permuted(np.tile(np.arange(S) < 7, (B, 1)), axis=1)
    return values, subsets, drops, mask


def within(mask, size=3, seed=1):
    """Subsets of one size among the positions that count, and any others on top."""
    draw = np.random.default_rng(seed)
    subsets = draw.random((B, N, S)) < 0.5
    for b in range(B):
        for n in range(N):
            subsets[b, n, mask[b]] = draw.permuted(np.arange(mask[b].sum()) < size)
    return subsets


@every_correlation
def test_it_is_scipys_correlation_of_sums_and_drops(measure):
    values, subsets, drops, _ = made()
    wanted = [stats.pearsonr([values[b][s].sum() for s in subsets[b]], drops[b]).statistic for b in range(B)]
    np.testing.assert_allclose(measure(values, subsets, drops), wanted, atol=1e-12)
    shared = measure(values, subsets[0], drops)
    np.testing.assert_allclose(shared, measure(values, np.tile(subsets[:1], (B, 1, 1)), drops), atol=1e-12)


@every_correlation
def test_the_effects_of_a_linear_model_foretell_all(measure):
    values, subsets, _, _ = made()
    drops = np.einsum("bns,bs->bn", subsets, values)
    np.testing.assert_allclose(measure(values, subsets, drops), 1, atol=1e-12)
    np.testing.assert_allclose(measure(-2 * values, subsets, drops), -1, atol=1e-12)
    np.testing.assert_allclose(infidelity(values, subsets, drops), 0, atol=1e-12)


@every_correlation
def test_positions_that_do_not_count_add_nothing(measure):
    values, _, drops, mask = made()
    subsets = within(mask)
    wanted = measure(np.where(mask, values, 0), subsets & mask[:, None], drops)
    assert not np.isnan(wanted).any()
    for filling in (99, np.nan):
        np.testing.assert_allclose(measure(np.where(mask, values, filling), subsets, drops, mask=mask), wanted)


@every_correlation
@pytest.mark.parametrize("height", [0.1, 1 / 3, 1e-9, 1e9])
def test_a_uniform_explanation_foretells_nothing(measure, height):
    _, subsets, drops, _ = made()
    uneven = np.full((B, S), height)
    uneven *= 1 + np.finfo(float).eps * np.random.default_rng(0).integers(-1, 2, uneven.shape)  # as a softmax leaves it
    assert np.isnan(measure(uneven, subsets, drops)).all()
    assert np.isnan(measure(np.random.default_rng(0).normal(size=(B, S)), subsets, np.ones((B, N)))).all()


def test_sensitivity_n_wants_one_size_and_counts_the_mask():
    values, subsets, drops, mask = made()
    subsets[1, 2] = True
    with pytest.raises(ArgumentError, match="subsets of one size; those of row 1 have 4 to 11 positions"):
        sensitivity_n(values, subsets, drops)
    assert np.isfinite(faithfulness_correlation(values, subsets, drops)).all()
    counted = within(mask)
    assert np.isfinite(sensitivity_n(values, counted, drops, mask=mask)).all()
    with pytest.raises(ArgumentError, match="Draw n of those the mask keeps"):
        sensitivity_n(values, counted, drops)


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_is_the_papers(scaled):
    values, _, drops, mask = made()
    changes = np.random.default_rng(1).normal(size=(B, N, S))
    wanted = [references.infidelity(values[b], changes[b], drops[b], scaled=scaled) for b in range(B)]
    np.testing.assert_allclose(infidelity(values, changes, drops, scaled=scaled), wanted)
    shared = [references.infidelity(values[b], changes[0], drops[b], scaled=scaled) for b in range(B)]
    np.testing.assert_allclose(infidelity(values, changes[0], drops, scaled=scaled), shared)
    masked = [references.infidelity(values[b] * mask[b], changes[b], drops[b], scaled=scaled) for b in range(B)]
    found = infidelity(np.where(mask, values, np.nan), changes, drops, scaled=scaled, mask=mask)
    np.testing.assert_allclose(found, masked)


def test_the_best_scale_is_never_worse_and_scale_does_not_count_any_more():
    values, subsets, drops, _ = made()
    best = infidelity(values, subsets, drops, scaled=True)
    for factor in (-3, 0.01, 1, 7):
        assert (best <= infidelity(factor * values, subsets, drops) + 1e-12).all()
        np.testing.assert_allclose(infidelity(factor * values, subsets, drops, scaled=True), best)
    nothing = infidelity(np.zeros((B, S)), subsets, drops, scaled=True)
    np.testing.assert_allclose(nothing, (drops**2).mean(1))


def test_max_sensitivity_is_the_furthest_neighbour():
    draw = np.random.default_rng(0)
    values, near, mask = draw.normal(size=(B, S)), draw.normal(size=(B, N, S)), draw.random((B, S)) < 0.7
    wanted = [max(np.linalg.norm((near[b, n] - values[b])[mask[b]]) for n in range(N)) for b in range(B)]
    np.testing.assert_allclose(max_sensitivity(values, near, mask=mask), wanted)
    given = np.where(mask, values, np.nan), np.where(mask[:, None], near, np.inf)
    np.testing.assert_allclose(max_sensitivity(*given, mask=mask), wanted)
    lengths = [np.linalg.norm(values[b][mask[b]]) for b in range(B)]
    relative = max_sensitivity(5 * values, 5 * near, relative=True, mask=mask)
    np.testing.assert_allclose(relative, np.divide(wanted, lengths))
    assert not max_sensitivity(values, np.repeat(values[:, None], N, 1)).any()
    assert np.isnan(max_sensitivity(0 * values, near, relative=True)).all()


@pytest.mark.parametrize("measure", [faithfulness_correlation, sensitivity_n, infidelity])
def test_what_does_not_fit_is_one_sentence(measure):
    values, subsets, drops, _ = made()
    for wrong in (subsets[:2], subsets[..., :5], subsets[0, 0], subsets[:, :0], subsets.astype(str)):
        with pytest.raises(ShapeError, match=r"\(N, 11\) or \(3, N, 11\); received "):
            measure(values, wrong, drops)
    with pytest.raises(ShapeError, match=r"Expected drops of shape \(3, 17\); received \(3, 16\)"):
        measure(values, subsets, drops[:, 1:])
    with pytest.raises(ArgumentError, match="Expected finite numbers in drops; received 51 NaN"):
        measure(values, subsets, drops * np.nan)
    assert measure(values[:0], subsets[0], drops[:0]).shape == (0,)


def test_subsets_are_boolean_and_perturbations_finite():
    values, subsets, drops, _ = made()
    with pytest.raises(ShapeError, match=r"Expected subsets as boolean .*received .* of dtype int64"):
        sensitivity_n(values, subsets.astype(int), drops)
    with pytest.raises(ArgumentError, match="Expected finite numbers in perturbations; received 1 NaN"):
        infidelity(values, np.where(np.arange(N * S).reshape(N, S) == 5, np.nan, 1.0), drops)
    for near in (values, values[None], np.zeros((B, 0, S))):
        with pytest.raises(ShapeError, match=r"Expected perturbed \(3, N, 11\); received"):
            max_sensitivity(values, near)
