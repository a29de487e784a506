"""Kernel regression on pairs: its closed forms against sums over all coalitions, its errors against the truth."""

from math import comb, factorial

import numpy as np
import pytest

from keras_attn_xai.explain.game import play
from keras_attn_xai.explain.paired_kernel import (
    FREE,
    JITTER,
    _covariance,
    _effects,
    _prior_variance,
    coalitions_by_size,
    design_of,
    paired_kernel_values,
    sets_of,
)
from keras_attn_xai.explain.regression import kernel_values
from keras_attn_xai.explain.sampling import every_coalition, exact_values, seeded_numpy_random

M, DECAY = 7, 0.3


class Network:
    """A game with interactions of every order: two layers of tanh."""

    def __init__(self, players, seed=0, width=11):
        random = np.random.default_rng(seed)
        self.first, self.second = random.normal(size=(players, width)), random.normal(size=width)
        self.shift, self.players, self.asked = random.normal(size=width), players, []
        self.base, self.output = self.worth(np.array([np.zeros(players), np.ones(players)]))

    def __len__(self):
        return self.players

    def worth(self, present):
        return np.tanh(present @ self.first + self.shift) @ self.second

    def __call__(self, present):
        self.asked.append(present)
        return self.worth(present.astype(float))


def shapley_weights(players):
    """What each coalition (2^M, M) counts for each player's Shapley value, from the definition."""
    present = every_coalition(players)
    size = present.sum(1, keepdims=True)
    others = size - present
    chance = np.vectorize(lambda s: factorial(s) * factorial(players - s - 1) / factorial(players))(others)
    return np.where(present, chance, -chance)


def test_the_values_of_a_kernel_are_its_sums_over_all_coalitions():
    signs = every_coalition(M) * 2.0 - 1
    covariance = _covariance(signs, DECAY)
    np.fill_diagonal(covariance, covariance[0, 0] - JITTER)
    weights = shapley_weights(M)
    np.testing.assert_allclose(_effects(signs, DECAY), covariance @ weights, rtol=1e-8, atol=1e-7)
    variance = np.einsum("cm,cd,dm->m", weights, covariance, weights)
    np.testing.assert_allclose(_prior_variance(M, DECAY), variance, rtol=1e-8)


def test_the_covariance_is_linear_plus_odd_products():
    random = np.random.default_rng(0)
    x, y = random.choice([-1.0, 1.0], (2, M))
    product = np.prod(1 + DECAY * x * y) - np.prod(1 - DECAY * x * y)
    expected = product / 2 / (1 + DECAY) ** M + FREE * x @ y
    np.testing.assert_allclose(_covariance(np.stack([x, y]), DECAY)[0, 1], expected, rtol=1e-12)


@pytest.mark.parametrize("players", [2, 3, 6, 7])
def test_all_pairs_give_exact_values_without_error(players):
    game = Network(players)
    found = play(paired_kernel_values(game, 2**players), game)
    np.testing.assert_allclose(found.values, play(exact_values(game), game).values, atol=1e-7)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-3)


@pytest.mark.parametrize(("players", "budget"), [(13, 40), (13, 400), (40, 300), (300, 200)])
def test_values_add_up_and_nothing_is_asked_twice(players, budget):
    game = Network(players)
    found = play(paired_kernel_values(game, budget), game)
    (asked,) = game.asked
    assert len(asked) == len(np.unique(asked, axis=0)) == budget - 2
    np.testing.assert_array_equal(asked[: len(asked) // 2], ~asked[len(asked) // 2 :])
    assert (found.asked, found.used) == (budget, budget)
    np.testing.assert_allclose(found.values.sum(), game.output - game.base, rtol=1e-12)


def test_a_linear_game_is_found_from_any_pairs():
    class Linear(Network):
        def worth(self, present):
            return present @ np.arange(1.0, len(self) + 1)

    game = Linear(20)
    found = play(paired_kernel_values(game, 100), game)
    np.testing.assert_allclose(found.values, np.arange(1.0, 21), rtol=1e-5)
    assert found.standard_error.max() < 1e-3


def test_nearer_than_least_squares_on_as_many_coalitions():
    ratios = []
    for seed in range(12):
        game = Network(12, seed)
        exact = play(exact_values(game), game).values
        paired = play(paired_kernel_values(game, 302, seed=seed), game).values
        with seeded_numpy_random(seed):
            plain = play(kernel_values(game, 300), game).values
        ratios.append(np.linalg.norm(paired - exact) / np.linalg.norm(plain - exact))
    assert np.median(ratios) < 0.8


@pytest.mark.parametrize("way", [paired_kernel_values, kernel_values])
def test_the_standard_error_is_that_of_the_values(way):
    """Errors, each divided by its standard error, have about unit size."""
    scaled = []
    for seed in range(20):
        game = Network(11, seed)
        exact = play(exact_values(game), game).values
        with seeded_numpy_random(seed):
            found = play(way(game, 200), game)
        scaled.append((found.values - exact) / found.standard_error)
    assert 0.5 < np.sqrt(np.mean(np.square(scaled))) < 1.5
    assert np.mean(np.abs(scaled) < 1.96) > 0.85


def test_until_the_tolerance_is_reached():
    game, errors = Network(15), []

    def reached(error):
        errors.append(error.max())
        return error.max() < 0.02

    found = play(paired_kernel_values(game, 4000, reached=reached), game)
    assert found.standard_error.max() < 0.02
    assert (np.array(errors[:-1]) >= 0.02).all()
    assert [len(one) for one in game.asked] == [128 * 2**n for n in range(len(errors))]
    once = play(paired_kernel_values(game, found.used), game)
    np.testing.assert_array_equal(once.values, found.values)
    spent = play(paired_kernel_values(game, 500, reached=lambda error: False), game)
    assert spent.used == 500


@pytest.mark.parametrize("players", [9, 10, 17])
def test_sizes_are_drawn_evenly_without_complements(players):
    for pairs in (players - 1, players + 3, 5 * players, 2 ** (players - 1) - 1 if players < 12 else 900):
        present = coalitions_by_size(players, pairs)
        both = np.concatenate([present, ~present])
        assert len(present) == pairs
        assert len(np.unique(both, axis=0)) == 2 * pairs
        size = present.sum(1)
        assert size.min() == 1
        assert size.max() <= (players + 1) // 2
        if players <= pairs < 2 * players:
            assert (size == 1).sum() == players


def test_fewer_sets_are_the_first_of_more():
    for players, size in ((8, 3), (30, 12)):
        few, more = sets_of(players, size, 20), sets_of(players, size, 50)
        np.testing.assert_array_equal(more[:20], few)
        assert (more.sum(1) == size).all()
        assert len(np.unique(more, axis=0)) == 50 <= comb(players, size)


def test_a_design_is_made_once():
    assert design_of(12, 40) is design_of(12, 40)


def test_each_seed_gives_players_other_columns():
    game = Network(14)
    one, two = (play(paired_kernel_values(game, 100, seed=seed), game).values for seed in (1, 2))
    assert np.abs(one - two).max() > 1e-4
