"""What a step of attention may know of the steps before: monotonic alignment and coverage, as pure functions.

Shapes: B batch, T decoder steps, S memory positions.
"""

from keras import ops

LONGEST = 2**16  # positions, where their number is unknown while the graph is built


def monotonic_alignment(scores, previous, mask=None):
    """Expected weights of an attention that only moves forward.

    From where it stood, it walks over the memory and stops at position j with probability
    ``p_j = sigmoid(e_j)``; these are the chances of where it stops, given the chances of where it stood.

    Parameters
    ----------
    scores : tensor (B, S)
        Energies ``e_j``; 0 stops at every second position.
    previous : tensor (B, S)
        The weights of the step before; at first 1 on position 0.
    mask : bool tensor (B, S), optional
        True keeps; the walk never stops at another position.

    Returns
    -------
    tensor (B, S)
        In [0, 1]; sums to at most what ``previous`` sums to: the rest walked past the end.

    Notes
    -----
    ``a_ij = p_ij q_ij`` with ``q_ij = (1 - p_i,j-1) q_i,j-1 + a_i-1,j``. The recurrence over j is unrolled by
    doubling, log2(S) passes over (B, S), without the division by ``prod(1 - p)`` of the paper's eq. 11, which
    loses the weight behind a p near 1. Where S is unknown while the graph is built it may be up to 65536.

    References
    ----------
    Raffel, Luong, Liu, Weiss and Eck 2017, "Online and linear-time attention by enforcing monotonic alignments"
    (arXiv:1704.00784), eq. 8 to 10.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.alignment_state import monotonic_alignment
    >>> np.array(monotonic_alignment(np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0]]))).tolist()
    [[0.5, 0.25, 0.125]]
    """
    scores, previous = ops.convert_to_tensor(scores), ops.convert_to_tensor(previous)
    stop, walk = ops.sigmoid(scores), ops.sigmoid(-scores)
    if mask is not None:
        stop, walk = ops.where(mask, stop, 0.0), ops.where(mask, walk, 1.0)
    position = ops.cumsum(ops.ones_like(scores, dtype="int32"), axis=-1) - 1  # (B, S)
    factor = _shifted(walk, 1, position, 1.0)
    reached = previous
    size = scores.shape[-1] or LONGEST
    for level in range((size - 1).bit_length()):
        reached = reached + factor * _shifted(reached, 2**level, position, 0.0)
        factor = factor * _shifted(factor, 2**level, position, 1.0)
    return stop * reached


def _shifted(x, count, position, filling):
    """``x`` moved ``count`` positions to the right."""
    return ops.where(position >= count, ops.roll(x, count, axis=-1), filling)


def coverage_loss(weights, mask=None):
    """How much a decoder looks again at what it has looked at: the mean of ``sum_i min(a_i^t, c_i^t)``.

    Parameters
    ----------
    weights : tensor (B, T, S)
        Alignment history; ``c^t`` is the sum of its rows before t.
    mask : bool tensor (B, T), optional
        Steps that count.

    Returns
    -------
    tensor ()
        At least 0, where no position was looked at twice; at most 1 for rows that sum to 1.

    References
    ----------
    See, Liu and Manning 2017, "Get to the point" (arXiv:1704.04368), eq. 10 and 12.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.alignment_state import coverage_loss
    >>> float(coverage_loss(np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])))  # the third step repeats the first
    0.3333333333333333
    """
    weights = ops.convert_to_tensor(weights)
    covered = ops.maximum(ops.cumsum(weights, axis=1) - weights, 0)
    overlap = ops.sum(ops.minimum(weights, covered), axis=-1)  # (B, T)
    if mask is None:
        return ops.mean(overlap)
    steps = ops.cast(mask, overlap.dtype)
    return ops.sum(overlap * steps) / ops.maximum(ops.sum(steps), 1)
