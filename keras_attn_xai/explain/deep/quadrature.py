"""The average gradient on the line between two inputs of one operation, by Gauss-Legendre."""

from functools import cache

import numpy as np

from keras_attn_xai.explain.deep.rules_linear import gradient

NODES = 16


@cache
def nodes(count):
    """Places in (0, 1) and weights that sum to 1.

    Examples
    --------
    >>> from keras_attn_xai.explain.deep.quadrature import nodes
    >>> places, weights = nodes(1)
    >>> places.tolist(), weights.tolist()
    ([0.5], [1.0])
    """
    places, weights = np.polynomial.legendre.leggauss(count)
    return (places + 1) / 2, weights / 2


def quadrature(step, multipliers, count=NODES):
    """Multipliers of any differentiable operation; complete only as far as the quadrature is."""
    total = [None] * len(step.inputs)
    for place, weight in zip(*nodes(count), strict=True):
        for i, one in enumerate(gradient(step, step.point(place), multipliers)):
            if one is not None:
                total[i] = weight * one if total[i] is None else total[i] + weight * one
    return total
