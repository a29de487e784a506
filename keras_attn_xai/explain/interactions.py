"""Shapley interactions of pairs of players: enumerated, or by kernel regression on pairs of coalitions.

As Shapley values depend on the odd part of a game alone, interactions of two depend on its even part,
``(v(S) + v(M \\ S)) / 2``: the same evaluations give both. Over the even part lies a Gaussian process as over the odd
one, here with a constant and all pairs without a price.

Shapes: n pairs of coalitions, M players.
"""

from functools import lru_cache
from math import comb

import numpy as np
from scipy import linalg

from keras_attn_xai.explain.game import Shares
from keras_attn_xai.explain.paired_kernel import (
    FREE,
    JITTER,
    coalitions_by_size,
    decay_of,
    design_of,
    distances,
    integrals,
)
from keras_attn_xai.explain.sampling import every_coalition, exact_values


def interactions(game, budget, *, seed=0):
    """Exact where all coalitions are within the budget, else sampled; one player keeps all to itself."""
    if len(game) == 1:
        return _of_one(game)
    return exact_interactions(game) if 2 ** len(game) <= budget else sampled_interactions(game, budget, seed=seed)


def _of_one(game):
    yield np.zeros((0, 1), bool)
    return Shares(np.array([[game.output - game.base]]), None, 2, 2)


def exact_interactions(game):
    """Interactions (M, M) by enumeration of all 2^M coalitions.

    Parameters
    ----------
    game : Game

    Returns
    -------
    Shares
        With values (M, M), as `matrix` puts them.

    References
    ----------
    Grabisch and Roubens 1999, "An axiomatic approach to the concept of interaction" (doi:10.1007/s001820050125).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.game import play
    >>> from keras_attn_xai.explain.interactions import exact_interactions
    >>> class Pair:  # players 0 and 1 are worth 6 together, 2 is worth 1
    ...     def __len__(self):
    ...         return 3
    ...     def __call__(self, present):
    ...         return 6.0 * (present[:, 0] & present[:, 1]) + present[:, 2]
    >>> play(exact_interactions(Pair()), Pair()).values
    array([[0., 3., 0.],
           [3., 0., 0.],
           [0., 0., 1.]])
    """
    players = len(game)
    value = yield every_coalition(players)
    code, size = np.arange(2**players), every_coalition(players).sum(1)
    chance = np.array([1 / ((players - 1) * comb(players - 2, s)) for s in range(players - 1)])
    pairs = np.zeros((players, players))
    for i, j in zip(*np.triu_indices(players, 1), strict=True):
        one, other = 1 << i, 1 << j
        without = code[code & (one | other) == 0]
        together = value[without | one | other] - value[without | one] - value[without | other] + value[without]
        pairs[i, j] = pairs[j, i] = chance[size[without]] @ together
    shares = _known(exact_values(game), value)
    return Shares(matrix(shares.values, pairs), None, len(code), len(code))


def sampled_interactions(game, budget=None, *, seed=0):
    """Interactions (M, M) by Gaussian-process regression on pairs of a coalition and its complement.

    Parameters
    ----------
    game : Game
    budget : int, optional
        Distinct evaluations, the two ends included; by default ``2 M + 2048``.
    seed : int or sequence of int, default 0
        Which player takes which column of the coalitions.

    Returns
    -------
    Shares
        With values (M, M), as `matrix` puts them.
    """
    players = len(game)
    asked = 2 * players + 2048 if budget is None else budget
    column = np.random.default_rng(seed).permutation(players)
    design = design_of(players, min(asked // 2, 2 ** (players - 1)) - 1)
    values = yield np.concatenate([design.present, ~design.present])[:, column]
    there, back = np.split(values, 2)
    odd = np.append(there - back, game.output - game.base) / 2
    even = np.append(there + back, game.output + game.base) / 2
    shares = design.posterior(odd)[0]
    shares = shares + (2 * odd[-1] - shares.sum()) / players  # of rounding
    pairs = np.zeros((players, players))
    pairs[np.triu_indices(players, 1)] = pair_operator(players, len(design.present)) @ even
    pairs += pairs.T
    return Shares(matrix(shares, pairs)[np.ix_(column, column)], None, asked, 2 * len(design.present) + 2)


def matrix(shares, pairs):
    """Shapley values (M,) and interactions (M, M) in one matrix, as shap's: halves of pairs, rows that add up.

    Returns
    -------
    float array (M, M)
        Symmetric. A row adds up to the player's Shapley value, all of it to the game's output minus its base; the
        diagonal is what a player does by itself.
    """
    found = pairs / 2
    found[np.diag_indices_from(found)] = shares - found.sum(1)
    return found


@lru_cache(maxsize=8)
def pair_operator(players, pairs):
    """Even parts (n + 1,) to interactions of all pairs, (M (M - 1) / 2, n + 1)."""
    signs = np.concatenate([coalitions_by_size(players, pairs), np.ones((1, players), bool)]) * 2.0 - 1
    decay = decay_of(players)
    step, apart = (1 - decay) / (1 + decay), np.arange(players + 1)
    inner = players - 2 * apart
    of = (step**apart + step ** (players - apart)) / 2 + FREE * (1 + (inner**2 - players) / 2)
    covariance = of[distances(signs)]
    covariance[np.diag_indices_from(covariance)] += JITTER
    first, second = np.triu_indices(players, 1)
    same, size = signs[:, first] + signs[:, second], (signs > 0).sum(1)
    both, neither = integrals(size - 2, players - size, decay), integrals(size, players - size - 2, decay)
    one = integrals(size - 1, players - size - 1, decay)
    of_others = np.where(same > 0, both[:, None], np.where(same < 0, neither[:, None], one[:, None]))
    effects = signs[:, first] * signs[:, second] * (2 * (decay / (1 + decay)) ** 2 * of_others + 4 * FREE)
    return linalg.solve(covariance, effects, assume_a="pos", overwrite_a=True, check_finite=False).T


def _known(way, values):
    """What a way of sharing returns whose one question is answered already."""
    next(way)
    try:
        way.send(values)
    except StopIteration as end:
        return end.value
    raise AssertionError("it asked again")
