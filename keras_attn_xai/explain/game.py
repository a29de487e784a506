"""One row's game: coalitions evaluated at most once, and the ways of sharing out its effect, many rows at a time.

A way of sharing is a generator: it yields the coalitions (N, K) it wants to know, is sent their values (N,), and
returns a `Shares`. So `play_together` evaluates what all rows ask for in common batches, and `play` one row alone.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Shares:
    """What a game's players get.

    Parameters
    ----------
    values : float array (K,)
        They add up to the game's output minus its base.
    standard_error : float array (K,), optional
        Of sampling, where it is known.
    asked : int
        Evaluations the method was allowed.
    used : int
        Coalitions behind the values, those that came again included.
    """

    values: np.ndarray
    standard_error: np.ndarray | None = None
    asked: int = 0
    used: int = 0


class Game:
    """Coalitions of the players of one row.

    Parameters
    ----------
    evaluate : callable
        Coalitions (N, K) to values (N,).
    players : int array (K,)
        The numbers, among all of the row, of those that make a difference.
    ends : (float, float)
        The values with no player and with every player.
    """

    def __init__(self, evaluate, players, *, ends):
        self._evaluate = evaluate
        self.players = players
        self.base, self.output = ends
        ends_of_all = np.array([[False], [True]]).repeat(len(players), axis=1)
        self._known = dict(zip(keys_of(ends_of_all), (self.base, self.output), strict=True))

    def __len__(self):
        return len(self.players)

    @property
    def evaluations(self):
        """Distinct coalitions evaluated so far."""
        return len(self._known)

    def __call__(self, coalitions):
        """Values (N,) of coalitions (N, K), True (or 1) for a present player."""
        coalitions = np.asarray(coalitions).astype(bool).reshape(-1, len(self))
        keys = keys_of(coalitions)
        fresh = self.unknown(coalitions, keys)
        if len(fresh):
            self.learn([keys[n] for n in fresh], self._evaluate(coalitions[fresh]))
        return self.look_up(keys)

    def unknown(self, coalitions, keys):
        """Where coalitions stand that were not evaluated before, each once."""
        fresh = {key: n for n, key in enumerate(keys) if key not in self._known}
        return np.fromiter(fresh.values(), int, len(fresh))

    def learn(self, keys, values):
        """Remember the values of coalitions."""
        self._known.update(zip(keys, values, strict=True))

    def look_up(self, keys):
        """Values (N,) of coalitions that were learned."""
        return np.array([self._known[key] for key in keys])


def keys_of(coalitions):
    """One key per coalition, for a dict."""
    packed = np.ascontiguousarray(np.packbits(coalitions, axis=1))
    if packed.shape[1] == 0:
        return [b""] * len(packed)
    return packed.view(f"V{packed.shape[1]}").ravel().tolist()


def play(way, game):
    """The `Shares` of one game, shared out in a way.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.game import Shares, play
    >>> def half_each(game):
    ...     ends = yield np.array([[False, False], [True, True]])
    ...     return Shares(np.full(2, (ends[1] - ends[0]) / 2))
    >>> play(half_each(None), lambda coalitions: coalitions.sum(1).astype(float)).values
    array([1., 1.])
    """
    values = None
    try:
        while True:
            values = game(way.send(values))
    except StopIteration as end:
        return end.value


def play_together(games, ways, evaluate):
    """The `Shares` of several games, what they ask for evaluated in common.

    Parameters
    ----------
    games : list of Game
    ways : list of generators
        One per game.
    evaluate : callable
        A list of (number of the game, coalitions (N, K)) to all their values, one after the other.

    Returns
    -------
    list of Shares
    """
    shares = [None] * len(games)
    answers = dict.fromkeys(range(len(games)))  # of those who still ask
    while answers:
        asked = {}
        for n, values in answers.items():
            try:
                asked[n] = np.asarray(ways[n].send(values), bool)
            except StopIteration as end:
                shares[n] = end.value
        answers = _answered(games, asked, evaluate) if asked else {}
    return shares


def _answered(games, asked, evaluate):
    """Game to the values it asked for."""
    keys = {n: keys_of(coalitions) for n, coalitions in asked.items()}
    fresh = {n: games[n].unknown(asked[n], keys[n]) for n in asked}
    values = evaluate([(n, asked[n][fresh[n]]) for n in asked])
    ends = np.cumsum([len(one) for one in fresh.values()])
    for (n, where), learned in zip(fresh.items(), np.split(values, ends[:-1]), strict=True):
        games[n].learn([keys[n][i] for i in where], learned)
    return {n: games[n].look_up(keys[n]) for n in asked}
