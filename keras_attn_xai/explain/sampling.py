"""Exact and permutation Shapley values as arrays: every coalition of a row in one batch.

The values are those of shap's Exact and Permutation explainers, draw for draw (tests compare them).
shap asks for one permutation at a time and compiles its loops when it is first used, which takes
seconds; here a row is one call of the compiled model.
"""

import contextlib
from math import comb

import numpy as np

PERMUTATIONS = 10


def exact_values(game):
    """Shapley values (M,) by enumeration of all 2^M coalitions.

    Parameters
    ----------
    game : Game

    Returns
    -------
    float array (M,)

    References
    ----------
    Shapley 1953, "A value for n-person games", section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.sampling import exact_values
    >>> class Glove:  # player 0 has a left glove, 1 and 2 a right one; a pair is worth 1
    ...     def __len__(self):
    ...         return 3
    ...     def __call__(self, present):
    ...         return (present[:, 0] & (present[:, 1] | present[:, 2])).astype(float)
    >>> 6 * exact_values(Glove())
    array([4., 1., 1.])
    """
    players = len(game)
    code = np.arange(2**players)
    present = (code[:, None] >> np.arange(players)) & 1 == 1  # (2^M, M)
    value = game(present)
    size = present.sum(1)
    values = np.empty(players)
    for player in range(players):
        without = code[~present[:, player]]
        chance = np.array([1 / (players * comb(players - 1, s)) for s in range(players)])[size[without]]
        values[player] = chance @ (value[without | 1 << player] - value[without])
    return values


def permutation_values(game, budget=None):
    """Shapley values (M,) from random orders, each walked there and back.

    Parameters
    ----------
    game : Game
    budget : int, optional
        Evaluations; ``budget // (2 M + 1)`` orders are walked, by default ten.

    Returns
    -------
    float array (M,)
        They add up to the game's output minus its base, whatever the budget.

    References
    ----------
    Castro, Gomez and Tejada 2009 (doi:10.1016/j.cor.2008.04.004); walked back as well: Mitchell et al.
    2022, "Sampling permutations for Shapley value estimation" (arXiv:2104.12199), section 4.1.
    """
    players = len(game)
    orders = np.empty((PERMUTATIONS if budget is None else budget // (2 * players + 1), players), int)
    order = np.arange(players)
    for row in orders:
        np.random.shuffle(order)  # in place and from the global generator, as shap does
        row[:] = order
    place = np.argsort(orders, axis=1)  # when each player joins
    step = np.arange(players + 1)[None, :, None]
    joining = place[:, None, :] < step  # (P, M + 1, M)
    there, back = game(np.concatenate([joining, ~joining]).reshape(-1, players)).reshape(2, -1, players + 1)
    gains = np.diff(there, axis=1) - np.diff(back, axis=1)  # (P, M), in the order of joining
    return np.take_along_axis(gains, place, axis=1).mean(0) / 2


@contextlib.contextmanager
def seeded_numpy_random(seed):
    """Seed NumPy's global generator, from which shap and we draw, and put the user's state back after the block."""
    state = np.random.get_state()
    try:
        np.random.seed(seed)
        yield
    finally:
        np.random.set_state(state)
