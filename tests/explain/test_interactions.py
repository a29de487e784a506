"""Interactions of pairs: their definition, their sums, and how near the sampled ones come."""

from math import factorial

import numpy as np
import pytest

from keras_attn_xai.explain.game import play
from keras_attn_xai.explain.interactions import exact_interactions, pair_operator, sampled_interactions
from keras_attn_xai.explain.paired_kernel import FREE, coalitions_by_size, decay_of
from keras_attn_xai.explain.sampling import every_coalition, exact_values
from tests.explain.test_paired_kernel import Network

M = 7


def by_definition(game):
    """Interaction indices (M, M) summed over every coalition, one at a time."""
    players = len(game)
    worth = dict(zip(map(tuple, every_coalition(players)), game(every_coalition(players)), strict=True))
    found = np.zeros((players, players))
    for i in range(players):
        for j in set(range(players)) - {i}:
            for some in worth:
                if some[i] or some[j]:
                    continue
                with_i, with_j, both = (
                    tuple(present or n in more for n, present in enumerate(some)) for more in ((i,), (j,), (i, j))
                )
                chance = factorial(sum(some)) * factorial(players - sum(some) - 2) / factorial(players - 1)
                found[i, j] += chance * (worth[both] - worth[with_i] - worth[with_j] + worth[some])
    return found


def test_exact_interactions_are_their_definition():
    game = Network(5)
    found = play(exact_interactions(game), game).values
    off = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(2 * found[off], by_definition(game)[off], atol=1e-10)


@pytest.mark.parametrize("way", [exact_interactions, lambda game: sampled_interactions(game, 90)])
def test_rows_add_up_to_shapley_values_and_all_to_the_effect(way):
    game = Network(M)
    found = play(way(game), game).values
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found.sum(), game.output - game.base, rtol=1e-9)
    if way is exact_interactions:
        np.testing.assert_allclose(found.sum(1), play(exact_values(game), game).values, atol=1e-10)


def test_all_pairs_of_coalitions_give_exact_interactions():
    game = Network(M)
    sampled = play(sampled_interactions(game, 2**M), game)
    np.testing.assert_allclose(sampled.values, play(exact_interactions(game), game).values, atol=1e-5)
    assert sampled.used == 2**M


def test_the_operator_is_that_of_the_kernel():
    """The game that is one coalition's kernel has its own interactions found exactly."""
    decay = decay_of(M)
    signs = coalitions_by_size(M, 30) * 2.0 - 1
    signs = np.concatenate([signs, np.ones((1, M))])
    of = signs[4]

    class Kernel(Network):
        def worth(self, present):
            inner = (2 * np.asarray(present, float) - 1) * of
            even = (np.prod(1 + decay * inner, axis=1) + np.prod(1 - decay * inner, axis=1)) / 2
            return even / (1 + decay) ** M + FREE * (1 + (inner.sum(1) ** 2 - M) / 2)

    game = Kernel(M)
    found = pair_operator(M, 30) @ game.worth(signs > 0)
    expected = 2 * play(exact_interactions(game), game).values[np.triu_indices(M, 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_sampled_interactions_come_near():
    errors = []
    for seed in range(6):
        game = Network(12, seed)
        exact = play(exact_interactions(game), game).values
        few, more = (play(sampled_interactions(game, count, seed=seed), game).values for count in (200, 1000))
        errors.append([np.linalg.norm(one - exact) / np.linalg.norm(exact) for one in (few, more)])
    few, more = np.median(errors, axis=0)
    assert few < 0.35
    assert more < 0.5 * few
