"""Other attention weights with the same answer, looked for by gradient ascent."""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from keras_attn_xai.auditing.arguments import require_count, require_share
from keras_attn_xai.auditing.attention_tests import found, swapped_weights
from keras_attn_xai.metrics import total_variation

PRICE = 500.0  # of a distance of 1 above the limit; Jain and Wallace's lambda
RATE = 0.1  # of Adam


def adversarial_attention(model, x, *, limit=0.05, starts=5, steps=100, map=None, target=None, tokenizer=None, seed=0):
    """How different attention weights can be that give the same answer.

    Parameters
    ----------
    model, x, map, target, tokenizer, seed
        As in `permutation_test`.
    limit : float, default 0.05
        Most the output's distribution may move, in total variation.
    starts : int, default 5
        K random starts of each row.
    steps : int, default 100
        Of Adam, from each start.

    Returns
    -------
    AttentionTest
        ``divergence`` (B,) in nats, 0 to 0.693: the largest Jensen-Shannon divergence found between the model's weights
        and others whose answer stays within ``limit``, mean over heads and real queries. Near 0.693, quite other
        weights would have done. ``distance`` (B,): how far the answer moved there.

    Raises
    ------
    ModelError
        As `permutation_test`.
    ArgumentError
        As `permutation_test`, and a limit, starts or steps that cannot be meant.

    Notes
    -----
    Adam ascends ``JSD(a', a) - 500 max(0, TVD - limit)`` on scores whose softmax over the keys a query may see is a';
    gradients flow through the model. The best a' ever visited within the limit counts, and a itself, so that the figure
    is a lower bound. Weights that another layer cannot make are allowed: Wiegreffe and Pinter 2019 (arXiv:1908.04626)
    hold that a model should be trained to make them.

    References
    ----------
    Jain and Wallace 2019, "Attention is not explanation" (arXiv:1902.10186), section 4.2.2.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.auditing import adversarial_attention
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> pool = AttentionPooling("location", return_weights=False)
    >>> model = keras.Sequential([keras.Input((3, 2)), pool, keras.layers.Softmax()])
    >>> test = adversarial_attention(model, np.ones((1, 3, 2)), starts=2, steps=60)  # any weights will do
    >>> test.mean.mean > 0.3  # of 0.318, the most between thirds and anything else
    True
    """
    require_count("starts", starts)
    require_count("steps", steps)
    require_share("limit", limit)
    swapped = swapped_weights(model, x, map=map, target=target, tokenizer=tokenizer)
    ascent = _Ascent(swapped, float(limit))
    draw = np.random.default_rng(seed)
    best, weights = np.zeros(len(swapped)), swapped.weights.copy()
    for _ in range(starts):
        reached, there = ascent.climb(draw.normal(size=swapped.weights.shape), steps)
        better = reached > best
        best, weights[better] = np.where(better, reached, best), there[better]
    return found(
        "adversarial",
        {"divergence": best, "distance": total_variation(swapped(weights), swapped.probabilities)},
        f"0 to 0.693; the more, the more other weights give the same answer (within {limit:g}). A lower bound.",
        seed=seed,
    )


class _Ascent:
    """Gradient ascent on scores, compiled once."""

    def __init__(self, swapped, limit):
        self._swapped, self._limit = swapped, limit
        self._rows = np.arange(len(swapped))
        self._fixed = tuple(
            tf.constant(one)
            for one in (
                swapped.weights,
                swapped.allowed,
                swapped.queries.astype(np.float32),
                swapped.probabilities.astype(np.float32),
                swapped.index.astype(np.int32),
            )
        )
        self._inputs = [tf.constant(one) for one in swapped.of_rows(self._rows)]
        self._look = tf.function(partial(self._looked), autograph=False)

    def climb(self, scores, steps):
        """The largest divergence met within the limit (B,), -1 where none was, and the weights there (B, H, T, S)."""
        best, kept = np.full(len(self._rows), -1.0), np.array(self._swapped.weights)
        first, second = np.zeros(scores.shape), np.zeros(scores.shape)
        for step in range(1, steps + 1):
            slope, weights, divergence, distance = (
                keras.ops.convert_to_numpy(one) for one in self._look(tf.constant(scores, tf.float32))
            )
            better = (distance <= self._limit) & (divergence > best)
            best, kept[better] = np.where(better, divergence, best), weights[better]
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            scores = scores + RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        return best, kept

    def _looked(self, scores):
        own, allowed, queries, probabilities, index = self._fixed
        with tf.GradientTape() as tape:
            tape.watch(scores)
            shares = tf.nn.softmax(tf.where(allowed, scores, -1e9))
            weights = tf.where(allowed, shares * tf.reduce_sum(tf.where(allowed, own, 0), 3, keepdims=True), own)
            divergence = _divergence(weights, own, queries)
            inputs = [tf.identity(one) for one in self._inputs]  # tensors of this trace
            said = self._swapped.said(inputs, weights, index)
            distance = tf.reduce_sum(tf.abs(said - probabilities), 1) / 2
            worth = tf.reduce_sum(divergence - PRICE * tf.nn.relu(distance - self._limit))
        return tape.gradient(worth, scores), weights, divergence, distance


def _divergence(weights, own, queries):
    """Jensen-Shannon divergence of the rows of two maps, mean over heads and real queries: (B,)."""
    p, q = (one / tf.maximum(tf.reduce_sum(one, 3, keepdims=True), 1e-9) for one in (weights, own))
    middle = (p + q) / 2

    def share(one):
        return tf.reduce_sum(
            tf.where(one > 0, one * tf.math.log(tf.maximum(one, 1e-30) / tf.maximum(middle, 1e-30)), 0), 3
        )

    each = tf.reduce_mean((share(p) + share(q)) / 2, 1)  # (B, T)
    return tf.reduce_sum(each * queries, 1) / tf.maximum(tf.reduce_sum(queries, 1), 1)
