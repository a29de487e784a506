"""Arrays (B, S) checked once, and what measures make of a row: its shares, its order, a quotient."""

import numpy as np

from keras_attn_xai.errors import ArgumentError, ShapeError


def masked_rows(mask, *arrays, finite=True):
    """Arrays of one shape as numbers that can be summed: in float64, and 0 where nothing counts.

    Parameters
    ----------
    mask : bool array (B, S) or None
        True is a position that counts; None is all of them.
    *arrays : float arrays (B, S)
    finite : bool, default True
        Whether infinite numbers are refused; a measure that sees only the order can do with them.

    Returns
    -------
    tuple
        New arrays (B, S), then the mask.

    Raises
    ------
    ShapeError
        Other than rows of positions, or other shapes than the mask's.
    ArgumentError
        NaN where the mask is True, or infinite numbers where ``finite``.
    """
    given = [np.asarray(one, float) for one in arrays]
    mask = np.ones(given[0].shape, bool) if mask is None else np.asarray(mask)
    if mask.ndim != 2 or mask.dtype != bool or any(one.shape != mask.shape for one in given):
        expected = {1: "an array", 2: "two arrays"}[len(given)]
        shapes = ", ".join(str(one.shape) for one in given)
        raise ShapeError(
            f"Expected {expected} (rows, positions) and a boolean mask of one shape; received {shapes} "
            f"and {mask.shape} of dtype {mask.dtype}."
        )
    wrong = sum(int((~(np.isfinite(one) if finite else ~np.isnan(one)) & mask).sum()) for one in given)
    if wrong:
        kind = "finite numbers" if finite else "numbers"
        raise ArgumentError(
            f"Expected {kind} at every position that counts; received {wrong} NaN{' or infinite' if finite else ''} "
            f"in shape {mask.shape}. Leave such positions out by the mask."
        )
    return *(np.where(mask, one, 0.0) for one in given), mask


def quotient(part, whole):
    """``part / whole``, NaN where ``whole`` is 0 or NaN."""
    whole = np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def shares(values, measure):
    """Rows (B, S) divided by their sums, so that they are distributions; a row of zeros is NaN."""
    if values.size and values.min() < 0:
        raise ArgumentError(
            f"{measure} takes shares of a whole, and numbers below 0 are none; received some down to "
            f"{values.min():.3g}. Pass abs(values), or another measure."
        )
    largest = values.max(1, keepdims=True, initial=0.0)
    values = quotient(values, np.broadcast_to(largest, values.shape))  # so that no sum is too large for a float
    return values / values.sum(1, keepdims=True)


def ranks_from_the_top(values, mask):
    """Ranks (B, S): 0 for the largest of a row, 1 for the next; ties to the earlier position, masked ones last."""
    order = np.lexsort((-values, ~mask), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(values.shape[1])[None], axis=1)
    return ranks


def flags(name, given, shape):
    """``given`` as a boolean array of this shape."""
    given = np.asarray(given)
    if given.shape != shape or given.dtype != bool:
        raise ShapeError(f"Expected {name} as a boolean array {shape}; received {given.shape} of dtype {given.dtype}.")
    return given


def measured(name, given, shape):
    """``given`` as finite numbers of a shape, in which None is any size."""
    given = np.asarray(given, float)
    fits = given.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, given.shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ShapeError(f"Expected {name} of shape ({wanted}); received {given.shape}.")
    if not np.isfinite(given).all():
        wrong = int((~np.isfinite(given)).sum())
        raise ArgumentError(f"Expected finite numbers in {name}; received {wrong} NaN or infinite in {given.shape}.")
    return given
