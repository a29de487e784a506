"""Shapley values by kernel regression on pairs of coalitions: the game is interpolated, its values integrated.

Shapley values depend on a game's odd part alone, ``(v(S) - v(M \\ S)) / 2``, so each coalition is evaluated with its
complement. Over the odd part lies a Gaussian process: linear in the players, without a price, plus higher orders that
fade. Its mean passes through every value seen, and the Shapley values of that mean are a fixed matrix times
the values, the same for every row with as many players.

Shapes: n pairs of coalitions, M players.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from scipy import linalg

from keras_attn_xai.explain.game import Shares

ORDER = 2.8  # the mean order of interactions the prior expects
FREE = 1e4  # prior variance of what costs nothing: so large that data decide
JITTER = 1e-9  # against rounding
PROBES = 128  # pairs whose left-out errors tell the scale
NODES = 64  # of quadrature over the size of coalitions
FIRST = 128  # evaluations before the tolerance is looked at
ENUMERABLE = 2**14  # sets of one size that are listed and shuffled rather than drawn


def paired_kernel_values(game, budget=None, *, reached=None, seed=0):
    """Shapley values (M,) by Gaussian-process regression on pairs of a coalition and its complement.

    Parameters
    ----------
    game : Game
    budget : int, optional
        Distinct evaluations, the two ends included; by default ``2 M + 2048``.
    reached : callable, optional
        Standard errors (M,) to whether they are small enough. Evaluations are then doubled from 128 on.
    seed : int or sequence of int, default 0
        Which player takes which column of the coalitions; these are the same for every game of M players.

    Returns
    -------
    Shares
        Their values add up to the game's output minus its base. The standard error is the posterior's, its scale
        taken from how well values are foretold that are left out.

    Notes
    -----
    Coalitions are drawn without repeats and evenly over sizes, the smallest and the largest first, as leverage scores
    ask for. With 12 to 20 players the error was 0.3 to 0.7 of that of weighted least squares on as many
    coalitions (``benchmarks/explain.py kernel``). Time grows as n^3, once for each number of players.

    References
    ----------
    O'Hagan 1991, "Bayes-Hermite quadrature" (doi:10.1016/0378-3758(91)90002-V), for integrating the posterior.
    Covert and Lee 2021 (arXiv:2012.01536), for pairs. Musco and Witter 2025 (arXiv:2410.01917), for the sizes.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.game import play
    >>> from keras_attn_xai.explain.paired_kernel import paired_kernel_values
    >>> class Chain:  # each player is worth 1, and neighbours 2 more
    ...     base, output = 0.0, 96.0
    ...     def __len__(self):
    ...         return 32
    ...     def __call__(self, present):
    ...         return present.sum(1) + 2.0 * (present & np.roll(present, 1, axis=1)).sum(1)
    >>> play(paired_kernel_values(Chain(), 200), Chain()).values.round(4)[:3]
    array([3., 3., 3.])
    """
    players = len(game)
    asked = 2 * players + 2048 if budget is None else budget
    most = min(asked // 2, 2 ** (players - 1)) - 1  # pairs besides the two ends
    column = np.random.default_rng(seed).permutation(players)
    pairs = most if reached is None else min(most, FIRST // 2)
    while True:
        design = design_of(players, pairs)
        values = yield np.concatenate([design.present, ~design.present])[:, column]
        odd = np.append(np.subtract(*np.split(values, 2)), game.output - game.base) / 2
        shares, error = design.posterior(odd)
        if pairs == most or (reached is not None and reached(error)):
            shares = shares + (2 * odd[-1] - shares.sum()) / players  # of rounding
            return Shares(shares[column], error[column], asked, 2 * pairs + 2)
        pairs = min(2 * pairs, most)


@dataclass(frozen=True, eq=False)
class Design:
    """Pairs of coalitions, and what follows from their choice alone.

    Parameters
    ----------
    present : bool array (n, M)
        One coalition of each pair; the pair of nobody and everybody comes last in what follows.
    operator : float array (M, n + 1)
        Odd parts to Shapley values.
    probes : float array (P, n + 1)
        Odd parts to errors of pairs left out, in units of their standard deviation.
    variance : float array (M,)
        Of the Shapley values, for a process of scale 1.
    """

    present: np.ndarray
    operator: np.ndarray
    probes: np.ndarray
    variance: np.ndarray

    def posterior(self, odd):
        """Values and standard errors (M,) from odd parts (n + 1,)."""
        scale = np.mean((self.probes @ odd) ** 2)
        return self.operator @ odd, np.sqrt(scale * self.variance)


@lru_cache(maxsize=32)
def design_of(players, pairs):
    """The `Design` for so many players and pairs; a larger one begins with the pairs of a smaller one, size by size."""
    present = coalitions_by_size(players, pairs)
    signs = np.concatenate([present, np.ones((1, players), bool)]) * 2.0 - 1  # (n + 1, M)
    decay = decay_of(players)
    covariance = _covariance(signs, decay)
    effects = _effects(signs, decay)
    factor = linalg.cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)
    solved = linalg.cho_solve(factor, effects, check_finite=False)
    picked = np.linspace(0, pairs - 1, min(PROBES, pairs)).astype(int)
    ones = np.zeros((pairs + 1, len(picked)))
    ones[picked, range(len(picked))] = 1
    inverse = linalg.cho_solve(factor, ones, check_finite=False)  # rows of it, as it is symmetric
    left = _prior_variance(players, decay) - np.einsum("nm,nm->m", effects, solved)
    return Design(
        present=present,
        operator=solved.T,
        probes=(inverse / np.sqrt(inverse[picked, range(len(picked))])).T,
        variance=np.maximum(left, 0),
    )


def coalitions_by_size(players, pairs):
    """Distinct coalitions (n, M), evenly over sizes up to half, no two each other's complement.

    Few pairs, less than 2 M, go to single players first, which tell most.
    """
    sizes = np.arange(1, players // 2 + 1)
    count = [comb(players, size) // (2 if 2 * size == players else 1) for size in sizes.tolist()]
    share = np.where(2 * sizes == players, 1, 2)
    singles = min(pairs, count[0]) if pairs < 2 * players else 0
    number = _filled(min(pairs, sum(count)), count, share, singles)
    drawn = []
    for size, many in zip(sizes.tolist(), number, strict=True):
        if 2 * size == players:  # player 0 is always in, so that no complement comes
            some = sets_of(players - 1, size - 1, many)
            drawn.append(np.concatenate([np.ones((many, 1), bool), some], axis=1))
        else:
            drawn.append(sets_of(players, size, many))
    return np.concatenate(drawn)


def _filled(pairs, count, share, singles):
    """How many of each size: in proportion to ``share``, at most ``count``, ``pairs`` in all, at least ``singles``."""
    number, left = [singles] + [0] * (len(count) - 1), pairs - singles
    for i in range(singles > 0, len(count)):
        fair = -(-left * int(share[i]) // int(share[i:].sum()))  # rounded up
        number[i] = min(count[i], fair)
        left -= number[i]
    for i in range(len(count)):  # what sizes near half could not take
        more = min(left, count[i] - number[i])
        number[i], left = number[i] + more, left - more
    return number


def sets_of(players, size, many):
    """Distinct random sets (n, M) of one size; fewer are the first of more."""
    random = np.random.default_rng([players, size])
    if comb(players, size) <= ENUMERABLE:
        members = np.array(list(itertools.combinations(range(players), size)), int).reshape(comb(players, size), size)
        members = members[random.permutation(len(members))[:many]]
        found = np.zeros((len(members), players), bool)
        np.put_along_axis(found, members, True, axis=1)
        return found
    found = np.zeros((0, players), bool)
    while len(found) < many:
        more = np.argsort(random.random((many, players)), axis=1) < size
        found = np.concatenate([found, more])
        found = found[np.sort(np.unique(np.packbits(found, axis=1), axis=0, return_index=True)[1])]
    return found[:many]


def _covariance(signs, decay):
    """Prior covariance (n, n) of odd parts: linear, plus the odd half of the product kernel ``prod(1 + r x_i y_i)``."""
    players = signs.shape[1]
    step = (1 - decay) / (1 + decay)
    apart = np.arange(players + 1)  # in how many players two coalitions differ
    of = (step**apart - step ** (players - apart)) / 2 + FREE * (players - 2 * apart)
    covariance = of[distances(signs)]
    covariance[np.diag_indices_from(covariance)] += JITTER
    return covariance


def _effects(signs, decay):
    """Shapley values (n, M) of the games that are each coalition's kernel."""
    players, size = signs.shape[1], (signs > 0).sum(1)
    member, other = integrals(size - 1, players - size, decay), integrals(size, players - size - 1, decay)
    return signs * (decay / (1 + decay) * np.where(signs > 0, member[:, None], other[:, None]) + 2 * FREE)


def _prior_variance(players, decay):
    """Of any player's Shapley value."""
    u, weight = _nodes()
    inner = np.exp((players - 1) * (np.log1p(decay * np.multiply.outer(u, u)) - np.log1p(decay)))
    return decay / (1 + decay) * (weight @ inner @ weight) + 4 * FREE


@lru_cache(maxsize=1)
def _nodes():
    return np.polynomial.legendre.leggauss(NODES)


def decay_of(players):
    """How fast orders of interaction fade in the prior, 0 to 1, so that their mean order is the same for all M."""
    return min(ORDER / max(players - ORDER, 1e-9), 0.5)


def distances(signs):
    """In how many players coalitions (n, M) of -1 and 1 differ, (n, n)."""
    return np.rint((signs.shape[1] - signs @ signs.T) / 2).astype(int)


def integrals(members, others, decay):
    """What the others in a product kernel come to on average over the share of players present, (n,).

    The multilinear extension of a product is a product (Owen 1972), so a value of the kernel is an integral of
    ``(1 + r u)^members (1 - r u)^others / (1 + r)^(members + others)`` over u, which goes from -1 (nobody) to 1.
    """
    u, weight = _nodes()
    up, down = np.log1p(decay * u) - np.log1p(decay), np.log1p(-decay * u) - np.log1p(decay)
    return np.exp(np.multiply.outer(members, up) + np.multiply.outer(others, down)) @ weight
