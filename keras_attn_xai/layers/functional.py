"""Attention as pure functions of tensors: scores, the normaliser, the context.

Shapes: B batch, T query positions, S key positions, D query/key features, V value features, U units.
Everything is ``keras.ops``, so the same code runs on every Keras backend.
"""

import keras
from keras import ops

from keras_attn_xai.layers import blocks

FULLY_MASKED = ("zero", "uniform", "error")
LARGEST_HALF = 65504.0  # of float16
BISECTIONS = 30  # 2^-30 before the Newton step, which squares the error


def dot_scores(query, key, *, scale=None):
    """Dot-product scores ``q_t . k_s``, optionally scaled.

    Parameters
    ----------
    query : tensor (B, T, D)
    key : tensor (B, S, D)
    scale : float, optional
        Multiplies the query *before* the product, so that float16 does not overflow.

    Returns
    -------
    tensor (B, T, S)
        Scores, any real number; larger means a better match.

    References
    ----------
    Luong, Pham and Manning 2015 (arXiv:1508.04025), section 3.1, "dot"; scaled: Vaswani et al. 2017
    (arXiv:1706.03762), eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import dot_scores
    >>> np.array(dot_scores(np.array([[[1.0, 2.0]]]), np.array([[[3.0, 4.0], [5.0, 6.0]]])))
    array([[[11., 17.]]])
    """
    if scale is not None:
        query = query * ops.cast(scale, query.dtype)
    return ops.matmul(query, ops.swapaxes(key, -2, -1))


def additive_scores(query, key, v, *, block_size=None):
    """Additive scores ``v^T tanh(q_t + k_s)`` of projected queries and keys.

    Parameters
    ----------
    query : tensor (B, T, U)
        Projected queries, ``W s_t``.
    key : tensor (B, S, U)
        Projected keys, ``U h_s``.
    v : tensor (U,)
    block_size : int, optional
        Queries scored at a time; by default as many as fit ``blocks.BLOCK_ELEMENTS``.

    Returns
    -------
    tensor (B, T, S)
        Scores within ``[-sum|v|, sum|v|]``; larger means a better match.

    Notes
    -----
    The tensor (B, T, S, U) inside the tanh is held for one block of queries at a time, in the gradient too.
    Where all of it is known to be small, it is held whole.

    References
    ----------
    Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473), appendix A.1.2.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import additive_scores
    >>> zeros, v = np.zeros((1, 1, 2)), np.array([1.0, 2.0])
    >>> np.array(additive_scores(zeros, zeros, v))
    array([[[0.]]])
    """
    batch, positions, units = ops.shape(query)
    each = batch * ops.shape(key)[1] * units
    if block_size is None:
        block_size = blocks.block_length(positions, each)
    fits = isinstance(block_size, int) and isinstance(positions, int) and block_size >= positions
    if fits or query.shape[1] == 1:
        return _additive_scores((query,), key, v)
    return blocks.map_query_blocks(_additive_scores, (query,), (key, v), block=block_size)


def _additive_scores(query_blocks, key, v):
    hidden = ops.tanh(ops.expand_dims(query_blocks[0], 2) + ops.expand_dims(key, 1))  # (B, T, S, U)
    return ops.squeeze(ops.matmul(hidden, ops.expand_dims(v, -1)), -1)


def masked_softmax(scores, mask=None, *, fully_masked="zero"):
    """Softmax over the keys that ``mask`` keeps.

    Parameters
    ----------
    scores : tensor (..., T, S)
    mask : bool tensor broadcastable to ``scores``, optional
        True keeps a key.
    fully_masked : {"zero", "uniform", "error"}, default "zero"
        What a row without a single kept key becomes: all zeros, or ``1/S`` everywhere.
        ``"error"`` behaves as ``"zero"`` here; layers raise before they call this.

    Returns
    -------
    tensor (..., T, S)
        Weights in [0, 1] with the dtype of ``scores``. A row sums to 1, or to 0 when it is fully masked.
        A masked key gets exactly 0. Computed in at least float32, never NaN for finite scores.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import masked_softmax
    >>> np.array(masked_softmax(np.array([[2.0, 2.0, 9.0]]), np.array([[True, True, False]])))
    array([[0.5, 0.5, 0. ]])
    """
    return masked_weights(softmax, scores, mask, fully_masked=fully_masked)


def masked_weights(normalize, scores, mask=None, *, fully_masked="zero", temperature=1.0):
    """Weights over the keys that ``mask`` keeps, by any normaliser.

    Parameters
    ----------
    normalize : callable
        Logits (..., S) to weights of the same shape; a logit far below the others gets 0.
    scores, mask, fully_masked
        As for `masked_softmax`.
    temperature : float, default 1.0
        Divides the scores.

    Returns
    -------
    tensor (..., T, S)
        With the dtype of ``scores``, computed in at least float32.

    Examples
    --------
    >>> import numpy as np
    >>> from keras import ops
    >>> from keras_attn_xai.layers.functional import masked_weights
    >>> np.array(masked_weights(ops.sigmoid, np.array([[0.0, 0.0]]), np.array([[True, False]])))
    array([[0.5, 0. ]])
    """
    dtype = scores.dtype
    logits = ops.cast(scores, accumulation_dtype(dtype))
    if keras.backend.standardize_dtype(dtype) == "float16":
        logits = ops.clip(logits, -LARGEST_HALF, LARGEST_HALF)  # a product too large for float16 came as inf
    if temperature != 1:
        logits = logits / temperature
    if mask is None:
        return ops.cast(normalize(logits), dtype)
    weights = ops.where(mask, normalize(ops.where(mask, logits, lowest(logits.dtype))), 0)
    if fully_masked == "uniform":
        share = ops.ones_like(weights) / ops.sum(ops.ones_like(weights), axis=-1, keepdims=True)
        weights = ops.where(ops.any(mask, axis=-1, keepdims=True), weights, share)
    return ops.cast(weights, dtype)


def softmax(logits):
    """Softmax over the last axis; a single key gets all the weight, where Keras would warn about it."""
    return ops.ones_like(logits) if logits.shape[-1] == 1 else ops.softmax(logits, axis=-1)


def entmax(logits, alpha):
    """Entmax over the last axis: ``[(alpha - 1) z - tau]_+ ^ (1 / (alpha - 1))`` with the tau that makes it sum to 1.

    Parameters
    ----------
    logits : tensor (..., S)
    alpha : float or tensor broadcastable to (..., 1)
        Above 1; 2 is sparsemax. Between 1 and 1.05 the zeros fade into numbers near 0.

    Returns
    -------
    tensor (..., S)
        In [0, 1], with exact zeros; sums to 1.

    Notes
    -----
    tau is found by bisection without a gradient; one Newton step behind it is exact where bisection has
    converged, and gives tau the gradient of the implicit function theorem, in the logits and in alpha.

    References
    ----------
    Peters, Niculae and Martins 2019 (arXiv:1905.05702), eq. 10 and section 4; Blondel, Martins and Niculae 2019
    (arXiv:1805.09717), algorithm 1 (bisection).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import entmax
    >>> np.array(entmax(np.array([1.0, 0.5, -1.0]), 2.0)).round(6).tolist()
    [0.75, 0.25, 0.0]
    """
    if not isinstance(alpha, (int, float)):
        alpha = ops.cast(alpha, logits.dtype)
    power = 1 / (alpha - 1)
    highest = ops.max(logits, axis=-1, keepdims=True, initial=lowest(logits.dtype))  # initial lets a batch be empty
    z = (alpha - 1) * (logits - ops.stop_gradient(highest))
    z = ops.maximum(z, -2.0)  # below -1 the weight is 0; a masked score stays finite
    fixed_z, fixed_power = ops.stop_gradient(z), power if isinstance(power, float) else ops.stop_gradient(power)
    tau = _threshold(fixed_z, fixed_power)
    slope = fixed_power * ops.sum(_positive_power(fixed_z - tau, fixed_power - 1), axis=-1, keepdims=True)
    excess = ops.sum(_positive_power(z - tau, power), axis=-1, keepdims=True) - 1
    return _positive_power(z - (tau + excess / slope), power)


def _threshold(z, power):
    """The tau (..., 1) at which ``sum [z - tau]_+ ^ power`` is 1, by bisection: it lies between -1 and 0."""
    low = -ops.ones_like(z[..., :1])
    width = 1.0
    for _ in range(BISECTIONS):
        width /= 2
        total = ops.sum(_positive_power(z - (low + width), power), axis=-1, keepdims=True)
        low = ops.where(total >= 1, low + width, low)
    return low


def _positive_power(x, power):
    """``[x]_+ ^ power``, with gradient 0 where it is 0; whole powers are products, which are faster."""
    positive = ops.greater(x, 0)
    if isinstance(power, float) and power in (0, 1, 2):
        return ops.cast(positive, x.dtype) if power == 0 else ops.relu(x) if power == 1 else ops.square(ops.relu(x))
    return ops.where(positive, ops.power(ops.where(positive, x, 1.0), power), 0.0)


def add_bias(scores, bias, mask=None):
    """Scores plus an additive bias, and the mask that goes with them.

    Parameters
    ----------
    scores : tensor (B, T, S)
    bias : tensor (B, T, S), (1, T, S) or (T, S)
        ``-inf`` removes a key; so does a number that is ``-inf`` in the dtype of the scores.
    mask : bool tensor broadcastable to ``scores``, optional

    Returns
    -------
    scores : tensor (B, T, S)
        Finite wherever the mask keeps a key.
    mask : bool tensor broadcastable to ``scores``

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import add_bias
    >>> scores, mask = add_bias(np.zeros((1, 1, 2)), np.array([[1.0, -np.inf]]))
    >>> np.array(scores), np.array(mask)
    (array([[[1., 0.]]]), array([[ True, False]]))
    """
    bias = ops.cast(bias, scores.dtype)
    kept = ops.greater(bias, -float("inf"))
    return scores + ops.where(kept, bias, 0), merge_masks(mask, kept)


def weighted_sum(weights, value):
    """Context vectors ``c_t = sum_s a_ts v_s``.

    Parameters
    ----------
    weights : tensor (B, T, S)
    value : tensor (B, S, V)

    Returns
    -------
    tensor (B, T, V)

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import weighted_sum
    >>> np.array(weighted_sum(np.array([[[0.25, 0.75]]]), np.array([[[0.0], [4.0]]])))
    array([[[3.]]])
    """
    return ops.matmul(weights, value)


def without_padding(tensor, mask, *, fully_masked="zero"):
    """Zeros for what stands in padded positions: a weight of 0 does not take out a NaN, for ``0 * NaN`` is NaN.

    Parameters
    ----------
    tensor : tensor (..., S, D)
    mask : bool tensor (..., S), optional
        True keeps a position.
    fully_masked : {"zero", "uniform", "error"}, default "zero"
        With "uniform" a row without a kept position keeps them all, for it is their mean that it gives.

    Returns
    -------
    tensor (..., S, D)

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import without_padding
    >>> np.array(without_padding(np.array([[[1.0], [np.nan]]]), np.array([[True, False]]))).tolist()
    [[[1.0], [0.0]]]
    """
    if mask is None:
        return tensor
    if fully_masked == "uniform":
        mask = ops.logical_or(mask, ops.logical_not(ops.any(mask, axis=-1, keepdims=True)))
    return ops.where(ops.expand_dims(mask, -1), tensor, 0)


def merge_masks(*masks):
    """The conjunction of the masks that are not None, or None.

    Parameters
    ----------
    *masks : bool tensor or None
        Broadcastable against one another; True keeps.

    Returns
    -------
    bool tensor or None

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import merge_masks
    >>> merge_masks(None, None) is None
    True
    >>> np.array(merge_masks(np.array([True, True]), None, np.array([True, False])))
    array([ True, False])
    """
    present = [mask for mask in masks if mask is not None]
    if not present:
        return None
    merged = present[0]
    for mask in present[1:]:
        merged = ops.logical_and(merged, mask)
    return merged


def causal_mask(rows, keys):
    """Which keys a query may see when it may not look ahead.

    Parameters
    ----------
    rows : int tensor (T, 1)
        Positions of the queries.
    keys : tensor (..., S, U)

    Returns
    -------
    bool tensor (T, S)
        True where the key's position is not after the query's.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import causal_mask
    >>> np.array(causal_mask(np.array([[0], [1]]), np.zeros((1, 3, 1)))).astype(int)
    array([[1, 0, 0],
           [1, 1, 0]])
    """
    return ops.less_equal(ops.arange(ops.shape(keys)[-2]), rows)


def key_places(keys, mask=None):
    """Where each key stands among those the mask keeps, and how many those are.

    Parameters
    ----------
    keys : tensor (B, S, U)
    mask : bool tensor broadcastable to (B, T, S), optional

    Returns
    -------
    place : float tensor broadcastable to (B, T, S)
        0 for the first kept key, and so on; at least float32.
    length : float tensor broadcastable to (B, T, 1)

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.functional import key_places
    >>> place, length = key_places(np.zeros((1, 3, 1)), np.array([[[False, True, True]]]))
    >>> np.array(place).tolist(), np.array(length).tolist()
    ([[[-1.0, 0.0, 1.0]]], [[[2.0]]])
    """
    dtype = accumulation_dtype(keys.dtype)
    if mask is None:
        mask = ops.ones((1, 1, ops.shape(keys)[-2]), dtype="bool")
    count = ops.cumsum(ops.cast(mask, dtype), axis=-1)
    return count - 1, count[..., -1:]


def accumulation_dtype(dtype):
    """Softmax runs in float32 for every narrower float, in float64 for float64."""
    return "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"


def lowest(dtype):
    """A score no real one reaches; half the minimum leaves room for a subtraction."""
    return -8.9e307 if keras.backend.standardize_dtype(dtype) == "float64" else -1.7e38
