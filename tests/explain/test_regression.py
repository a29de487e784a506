"""The regression draws shap's coalitions and finds shap's values, on games of every size."""

import warnings

import numpy as np
import pytest
import shap
from hypothesis import given
from hypothesis import strategies as st

from keras_attn_xai.explain.game import play
from keras_attn_xai.explain.regression import kernel_values, weighted_coalitions
from keras_attn_xai.explain.sampling import seeded_numpy_random


class Game:
    """Pairs of players interact, so that no value is the same in every coalition."""

    def __init__(self, players, seed=0):
        random = np.random.default_rng(seed)
        self.weight = random.normal(size=(players, players))
        self.base, self.output = self(np.array([np.zeros(players), np.ones(players)]))

    def __len__(self):
        return len(self.weight)

    def __call__(self, present):
        present = np.asarray(present, float)
        return np.einsum("ni,ij,nj->n", present, self.weight, present) + 2

    def shapley(self):
        """Exactly: a player's own weight and half of each pair it is in."""
        return (self.weight + self.weight.T).sum(1) / 2


def by_shap(game, budget):
    """shap's explainer after a run: its values, coalitions and weights."""
    explainer = shap.KernelExplainer(game, np.zeros((1, len(game))))
    nsamples = "auto" if budget is None else budget
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Linear regression equation is singular")
        values = explainer.shap_values(np.ones((1, len(game))), nsamples=nsamples, l1_reg=False, silent=True)
    used = slice(explainer.nsamplesAdded)
    return values[0], explainer.maskMatrix[used], explainer.kernelWeights[used]


@given(players=st.integers(2, 40), extra=st.integers(0, 400), seed=st.integers(0, 99))
def test_the_coalitions_are_those_of_shap_in_its_order(players, extra, seed):
    budget, game = players + 2 + extra, Game(players)
    with seeded_numpy_random(seed):
        _, present, weight = by_shap(game, budget)
        theirs = np.random.random()
    with seeded_numpy_random(seed):
        ours = weighted_coalitions(players, budget)
        next_draw = np.random.random()
    np.testing.assert_array_equal(ours[0], present == 1)
    np.testing.assert_allclose(ours[1], weight, rtol=1e-12)
    assert next_draw == theirs  # the next row draws what shap's next row draws


@pytest.mark.parametrize(("players", "budget"), [(5, None), (13, None), (14, 200), (40, None), (2, None), (3, 5)])
def test_the_values_are_those_of_shap(players, budget):
    game = Game(players)
    with seeded_numpy_random(3):
        theirs, *_ = by_shap(game, budget)
    with seeded_numpy_random(3):
        ours = play(kernel_values(game, budget), game).values
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_all_coalitions_give_shapley_values():
    game = Game(9)
    present, weight, drawn = weighted_coalitions(9)
    assert drawn == len(present)
    assert len(np.unique(present, axis=0)) == len(present) == 2**9 - 2
    np.testing.assert_allclose(weight.sum(), 1)
    shares = play(kernel_values(game), game)
    np.testing.assert_allclose(shares.values, game.shapley(), atol=1e-9)
    assert (shares.standard_error == 0).all()


def test_fewer_coalitions_than_unknowns_still_add_up():
    game = Game(30)
    values = play(kernel_values(game, 12), game).values
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values.sum(), game.output - game.base, atol=1e-9)
