"""A recurrent decoder with attention in plain NumPy loops, one row and one step at a time, from the papers.

Vectors are rows and stand to the left of Keras' kernels. s is the decoder's state, h_j a position of the memory.
"""

import math

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(x, s, kernel, recurrent, bias):
    """One step of Keras' GRU with reset_after: Cho et al. 2014 (arXiv:1406.1078), gates z, r and candidate."""
    units = len(s)
    given, kept = x @ kernel + bias[0], s @ recurrent + bias[1]
    z, r = sigmoid(given[: 2 * units] + kept[: 2 * units]).reshape(2, units)
    candidate = np.tanh(given[2 * units :] + r * kept[2 * units :])
    return z * s + (1 - z) * candidate


def location_features(alignment, filters):
    """``F * a`` (S, filters) with zeros beyond the ends: 1506.07503, eq. 8; ``filters`` is (width, filters)."""
    width = len(filters)
    result = np.zeros((len(alignment), filters.shape[1]))
    for j in range(len(alignment)):
        for k in range(width):
            at = j + k - (width - 1) // 2
            if 0 <= at < len(alignment):
                result[j] += alignment[at] * filters[k]
    return result


def softmax_row(scores, mask):
    """Softmax over the kept positions; all 0 without one."""
    total = sum(math.exp(score) for score, kept in zip(scores, mask, strict=True) if kept)
    return np.array([math.exp(score) / total if kept else 0.0 for score, kept in zip(scores, mask, strict=True)])


def monotonic_row(scores, previous, mask):
    """``a_ij = p_ij sum_{k <= j} a_{i-1,k} prod_{k <= l < j} (1 - p_il)``: 1704.00784, eq. 8."""
    p = [sigmoid(score) if kept else 0.0 for score, kept in zip(scores, mask, strict=True)]
    result = np.zeros(len(p))
    for j in range(len(p)):
        for k in range(j + 1):
            result[j] += p[j] * previous[k] * math.prod(1 - p[n] for n in range(k, j))
    return result


def decode(weights, inputs, memory, initial, mask, memory_mask, *, order, input_feeding=False, monotonic=False):
    """Outputs (B, T, units) and weights (B, T, S).

    ``weights`` names W, U, v, the GRU's three, and where there are any W_c, w_c, F, V and r.
    """
    results = [
        decode_row(weights, *row, order=order, input_feeding=input_feeding, monotonic=monotonic)
        for row in zip(inputs, memory, initial, mask, memory_mask, strict=True)
    ]
    return tuple(np.array(one) for one in zip(*results, strict=True))


def decode_row(w, inputs, memory, s, mask, memory_mask, *, order, input_feeding, monotonic):
    positions = len(memory)
    alignment, covered = np.zeros(positions), np.zeros(positions)
    if monotonic:
        alignment[0] = 1
    context = np.zeros(memory.shape[1])
    output = np.zeros(w["W_c"].shape[1] if "W_c" in w else len(s))

    def attend(query):
        keys = memory @ w["U"]
        if "w_c" in w:
            keys = keys + np.outer(covered, w["w_c"])
        if "F" in w:
            keys = keys + location_features(alignment, w["F"]) @ w["V"]
        scores = [w["v"] @ np.tanh(query @ w["W"] + key) + w.get("r", 0.0) for key in keys]
        row = monotonic_row(scores, alignment, memory_mask) if monotonic else softmax_row(scores, memory_mask)
        return row, sum(a * h for a, h in zip(row, memory, strict=True))

    outputs, rows = [], []
    for y, kept in zip(inputs, mask, strict=True):
        if not kept:
            outputs.append(output)
            rows.append(np.zeros(positions))
            continue
        fed = [output if "W_c" in w else context] if input_feeding else []
        if order == "previous":
            alignment, context = attend(s)
            s = gru(np.concatenate([y, context, *fed]), s, *w["gru"])
        else:
            s = gru(np.concatenate([y, *fed]), s, *w["gru"])
            alignment, context = attend(s)
        output = np.tanh(np.concatenate([context, s]) @ w["W_c"]) if "W_c" in w else s
        covered = covered + alignment
        outputs.append(output)
        rows.append(alignment)
    return outputs, rows


def coverage_loss(weights, mask):
    """Mean over the steps that count of ``sum_i min(a_i^t, c_i^t)``: 1704.04368, eq. 10 and 12."""
    losses = []
    for rows, kept in zip(weights, mask, strict=True):
        covered = np.zeros(rows.shape[1])
        for row, counts in zip(rows, kept, strict=True):
            if counts:
                losses.append(np.minimum(row, covered).sum())
            covered = covered + row
    return np.mean(losses)
