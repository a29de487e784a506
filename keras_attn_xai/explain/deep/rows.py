"""Rows and references: checked, cut into parts that fit, every row beside every reference."""

import numpy as np
import tensorflow as tf

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.explain.deep.result import InputAttributions

POSITION_PAIRS = 2**22  # of all rows at once; several tensors of that size live at a time, for each head


def as_arrays(inputs, references):
    """Both as flat lists of arrays.

    Returns
    -------
    rows, background : list of array (B, ...) and (R, ...)
    """
    try:
        tf.nest.assert_same_structure(inputs, references)
    except (ValueError, TypeError):
        raise ShapeError(
            "The references must have the structure of the inputs: an array, or the same list or dict."
        ) from None
    pairs = [
        (np.asarray(x), np.asarray(r))
        for x, r in zip(tf.nest.flatten(inputs), tf.nest.flatten(references), strict=True)
    ]
    for x, r in pairs:
        if x.ndim == 0 or r.ndim == 0 or x.shape[1:] != r.shape[1:] or not len(x) or not len(r):
            raise ShapeError(
                f"Rows (B, ...) and references (R, ...) must agree but for their number; received {x.shape}, {r.shape}."
            )
        for one in (x, r):
            if one.dtype.kind not in "fiub" and one.dtype.name != "bfloat16":
                raise ArgumentError(f"Inputs are numbers or truth values; received {one.dtype}.")
            if one.dtype.kind == "f" and not np.isfinite(one).all():
                raise ArgumentError("Inputs must be finite; received NaN or infinity.")
    rows, background = ([np.asarray(one[side]) for one in pairs] for side in (0, 1))
    for side, name in ((rows, "inputs"), (background, "references")):
        if len({len(one) for one in side}) != 1:
            raise ShapeError(f"All {name} need as many rows; received {', '.join(str(len(one)) for one in side)}.")
    return rows, [r.astype(x.dtype) for x, r in zip(rows, background, strict=True)]


def as_kept(kept, inputs, rows):
    """Which cells of each row stay in its references, as a flat list of truth values.

    Parameters
    ----------
    kept : None, or a bool array or None for each of ``inputs``, in their structure
        Of as many axes as the input, each as long or 1.
    inputs : array, or list or dict of them
    rows : list of array (B, ...)
        The same, flat.

    Returns
    -------
    list of bool array (B, ...), one per flat input, its other axes as long as the input's or 1
    """
    try:
        tf.nest.assert_same_structure(inputs, kept if kept is not None else inputs)
    except (ValueError, TypeError):
        raise ShapeError("kept must have the structure of the inputs: an array, or the same list or dict.") from None
    flat = [None] * len(rows) if kept is None else tf.nest.flatten(kept)
    return [_kept_of_one(one, x) for one, x in zip(flat, rows, strict=True)]


def _kept_of_one(kept, x):
    kept = np.zeros([1] * x.ndim, bool) if kept is None else np.asarray(kept)
    if kept.dtype != bool:
        raise ArgumentError(f"kept holds truth values, True where the row's own number stays; received {kept.dtype}.")
    if kept.ndim != x.ndim or any(n not in (1, whole) for n, whole in zip(kept.shape, x.shape, strict=True)):
        raise ShapeError(
            f"kept needs the axes of its input, {x.shape}, each as long or of length 1; received {kept.shape}."
        )
    return np.broadcast_to(kept, (len(x), *kept.shape[1:]))


def kept_signature(inputs):
    """What a function of such `as_kept` is traced for: any number of rows, axes of any length."""
    return [tf.TensorSpec([None] * np.ndim(one), tf.bool) for one in tf.nest.flatten(inputs)]


def most_at_once(rows, most):
    """How many pairs of rows fit: ``most``, fewer of long rows, whose attention has a number for every two positions.

    Parameters
    ----------
    rows : list of arrays (B, ...)
    most : int

    Returns
    -------
    int
        At least 1.
    """
    lengths = [one.shape[1] for one in rows if one.ndim == 3 or (one.ndim == 2 and one.dtype.kind in "iu")]
    return max(1, min(most, POSITION_PAIRS // max(lengths, default=1) ** 2))


def beside(rows, kept, background):
    """Every row beside every reference, with the row's own cells where they are kept: (N R, ...) each; inside a graph.

    Parameters
    ----------
    rows : list of tensors (N, ...)
    kept : list of bool tensors that broadcast to ``rows``
    background : list of tensors (R, ...)

    Returns
    -------
    x, r : list of tensors (N R, ...)
    """
    n, count = tf.shape(rows[0])[0], tf.shape(background[0])[0]
    x, stays = ([tf.repeat(one, count, axis=0) for one in some] for some in (rows, kept))
    tiled = [tf.tile(one, tf.concat([[n], tf.ones([tf.rank(one) - 1], tf.int32)], 0)) for one in background]
    x = [tf.ensure_shape(one, [None, *like.shape[1:]]) for one, like in zip(x, rows, strict=True)]
    return x, with_kept(x, stays, tiled)


def with_kept(x, kept, r):
    """The references ``r`` (P, ...) with the cells of ``x`` where they are kept; lists of tensors."""
    return [
        tf.ensure_shape(tf.where(stays, one, other), [None, *one.shape[1:]])
        for stays, one, other in zip(kept, x, r, strict=True)
    ]


def times_distance(rows, x, parts):
    """What each part of a flat input contributes: multiplier times (x - r), features of a token summed.

    Parameters
    ----------
    rows, x : list of tensors (N, ...) and (P, ...)
        The flat inputs, for their shapes.
    parts : list of (input number, multiplier, x, r)

    Returns
    -------
    list of float64 tensors (P, ...), one per flat input
    """
    found = [tf.zeros_like(one, tf.float64) for one in x]
    for i, *part in parts:
        multiplier, one, other = (tf.cast(tensor, tf.float64) for tensor in part)
        value = multiplier * (one - other)
        found[i] += tf.reduce_sum(value, axis=list(range(rows[i].shape.rank, value.shape.rank)))
    return found


def sums_over_references(rows, background, values, base, output):
    """Values and base (P, ...) summed over references, outputs of the rows; P = N R pairs, inside a graph."""
    count, references = tf.shape(rows[0])[0], tf.shape(background[0])[0]

    def summed(tensor):
        """(N R, ...) to (N, ...)."""
        return tf.reduce_sum(tf.reshape(tensor, tf.concat([[count, references], tf.shape(tensor)[1:]], 0)), axis=1)

    return [summed(one) for one in values], summed(tf.cast(base, tf.float64)), tf.cast(output, tf.float64)[::references]


def parts(count, size):
    """Slices of at most ``size``.

    Examples
    --------
    >>> from keras_attn_xai.explain.deep.rows import parts
    >>> [(one.start, one.stop) for one in parts(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def in_parts(run, rows, kept, background, size, progress=lambda count: None):
    """``run(rows, kept, background)`` over parts with at most ``size`` pairs, its sums over references made means.

    Parameters
    ----------
    run : callable
        Rows (n, ...), what is kept of them, and references (r, ...) to (values per input, base, output): the
        first two summed over references, the last of the rows.
    rows, kept, background : list of arrays
    size : int
    progress : callable
        Gets the number of rows of each part that is done.

    Returns
    -------
    values, base, output
    """
    count, references = len(rows[0]), len(background[0])
    results = []
    for some in parts(count, max(1, size // references)):
        few, stays = ([one[some] for one in side] for side in (rows, kept))
        sums = [run(few, stays, [one[other] for one in background]) for other in parts(references, size)]
        results.append(
            (
                [np.sum([one[0][i] for one in sums], axis=0) / references for i in range(len(rows))],
                np.sum([one[1] for one in sums], axis=0) / references,
                sums[0][2],
            )
        )
        progress(len(few[0]))
    values, base, output = zip(*results, strict=True)
    return [np.concatenate(one) for one in zip(*values, strict=True)], np.concatenate(base), np.concatenate(output)


def packed(inputs, values, base, output, evaluations, **names):
    """`InputAttributions` in the structure of the inputs."""
    return InputAttributions(tf.nest.pack_sequence_as(inputs, values), base, output, evaluations, **names)
