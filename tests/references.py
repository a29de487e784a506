"""The papers' formulas once more, in plain NumPy loops: slow, obvious, and independent of the package.

Shapes: B batch, T query positions, S key positions, D query features, K key features, U hidden units.
Matrices stand to the left of column vectors, as in the papers.
"""

import itertools
import math

import numpy as np


def scores(query, key, score):
    """Scores (B, T, S) of ``score(query vector, key vector)``, one pair at a time."""
    result = np.zeros((query.shape[0], query.shape[1], key.shape[1]))
    for b in range(query.shape[0]):
        for t in range(query.shape[1]):
            for s in range(key.shape[1]):
                result[b, t, s] = score(query[b, t], key[b, s])
    return result


def bahdanau_scores(query, key, W, U, v):
    """``v^T tanh(W s + U h)``: Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473), section 3.1, appendix A.1.2.

    ``W`` is (U, D), ``U`` is (U, K), ``v`` is (U,).
    """
    return scores(query, key, lambda s, h: v @ np.tanh(W @ s + U @ h))


def luong_dot_scores(query, key):
    """``h_t^T h_s``: Luong, Pham and Manning 2015 (arXiv:1508.04025), section 3.1, "dot"."""
    return scores(query, key, lambda h_t, h_s: h_t @ h_s)


def luong_general_scores(query, key, W_a):
    """``h_t^T W_a h_s``: the same section, "general"; ``W_a`` is (D, K)."""
    return scores(query, key, lambda h_t, h_s: h_t @ W_a @ h_s)


def luong_concat_scores(query, key, W_a, v_a):
    """``v_a^T tanh(W_a [h_t; h_s])``: the same section, "concat"; ``W_a`` is (U, D + K), ``v_a`` is (U,)."""
    return scores(query, key, lambda h_t, h_s: v_a @ np.tanh(W_a @ np.concatenate([h_t, h_s])))


def scaled_dot_scores(query, key, *, bias=0.0, scale=None):
    """``q k / sqrt(d_k)`` plus a bias: Vaswani et al. 2017 (arXiv:1706.03762), section 3.2.1, eq. 1."""
    scale = 1 / math.sqrt(key.shape[-1]) if scale is None else scale
    return scores(query, key, lambda q, k: scale * (q @ k)) + bias


def masked_softmax(scores, mask=None, *, fully_masked="zero"):
    """Softmax of each row over the keys its mask keeps (1706.03762, section 3.2.3, with -inf left out of the sum).

    A row without a key is 0 everywhere, or ``1/S`` with ``fully_masked="uniform"``.
    """
    mask = np.ones(scores.shape, bool) if mask is None else np.broadcast_to(mask, scores.shape)
    weights = np.zeros(scores.shape)
    for row in np.ndindex(scores.shape[:-1]):
        kept = [s for s in range(scores.shape[-1]) if mask[row][s]]
        if not kept:
            weights[row] = 1 / scores.shape[-1] if fully_masked == "uniform" else 0
            continue
        highest = max(scores[row][s] for s in kept)
        total = sum(math.exp(scores[row][s] - highest) for s in kept)
        for s in kept:
            weights[row][s] = math.exp(scores[row][s] - highest) / total
    return weights


def context(weights, value):
    """``c_t = sum_s a_ts h_s``: 1409.0473, section 3.1, eq. 5."""
    result = np.zeros((*weights.shape[:2], value.shape[-1]))
    for b, t, s in np.ndindex(weights.shape):
        result[b, t] += weights[b, t, s] * value[b, s]
    return result


def multi_head_scores(query, key, W_q, b_q, W_k, b_k):
    """Scores (B, H, T, S) of each head: 1706.03762, section 3.2.2.

    ``W_q`` is (D, H, d), ``W_k`` is (K, G, d) with G dividing H; heads of one group share a key, as in
    Ainslie et al. 2023 (arXiv:2305.13245), section 2.2. Biases are (H, d) and (G, d).
    """
    heads, per_group = W_q.shape[1], W_q.shape[1] // W_k.shape[1]
    result = []
    for h in range(heads):
        g = h // per_group
        result.append(scaled_dot_scores(query @ W_q[:, h] + b_q[h], key @ W_k[:, g] + b_k[g]))
    return np.stack(result, axis=1)


def multi_head_weights(query, key, W_q, b_q, W_k, b_k, mask=None, *, fully_masked="uniform"):
    """Weights (B, H, T, S) of each head, by `multi_head_scores`."""
    scores = multi_head_scores(query, key, W_q, b_q, W_k, b_k)
    heads = [masked_softmax(scores[:, h], mask, fully_masked=fully_masked) for h in range(scores.shape[1])]
    return np.stack(heads, axis=1)


def multi_head_context(weights, value, W_v, b_v, W_o, b_o):
    """``Concat(head_1, ..., head_H) W^O``: the same section. ``W_v`` is (V, G, v), ``W_o`` is (H, v, D)."""
    heads, per_group = weights.shape[1], weights.shape[1] // W_v.shape[1]
    each = [context(weights[:, h], value @ W_v[:, h // per_group] + b_v[h // per_group]) for h in range(heads)]
    return sum(each[h] @ W_o[h] for h in range(heads)) + b_o


def entmax15(scores):
    """Entmax with alpha 1.5 by its closed form: Peters, Niculae and Martins 2019 (arXiv:1905.05702), algorithm 2."""
    z = np.sort(scores / 2)[::-1]
    for rho in range(len(z), 0, -1):  # the largest support that keeps its own members
        mean = z[:rho].mean()
        inside = (1 - rho * np.mean((z[:rho] - mean) ** 2)) / rho
        if inside >= 0 and mean - math.sqrt(inside) <= z[rho - 1]:
            return np.maximum(scores / 2 - (mean - math.sqrt(inside)), 0) ** 2
    raise AssertionError("the largest score alone is always a support")


def sparsemax(scores):
    """Sparsemax: Martins and Astudillo 2016 (arXiv:1602.02068), algorithm 1."""
    z = np.sort(scores)[::-1]
    k = max(n for n in range(1, len(z) + 1) if 1 + n * z[n - 1] > z[:n].sum())
    return np.maximum(scores - (z[:k].sum() - 1) / k, 0)


def head_entropies(weights, query_mask):
    """Mean of ``-sum_s a_s log a_s`` over real queries: the entropy of Vig and Belinkov 2019 (arXiv:1906.04284).

    ``weights`` is (B, H, T, S); a query whose weights are all 0 does not count.
    """
    result = np.full(weights.shape[:2], np.nan)
    for b, h in np.ndindex(weights.shape[:2]):
        found = []
        for t in range(weights.shape[2]):
            total = sum(weights[b, h, t])
            if query_mask[b, t] and total > 0:
                found.append(-sum(a / total * math.log(a / total) for a in weights[b, h, t] if a > 0))
        if found:
            result[b, h] = sum(found) / len(found)
    return result


def head_distances(weights, query_mask):
    """``sum a_ts |t - s| / sum a_ts`` over real queries: the mean distance of the same paper, both ways."""
    result = np.full(weights.shape[:2], np.nan)
    for b, h in np.ndindex(weights.shape[:2]):
        pairs = [(t, s) for t, s in np.ndindex(weights.shape[2:]) if query_mask[b, t]]
        total = sum(weights[b, h, t, s] for t, s in pairs)
        if total > 0:
            result[b, h] = sum(weights[b, h, t, s] * abs(t - s) for t, s in pairs) / total
    return result


def largest(values, k):
    """The positions of the k largest values of one row, the largest first; ties to the earlier."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]


def rank_biased_overlap(a, b, p):
    """RBO_ext of two whole rankings: Webber, Moffat and Zobel 2010 (doi:10.1145/1852102.1852106)."""
    n = len(a)
    common = [len(set(largest(a, d)) & set(largest(b, d))) for d in range(1, n + 1)]
    return common[-1] / n * p**n + (1 - p) / p * sum(x / d * p**d for d, x in enumerate(common, 1))


def top_k_kendall(a, b, k, p=0.5):
    """K^(p) of two top k lists, case by case: Fagin, Kumar and Sivakumar 2003 (doi:10.1137/S0895480102412856)."""
    one, two = largest(a, k), largest(b, k)
    total = 0.0
    for i, j in itertools.combinations(sorted({*one, *two}), 2):
        in_one, in_two = [x for x in (i, j) if x in one], [x for x in (i, j) if x in two]
        if len(in_one) == len(in_two) == 2:  # case 1
            total += (one.index(i) < one.index(j)) != (two.index(i) < two.index(j))
        elif len(in_one) + len(in_two) == 3:  # case 2: both in one list, one of them in the other
            both, alone = (one, in_two[0]) if len(in_one) == 2 else (two, in_one[0])
            absent = j if alone == i else i
            total += both.index(absent) < both.index(alone)
        elif len(in_one) == len(in_two) == 1:  # case 3: i in one list alone, j in the other alone
            total += 1
        else:  # case 4: both in one list alone
            total += p
    return total


def agreement_at_k(a, b, k, *, ranked=False, signed=False):
    """Feature, rank, sign and signed rank agreement: Krishna et al. 2022 (arXiv:2202.01602)."""
    one, two = largest(np.abs(a), k), largest(np.abs(b), k)
    same = {s for s in one if s in two}
    if ranked:
        same = {s for s in same if one.index(s) == two.index(s)}
    if signed:
        same = {s for s in same if np.sign(a[s]) == np.sign(b[s])}
    return len(same) / k


def gini(values):
    """Mean difference of all pairs over twice the mean: Hurley and Rickard 2009 (arXiv:0811.4706)."""
    n, mean = len(values), sum(values) / len(values)
    return sum(abs(x - y) for x in values for y in values) / (2 * n * n * mean)


def infidelity(values, perturbations, drops, *, scaled=False):
    """``E (I^T phi - (f(x) - f(x - I)))^2`` of one row: Yeh et al. 2019 (arXiv:1901.09392), definition 2.1."""
    foretold = [sum(i * v for i, v in zip(change, values, strict=True)) for change in perturbations]
    if scaled:
        square = sum(one * one for one in foretold)
        beta = sum(one * drop for one, drop in zip(foretold, drops, strict=True)) / square if square else 0.0
        foretold = [beta * one for one in foretold]
    return sum((one - drop) ** 2 for one, drop in zip(foretold, drops, strict=True)) / len(foretold)


def expected_hit_rate(values, truth):
    """Planted positions among the as many largest, mean over every order in which ties can be broken."""
    k, found = sum(truth), []
    for order in itertools.permutations(range(len(values))):
        top = sorted(order, key=lambda i: -abs(values[i]))[:k]
        found.append(sum(bool(truth[i]) for i in top) / k)
    return sum(found) / len(found)
