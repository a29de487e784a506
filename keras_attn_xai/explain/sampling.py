"""Shapley values by enumeration, along random orders, and from both ends of all orders.

The values of `exact_values` and `permutation_values` are those of shap's Exact and Permutation explainers, draw for
draw (tests compare them). shap asks for one permutation at a time and compiles its loops when it is first used, which
takes seconds; here all rows ask the compiled model together.
"""

import contextlib
from math import comb

import numpy as np

from keras_attn_xai.explain.game import Shares

PERMUTATIONS = 10


def exact_values(game):
    """Shapley values (M,) by enumeration of all 2^M coalitions.

    Parameters
    ----------
    game : Game

    Returns
    -------
    Shares

    References
    ----------
    Shapley 1953, "A value for n-person games", section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.game import play
    >>> from keras_attn_xai.explain.sampling import exact_values
    >>> class Glove:  # player 0 has a left glove, 1 and 2 a right one; a pair is worth 1
    ...     def __len__(self):
    ...         return 3
    ...     def __call__(self, present):
    ...         return (present[:, 0] & (present[:, 1] | present[:, 2])).astype(float)
    >>> 6 * play(exact_values(Glove()), Glove()).values
    array([4., 1., 1.])
    """
    players = len(game)
    value = yield every_coalition(players)
    code, size = np.arange(2**players), every_coalition(players).sum(1)
    chance = np.array([1 / (players * comb(players - 1, s)) for s in range(players)])
    values = np.empty(players)
    for player in range(players):
        without = code[code >> player & 1 == 0]
        values[player] = chance[size[without]] @ (value[without | 1 << player] - value[without])
    return Shares(values, np.zeros(players), asked=len(code), used=len(code))


def every_coalition(players):
    """All coalitions (2^M, M); that of number c has the players of c's bits."""
    return (np.arange(2**players)[:, None] >> np.arange(players)) & 1 == 1


def permutation_values(game, budget=None, *, reached=None):
    """Shapley values (M,) from random orders, each walked there and back.

    Parameters
    ----------
    game : Game
    budget : int, optional
        Evaluations; ``budget // (2 M + 1)`` orders are walked, by default ten.
    reached : callable, optional
        Standard errors (M,) to whether they are small enough. The orders are then walked ten at a time.

    Returns
    -------
    Shares
        Their values add up to the game's output minus its base, whatever the budget. The standard error is that of a
        mean over orders; None of a single one.

    References
    ----------
    Castro, Gomez and Tejada 2009 (doi:10.1016/j.cor.2008.04.004); walked back as well: Mitchell et al.
    2022, "Sampling permutations for Shapley value estimation" (arXiv:2104.12199), section 4.1.
    """
    players = len(game)
    most = PERMUTATIONS if budget is None else budget // (2 * players + 1)
    gains = np.zeros((0, players))
    while True:
        orders = _orders(players, most if reached is None else min(PERMUTATIONS, most - len(gains)))
        gains = np.concatenate([gains, (yield from _walk(orders))])
        count = len(gains)
        error = gains.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else None
        if count >= most or (error is not None and reached is not None and reached(error)):
            asked = budget or most * (2 * players + 1)
            return Shares(gains.mean(0), error, asked, count * (2 * players + 1))


def _orders(players, count):
    """Random orders (P, M), drawn as shap draws them: in place, from the global generator."""
    orders, order = np.empty((count, players), int), np.arange(players)
    for row in orders:
        np.random.shuffle(order)
        row[:] = order
    return orders


def _walk(orders):
    """What each player adds (P, M) on joining in these orders, the mean of the way there and the way back."""
    players = orders.shape[1]
    place = np.argsort(orders, axis=1)  # when each player joins
    step = np.arange(players + 1)[None, :, None]
    joining = place[:, None, :] < step  # (P, M + 1, M)
    values = yield np.concatenate([joining, ~joining]).reshape(-1, players)
    there, back = values.reshape(2, -1, players + 1)
    gains = np.diff(there, axis=1) - np.diff(back, axis=1)  # (P, M), in the order of joining
    return np.take_along_axis(gains, place, axis=1) / 2


def first_last_values(game):
    """The mean of joining first and of joining last, from 2 M + 2 coalitions; near Shapley values, not equal.

    Parameters
    ----------
    game : Game

    Returns
    -------
    Shares
        What is missing to the game's output minus its base is shared out by how much first and last differ, so that
        a player that changes nothing gets 0.

    Notes
    -----
    Exact for games of pairs: there every player's gain grows evenly with those already present, and the mean of
    both ends is that of all sizes. Three players that act only together are not seen from the ends.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.game import play
    >>> from keras_attn_xai.explain.sampling import first_last_values
    >>> class Pair:  # players 0 and 1 are worth 6 together, 2 is worth 1
    ...     base, output = 0.0, 7.0
    ...     def __len__(self):
    ...         return 3
    ...     def __call__(self, present):
    ...         return 6.0 * (present[:, 0] & present[:, 1]) + present[:, 2]
    >>> play(first_last_values(Pair()), Pair()).values
    array([3., 3., 1.])
    """
    players = len(game)
    alone = np.eye(players, dtype=bool)
    first, last = np.split((yield np.concatenate([alone, ~alone])), 2)
    first, last = first - game.base, game.output - last
    values, differs = (first + last) / 2, np.abs(first - last)
    missing = game.output - game.base - values.sum()
    if not differs.any():  # every player adds what it adds, or nothing can be told from the ends
        differs = np.ones(players)
    return Shares(values + missing * differs / differs.sum(), None, 2 * players + 2, 2 * players + 2)


@contextlib.contextmanager
def seeded_numpy_random(seed):
    """Seed NumPy's global generator, from which shap and we draw, and put the user's state back after the block."""
    state = np.random.get_state()
    try:
        np.random.seed(seed)
        yield
    finally:
        np.random.set_state(state)
