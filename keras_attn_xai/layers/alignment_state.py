"""What a step of attention may know of the steps before: features of past weights, monotonic moves.

Shapes: B batch, S memory positions, U units of an additive score.
"""

import keras
from keras import ops

LONGEST = 2**16  # positions, where their number is unknown while the graph is built


class AlignmentFeatures(keras.layers.Layer):
    """What an additive score adds to its keys for the weights each position has had.

    Parameters
    ----------
    units : int
        U, of the projected keys.
    coverage : bool
        Add ``w_c c_j``, where c is the sum of all weights so far.
    filters : int
        Add ``V f_j`` with ``f = F * a``, where a are the last weights and F this many filters; 0 for none.
    kernel_size : int
        Width of the filters in positions; beyond the ends the weights are 0.

    References
    ----------
    Coverage: See, Liu and Manning 2017 (arXiv:1704.04368), eq. 11. Location: Chorowski et al. 2015
    (arXiv:1506.07503), eq. 8 and 9.
    """

    def __init__(self, units, *, coverage, filters, kernel_size, **kwargs):
        super().__init__(**kwargs, autocast=False)  # past weights come in float32 at least
        self.units = units
        self.coverage = coverage
        self.filters = filters
        self.kernel_size = kernel_size

    def build(self, alignment_shape, coverage_shape):
        if self.coverage:
            self.coverage_kernel = self.add_weight(name="coverage_kernel", shape=(self.units,))  # w_c
        if self.filters:
            self.filter_conv = self._convolution(self.filters, self.kernel_size, 1, "filters")  # F
            # a kernel of one position: a Dense on three axes has no gradient under XLA in a loop of unknown B and S
            self.projection = self._convolution(self.units, 1, self.filters, "projection")  # V
        self.built = True

    def _convolution(self, filters, width, input_size, name):
        convolution = keras.layers.Conv1D(
            filters, width, padding="same", use_bias=False, dtype=self.dtype_policy, name=name
        )
        convolution.build((None, None, input_size))
        return convolution

    def call(self, alignment, coverage):
        alignment, coverage = (
            ops.expand_dims(ops.cast(one, self.compute_dtype), -1) for one in (alignment, coverage)
        )  # (B, S, 1)
        features = 0
        if self.coverage:
            features = coverage * ops.cast(self.coverage_kernel, self.compute_dtype)
        if self.filters:
            features = features + self.projection(self.filter_conv(alignment))
        return features  # (B, S, U)


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
