"""What stands in for an absent player: an id, a number, or rows that are averaged over."""

import numpy as np

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.text import token_id


class Background:
    """A user's ``background=``, checked as far as it can be before rows are seen.

    Parameters
    ----------
    given : int, float, str, array (R, ...), or a list, tuple or dict of these, one per input
    names : list of str or None
        Of the model's inputs, where Keras knows them.
    are_ids : list of bool
        Which of these are integers of shape (B, S).
    mask_zero : list of bool, optional
        Of which of these the id 0 is masked.
    tokenizer : callable or object, optional
    """

    def __init__(self, given, names, are_ids, *, mask_zero=(), tokenizer=None):
        self._mask_zero = dict(zip(names or (), mask_zero, strict=False))
        self._any_masks = any(mask_zero)  # of inputs Keras knows no names of
        self._tokenizer = tokenizer
        self._given = given
        if names is not None:
            for name, part, is_ids in zip(names, self._by_input(names), are_ids, strict=True):
                if part is not None or len(names) == 1:
                    self._array(name, part, is_ids)
        elif not isinstance(given, (dict, list, tuple)):
            self._array("input", given, is_ids=False)

    def rows(self, sides, playing):
        """Background rows for each input, R of them for every one.

        Parameters
        ----------
        sides : list of Side
        playing : list of bool
            Which inputs have players; the others need no background.

        Returns
        -------
        list of arrays (R, ...)

        Raises
        ------
        ArgumentError, ShapeError
            Background that does not fit the rows.
        """
        parts = self._by_input([side.name for side in sides])
        self._require_one_meaning([side for side, plays in zip(sides, playing, strict=True) if plays])
        found = [
            self._rows_of(side, part) if plays else np.zeros((1, *side.array.shape[1:]))
            for side, part, plays in zip(sides, parts, playing, strict=True)
        ]
        counts = {len(one) for one in found} - {1}
        if len(counts) > 1:
            raise ShapeError(
                f"The inputs need one number of background rows; received {', '.join(map(str, sorted(counts)))}."
            )
        most = max(counts, default=1)
        return [np.broadcast_to(one, (most, *one.shape[1:])) for one in found]

    def describe(self, sides):
        """``"token id 1"`` or ``"3 rows"``; of several inputs each with its name."""
        parts = self._by_input([side.name for side in sides])
        said = {side.name: self._described(side, part) for side, part in zip(sides, parts, strict=True)}
        said = {name: one for name, one in said.items() if one}
        if len(set(said.values())) == 1:
            return next(iter(said.values()))
        return "; ".join(f"{name}: {one}" for name, one in said.items())

    def _by_input(self, names):
        """One part per input, None where there is none."""
        given = self._given
        if isinstance(given, dict):
            unknown = [name for name in given if name not in names]
            if unknown:
                raise ArgumentError(f"background names the input '{unknown[0]}'; the inputs are {', '.join(names)}.")
            return [given.get(name) for name in names]
        if len(names) == 1:
            one = isinstance(given, (list, tuple)) and len(given) == 1 and np.ndim(given[0]) > 1
            return [given[0] if one else given]
        if isinstance(given, (list, tuple)) and len(given) == len(names):
            return list(given)
        if _is_one(given):
            return [given] * len(names)
        raise ArgumentError(
            f"background must have a part for each of {len(names)} inputs ({', '.join(names)}), in a list or a dict; "
            f"received {type(given).__name__}."
        )

    def _array(self, name, part, is_ids):
        if isinstance(part, str) and self._tokenizer is not None:
            part = token_id(self._tokenizer, part)
        try:
            array = np.array(part)
        except ValueError:
            array = np.array(None)
        if is_ids:
            return _checked_ids(array, self._mask_zero.get(name, self._any_masks))
        if array.dtype.kind not in "iuf" or array.size == 0:
            raise ArgumentError(
                f"background for '{name}' must be a number or rows of numbers, at least one; received shape "
                f"{array.shape}, dtype {array.dtype}."
            )
        if not np.isfinite(array).all():
            raise ArgumentError(f"background for '{name}' must be finite; received NaN or infinity in {array.shape}.")
        return array

    def _rows_of(self, side, part):
        if part is None:
            raise ArgumentError(f"background has no part for the input '{side.name}', whose numbers are players.")
        row = side.array.shape[1:]
        array = self._array(side.name, part, side.is_ids and side.array.ndim == 2)
        if side.array.dtype.kind in "iu" and array.dtype.kind == "f" and side.is_ids:
            raise ArgumentError(f"background for '{side.name}' must be integers, as the ids are; it is {array.dtype}.")
        if array.ndim == 0:
            return np.full((1, *row), array)
        if side.is_ids and array.ndim == 2 and len(row) == 1 and array.shape[1:] != row:
            raise ShapeError(f"The background has {array.shape[1]} positions, the rows have {row[0]}; pad both alike.")
        if array.shape[1:] != row:
            cure = "give it a first axis, background[None]" if array.shape == row else "it must be rows of that shape"
            raise ShapeError(
                f"The background for '{side.name}' has shape {array.shape}, and a row has shape {row}; {cure}."
            )
        return array

    def _require_one_meaning(self, sides):
        if _is_one(self._given) and len({side.is_ids for side in sides}) > 1:
            raise ArgumentError(
                f"background={self._given!r} cannot stand for ids and for other numbers at once; give each input its "
                "own, in a list or a dict."
            )

    def _described(self, side, part):
        if part is None:
            return ""
        array = self._array(side.name, part, is_ids=False)
        if array.ndim:
            return f"{len(array)} rows"
        return f"token id {array}" if side.is_ids else str(array)


def check_background(sides, background, *, playing=None, pad_id=None, base=None, output=None):
    """What is doubtful about a background for some rows, to be said in a `BackgroundWarning`. Arrays alone.

    Parameters
    ----------
    sides : list of Side
        The rows, one per input.
    background : list of arrays (R, ...)
        What `Background.rows` returned for them.
    playing : list of bool, optional
        Which inputs have players; by default each that is not bool.
    pad_id : int, optional
        The id of padding; by default what the rows are padded with, if they are.
    base : float array (R,) or (B, R), optional
        The target's value of each background row, where a row's target may be its own.
    output : float array (B,), optional
        The target's value of each row.

    Returns
    -------
    tuple of str
        A sentence with its cure for each: rows that equal a background row; background rows of ids with another number
        of real positions than every row has; a base known too badly for the effects: its standard error
        ``std(base) / sqrt(R)`` is more than a quarter of the median ``|output - base|``. Empty where nothing is found.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.background import check_background
    >>> from keras_attn_xai.explain.players import Side
    >>> row = Side("x", np.array([[3.0, 4.0]]), np.ones(1, bool))
    >>> check_background([row], [np.zeros((1, 2))])
    ()
    >>> len(check_background([row], [np.array([[3.0, 4.0], [0.0, 1.0]])]))
    1
    """
    playing = [side.array.dtype.kind != "b" for side in sides] if playing is None else playing
    pairs = [one for one, plays in zip(zip(sides, background, strict=True), playing, strict=True) if plays]
    found = [_said_of_equal_rows(pairs), *(_said_of_lengths(side, rows, pad_id) for side, rows in pairs)]
    if base is not None and output is not None:
        found.append(_said_of_spread(np.asarray(base, float), np.asarray(output, float)))
    return tuple(sentence for sentence in found if sentence)


def _said_of_equal_rows(pairs):
    if not pairs:
        return ""
    same = np.all([_equal(side, rows) for side, rows in pairs], axis=0) & _anything_real(pairs)[:, None]
    equal = np.flatnonzero(same.any(1))
    if not len(equal):
        return ""
    which = ", ".join(map(str, equal[:5])) + (", ..." if len(equal) > 5 else "")
    count, whole = len(equal), same.shape[1]
    return (
        f"{count} of {len(same)} rows ({which}) {'equals' if count == 1 else 'equal'} a row of the background: against "
        f"it all their values are 0{'' if whole == 1 else f', and it is 1 of {whole}'}. Take background rows that are "
        "not explained, say choose_background of the training data."
    )


def _equal(side, background):
    """Whether a row and a background row agree in all that can play: bool (B, R)."""
    rows, others = (array.reshape(len(array), -1) for array in (side.array, background))
    if "f" in (rows.dtype.kind, others.dtype.kind):
        rows, others = rows.astype(np.float32), others.astype(np.float32)  # as the model is given both
    real = side.real.reshape(side.real.shape + (1,) * (side.array.ndim - side.real.ndim))
    padding = ~np.broadcast_to(real, side.array.shape).reshape(rows.shape)
    some = slice(None, None, max(1, rows.shape[1] // 64))  # most pairs differ early
    same = ((rows[:, None, some] == others[None, :, some]) | padding[:, None, some]).all(-1)
    for row, other in np.argwhere(same):
        same[row, other] = ((rows[row] == others[other]) | padding[row]).all()
    return same


def _anything_real(pairs):
    return np.any([side.real.reshape(len(side.real), -1).any(1) for side, _ in pairs], axis=0)


def _said_of_lengths(side, background, pad_id):
    if not side.is_ids or side.array.ndim != 2 or len(background) < 2:
        return ""
    padding = np.unique(side.array[~side.real]) if pad_id is None else [pad_id]
    own, theirs = side.real.sum(1), (~np.isin(background, padding)).sum(1)
    others = theirs[~np.isin(theirs, own)]
    if not len(others):
        return ""
    return (
        f"{len(others)} of {len(background)} background rows of '{side.name}' have {_range(others)} real positions, "
        f"the rows have {_range(own)}: where the background is shorter an absent token becomes padding, where it is "
        "longer its end is never seen. Take background rows as long as the rows, or one token id."
    )


def _said_of_spread(base, output):
    rows = base.shape[-1] if base.ndim else 1
    if rows < 2 or not len(output):
        return ""
    error = np.median(base.std(axis=-1, ddof=1)) / np.sqrt(rows)
    effect = np.median(np.abs(output - base.mean(-1)))
    if error <= max(effect / 4, 1e-6 * np.abs(output).max()):  # below which it is rounding
        return ""
    wanted = f", choose_background(data, {int(np.ceil(rows * (4 * error / effect) ** 2))})" if effect > 0 else ""
    return (
        f"{rows} background rows are few: the base's standard error, {error:.2g}, is more than a quarter of what the "
        f"rows' values add up to, {effect:.2g} in the median. Take more rows{wanted}, or explain against one row."
    )


def _range(counts):
    least, most = counts.min(), counts.max()
    return str(least) if least == most else f"{least} to {most}"


def _is_one(given):
    """Whether it is one number or token, for all inputs alike."""
    return isinstance(given, (str, int, float, np.generic)) or getattr(given, "shape", None) == ()


def _checked_ids(array, mask_zero):
    if array.dtype.kind not in "iu" or array.ndim not in (0, 2) or array.size == 0:
        raise ArgumentError(
            "background must be one token id, or an integer array (rows, positions); received shape "
            f"{array.shape}, dtype {array.dtype}."
        )
    if array.min() < 0:
        raise ArgumentError(f"background must be token ids, which count from 0; received {array.min()}.")
    if array.ndim == 0 and array == 0 and mask_zero:
        raise ArgumentError(
            "background=0 would remove tokens, because an Embedding of the model masks id 0; use the id of the mask "
            "or unknown token."
        )
    return array
