"""Work done for a few queries at a time, so that what is large for all of them is never held at once."""

from contextlib import contextmanager
from contextvars import ContextVar

import keras
from keras import ops

_whole = ContextVar("whole", default=False)
BLOCK_ELEMENTS = 2**20  # of the largest tensor inside a block; 4 MB of float32 stay near the processor


def block_length(positions, elements_per_query):
    """How many queries make a block.

    Parameters
    ----------
    positions : int or tensor
        Queries in all.
    elements_per_query : int or tensor
        Size of the largest tensor a single query needs, over the whole batch.

    Returns
    -------
    int or tensor
        At least 1, at most ``positions``.

    Examples
    --------
    >>> from keras_attn_xai.layers.blocks import block_length
    >>> block_length(512, 2 * 512 * 128), block_length(7, 10)
    (8, 7)
    """
    if isinstance(positions, int) and isinstance(elements_per_query, int):
        return max(1, min(positions, BLOCK_ELEMENTS // max(1, elements_per_query)))
    fitting = BLOCK_ELEMENTS // ops.maximum(1, elements_per_query)
    return ops.maximum(1, ops.minimum(positions, fitting))


@contextmanager
def one_block():
    """As long as this is open, all queries make one block, without a loop: for what follows single operations."""
    before = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(before)


def map_query_blocks(function, arrays, constants, *, block, variables=()):
    """Apply ``function`` to blocks of queries, one after the other, and lay the results side by side.

    Parameters
    ----------
    function : callable
        ``function(blocks, *constants)``, with each block (..., block, D), gives a float tensor (..., block, X)
        or a tuple of them. It is run again for its gradient, so that nothing of its inside is kept (Chen et al. 2016,
        "Training deep nets with sublinear memory cost", arXiv:1604.06174).
    arrays : tuple of tensors (..., T, D)
        With one length of the axis before the last.
    constants : tuple of tensors
        What every block needs as a whole.
    block : int or tensor
        Queries in a block.
    variables : sequence of keras.Variable, optional
        Those the function reads; a second run would hide their gradient if they did not go in as tensors.

    Returns
    -------
    tensor (..., T, X), or a tuple of them

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.blocks import map_query_blocks
    >>> x = np.arange(6, dtype="float32").reshape(1, 3, 2)
    >>> np.array(map_query_blocks(lambda blocks, y: blocks[0] * y, (x,), (2.0,), block=2)).tolist()
    [[[0.0, 2.0], [4.0, 6.0], [8.0, 10.0]]]
    """
    if _whole.get():
        return function(arrays, *constants)
    positions = ops.shape(arrays[0])[-2]
    count = (positions + block - 1) // block
    cut = tuple(_cut(array, count, block, positions) for array in arrays)
    constants, values = (tuple(map(ops.convert_to_tensor, given)) for given in (constants, variables))

    def run(blocks, constants, values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(blocks, *constants)

    parts = ops.map(lambda blocks: _run_twice(run, (blocks, constants, values)), cut)
    return keras.tree.map_structure(lambda part: _joined(part, count, block, positions), parts)


def _run_twice(function, arguments):
    """``function(*arguments)``, run again for its gradient; only floats have one, so the others stay outside."""
    inputs = keras.tree.flatten(arguments)
    floats = [n for n, one in enumerate(inputs) if "float" in keras.backend.standardize_dtype(one.dtype)]

    def of_floats(*values):
        whole = dict(enumerate(inputs)) | dict(zip(floats, values, strict=True))
        return function(*keras.tree.pack_sequence_as(arguments, list(whole.values())))

    return keras.remat(of_floats)(*(inputs[n] for n in floats))


def _cut(array, count, block, positions):
    """(..., T, D) to (count, ..., block, D), the last block filled with zeros, a mask with True."""
    *outer, _, size = ops.shape(array)
    padding = [[0, 0]] * len(outer) + [[0, count * block - positions], [0, 0]]
    filling = keras.backend.standardize_dtype(array.dtype) == "bool"  # a row without a key could raise
    cut = ops.reshape(ops.pad(array, padding, constant_values=filling or None), (*outer, count, block, size))
    return ops.moveaxis(cut, -3, 0)


def _joined(parts, count, block, positions):
    """(count, ..., block, X) to (..., T, X)."""
    _, *outer, _, size = ops.shape(parts)
    whole = ops.reshape(ops.moveaxis(parts, 0, -3), (*outer, count * block, size))
    return ops.reshape(whole[..., :positions, :], (*outer, positions, size))  # a size that was known is known again
