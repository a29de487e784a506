"""The methods by name: what each needs, and what runs."""

import time
from functools import partial

import numpy as np

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.explain.game import Game, Shares, play_together
from keras_attn_xai.explain.interactions import interactions
from keras_attn_xai.explain.paired_kernel import paired_kernel_values
from keras_attn_xai.explain.regression import kernel_values
from keras_attn_xai.explain.sampling import (
    PERMUTATIONS,
    exact_values,
    first_last_values,
    permutation_values,
    seeded_numpy_random,
)
from keras_attn_xai.explain.shap_bridge import partition_values, sampling_values

GRADIENTS = ("deep", "expected_gradients")
OF_SHAP = {"partition": partition_values, "sampling": sampling_values}  # these ask by themselves, row by row
METHODS = ("exact", "permutation", "kernel", "paired_kernel", "first_last", *OF_SHAP, *GRADIENTS)
INTERACTIONS = "interactions"  # of pairs, by `AttentionExplainer.interactions`
TO_A_TOLERANCE = ("exact", "permutation", "paired_kernel", "expected_gradients", "auto")
EXACT_LIMIT = 20  # players
AUTO_EXACT_PLAYERS = 12
AUTO_EXACT_SECONDS = 60
AUTO_KERNEL_PLAYERS = 256
AT_ONCE = 2**16  # coalitions asked for together


def share_out(function, table, playing, method, *, budget=None, tol=None, seed=0, progress=lambda count: None):
    """Values of every row's players by a method of coalitions, a slab of rows after the other.

    Parameters
    ----------
    function : ValueFunction
    table : Table
        Of P rows.
    playing : bool array (P, M)
        Players that differ from the background.
    method : str
        One of `METHODS` but `GRADIENTS`; or `INTERACTIONS`, whose shares are (K, K).
    budget : int, optional
        Evaluations per row; `default_budget` without.
    tol : float, optional
        A standard error, as a share of the effect, at which a row is done.
    progress : callable
        Told how many coalitions were evaluated.

    Yields
    ------
    rows : slice
    games : list of Game
    shares : list of Shares

    Raises
    ------
    ArgumentError
        The budget is too small for the method and the number of players.
    """
    players = playing.sum(1)
    for count in np.unique(players[players > 1]):
        _check_budget(method, int(count), budget)
    slab = max(1, AT_ONCE // default_budget(method, int(players.max(initial=1)), budget))
    with seeded_numpy_random(seed):
        for start in range(0, len(table), slab):
            rows = np.arange(len(table))[start : start + slab]
            part, here = table.take(rows), playing[rows]
            base, output = function.ends(part, here)
            games = [
                Game(
                    partial(_evaluate_one, function, part, n, np.flatnonzero(here[n])), np.flatnonzero(here[n]), ends=e
                )
                for n, e in enumerate(zip(base, output, strict=True))
            ]
            progress(2 * len(rows))
            yield (
                slice(start, start + len(rows)),
                games,
                _shares(
                    games,
                    method,
                    budget,
                    tol,
                    [(seed, int(row)) for row in rows],
                    partial(_evaluate, function, part, games, progress),
                ),
            )


def default_budget(method, players, budget=None):
    """Evaluations a row may take."""
    if method == "exact" or 2 ** min(players, 60) <= (budget or 0):
        return 2 ** min(players, EXACT_LIMIT)
    if budget is not None:
        return budget
    if method == "sampling":
        return 2000 * players
    own = {
        "permutation": PERMUTATIONS * (2 * players + 1),
        "partition": 500,
        "first_last": 2 * players + 2,
    }
    return min(own.get(method, 2 * players + 2048), 2**players)


def auto_method(players, *, budget=None, seconds=None):
    """The method behind "auto", and why.

    Parameters
    ----------
    players : int array (P,)
        Of every row.
    budget : int, optional
    seconds : callable, optional
        How long all coalitions of all rows would take; called where there are many.

    Returns
    -------
    method : str
    why : str
    """
    most = int(players.max(initial=0))
    if most > AUTO_KERNEL_PLAYERS:
        return "deep", f"up to {most} players, more than the {AUTO_KERNEL_PLAYERS} that coalitions are sampled for"
    if most > AUTO_EXACT_PLAYERS:
        return "paired_kernel", f"up to {most} players, more than the {AUTO_EXACT_PLAYERS} that are enumerated"
    if budget is not None and budget < 2**most:
        return "paired_kernel", f"{2**most} coalitions of {most} players are more than the budget of {budget}"
    every = int((2.0**players).sum())
    took = seconds(every) if seconds is not None and every > AT_ONCE else 0
    if took > AUTO_EXACT_SECONDS:
        return "paired_kernel", f"all {every} coalitions would take about {took:.0f} s"
    return "exact", f"at most {most} players"


def timed(function, table):
    """A guess of the seconds that so many coalitions take, from one batch."""

    def seconds(count):
        """For so many."""
        rows = np.zeros(min(function.batch_size(table.inputs).next, count), int)
        present = np.ones((len(rows), table.players), bool)
        function.values(table, present[:1], rows[:1])  # traced by now
        start = time.perf_counter()
        function.values(table, present, rows)
        return (time.perf_counter() - start) * count / len(rows)

    return seconds


def _shares(games, method, budget, tol, seeds, evaluate):
    if method in OF_SHAP:
        return [_by_shap(OF_SHAP[method], game, budget, default_budget(method, len(game), budget)) for game in games]
    return play_together(
        games, [_way(game, method, budget, tol, one) for game, one in zip(games, seeds, strict=True)], evaluate
    )


def _way(game, method, budget, tol, seed):
    """The generator that shares out one game."""
    if method == INTERACTIONS and len(game):
        return interactions(game, default_budget(method, len(game), budget), seed=seed)
    if len(game) < 2:
        return _nothing_to_share(game)
    reached = None if tol is None else partial(_is_reached, tol, game)
    if method == "permutation":
        return permutation_values(game, budget, reached=reached)
    if method == "kernel":
        return kernel_values(game, budget)
    if method == "first_last":
        return first_last_values(game)
    if method == "exact" or 2 ** len(game) <= default_budget(method, len(game), budget):
        return exact_values(game)
    return paired_kernel_values(game, budget, reached=reached, seed=seed)


def _by_shap(method, game, budget, asked):
    if len(game) < 2:
        return Shares(np.full(len(game), game.output - game.base), None, 2, 2)
    values = method(game, budget)
    return Shares(values, None, asked, game.evaluations)


def _nothing_to_share(game):
    """All the effect to the only player."""
    yield np.zeros((0, len(game)), bool)
    return Shares(np.full(len(game), game.output - game.base), np.zeros(len(game)), 2, 2)


def _is_reached(tol, game, error):
    return error.max() <= tol * max(abs(game.output - game.base), 1e-3 * abs(game.output))


def _evaluate_one(function, table, row, players, coalitions):
    """Values of one row's coalitions (N, K)."""
    return function.values(table, _with_all_others(coalitions, players, table.players), np.full(len(coalitions), row))


def _evaluate(function, table, games, progress, asked):
    """Values of all that is asked for, in batches that rows share."""
    present = [_with_all_others(coalitions, games[n].players, table.players) for n, coalitions in asked]
    rows = np.repeat([n for n, _ in asked], [len(one) for one in present])
    values = function.values(table, np.concatenate(present), rows) if len(rows) else np.zeros(0)
    progress(len(rows))
    return values


def _with_all_others(coalitions, players, count):
    """Coalitions (N, M) of all players from those (N, K) of the ones that make a difference."""
    present = np.ones((len(coalitions), count), bool)
    present[:, players] = coalitions
    return present


def _check_budget(method, players, budget):
    if method == "exact" and players > EXACT_LIMIT:
        raise ArgumentError(
            f"method='exact' evaluates 2^{players} coalitions for {players} players; the limit is {EXACT_LIMIT} "
            "players. Use method='paired_kernel' or 'permutation'."
        )
    least = {
        "exact": 2**players,
        "permutation": 2 * players + 1,
        "partition": 4,
        "first_last": 2 * players + 2,
        "sampling": 4 * players,
    }.get(method, players + 2)
    if budget is not None and budget < least:
        raise ArgumentError(
            f"method='{method}' needs a budget of at least {least} for {players} players; received {budget}."
        )
