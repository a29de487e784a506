"""Attention of many rows as records: in batches, within a memory limit, rows of several lengths."""

from functools import partial

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from keras_attn_xai.capture.compiled import compiled
from keras_attn_xai.capture.model_inputs import zero_is_padding
from keras_attn_xai.capture.record import require_same_graph, run
from keras_attn_xai.capture.rows import Rows
from keras_attn_xai.capture.selection import INDEX, PREFIX, VALUE, select
from keras_attn_xai.capture.view import opened
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.records import AttentionMap

GRADIENT, KEYS, QUERIES = "attention_gradient/", "keys/", "queries/"
FIELDS = {
    PREFIX: "weights",
    INDEX: "indices",
    VALUE: "values",
    GRADIENT: "gradients",
    KEYS: "mask",
    QUERIES: "query_mask",
}


def capture_attention(
    model, x, *, batch_size=32, layers=None, heads=None, top_k=None, values=False, memory_limit=2**32, progress=None
):
    """The attention of rows, one record per call.

    Parameters
    ----------
    model : keras.Model
        As `expose_attention` takes it; also what `intervene` returns. It is not changed.
    x : array, list of rows, or a list, tuple or dict of these, one per input
        As the model takes it. Rows of several lengths come as a list of arrays; each is run without padding.
    batch_size : int, default 32
        Most rows given to the model at once; fewer where their maps would take more than a quarter of the limit.
    layers, heads, top_k, values
        As in `expose_attention`.
    memory_limit : int, default 2**32
        Bytes the result may take.
    progress : bool, optional
        Show a bar (on standard error); by default only when the work takes more than a second.

    Returns
    -------
    tuple of AttentionMap
        In the order of the calls. Keys and queries that a mask of the model removed, that are padding ids under
        ``mask_zero``, or lie behind the end of a shorter row, are False in ``mask`` and ``query_mask``. Labels are the
        token ids of an input with as many positions, else the positions.

    Raises
    ------
    ArgumentError
        A result above ``memory_limit``: the message says how much it would take. Options that cannot be meant.
    ShapeError
        Data the model does not take.
    ModelError
        As `expose_attention`.

    Notes
    -----
    The model is traced once and the trace kept while the model lives, so that asking again is cheap. The result is
    written batch by batch into the arrays that are returned.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import capture_attention
    >>> from keras_attn_xai.layers import LuongAttention
    >>> model = keras.Sequential([keras.Input((None, 3)), LuongAttention(return_weights=False, name="luong")])
    >>> short, long = np.ones((2, 3), "float32"), np.ones((4, 3), "float32")
    >>> (seen,) = capture_attention(model, [short, long])
    >>> seen, seen.mask
    (AttentionMap('luong', weights (2, 1, 4, 4)), array([[ True,  True, False, False],
           [ True,  True,  True,  True]]))
    """
    selection = select(layers=layers, heads=heads, top_k=top_k, values=values)
    opened(model, "capture_attention")
    look = partial(_look, selection=selection)
    return maps_in_batches(
        model, x, look, repr(selection), batch_size=batch_size, memory_limit=memory_limit, progress=progress
    )


def maps_in_batches(model, x, look, question, *, batch_size, memory_limit, progress):
    """Records of what ``look`` brings out of the model, batch by batch.

    Parameters
    ----------
    model : keras.Model
    x : data, as `capture_attention` takes it
    look : callable
        ``look(model, inputs)`` gives a dict of tensors by prefixed call name; it must not hold the model.
    question : str
        Tells compiled functions apart.
    batch_size, memory_limit, progress
        As in `capture_attention`.

    Returns
    -------
    tuple of AttentionMap
    """
    for name, number in (("batch_size", batch_size), ("memory_limit", memory_limit)):
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
            raise ArgumentError(f"{name} must be a positive integer; received {number!r}.")
    rows = Rows(model, x)
    function = compiled(model, question, look, rows.input_specs)
    arrays: dict[str, np.ndarray] = {}
    bar = tqdm(total=len(rows), desc="attention", unit="row", disable=progress is False, delay=0 if progress else 1)
    with bar:
        for group in rows.groups():
            step, start = 1, 0  # one row first, which tells how much memory a row takes
            while start < len(group):
                numbers = group[start : start + step]
                seen = {
                    name: _row_by_row(name, ops.convert_to_numpy(part), len(numbers))
                    for name, part in function(rows.take(numbers)).items()
                }
                if not arrays:
                    arrays, most = _room_for(seen, len(rows), memory_limit)
                for name, part in seen.items():
                    arrays[name][(numbers, *(slice(size) for size in part.shape[1:]))] = part
                start, step = start + step, min(batch_size, most)
                bar.update(len(numbers))
    return _records(arrays, rows, model)


def _row_by_row(name, part, rows):
    """Attention over windows has more rows than the data: (B W, H, T, S) as (B, W H, T, S), each window a head."""
    if len(part) == rows:
        return part
    if part.ndim != 4 or len(part) % rows:
        raise ArgumentError(
            f"'{name.partition('/')[2]}' has {len(part)} rows for {rows} rows of data, so it is no attention of rows; "
            "leave it out with layers=."
        )
    return part.reshape(rows, -1, *part.shape[2:])


def format_bytes(number):
    """Bytes as people read them, ``1.50 GB``."""
    return f"{tqdm.format_sizeof(number)}B"


def _room_for(seen, rows, limit):
    """Empty arrays for all rows in the sizes of the first, which is the longest, and how many rows to take at once."""
    each = sum(part.nbytes for part in seen.values())
    if each * rows > limit:
        raise ArgumentError(
            f"The attention of {rows} rows takes {format_bytes(each * rows)}, and memory_limit is "
            f"{format_bytes(limit)}; choose layers=, heads= or top_k=, give fewer rows, or raise memory_limit."
        )
    arrays = {name: np.zeros((rows, *part.shape[1:]), part.dtype) for name, part in seen.items()}
    for name, array in arrays.items():
        if name.startswith(INDEX):  # behind the end of a shorter row, k keys all the same, without weight
            array[:] = np.arange(array.shape[-1])
    return arrays, max(1, limit // (4 * each))


def _look(model, inputs, *, selection):
    """What the selection asks for of a model, and the masks of each call."""
    shown: dict[str, object] = {}

    def hear(call, seen):
        if selection.wants(call):
            shown.update({name: at_least_single(part) for name, part in selection.shown(call, seen).items()})
            shown.update(masks_of(call, seen, with_size=selection.top_k is not None))

    outputs = run(model, inputs, hear, selection=selection, training=False)
    require_same_graph(outputs, shown)
    return shown


def at_least_single(tensor):
    """Half precision as float32, which NumPy and records know."""
    return ops.cast(tensor, "float32") if keras.backend.standardize_dtype(tensor.dtype).endswith("float16") else tensor


def masks_of(call, seen, *, with_size=False):
    """Which keys (B, S) and queries (B, T) of a call the model takes for real, where it says so.

    ``with_size`` gives keys their mask in any case: of the k largest weights nobody could tell S.
    """
    here = ops.ones_like(seen.weights[:, 0, 0, :1], dtype="bool")  # (B, 1): a mask may be the same for all rows
    masks = {}
    if seen.allowed is not None:
        masks[KEYS + call] = ops.logical_and(ops.any(seen.allowed, axis=(1, 2)), here)
    elif with_size:
        size = ops.shape(seen.weights)[3] if seen.indices is None else seen.positions
        masks[KEYS + call] = ops.logical_and(ops.ones((1, size), dtype="bool"), here)
    if seen.query_allowed is not None:
        masks[QUERIES + call] = ops.logical_and(seen.query_allowed, here)
    return masks


def _records(arrays, rows, model):
    found: dict[str, dict] = {}
    for name, array in arrays.items():
        prefix = next(one for one in FIELDS if name.startswith(one))
        array.setflags(write=False)
        found.setdefault(name.removeprefix(prefix), {})[FIELDS[prefix]] = array
    sides = Sides(rows, model)
    return tuple(_record(call, parts, sides) for call, parts in found.items())


def _record(call, parts, sides):
    queries, keys = parts["weights"].shape[2:]
    if "indices" in parts:
        keys = parts["mask"].shape[1]
    query_labels, query_mask = sides.of(queries)
    key_labels, mask = sides.of(keys)
    parts["query_mask"] = parts.get("query_mask", True) & query_mask
    parts["mask"] = parts.get("mask", True) & mask
    return AttentionMap(name=call, query_labels=query_labels, key_labels=key_labels, **parts)


class Sides:
    """Labels and masks for an axis of a map, from the inputs whose rows have as many positions."""

    def __init__(self, rows, model):
        self._count = len(rows)
        pads = zero_is_padding(model, len(rows.inputs))
        self._inputs = [_side(*one) for one in zip(rows.inputs, pads, strict=True)]
        self._made: dict[int, tuple] = {}

    def of(self, size):
        """Labels (B, size) and mask (B, size)."""
        if size not in self._made:
            fitting = [side for side in self._inputs if side is not None and side[1].shape[1] == size]
            one = len(fitting) == 1 or (fitting and all((side[1] == fitting[0][1]).all() for side in fitting))
            numbers = (tuple(map(str, range(size))),) * self._count
            self._made[size] = fitting[0] if one else (numbers, np.ones((self._count, size), bool))
        return self._made[size]


def _side(rows, pads):
    """Labels and mask of one input's rows: token ids, or positions of anything with an axis for them."""
    shape = (len(rows), max(row.shape[0] if row.ndim else 0 for row in rows))
    if not shape[1]:
        return None
    mask = np.zeros(shape, bool)
    for number, row in enumerate(rows):
        mask[number, : len(row)] = True
    ids = all(row.ndim == 1 and row.dtype.kind in "iu" for row in rows)
    if ids and pads:
        for number, row in enumerate(rows):
            mask[number, : len(row)] &= row != 0
    positions = tuple(map(str, range(shape[1])))
    labels = tuple(
        tuple(str(row[place]) if ids else positions[place] for place in range(shape[1]) if place < len(row))
        + ("",) * (shape[1] - len(row))
        for row in rows
    )
    if ids and pads:
        labels = tuple(
            tuple(label if real else "" for label, real in zip(*pair, strict=True))
            for pair in zip(labels, mask, strict=True)
        )
    return labels, mask
