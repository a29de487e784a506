"""The methods by name: what each needs, and what runs."""

import numpy as np

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.explain.regression import kernel_values
from keras_attn_xai.explain.sampling import exact_values, permutation_values
from keras_attn_xai.explain.shap_bridge import partition_values

METHODS = ("exact", "permutation", "partition", "kernel")
EXACT_LIMIT = 20  # players
AUTO_EXACT_PLAYERS = 12


def shapley_values(game, method, *, budget=None):
    """Values (M,) of a game.

    Parameters
    ----------
    game : Game
    method : {"exact", "permutation", "partition", "kernel"}
    budget : int, optional
        Evaluations; by default 2^M for exact, ten permutations there and back, 500 for partition and
        shap's ``2 M + 2048`` for kernel.

    Returns
    -------
    float array (M,)
        They add up to the game's output minus its base.

    Raises
    ------
    ArgumentError
        The budget is too small for the method and the number of players.
    """
    players = len(game)
    if players < 2:  # nothing to share out
        return np.full(players, game.output - game.base)
    _check_budget(method, players, budget)
    if method == "exact":
        return exact_values(game)
    return {"permutation": permutation_values, "partition": partition_values, "kernel": kernel_values}[method](
        game, budget
    )


def auto_method(players):
    """The method behind "auto" for rows whose longest has ``players`` players."""
    return "exact" if players <= AUTO_EXACT_PLAYERS else "kernel"


def _check_budget(method, players, budget):
    if method == "exact" and players > EXACT_LIMIT:
        raise ArgumentError(
            f"method='exact' evaluates 2^{players} coalitions for {players} players; the limit is {EXACT_LIMIT} "
            "players. Use method='kernel' or 'permutation'."
        )
    least = {"exact": 2**players, "permutation": 2 * players + 1, "partition": 4, "kernel": players + 2}[method]
    if budget is not None and budget < least:
        raise ArgumentError(
            f"method='{method}' needs a budget of at least {least} for {players} players; received {budget}."
        )
