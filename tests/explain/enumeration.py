"""Shapley values the slow way: every coalition, straight from the definition, over the plain model.

Nothing here comes from the package: the model is called as a user would call it.
"""

from itertools import combinations
from math import factorial

import numpy as np


def coalition_value(scalar, row, background, present):
    """The mean of ``scalar`` over background rows (R, S), with the positions in ``present`` taken from ``row``."""
    return coalition_values(scalar, row, background, [present])[0]


def coalition_values(scalar, row, background, coalitions):
    """`coalition_value` of each of several coalitions, with one call of ``scalar``."""
    filled = np.stack([background] * len(coalitions))  # (K, R, S)
    for some, rows in zip(coalitions, filled, strict=True):
        rows[:, list(some)] = row[list(some)]
    values = np.asarray(scalar(filled.reshape(-1, *filled.shape[2:])), np.float64)
    return values.reshape(len(coalitions), -1).mean(1).tolist()


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
    coalitions = [some for size in range(count + 1) for some in combinations(sorted(players), size)]
    present = [always | set(some) for some in coalitions]
    worth = dict(zip(coalitions, coalition_values(scalar, row, background, present), strict=True))
    values = np.zeros(len(row))
    for player in players:
        for some in (coalition for coalition in worth if player not in coalition):
            weight = factorial(len(some)) * factorial(count - len(some) - 1) / factorial(count)
            values[player] += weight * (worth[tuple(sorted((*some, player)))] - worth[some])
    return values
