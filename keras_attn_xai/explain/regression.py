"""Shapley values by regression on sampled coalitions, as shap's Kernel explainer without l1.

The coalitions are shap's, draw for draw (tests compare them), written straight into the rows of one array.
"""

import itertools
from math import ceil, comb

import numpy as np


def kernel_values(game, budget=None):
    """Shapley values (M,) by weighted least squares.

    Parameters
    ----------
    game : Game
    budget : int, optional
        Coalitions besides the two ends, by default ``2 M + 2048``; never more than there are.

    Returns
    -------
    float array (M,)
        They add up to the game's output minus its base, whatever the budget.

    References
    ----------
    Lundberg and Lee 2017 (arXiv:1705.07874), theorem 2.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.regression import kernel_values
    >>> class Glove:  # player 0 has a left glove, 1 and 2 a right one; a pair is worth 1
    ...     base, output = 0.0, 1.0
    ...     def __len__(self):
    ...         return 3
    ...     def __call__(self, present):
    ...         return (present[:, 0] & (present[:, 1] | present[:, 2])).astype(float)
    >>> (6 * kernel_values(Glove())).round(6)
    array([4., 1., 1.])
    """
    present, weight = weighted_coalitions(len(game), budget)
    return _least_squares(present, game(present), weight, game.base, game.output)


def weighted_coalitions(players, budget=None):
    """Coalitions (N, M) and their weights (N,): whole sizes first, then draws, each with its complement."""
    many = 2 * players + 2**11 if budget is None else budget
    many = min(many, 2**players - 2)
    size = np.arange(1, ceil((players - 1) / 2) + 1)  # the other sizes are complements of these
    paired = 2 * size != players
    share = (1 + paired) * (players - 1) / (size * (players - size))
    share /= share.sum()

    present, weight = np.zeros((many, players), bool), np.empty(many)
    whole = added = 0
    while whole < len(size):
        count = (1 + paired[whole]) * comb(players, size[whole])
        if (many - added) * share[whole] / share[whole:].sum() < (1 - 1e-8) * count:
            break
        block = slice(added, added + count)
        present[block] = _all_of_size(players, size[whole], with_complements=paired[whole])
        weight[block] = share[whole] / count
        whole, added = whole + 1, added + count
    if whole < len(size):
        drawn = added + _draw(present[added:], weight[added:], size[whole:], paired[whole:], share[whole:])
        weight[added:drawn] *= share[whole:].sum() / weight[added:drawn].sum()
        present, weight = present[:drawn], weight[:drawn]
    return present, weight


def _all_of_size(players, size, *, with_complements):
    members = np.array(list(itertools.combinations(range(players), size)))
    present = np.zeros((len(members), players), bool)
    np.put_along_axis(present, members, True, axis=1)
    return np.stack([present, ~present], axis=1).reshape(-1, players) if with_complements else present


def _draw(present, weight, size, paired, share):
    """Fill rows with distinct random coalitions, each followed by its complement, and count how often each came.

    Returns how many were filled: of very few coalitions the last may never come.
    """
    room, players = present.shape
    # one choice of all sizes and one permutation a draw, from the global generator: the order of shap
    chance = share / (1 + paired)
    sizes = np.random.choice(len(size), 4 * room, p=chance / chance.sum())
    row_of, row = {}, 0
    for which in sizes:
        if row == room:
            break
        members = np.random.permutation(players)[: size[which]]
        present[row, members] = True
        key = present[row].tobytes()
        seen = row_of.setdefault(key, row)
        rows = slice(seen, min(seen + 1 + paired[which], room))
        if seen < row:
            present[row] = False
            weight[rows] += 1
        else:
            np.logical_not(present[row], out=present[row + 1 : row + 1 + paired[which]])
            weight[rows] = 1
            row = rows.stop
    return row


def _least_squares(present, value, weight, base, output):
    """Values (M,) nearest to the game on these coalitions among those that add up to ``output - base``."""
    total = output - base
    last = present[:, -1].astype(float)
    design = present[:, :-1] - last[:, None]
    aim = value - base - last * total
    weighted = design.T * weight
    values = np.linalg.lstsq(weighted @ design, weighted @ aim, rcond=None)[0]
    return np.append(values, total - values.sum())
