"""Rows to compare, for the tests of metrics: ties, masks, and rows that hypothesis makes."""

import numpy as np
from hypothesis import strategies as st

B, S = 5, 13

numbers = st.integers(-4, 4)  # few values, so that there are ties


def pairs_of_rows(values=numbers):
    """Two rows of one length."""
    return st.integers(2, 11).flatmap(lambda n: st.tuples(*[st.lists(values, min_size=n, max_size=n)] * 2))


def two_rows(seed=0, shape=(B, S)):
    """An array with ties, one without, and a mask that leaves at least two positions."""
    draw = np.random.default_rng(seed)
    mask = draw.random(shape) < 0.7
    mask[:, [1, -1]] = True
    return draw.integers(0, 6, shape).astype(float), draw.normal(size=shape), mask


def kept(a, b, mask):
    """The rows of two arrays without their masked positions."""
    return [(x[keep], y[keep]) for x, y, keep in zip(a, b, mask, strict=True)]
