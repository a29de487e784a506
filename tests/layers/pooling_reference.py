"""Attention pooling once more, in plain NumPy loops: slow, obvious, and independent of the package.

Shapes: B batch, S positions, V features, U hidden units, R hops, H heads, N sentences, W words.
Matrices stand to the left of column vectors, as in the papers. A bias is the last column of a matrix, beside a
last feature that is 1.
"""

import math

import numpy as np


def each_position(inputs, score):
    """Scores (B, S) of ``score(x_i)``, one position at a time."""
    scores = np.zeros(inputs.shape[:2])
    for b, i in np.ndindex(scores.shape):
        scores[b, i] = score(inputs[b, i])
    return scores


def location_scores(inputs, w):
    """``w^T x_i``: Felbo et al. 2017 (arXiv:1708.00524), section 3; ``w`` is (V,)."""
    return each_position(inputs, lambda x: w @ x)


def feedforward_scores(inputs, W, u):
    """``u^T tanh(W x_i)``: Yang et al. 2016 (doi:10.18653/v1/N16-1174), eq. 5 and 6; ``W`` is (U, V), ``u`` (U,)."""
    return each_position(inputs, lambda x: u @ np.tanh(W @ x))


def gated_scores(inputs, V, U, w):
    """``w^T (tanh(V h) * sigm(U h))``: Ilse, Tomczak and Welling 2018 (arXiv:1802.04712), eq. 9."""
    return each_position(inputs, lambda h: w @ (np.tanh(V @ h) * (1 / (1 + np.exp(-U @ h)))))


def multi_hop_scores(inputs, W_1, W_2):
    """``W_2 tanh(W_1 H^T)``, (B, R, S): Lin et al. 2017 (arXiv:1703.03130), eq. 6; ``W_2`` is (R, U)."""
    return np.stack([each_position(inputs, lambda h, row=row: row @ np.tanh(W_1 @ h)) for row in W_2], axis=1)


def query_scores(inputs, queries, W_k):
    """``q_h^T W_k^h x_i / sqrt(U)``, (B, H, S): Lee et al. 2019 (arXiv:1810.00825), eq. 11 over eq. 2.

    ``queries`` (H, U) are the seed as the heads see it, ``S W_q``; ``W_k`` is (H, U, V).
    """
    scale = math.sqrt(queries.shape[-1])
    heads = zip(queries, W_k, strict=True)
    return np.stack([each_position(inputs, lambda x, q=q, W=W: q @ (W @ x) / scale) for q, W in heads], axis=1)


def normalized(scores, mask=None, *, fully_masked="zero"):
    """Softmax of scores (B, ..., S) over the positions that the mask (B, S) keeps."""
    weights = np.zeros(scores.shape)
    for row in np.ndindex(scores.shape[:-1]):
        kept = [i for i in range(scores.shape[-1]) if mask is None or mask[row[0], i]]
        total = sum(math.exp(scores[row][i]) for i in kept)
        for i in kept:
            weights[row][i] = math.exp(scores[row][i]) / total
        if not kept and fully_masked == "uniform":
            weights[row] = 1 / scores.shape[-1]
    return weights


def pooled(weights, inputs):
    """``sum_i a_i x_i`` for weights (B, S); for (B, R, S) one sum a row."""
    context = np.zeros((*weights.shape[:-1], inputs.shape[-1]))
    for index in np.ndindex(weights.shape):
        context[index[:-1]] += weights[index] * inputs[index[0], index[-1]]
    return context


def weighted(weights, inputs):
    """``c_i = a_i x_i`` for weights (B, S)."""
    sequence = np.zeros(inputs.shape)
    for b, i in np.ndindex(weights.shape):
        sequence[b, i] = weights[b, i] * inputs[b, i]
    return sequence


def pooled_heads(weights, inputs, W_v, W_o):
    """``W_o [sum_i a_hi W_v^h x_i]``, the heads laid end to end; ``W_v`` is (H, U, V), ``W_o`` is (V, H U)."""
    context = np.zeros((inputs.shape[0], W_o.shape[0]))
    for b in range(inputs.shape[0]):
        heads = [sum(weights[b, h, i] * (W @ inputs[b, i]) for i in range(inputs.shape[1])) for h, W in enumerate(W_v)]
        context[b] = W_o @ np.concatenate(heads)
    return context


def document(words, mask, word_scores, sentence_scores, *, sentence_encoder=lambda sentences, kept: sentences):
    """A document's vector and its weights, sentence after sentence: Yang et al. 2016, section 2.2, eq. 5 to 10.

    ``words`` is (N, W, V) and ``mask`` (N, W), or None; the scores go from (1, S, V) to (1, S).
    """
    mask = np.ones(words.shape[:2], bool) if mask is None else mask
    sentences, word_weights = np.zeros((words.shape[0], words.shape[-1])), np.zeros(words.shape[:2])
    for n, sentence in enumerate(words):
        weights = normalized(word_scores(sentence[None]), mask[n][None])
        word_weights[n] = weights[0]
        sentences[n] = pooled(weights, sentence[None])[0]
    kept = mask.any(axis=1)[None]
    sentences = sentence_encoder(sentences[None], kept)
    sentence_weights = normalized(sentence_scores(sentences), kept)
    return pooled(sentence_weights, sentences)[0], word_weights, sentence_weights[0]
