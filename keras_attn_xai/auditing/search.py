"""The best and the worst order in which the players of a row could leave, looked for greedily."""

import numpy as np

from keras_attn_xai.auditing.coalition_orders import Questions
from keras_attn_xai.metrics import aopc


def search_bounds(coalitions, counts):
    """The drops of two greedy orders: the player first that lowers the target most, or that raises it most.

    Parameters
    ----------
    coalitions : Coalitions
    counts : int array (B, F)
        How many players are gone at each step that counts.

    Returns
    -------
    tuple of two float arrays (B,)
        `metrics.aopc` of the highest and of the lowest order found, in the target's unit. A greedy order need not be
        the best there is; at one player it is.

    Notes
    -----
    One batch for each player that leaves, up to the largest count: about M evaluations of a row and order in each.

    References
    ----------
    Edin et al. 2024, "Normalized AOPC" (arXiv:2408.08137), who search by a beam; this is a beam of width 1.
    """
    mask = coalitions.mask
    gone = np.zeros((2, *mask.shape), bool)  # of the highest order, of the lowest
    rows = np.arange(len(mask))
    reached = [np.repeat(coalitions(np.ones(mask.shape, bool))[None], 2, axis=0)]
    for _ in range(int(counts.max())):
        questions = Questions(mask)
        tried = gone[:, :, None] | np.eye(mask.shape[1], dtype=bool)
        numbers = [questions.ask(one) for one in tried]
        answers = questions.answered_by(coalitions)
        step = []
        for side, (number, sign) in enumerate(zip(numbers, (1, -1), strict=True)):
            values = answers(number)
            free = mask & ~gone[side]
            chosen = np.where(free, sign * values, np.inf).argmin(1)
            gone[side, rows, chosen] |= free[rows, chosen]  # a row without free players stays
            step.append(values[rows, chosen])
        reached.append(np.array(step))
    steps = np.stack(reached, axis=2)  # (2, B, K + 1)
    found = [aopc(steps[0, :, 0], np.take_along_axis(one, counts, axis=1)) for one in steps]
    return found[0], found[1]
