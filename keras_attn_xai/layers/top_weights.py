"""The k largest weights of each query, found block by block, and what they look like spread out again."""

from keras import ops

from keras_attn_xai.layers import blocks


def attend(layer, block, query, rows, keys, value, mask, score_bias):
    """Attention over blocks of queries that keeps the ``layer.top_k`` largest weights of each.

    Parameters
    ----------
    layer : AttentionLayer
        For its ``top_k`` and ``block_size``.
    block : callable
        ``block(query, rows, keys, value, mask, score_bias)`` gives the Attended of some queries.
    query : tensor (..., T, D)
    rows : int tensor (T, 1)
    keys, value : tensors (..., S, U)
    mask, score_bias : tensors broadcastable to (..., T, S), or None

    Returns
    -------
    tuple of tensors
        The context (..., T, V); scores, weights and dropped weights (..., T, k); their keys (..., T, k); and
        the positions (..., T, 1) of a window, if there is one.
    """
    pairs = {"mask": mask, "score_bias": score_bias}
    pairs = {name: pair for name, pair in pairs.items() if pair is not None}
    by_query = [name for name, pair in pairs.items() if pair.shape[-2] != 1]  # the others are the same for each query
    for_all = [name for name in pairs if name not in by_query]

    def largest(cut, keys, value, *constants):
        query, rows, *others = cut
        named = dict(zip(by_query + for_all, (*others, *constants), strict=True))
        attended = block(query, rows, keys, value, **named)
        indices = ops.top_k(attended.weights, layer.top_k)[1]
        kinds = [ops.take_along_axis(kind, indices, axis=-1) for kind in attended[1:4]]
        further = () if attended.positions is None else (attended.positions,)
        return (attended.context, *kinds, ops.cast(indices, "float32"), *further)  # floats alone have gradients

    arrays = (query, rows, *(pairs[name] for name in by_query))
    constants = (keys, value, *(pairs[name] for name in for_all))
    length = layer.block_size or _block_length(query, keys)
    positions = ops.shape(query)[-2]
    if isinstance(positions, int) and isinstance(length, int) and length >= positions:
        parts = largest(arrays, *constants)
    else:
        parts = blocks.map_query_blocks(largest, arrays, constants, block=length, variables=layer.variables)
    return (*parts[:4], ops.cast(parts[4], "int32"), *parts[5:])  # exact below 2^24


def _block_length(query, keys):
    """Queries whose weights over all keys fit a block."""
    *outer, positions, _ = ops.shape(query)
    each = ops.shape(keys)[-2]
    for size in outer:
        each = each * size
    return blocks.block_length(positions, each)


def spread(weights, indices, positions):
    """The k weights of each query at their keys, zeros elsewhere.

    Parameters
    ----------
    weights : tensor (..., T, k)
    indices : int tensor (..., T, k)
    positions : int or tensor
        Keys, S.

    Returns
    -------
    tensor (..., T, S)

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.top_weights import spread
    >>> np.array(spread(np.array([[0.75, 0.25]]), np.array([[2, 0]]), 4)).tolist()
    [[0.25, 0.0, 0.75, 0.0]]
    """
    column = ops.arange(positions, dtype=indices.dtype)
    here = ops.equal(ops.expand_dims(indices, -1), column)  # (..., T, k, S)
    return ops.sum(ops.where(here, ops.expand_dims(weights, -1), 0), axis=-2)
