"""Measures of agreement, all rows at once, against a loop of SciPy's over the rows.

Usage: python benchmarks/metrics.py [rows] [positions]     (default: 10000 40)

Every ratio is measured side by side in this one run: each is called three times and its fastest call counts, a loop
once. "apart" is the largest difference of the two results.
"""

import sys
import time

import numpy as np
from scipy import stats
from scipy.spatial import distance

from keras_attn_xai.metrics import jensen_shannon, kendall_tau, pearson, spearman

MEASURES = {
    kendall_tau: lambda x, y: stats.kendalltau(x, y).statistic,
    spearman: lambda x, y: stats.spearmanr(x, y).statistic,
    pearson: lambda x, y: stats.pearsonr(x, y).statistic,
    jensen_shannon: lambda x, y: distance.jensenshannon(x, y) ** 2,
}


def timed(run, times):
    """The fastest of ``times`` calls in seconds, and what the last returned."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        found = run()
        taken.append(time.perf_counter() - start)
    return min(taken), found


def main(rows=10_000, positions=40):
    draw = np.random.default_rng(0)
    a = np.round(draw.random((rows, positions)), 2)  # with ties
    b = draw.random((rows, positions))
    mask = np.arange(positions) < draw.integers(positions // 2, positions + 1, rows)[:, None]
    print(f"{rows} rows of {positions} positions, a quarter of them padding, with ties")
    print(f"{'measure':<16}{'loop (s)':>10}{'ours (s)':>10}{'ratio':>8}{'apart':>10}")
    for measure, one in MEASURES.items():
        looped, wanted = timed(lambda: [one(x[k], y[k]) for x, y, k in zip(a, b, mask, strict=True)], 1)  # noqa: B023
        taken, found = timed(lambda: measure(a, b, mask=mask), 3)  # noqa: B023
        apart = np.abs(found - wanted).max()
        print(f"{measure.__name__:<16}{looped:>10.2f}{taken:>10.3f}{looped / taken:>8.0f}{apart:>10.0e}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
