"""Decoding without a target: an `AttentionDecoder` is fed what it chose itself, greedily or with beams.

Shapes: B batch, K beams, N steps at most, S memory positions, C symbols; R rows, B of them or B K.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.layers import arguments, functional


class Hypotheses(NamedTuple):
    """What a decoder wrote, and where it looked while it wrote it; `beam_search` adds an axis K, the best one first."""

    ids: object  # (B, N) or (B, K, N) integers; stop fills the rest
    log_probabilities: object  # (B,) or (B, K), the sum over all symbols, stop among them
    alignment: object  # (B, N, S) or (B, K, N, S); rows after stop are 0
    lengths: object  # (B,) or (B, K) integers, stop counted


class _Search(NamedTuple):
    """What goes round in the loop; a row is a hypothesis."""

    step: Any  # ()
    last: Any  # (R,) symbols
    finished: Any  # (R,) booleans
    score: Any  # (R,) log probabilities
    length: Any  # (R,)
    ids: Any  # (R, N)
    alignment: Any  # (R, N, S)
    carried: Any  # of the decoder, its leaves (R, any)


def greedy_decode(decoder, memory, *, embed, to_logits, start, stop, max_steps, memory_mask=None, initial_state=None):
    """Feed the decoder the likeliest symbol of each step until it stops.

    Parameters
    ----------
    decoder : AttentionDecoder
        Built.
    memory : tensor (B, S, V)
    embed : callable
        Symbols (R,) to the decoder's inputs (R, E), such as an Embedding layer.
    to_logits : callable
        The decoder's outputs (R, units) to scores of the symbols (R, C) before the softmax, such as a Dense layer.
    start, stop : int
        The symbol before the first, and the one that ends a row.
    max_steps : int
        N: a row without stop ends here.
    memory_mask : bool tensor (B, S), optional
        By default the mask the memory carries.
    initial_state : nested tensors, optional
        As in the decoder's call.

    Returns
    -------
    Hypotheses
        ids (B, N), log probabilities (B,), alignment (B, N, S) and lengths (B,).

    Raises
    ------
    ArgumentError
        The decoder is not built, or ``max_steps`` is not a count.

    Notes
    -----
    One ``ops.while_loop`` over all rows at once, which ends when the last one has stopped. Called from the ``call``
    of a ``keras.Model``, it is compiled with the rest: ``predict`` and ``export`` then run the whole search.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.layers import AttentionDecoder, BahdanauAttention, greedy_decode
    >>> decoder = AttentionDecoder(keras.layers.GRUCell(11), BahdanauAttention(3))
    >>> decoder.build((None, None, 4), (None, None, 6))
    >>> embed, to_logits = keras.layers.Embedding(5, 4), lambda outputs: outputs[:, :5]
    >>> found = greedy_decode(
    ...     decoder, np.ones((2, 7, 6)), embed=embed, to_logits=to_logits, start=0, stop=1, max_steps=3
    ... )
    >>> tuple(found.ids.shape), tuple(found.alignment.shape)
    ((2, 3), (2, 3, 7))
    """
    state = _begin(decoder, memory, memory_mask, initial_state, max_steps)

    def choose(search, log_probabilities):
        """Every row goes on with its likeliest symbol."""
        symbols = ops.cast(ops.argmax(log_probabilities, axis=-1), "int32")
        chosen = ops.take_along_axis(log_probabilities, ops.expand_dims(symbols, -1), axis=-1)[:, 0]
        return search, symbols, search.score + chosen

    first = _first(state, start, stop, max_steps)
    found = _run(decoder, state, first, choose, embed=embed, to_logits=to_logits, stop=stop, max_steps=max_steps)
    return Hypotheses(found.ids, found.score, found.alignment, found.length)


def beam_search(
    decoder,
    memory,
    *,
    embed,
    to_logits,
    start,
    stop,
    max_steps,
    beams=4,
    length_penalty=0.0,
    memory_mask=None,
    initial_state=None,
):
    """Follow the likeliest hypotheses side by side; their alignments move with them.

    Parameters
    ----------
    decoder, memory, embed, to_logits, start, stop, max_steps, memory_mask, initial_state
        As for `greedy_decode`.
    beams : int, default 4
        K. A beam that has stopped stays as it is, for as long as it is among the best.
    length_penalty : float, default 0.0
        Beams are ranked by ``log P / ((5 + length) / 6) ^ length_penalty``; 0 ranks by log P, which favours short ones.

    Returns
    -------
    Hypotheses
        ids (B, K, N), log probabilities (B, K), alignment (B, K, N, S) and lengths (B, K), the best beam first.
        A log probability of -inf marks a beam for which there was no hypothesis left.

    Raises
    ------
    ArgumentError
        The decoder is not built, or ``max_steps`` or ``beams`` is not a count.

    Notes
    -----
    The memory is projected once for each row and then repeated for its beams. See `greedy_decode` on compiling.

    References
    ----------
    Wu et al. 2016, "Google's neural machine translation system" (arXiv:1609.08144), section 7 (length penalty).

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.layers import AttentionDecoder, BahdanauAttention, beam_search
    >>> decoder = AttentionDecoder(keras.layers.GRUCell(11), BahdanauAttention(3))
    >>> decoder.build((None, None, 4), (None, None, 6))
    >>> embed, to_logits = keras.layers.Embedding(5, 4), lambda outputs: outputs[:, :5]
    >>> found = beam_search(
    ...     decoder, np.ones((2, 7, 6)), embed=embed, to_logits=to_logits, start=0, stop=1, max_steps=3, beams=2
    ... )
    >>> tuple(found.ids.shape), tuple(found.alignment.shape)
    ((2, 2, 3), (2, 2, 3, 7))
    """
    arguments.require_positive_integer("beams", beams)
    state = _begin(decoder, memory, memory_mask, initial_state, max_steps)
    state = keras.tree.map_structure(lambda leaf: ops.repeat(leaf, beams, axis=0), state)

    def choose(search, log_probabilities):
        """The best of all beams' continuations."""
        return _best(search, log_probabilities, beams, length_penalty)

    first = _first(state, start, stop, max_steps)
    nowhere = functional.lowest(first.score.dtype)
    beam = _row_numbers(first.last) % beams
    first = first._replace(score=ops.where(beam == 0, first.score, nowhere))  # at first all beams are the same one
    found = _run(decoder, state, first, choose, embed=embed, to_logits=to_logits, stop=stop, max_steps=max_steps)
    score = ops.where(found.score > nowhere, found.score, -float("inf"))
    return Hypotheses(*(_by_beam(leaf, beams) for leaf in (found.ids, score, found.alignment, found.length)))


def _begin(decoder, memory, memory_mask, initial_state, max_steps):
    """The decoder's first state, with what is asked of it checked."""
    arguments.require_positive_integer("max_steps", max_steps)
    if not decoder.built:
        raise ArgumentError(f"{decoder.name} has no weights yet; train it, load it or call it once before decoding.")
    memory = arguments.as_tensor(memory, dtype=decoder.compute_dtype)
    if len(memory.shape) != 3:
        raise ShapeError(
            f"{decoder.name}: memory must have shape (batch, positions, features); received {tuple(memory.shape)}."
        )
    return decoder.begin(memory, memory_mask, initial_state)


def _first(state, start, stop, max_steps):
    """Rows in which nothing has been written."""
    zero = state.carried.position[:, 0]  # (R,)
    alignment = ops.repeat(ops.expand_dims(ops.zeros_like(state.carried.alignment), 1), max_steps, axis=1)
    return _Search(
        step=ops.zeros((), dtype="int32"),
        last=zero + start,
        finished=ops.not_equal(zero, 0),
        score=ops.zeros_like(state.carried.alignment[:, 0]),
        length=zero,
        ids=ops.repeat(ops.expand_dims(zero + stop, 1), max_steps, axis=1),
        alignment=alignment,
        carried=state.carried,
    )


def _run(decoder, state, first, choose, *, embed, to_logits, stop, max_steps):
    """Step until every row has stopped.

    ``choose(search, log_probabilities (R, C))`` gives the rows to go on with, their symbols and their scores.
    """

    def going_on(*leaves):
        """Whether a row has yet to stop."""
        search = _Search(*leaves)
        return ops.logical_and(search.step < max_steps, ops.logical_not(ops.all(search.finished)))

    def step(*leaves):
        """One step of all rows at once."""
        search = _Search(*leaves)
        taken = decoder.step(embed(search.last), state._replace(carried=search.carried), training=False)
        logits = ops.cast(to_logits(taken.output), search.score.dtype)
        log_probabilities = _only_stop(ops.log_softmax(logits, axis=-1), search.finished, stop)
        row = ops.where(ops.expand_dims(search.finished, -1), 0, ops.cast(taken.weights, search.alignment.dtype))
        now = ops.equal(ops.arange(max_steps), search.step)  # (N,)
        search = search._replace(
            alignment=ops.where(now[:, None], ops.expand_dims(row, 1), search.alignment),
            length=search.length + ops.cast(ops.logical_not(search.finished), "int32"),
            carried=taken.state.carried,
        )
        search, symbols, score = choose(search, log_probabilities)
        return search._replace(
            step=search.step + 1,
            last=symbols,
            finished=ops.logical_or(search.finished, ops.equal(symbols, stop)),
            score=score,
            ids=ops.where(now, ops.expand_dims(symbols, 1), search.ids),
        )

    return _Search(*ops.while_loop(going_on, lambda *search: tuple(step(*search)), tuple(first)))


def _only_stop(log_probabilities, finished, stop):
    """A row that has stopped goes on with stop alone, at no cost."""
    is_stop = ops.equal(ops.arange(log_probabilities.shape[-1]), stop)
    frozen = ops.where(is_stop, 0.0, functional.lowest(log_probabilities.dtype))
    return ops.where(ops.expand_dims(finished, -1), ops.cast(frozen, log_probabilities.dtype), log_probabilities)


def _best(search, log_probabilities, beams, length_penalty):
    """The best continuations of all beams of each row: as `_run` wants them from ``choose``."""
    symbols = log_probabilities.shape[-1]
    nowhere = functional.lowest(log_probabilities.dtype)
    scores = ops.maximum(ops.expand_dims(search.score, 1) + log_probabilities, nowhere)  # (R, C)
    length = ops.cast(ops.expand_dims(search.length, 1), scores.dtype)
    ranks = scores / ((5 + length) / 6) ** length_penalty
    _, best = ops.top_k(ops.reshape(ranks, (-1, beams * symbols)), beams)  # (B, K), each parent * C + symbol
    best = ops.cast(best, "int32")
    first_of_row = ops.expand_dims(_row_numbers(best) * beams, 1)
    parents = ops.reshape(first_of_row + best // symbols, (-1,))  # (R,)
    chosen = ops.reshape(best % symbols, (-1,))
    flat = ops.reshape(scores, (-1,))
    score = ops.take(flat, parents * symbols + chosen, axis=0)
    # everything a beam has moves with it, the decoder's states and the alignment history included
    moved = keras.tree.map_structure(lambda leaf: ops.take(leaf, parents, axis=0), tuple(search[1:]))
    return _Search(search.step, *moved), chosen, score


def _row_numbers(rows):
    """0, 1, ... along the first axis, also where its length is unknown."""
    return ops.arange(ops.shape(rows)[0], dtype="int32")


def _by_beam(rows, beams):
    """(B K, ...) to (B, K, ...)."""
    return ops.reshape(rows, (-1, beams, *ops.shape(rows)[1:]))
