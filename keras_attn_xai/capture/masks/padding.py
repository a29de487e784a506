"""Which positions of a model's inputs are padding, as far as the inputs themselves can tell."""

import re
from typing import NamedTuple

import numpy as np

SMALL_VOCABULARY = 4  # ids below it are more likely to be kinds or segments than words
NOT_WORDS = re.compile("segment|type|position|mask")
WORDS_FOR_MASKS = re.compile(r"attention|padding|pad|mask|input|ids|tokens?|[\W_\d]+")


class Padding(NamedTuple):
    """What is known of the positions of one tensor."""

    real: np.ndarray  # bool (B, S): False is padding
    maker: str  # who says so: a layer, or an input
    kind: str  # "made": a mask of Keras; "given": a mask among the inputs; "guessed": from runs of zeros
    lost: object = None  # a Loss, once the mask no longer travels with the tensor
    others: tuple = ()  # further candidates (B, S), where the tensor's origin is not certain


def padding_of_inputs(inputs):
    """Which inputs are padded, by the masks among them, else by the zeros they end in.

    Parameters
    ----------
    inputs : dict of str to array
        By name. A mask is boolean, or 0/1 with ``mask`` in its name, of shape (B, S); True keeps.

    Returns
    -------
    dict of str to Padding
        Only of inputs that have padding or whose mask says that there is none.
    """
    masks = {name: array.astype(bool) for name, array in inputs.items() if _is_mask(name, array)}
    found = {name: Padding(mask, f"input '{name}'", "given") for name, mask in masks.items()}
    for name, array in inputs.items():
        if name in masks or array.ndim < 2:
            continue
        mask = _mask_for(name, array, masks, inputs)
        if mask is not None:
            found[name] = Padding(masks[mask], f"input '{mask}'", "given")
        elif array.ndim == 3 and array.dtype.kind == "f":
            real = real_by_zeros(np.any(array != 0, axis=-1))
        elif array.ndim == 2 and array.dtype.kind in "iu" and not NOT_WORDS.search(name.lower()):
            real = real_of_ids(array)
        else:
            continue
        if mask is None and real is not None:
            found[name] = Padding(real, f"input '{name}'", "guessed")
    return found


def real_of_ids(ids):
    """The real positions of ids (B, S) that are padded with 0, or None if nothing speaks for it."""
    counted = np.array_equal(np.sort(ids, axis=1), np.broadcast_to(np.arange(ids.shape[1]), ids.shape))
    if counted or ids.max(initial=0) < SMALL_VOCABULARY:
        return None
    return real_by_zeros(ids != 0)


def real_by_zeros(filled):
    """The real positions, where what is not filled looks like padding.

    Padding stands at the end of rows, or at their start if rows start at different places. Where
    something unfilled has filled positions on both sides, zero is a value like any other, and a
    row without anything filled is taken as it is.

    Parameters
    ----------
    filled : bool array (B, S)

    Returns
    -------
    bool array (B, S) or None
        None if nothing looks like padding.

    Examples
    --------
    >>> real_by_zeros(np.array([[4, 2, 0], [5, 1, 3]]) != 0)
    array([[ True,  True, False],
           [ True,  True,  True]])
    >>> real_by_zeros(np.array([[4, 0, 2, 0]]) != 0) is None
    True
    """
    if filled.size == 0:
        return None
    some = filled.any(axis=1)
    place = np.arange(filled.shape[1])
    first = np.where(some, filled.argmax(axis=1), 0)[:, None]
    last = np.where(some, filled.shape[1] - 1 - filled[:, ::-1].argmax(axis=1), len(place) - 1)[:, None]
    inside = (place >= first) & (place <= last) & some[:, None]
    if (inside & ~filled).any():
        return None
    starts = first[some]
    real = place <= last
    if len(starts) and (starts != starts[0]).any():
        real = real & (place >= first)
    return None if real.all() else real


def _is_mask(name, array):
    if array.ndim != 2 or array.shape[1] < 2:
        return False
    return array.dtype == bool or ("mask" in name.lower() and np.isin(array, (0, 1)).all())


def _mask_for(name, array, masks, inputs):
    """The mask among the inputs that speaks of this one: of its length, and with its name if masks have names."""
    fitting = [mask for mask in masks if masks[mask].shape == array.shape[:2]]
    for mask in fitting:
        whose = WORDS_FOR_MASKS.sub("", mask.lower())
        if whose and whose in name.lower():
            return mask
    free = [mask for mask in fitting if not _speaks_of_another(mask, name, inputs)]
    return free[0] if free else None


def _speaks_of_another(mask, name, inputs):
    whose = WORDS_FOR_MASKS.sub("", mask.lower())
    return bool(whose) and any(whose in other.lower() for other in inputs if other not in (mask, name))
