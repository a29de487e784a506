"""Shapley values by regression on sampled coalitions, as shap's Kernel explainer without l1.

The coalitions are shap's, draw for draw (tests compare them), written straight into the rows of one array.
"""

import itertools
from math import ceil, comb

import numpy as np

from keras_attn_xai.explain.game import Shares


def kernel_values(game, budget=None):
    """Shapley values (M,) by weighted least squares.

    Parameters
    ----------
    game : Game
    budget : int, optional
        Coalitions besides the two ends, by default ``2 M + 2048``; never more than there are.

    Returns
    -------
    Shares
        Their values add up to the game's output minus its base, whatever the budget. The standard error is that of a
        regression with clusters, a drawn coalition and its complement being one; sizes that are complete add none.

    References
    ----------
    Lundberg and Lee 2017 (arXiv:1705.07874), theorem 2. White 1980 (doi:10.2307/1912934), for the standard error.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.game import play
    >>> from keras_attn_xai.explain.regression import kernel_values
    >>> class Glove:  # player 0 has a left glove, 1 and 2 a right one; a pair is worth 1
    ...     base, output = 0.0, 1.0
    ...     def __len__(self):
    ...         return 3
    ...     def __call__(self, present):
    ...         return (present[:, 0] & (present[:, 1] | present[:, 2])).astype(float)
    >>> (6 * play(kernel_values(Glove()), Glove()).values).round(6)
    array([4., 1., 1.])
    """
    players = len(game)
    present, weight, drawn = weighted_coalitions(players, budget)
    values, error = _least_squares(present, (yield present), weight, game.base, game.output, drawn)
    return Shares(values, error, 2 * players + 2**11 if budget is None else budget, len(present))


def weighted_coalitions(players, budget=None):
    """Coalitions, whole sizes first, then draws, each with its complement.

    Returns
    -------
    present : bool array (N, M)
    weight : float array (N,)
    drawn : int
        Where draws begin.
    """
    room = 2 * players + 2**11 if budget is None else budget
    room = min(room, 2**players - 2)
    size = np.arange(1, ceil((players - 1) / 2) + 1)  # the other sizes are complements of these
    twice = 1 + (2 * size != players)
    share = twice * (players - 1) / (size * (players - size))
    share /= share.sum()

    present, weight, complete = [], [], 0
    for whole in range(len(size)):
        count = twice[whole] * comb(players, size[whole])
        if room * share[whole] / share[whole:].sum() < (1 - 1e-8) * count:
            drawn, times = _draw(players, room, size[whole:], share[whole:] / twice[whole:])
            present.append(drawn)
            weight.append(times * (share[whole:].sum() / times.sum()))
            break
        members = np.array(list(itertools.combinations(range(players), size[whole])))
        coalitions = np.zeros((len(members), players), bool)
        np.put_along_axis(coalitions, members, True, axis=1)
        present.append(_with_complements(coalitions)[0])
        weight.append(np.full(count, share[whole] / count))
        room -= count
        complete += count
    return np.concatenate(present), np.concatenate(weight), complete


def _draw(players, room, size, chance):
    """Distinct random coalitions (N, M), each before its complement, and how many times (N,) each was drawn.

    N is ``room``, unless the last of few coalitions never came.
    """
    sizes = size[np.random.choice(len(size), 4 * room, p=chance / chance.sum())]
    times: dict[bytes, int] = {}
    draws = filled = 0
    while filled < room and draws < len(sizes):
        block = sizes[draws : draws + (room - filled + 1) // 2]  # a draw fills two rows at most: never one too many
        orders = [np.random.permutation(players) for _ in block]  # one at a time, as shap draws them
        for coalition, twice in zip(np.argsort(orders, axis=1) < block[:, None], 2 * block != players, strict=True):
            key = coalition.tobytes()
            times[key] = times.get(key, 0) + 1
            filled += (1 + twice) * (times[key] == 1)
        draws += len(block)
    present, row = _with_complements(np.frombuffer(b"".join(times), bool).reshape(-1, players))
    return present[:room], np.array(list(times.values()))[row[:room]]


def _with_complements(coalitions):
    """Each coalition (N, M) and then its complement, unless that is of the same size; and the rows they come from."""
    twice = 1 + (2 * coalitions.sum(1) != coalitions.shape[1])
    row = np.repeat(np.arange(len(coalitions)), twice)
    second = np.diff(row, prepend=-1) == 0
    return coalitions[row] ^ second[:, None], row


def _least_squares(present, value, weight, base, output, drawn):
    """Values (M,) nearest to the game on these coalitions among those that add up, and their standard errors."""
    total = output - base
    last = present[:, -1].astype(float)
    design = present[:, :-1] - last[:, None]
    aim = value - base - last * total
    weighted = design.T * weight
    moments = weighted @ design
    values = np.linalg.lstsq(moments, weighted @ aim, rcond=None)[0]
    pulls = weighted[:, drawn:] * (aim - design @ values)[drawn:]  # (M - 1, draws)
    clusters = np.add.reduceat(pulls, _first_of_pairs(present[drawn:]), axis=1) if drawn < len(present) else pulls
    spread = np.linalg.lstsq(moments, clusters, rcond=None)[0]
    errors = np.append(np.linalg.norm(spread, axis=1), np.linalg.norm(spread.sum(0)))
    return np.append(values, total - values.sum()), errors


def _first_of_pairs(present):
    """Where a draw (N, M) begins that is not the complement of the one before it."""
    follows = np.append(False, (present[1:] != present[:-1]).all(1)) if len(present) else np.zeros(0, bool)
    return np.flatnonzero(~follows)
