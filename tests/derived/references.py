"""The papers' formulas for derived maps once more, in plain loops: slow, obvious, and independent of the package.

Shapes: H heads, T query positions, S key positions, D features; one row at a time.
"""

from itertools import product

import numpy as np


def with_residual(weights, residual):
    """``0.5 A + 0.5 I``, ``A + I`` with rows divided by their sums, or A; ``weights`` is (T, T)."""
    result = np.array(weights, float)
    for t, s in np.ndindex(*weights.shape):
        total = sum(weights[t]) + 1
        same = 1 if t == s else 0
        if residual == "half":
            result[t, s] = 0.5 * weights[t, s] + 0.5 * same
        if residual == "add":
            result[t, s] = (weights[t, s] + same) / total
    return result


def rollout(layers):
    """Abnar and Zuidema 2020 (arXiv:2005.00928), attention rollout: the sum over all paths of the product of weights.

    ``layers`` are (T, T), from input to output, residual connections included.
    """
    size = len(layers[0])
    result = np.zeros((size, size))
    for path in product(range(size), repeat=len(layers) + 1):  # from the last layer down
        share = 1.0
        for above, below, layer in zip(path, path[1:], layers[::-1], strict=False):
            share *= layer[above, below]
        result[path[0], path[-1]] += share
    return result


def flow(layers, query, key):
    """The same paper, attention flow: the maximum flow, as the narrowest of all cuts (Ford and Fulkerson 1956)."""
    size = len(layers[0])
    height = len(layers)
    nodes = list(product(range(1, height), range(size)))
    best = np.inf
    for chosen in product([False, True], repeat=len(nodes)):
        above = {(height, query)} | {node for node, is_above in zip(nodes, chosen, strict=True) if is_above}
        cut = 0.0
        for level, t in above:
            below = [key] if level == 1 else range(size)
            cut += sum(layers[level - 1][t, s] for s in below if (level - 1, s) not in above)
        best = min(best, cut)
    return best


def value_norms(weights, values):
    """``||alpha f(x)||`` (H, T, S): Kobayashi et al. 2020 (arXiv:2004.10102); ``values`` is (H, S, D)."""
    result = np.zeros(weights.shape)
    for h, t, s in np.ndindex(*weights.shape):
        result[h, t, s] = np.linalg.norm(weights[h, t, s] * values[h, s])
    return result


def norms_of_sums(weights, values):
    """``||sum_h alpha f(x)||`` (T, S) of the same paper."""
    result = np.zeros(weights.shape[1:])
    for t, s in np.ndindex(*result.shape):
        result[t, s] = np.linalg.norm(sum(weights[h, t, s] * values[h, s] for h in range(len(weights))))
    return result


def a_bar(weights, gradients):
    """Chefer, Gur and Wolf 2021 (arXiv:2103.15679), equation 5, (T, S) from (H, T, S)."""
    result = np.zeros(weights.shape[1:])
    for t, s in np.ndindex(*result.shape):
        parts = [max(weights[h, t, s] * gradients[h, t, s], 0) for h in range(len(weights))]
        result[t, s] = sum(parts) / len(parts)
    return result


class TwoStreams:
    """The state of the same paper for streams s and q: four matrices, and one method per set of rules."""

    def __init__(self, size_s, size_q):
        self.ss, self.qq = np.eye(size_s), np.eye(size_q)
        self.sq, self.qs = np.zeros((size_s, size_q)), np.zeros((size_q, size_s))

    def self_s(self, A):
        """Equations 6 and 7."""
        self.ss, self.sq = self.ss + A @ self.ss, self.sq + A @ self.sq

    def self_q(self, A):
        self.qq, self.qs = self.qq + A @ self.qq, self.qs + A @ self.qs

    def cross_s(self, A):
        """Queries of s, keys of q: equations 10 and 11."""
        self.sq, self.ss = self.sq + bar(self.ss).T @ A @ bar(self.qq), self.ss + A @ self.qs

    def cross_both(self, A_sq, A_qs):
        """Co-attention: both directions read the state before either."""
        sq, ss = bar(self.ss).T @ A_sq @ bar(self.qq), A_sq @ self.qs
        qs, qq = bar(self.qq).T @ A_qs @ bar(self.ss), A_qs @ self.sq
        self.sq, self.ss, self.qs, self.qq = self.sq + sq, self.ss + ss, self.qs + qs, self.qq + qq


def bar(R):
    """Equations 8 and 9; 0/0 is taken as 0."""
    moved = R - np.eye(len(R))
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(moved / moved.sum(1, keepdims=True)) + np.eye(len(R))
