"""What players are ordered by before they are taken away, and the coalitions that an order asks for.

Shapes: B rows, M players, K coalitions of a row.
"""

import numpy as np

from keras_attn_xai.alignment import align
from keras_attn_xai.errors import ArgumentError, ShapeError


def attention_order(explanation, *, map=None, heads="mean", query="mean over unmasked"):
    """The attention each player got.

    Parameters
    ----------
    explanation : Explanation
        Its players lie along the positions: tokens, words or steps.
    map, heads, query
        As in `keras_attn_xai.align`.

    Returns
    -------
    float array (B, M)
        In [0, 1]; 0 at padding. Higher is more attention.

    Raises
    ------
    ArgumentError
        As `keras_attn_xai.align`.

    Examples
    --------
    >>> from keras_attn_xai import Attribution, AttentionMap, Explanation, Provenance
    >>> from keras_attn_xai.auditing import attention_order
    >>> words = [["fine", "film"]]
    >>> moved = Attribution(
    ...     values=[[2.0, 1.0]], base=[0.0], output=[3.0], target=[1], unit="log-odds", method="exact",
    ...     evaluations=[4], player_labels=words,
    ... )
    >>> seen = AttentionMap("att", [[[[0.75, 0.25]]]], [["?"]], words)
    >>> attention_order(Explanation((seen,), (moved,), words, Provenance("m")))
    array([[0.75, 0.25]])
    """
    return align(explanation, map=map, heads=heads, query=query).attention


def leave_one_out(coalitions):
    """How far the target falls without each player alone.

    Parameters
    ----------
    coalitions : Coalitions
        What `AttentionExplainer.coalitions` returns.

    Returns
    -------
    float array (B, M)
        In the target's unit; above 0 where the player raised the target, 0 at padding.

    References
    ----------
    Li, Monroe and Jurafsky 2016, "Understanding neural networks through representation erasure" (arXiv:1612.08220).

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import AttentionExplainer
    >>> from keras_attn_xai.auditing import leave_one_out
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    >>> leave_one_out(AttentionExplainer(model, 0.0).coalitions(np.array([[4.0, 1.0, 6.0]])))
    array([[4., 1., 6.]])
    """
    mask = coalitions.mask
    questions = Questions(mask)
    whole = questions.ask(np.zeros((len(mask), 1, mask.shape[1]), bool))
    alone = questions.ask(np.broadcast_to(np.eye(mask.shape[1], dtype=bool), (len(mask), *2 * mask.shape[1:])))
    answered = questions.answered_by(coalitions)
    return np.where(mask, answered(whole) - answered(alone), 0.0)


def random_order(shape, *, seed=0):
    """Numbers that know nothing: the baseline of every measure.

    Parameters
    ----------
    shape : (int, int)
        B and M.
    seed : int, default 0

    Returns
    -------
    float array (B, M)
        In [0, 1).

    Raises
    ------
    ArgumentError
        A shape that is not two whole numbers, as an array of its own.

    Examples
    --------
    >>> from keras_attn_xai.auditing import random_order
    >>> random_order((2, 3)).shape
    (2, 3)
    """
    if np.shape(shape) != (2,) or np.asarray(shape).dtype.kind not in "iu":
        raise ArgumentError(
            f"random_order takes a shape, (rows, players), as coalitions.mask.shape; received {type(shape).__name__}."
        )
    return np.random.default_rng(seed).random(shape)


def counts_of(fractions, mask):
    """Shares of each row's players as numbers of players: rounded up, at least 1.

    Parameters
    ----------
    fractions : sequence of float (F,)
        Above 0, at most 1.
    mask : bool array (B, M)

    Returns
    -------
    int array (B, F)

    Raises
    ------
    ArgumentError
        No fractions, or some that are no shares.
    """
    shares = np.asarray(fractions, float)
    if shares.ndim != 1 or not len(shares) or not ((shares > 0) & (shares <= 1)).all():
        raise ArgumentError(f"fractions must be shares above 0 and up to 1, at least one; received {fractions!r}.")
    exact = shares * mask.sum(1, keepdims=True)
    return np.maximum(np.ceil(exact - 1e-9), 1).astype(int)  # 0.1 of 30 is 3, whatever its last bit says


def ranks_of(values, mask, *, seed=0):
    """Place of each player in its row's order, the largest value first; ties are broken at random.

    Parameters
    ----------
    values : float array (B, M)
    mask : bool array (B, M)
    seed : int, default 0

    Returns
    -------
    int array (B, M)
        0 for the first; padding comes last.

    Notes
    -----
    Were ties left to the position, uniform attention would be the order of the words.
    """
    order = np.lexsort((random_order(mask.shape, seed=seed), -values, ~mask), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(mask.shape[1])[None], axis=1)
    return ranks


def check_orders(orders, mask):
    """Orders as float arrays (B, M), in which padding is 0.

    Parameters
    ----------
    orders : dict of str to array (B, M)
    mask : bool array (B, M)

    Returns
    -------
    dict of str to float array (B, M)

    Raises
    ------
    ArgumentError
        No dict, an empty one, or numbers that are not finite.
    ShapeError
        Values of another shape than the players have.
    """
    if not isinstance(orders, dict) or not orders:
        raise ArgumentError(
            f"orders must be a dict from name to values (B, M), with at least one; received {type(orders).__name__}."
        )
    found = {}
    for name, given in orders.items():
        values = np.asarray(given, float)
        if values.shape != mask.shape:
            raise ShapeError(
                f"The order '{name}' must have a value for each player, (B, M) = {mask.shape}; received {values.shape}."
            )
        if not np.isfinite(values[mask]).all():
            raise ArgumentError(f"The order '{name}' must be finite numbers; received NaN or infinite ones.")
        found[name] = np.where(mask, values, 0.0)
    return found


class Questions:
    """Coalitions that several measures ask for; each is evaluated once, all in one batch.

    Parameters
    ----------
    mask : bool array (B, M)
        Players of each row; False is padding.
    """

    def __init__(self, mask):
        self._mask = mask
        self._asked = []

    def ask(self, gone):
        """Ask for the target of every row without some players.

        Parameters
        ----------
        gone : bool array (B, K, M)

        Returns
        -------
        int
            The number of the question.
        """
        self._asked.append(~gone | ~self._mask[:, None])
        return len(self._asked) - 1

    def answered_by(self, coalitions):
        """Evaluate what was asked.

        Parameters
        ----------
        coalitions : Coalitions

        Returns
        -------
        callable
            From the number of a question to its answers, float array (B, K).
        """
        rows, players = self._mask.shape
        flat = np.concatenate([one.reshape(-1, players) for one in self._asked])
        owners = np.concatenate([np.repeat(np.arange(rows), one.shape[1]) for one in self._asked])
        keys = np.concatenate([owners.astype(">u4").view(np.uint8).reshape(-1, 4), np.packbits(flat, axis=1)], axis=1)
        _, first, place = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        values = coalitions(flat[first], owners[first])[place.ravel()]
        ends = np.cumsum([0, *(one.shape[0] * one.shape[1] for one in self._asked)])
        return lambda question: values[ends[question] : ends[question + 1]].reshape(rows, -1)
