"""How far attention and SHAP move when a row changes a little and its answer stays.

Shapes: B rows, S positions, D features of a position, V tokens, K neighbours.
"""

import numpy as np

from keras_attn_xai.alignment import align
from keras_attn_xai.auditing.arguments import require_count, require_share
from keras_attn_xai.auditing.attention_tests import found
from keras_attn_xai.auditing.moved_inputs import MovedInputs, moved_tokens
from keras_attn_xai.auditing.small_changes import climbed, drawn, looked, other_words
from keras_attn_xai.auditing.swapped_weights import SwappedWeights
from keras_attn_xai.explain.explainer import AttentionExplainer
from keras_attn_xai.metrics import jensen_shannon, total_variation

RADIUS = 0.1
LIMIT = 0.05


def robustness(
    model, x, *, background, radius=RADIUS, limit=LIMIT, steps=20, words=None, map=None, target=None, players="auto",
    tokenizer=None, budget=None, seed=0,
):  # fmt: skip
    """How far attention and SHAP move under small changes of the input that keep the answer.

    Parameters
    ----------
    model : keras.Model
        It is not changed.
    x, background, target, players, tokenizer
        As in `AttentionExplainer`; the first input's positions are moved, token ids or steps of a series, and its
        players are not words, for the changed rows have tokens alone.
    radius : float, default 0.1
        How far each position may be moved, as a share of its own length (the norm of its embedded token or step).
    limit : float, default 0.05
        Most the output's distribution may move, in total variation; the predicted class stays.
    steps : int, default 20
        Of the ascent.
    words : int array, optional
        Tokens that others may be replaced by; by default those that occur in the rows.
    map : str, optional
        As in `permutation_test`.
    budget : int, optional
        Evaluations of SHAP per row.
    seed : int, default 0

    Returns
    -------
    tuple of AttentionTest
        "moved at random", "moved against attention" (gradient ascent on the divergence of the weights) and, for token
        ids, "other words" (one word in ten, at least one, replaced by near ones, the choice that moves attention
        most). Each has, in nats from 0 to 0.693, the Jensen-Shannon divergence ``attention`` (B,) of the weights on
        the ruler and ``SHAP`` (B,) of the shares of SHAP's sizes, before and after, and ``distance`` (B,), how far the
        answer moved, in total variation. A row in which nothing was found that keeps its answer counts as unmoved.

    Raises
    ------
    ModelError
        As `permutation_test`; token ids that are not looked up by exactly one Embedding layer.
    ArgumentError
        A radius, limit or number of steps that cannot be meant.

    Notes
    -----
    The second and the third search for what moves attention, so compare attention with SHAP in the first alone.
    Words are near when the cosine of their vectors in the model's own embedding is large; whether they mean the same is
    not known. A move of an embedded token leaves with the token when SHAP switches it off.

    References
    ----------
    Ghorbani, Abid and Zou 2019, "Interpretation of neural networks is fragile" (arXiv:1710.10547). Jin et al. 2020,
    TextFooler (arXiv:1907.11932), for words replaced by near ones.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.auditing import robustness
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> pool = AttentionPooling("location", return_weights=False)
    >>> model = keras.Sequential([keras.Input((3, 2)), pool, keras.layers.Dense(2, activation="softmax")])
    >>> rows = np.random.default_rng(0).normal(size=(5, 3, 2))
    >>> at_random, against = robustness(model, rows, background=np.zeros((1, 3, 2)))
    >>> bool(at_random.mean.mean <= against.mean.mean)
    True
    """
    require_share("radius", radius)
    require_share("limit", limit)
    require_count("steps", steps)
    swapped = SwappedWeights(model, x, call=map, target=target, tokenizer=tokenizer)
    inputs = MovedInputs(swapped)
    lengths = radius * np.linalg.norm(inputs.positions, axis=2) * swapped.keys
    at_random = drawn(inputs, swapped, lengths, limit, seed)
    moves = {
        "moved at random": at_random,
        "moved against attention": climbed(inputs, swapped, lengths, limit, steps, at_random),
    }
    reworded = [other_words(embedding, swapped, limit, words, seed) for embedding in inputs.embeddings]
    options = {"background": background, "target": target, "players": players, "tokenizer": tokenizer, "seed": seed}
    compared = _Compared(swapped, inputs, budget, options)
    return (
        *(compared.moved(name, one) for name, one in moves.items()),
        *(compared.reworded("other words", ids) for ids in reworded),
    )


class _Compared:
    """Rows before and after, on one ruler."""

    def __init__(self, swapped, inputs, budget, options):
        self._swapped, self._inputs, self._budget, self._options = swapped, inputs, budget, options
        self._first, *self._others = swapped.of_rows(np.arange(len(swapped)))
        self._before = self._explained(self._first)

    def moved(self, name, moves):
        """The test of moves (B, S, D)."""
        said, _ = looked(self._inputs, self._swapped, np.arange(len(moves)), moves)
        if not self._inputs.embeddings:
            return self._test(name, self._explained(self._first + moves.astype(self._first.dtype)), said)
        with moved_tokens(self._inputs.embeddings[0], self._first, moves) as ids:
            return self._test(name, self._explained(ids), said)

    def reworded(self, name, ids):
        """The test of other token ids (B, S)."""
        said, _ = self._swapped.looked_at([ids, *self._others], self._swapped.index)
        return self._test(name, self._explained(ids), said)

    def _explained(self, first):
        """The rows with another first input, on the ruler."""
        explainer = AttentionExplainer(self._swapped.model, **self._options)
        rows = self._swapped.packed([first, *self._others])
        return align(explainer(rows, budget=self._budget, progress=False), map=self._swapped.call)

    def _test(self, name, after, said):
        before = self._before
        values = {
            "attention": jensen_shannon(before.attention, after.attention, mask=before.mask),
            "SHAP": jensen_shannon(np.abs(before.attribution), np.abs(after.attribution), mask=before.mask),
            "distance": total_variation(said, self._swapped.probabilities),
        }
        meaning = "0 to 0.693 nats, the answer kept; near 0, small changes do not matter."
        return found(name, values, meaning, seed=self._options["seed"])
