"""Changes of rows that keep the answer: moves drawn at random, moves that climb, words replaced by near ones.

Shapes: B rows, S positions, D features of a position, V tokens, K neighbours, N candidates.
"""

from functools import partial

import numpy as np
import tensorflow as tf

from keras_attn_xai.auditing.swapped_weights import batches
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import jensen_shannon, total_variation

TRIES = 10  # of a random move
PRICE = 100.0  # of a distance of 1 above the limit
NEIGHBOURS = 8
PLACES = 8  # looked at in each step
SHARE = 0.1  # of a row's words that may be replaced


def drawn(inputs, swapped, lengths, limit, seed):
    """Moves in random directions, as long as may be, that keep the answer.

    Parameters
    ----------
    inputs : MovedInputs
    swapped : SwappedWeights
    lengths : float array (B, S)
        How far each position is moved; 0 for padding.
    limit : float
    seed : int

    Returns
    -------
    float array (B, S, D)
        Zeros in a row where none of ten keeps the answer.
    """
    draw, kept = np.random.default_rng(seed), np.zeros(inputs.positions.shape, np.float32)
    open_ = np.arange(len(kept))
    for _ in range(TRIES):
        moves = draw.normal(size=(len(open_), *kept.shape[1:])).astype(np.float32)
        moves *= (lengths[open_] / np.linalg.norm(moves, axis=2))[..., None]
        said, _ = looked(inputs, swapped, open_, moves)
        keeps = keeps_answer(said, swapped.probabilities[open_], limit)
        kept[open_[keeps]] = moves[keeps]
        open_ = open_[~keeps]
        if not len(open_):
            break
    return kept


def climbed(inputs, swapped, lengths, limit, steps, start):
    """Moves that change attention most, by projected gradient ascent, and keep the answer.

    Parameters
    ----------
    inputs, swapped, lengths, limit
        As in `drawn`.
    steps : int
    start : float array (B, S, D)
        Moves to climb from.

    Returns
    -------
    float array (B, S, D)
    """
    every = np.arange(len(swapped))
    moves, own = start, swapped.by_key(swapped.weights)
    best, kept = np.zeros(len(every)), np.zeros_like(moves)
    slope_of = tf.function(partial(_slope, inputs, limit), autograph=False)
    for step in range(steps + 1):
        said, weights = looked(inputs, swapped, every, moves)
        divergence = np.nan_to_num(jensen_shannon(own, swapped.by_key(weights), mask=swapped.keys))
        better = keeps_answer(said, swapped.probabilities, limit) & (divergence > best)
        best, kept[better] = np.where(better, divergence, best), moves[better]
        if step == steps:
            break
        parts = [
            slope_of(*_given(swapped, rows), tf.constant(moves[rows]), tf.constant(own[rows], tf.float32))
            for rows in batches(every)
        ]
        slope = np.concatenate(parts)
        size = np.linalg.norm(slope, axis=2, keepdims=True)
        moves = moves + np.divide(slope, size, out=np.zeros_like(slope), where=size > 0) * lengths[..., None] / 4
        moves = _within(moves, lengths).astype(np.float32)
    return kept


def _slope(inputs, limit, rows, index, queries, probabilities, moves, own):
    """Derivative of the divergence, less the price of an answer too far away, by the moves."""
    with tf.GradientTape() as tape:
        tape.watch(moves)
        said, weights = inputs.said(rows, moves, index)
        by_key = tf.einsum("bhts,bt->bs", weights, queries)
        p, q = (one / tf.maximum(tf.reduce_sum(one, 1, keepdims=True), 1e-9) for one in (own, by_key))
        middle = (p + q) / 2
        divergence = sum(tf.reduce_sum(one * (_log(one) - _log(middle)), 1) for one in (p, q)) / 2
        distance = tf.reduce_sum(tf.abs(said - probabilities), 1) / 2
        worth = tf.reduce_sum(divergence - PRICE * tf.nn.relu(distance - limit))
    return tape.gradient(worth, moves)


def _log(values):
    return tf.math.log(tf.maximum(values, 1e-9))


def _within(moves, lengths):
    """Moves shortened to the lengths they may have."""
    size = np.linalg.norm(moves, axis=2)
    return moves * np.minimum(1, np.divide(lengths, size, out=np.zeros_like(size), where=size > 0))[..., None]


def other_words(embedding, swapped, limit, words, seed):
    """Rows in which a tenth of the words is replaced by near ones, so that attention moves most and the answer stays.

    Parameters
    ----------
    embedding : keras.layers.Embedding
    swapped : SwappedWeights
    limit : float
    words : int array or None
        Tokens that may come in.
    seed : int

    Returns
    -------
    int array (B, S)

    Raises
    ------
    ArgumentError
        Words the embedding does not know.
    """
    draw, ids = np.random.default_rng(seed), swapped.of_rows(np.arange(len(swapped)))[0].copy()
    near = neighbours(np.asarray(embedding.embeddings), ids[swapped.keys] if words is None else words)
    own, best = swapped.by_key(swapped.weights), np.zeros(len(ids))
    changed = np.zeros(ids.shape, bool)
    allowed = np.ceil(SHARE * swapped.keys.sum(1))
    for step in range(int(allowed.max())):
        rows, candidates, place = _candidates(ids, near, swapped.keys & ~changed, allowed > step, draw)
        if not len(rows):
            break
        _, *others = swapped.of_rows(rows)
        said, weights = swapped.looked_at([candidates, *others], swapped.index[rows])
        seen = np.einsum("nhts,nt->ns", weights, swapped.queries[rows].astype(float))
        divergence = np.nan_to_num(jensen_shannon(own[rows], seen, mask=swapped.keys[rows]))
        divergence[~keeps_answer(said, swapped.probabilities[rows], limit)] = -1
        for row in np.unique(rows):
            mine = np.flatnonzero(rows == row)
            top = mine[divergence[mine].argmax()]
            if divergence[top] > best[row]:
                best[row], ids[row], changed[row, place[top]] = divergence[top], candidates[top], True
    return ids


def neighbours(table, words):
    """The nearest words of each word, by the cosine of their vectors.

    Parameters
    ----------
    table : float array (V, D)
    words : int array
        Those that count.

    Returns
    -------
    int array (V, K)
        The nearest first; -1 where there are no more.

    Raises
    ------
    ArgumentError
        Words outside 0 to V - 1.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.auditing.small_changes import neighbours
    >>> neighbours(np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]]), [0, 1, 2])[:, :2].tolist()
    [[1, 2], [0, 2], [1, 0]]
    """
    words = np.unique(np.asarray(words, int))
    if len(words) and not 0 <= words[0] <= words[-1] < len(table):
        raise ArgumentError(f"words must be token ids from 0 to {len(table) - 1}; received {words[0]} to {words[-1]}.")
    unit = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    found = np.full((len(table), NEIGHBOURS), -1)
    for some in batches(np.arange(len(table))):
        cosine = unit[some] @ unit[words].T
        cosine[some[:, None] == words] = -np.inf  # not itself
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :NEIGHBOURS]
        there = np.isfinite(np.take_along_axis(cosine, order, 1))
        found[some, : order.shape[1]] = np.where(there, words[order], -1)
    return found


def _candidates(ids, near, free, open_, draw):
    """Rows (N,), their ids with one more word replaced (N, S), and where (N,)."""
    rows, made, places = [], [], []
    for row in np.flatnonzero(open_):
        there = np.flatnonzero(free[row])
        for place in draw.permutation(there)[:PLACES]:
            for word in near[ids[row, place]]:
                if word >= 0:
                    rows.append(row)
                    places.append(place)
                    made.append(ids[row].copy())
                    made[-1][place] = word
    return np.array(rows, int), np.array(made).reshape(-1, ids.shape[1]), np.array(places, int)


def keeps_answer(said, before, limit):
    """Whether the class stays, and the distribution within the limit (N,)."""
    return (said.argmax(1) == before.argmax(1)) & (total_variation(said, before) <= limit)


def _given(swapped, rows):
    """What a batch of rows is beside its moves."""
    return (
        [tf.constant(one) for one in swapped.of_rows(rows)],
        tf.constant(swapped.index[rows].astype(np.int32)),
        tf.constant(swapped.queries[rows].astype(np.float32)),
        tf.constant(swapped.probabilities[rows].astype(np.float32)),
    )


def looked(inputs, swapped, rows, moves):
    """What is said, and where is looked, when rows are moved.

    Parameters
    ----------
    inputs : MovedInputs
    swapped : SwappedWeights
    rows : int array (N,)
    moves : float array (N, S, D)

    Returns
    -------
    float arrays (N, C) and (N, H, T, S)
        Probabilities and weights.
    """
    parts = []
    for some in batches(np.arange(len(rows))):
        given, index, _, _ = _given(swapped, rows[some])
        parts.append([one.numpy() for one in inputs.said(given, tf.constant(moves[some]), index)])
    return tuple(np.concatenate(one) for one in zip(*parts, strict=True))
