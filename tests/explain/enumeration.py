"""Shapley values the slow way: every coalition, straight from the definition, over the plain model.

Nothing here comes from the package: the model is called as a user would call it.
"""

from itertools import combinations
from math import factorial

import numpy as np


def coalition_value(scalar, row, background, present):
    """The mean of ``scalar`` over background rows (R, S), with the positions in ``present`` taken from ``row``."""
    filled = np.array(background)
    filled[:, list(present)] = row[list(present)]
    return float(np.mean(np.asarray(scalar(filled), np.float64)))


def shapley_values(scalar, row, background, players):
    """Shapley values (S,) of the positions ``players``; all other positions keep the row's own id.

    Parameters
    ----------
    scalar : callable
        Ids (N, S) to numbers (N,).
    row : int array (S,)
    background : int array (R, S)
    players : sequence of int
    """
    count = len(players)
    always = set(range(len(row))) - set(players)
    worth = {
        some: coalition_value(scalar, row, background, always | set(some))
        for size in range(count + 1)
        for some in combinations(sorted(players), size)
    }
    values = np.zeros(len(row))
    for player in players:
        for some in (coalition for coalition in worth if player not in coalition):
            weight = factorial(len(some)) * factorial(count - len(some) - 1) / factorial(count)
            values[player] += weight * (worth[tuple(sorted((*some, player)))] - worth[some])
    return values
