"""The rows of a user's data, in the structure the model takes, cut into batches; rows may differ in length."""

from collections import defaultdict

import keras
import numpy as np

from keras_attn_xai.capture.model_inputs import symbolic_inputs
from keras_attn_xai.errors import ShapeError


class Rows:
    """Rows of one or several inputs.

    Parameters
    ----------
    model : keras.Model
    x : array, list of rows of several lengths, or a list, tuple or dict of these, one per input
        As the model takes it.

    Raises
    ------
    ShapeError
        Inputs that are not those of the model, or with different numbers of rows.
    """

    def __init__(self, model, x):
        symbolic = symbolic_inputs(model)
        wanted = None if symbolic is None else keras.tree.flatten(symbolic)
        self._structure, leaves = _leaves(model, x, wanted)
        self.inputs = [_rows_of(leaf) for leaf in leaves]
        counts = sorted({len(rows) for rows in self.inputs})
        if len(counts) != 1 or counts[0] == 0:
            raise ShapeError(f"Expected inputs with one number of rows, at least 1; received {counts}.")
        self.specs = [_spec(rows, None if wanted is None else one) for rows, one in _paired(self.inputs, wanted)]

    def __len__(self):
        return len(self.inputs[0])

    @property
    def input_specs(self):
        """Specs in the structure of the inputs; sizes that differ between rows are None."""
        return self._packed(self.specs)

    def groups(self):
        """Numbers of the rows that have the same shapes, the longest rows first."""
        if all(isinstance(rows, np.ndarray) for rows in self.inputs):
            return [np.arange(len(self))]
        found = defaultdict(list)
        for row in range(len(self)):
            found[tuple(rows[row].shape for rows in self.inputs)].append(row)
        return [np.array(found[shapes]) for shapes in sorted(found, key=_sizes, reverse=True)]

    def take(self, numbers):
        """The rows of these numbers, in the structure of the inputs."""
        return self._packed(
            [
                np.asarray(
                    rows[numbers] if isinstance(rows, np.ndarray) else np.stack([rows[row] for row in numbers]),
                    dtype=spec.dtype,
                )
                for rows, spec in zip(self.inputs, self.specs, strict=True)
            ]
        )

    def _packed(self, leaves):
        return keras.tree.pack_sequence_as(self._structure, leaves)


def _leaves(model, x, wanted):
    """The structure of the inputs and the data of each, in the structure's order."""
    if isinstance(x, dict):
        return _leaves_by_name(model, x, wanted)
    several = isinstance(x, (list, tuple)) and len(x) > 0 and _are_inputs(x, wanted)
    if wanted is not None and len(wanted) != (len(x) if several else 1):
        raise ShapeError(
            f"The model '{model.name}' takes {len(wanted)} inputs, {_names(wanted)}; received "
            f"{len(x) if several else 1}."
        )
    leaves = list(x) if several else [x]
    if wanted is not None:
        return symbolic_inputs(model), leaves
    return ([0] * len(leaves) if several else 0), leaves


def _leaves_by_name(model, x, wanted):
    structure = dict.fromkeys(sorted(x), 0)
    if wanted is not None:
        names = [one.name for one in wanted]
        own = symbolic_inputs(model)
        keys = list(own) if isinstance(own, dict) else names
        if set(x) != set(keys):
            raise ShapeError(f"The model '{model.name}' takes the inputs {', '.join(keys)}; received {', '.join(x)}.")
        structure = own
        if not isinstance(own, dict):
            return structure, [x[name] for name in names]
    return structure, [x[name] for name in sorted(x)]


def _are_inputs(x, wanted):
    """Whether a list is one of inputs, each with its rows, rather than of rows."""
    if wanted is not None and len(wanted) == 1:
        return len(x) == 1 and np.ndim(x[0]) == len(wanted[0].shape)
    return wanted is not None or isinstance(x, tuple) or all(len(getattr(one, "shape", ())) > 1 for one in x)


def _names(wanted):
    return ", ".join(f"'{one.name}' {tuple(one.shape)}" for one in wanted)


def _rows_of(leaf):
    """An array, or a list of arrays where rows differ."""
    if hasattr(leaf, "nested_row_splits") or (isinstance(leaf, np.ndarray) and leaf.dtype == object):
        leaf = [np.asarray(row) for row in leaf]  # a RaggedTensor, or an array of arrays
    if isinstance(leaf, (list, tuple)):
        rows = [np.asarray(row) for row in leaf]
        same = len({row.shape for row in rows}) == 1
        return np.stack(rows) if same else rows
    return np.asarray(leaf)


def _paired(inputs, wanted):
    return zip(inputs, wanted if wanted is not None else [None] * len(inputs), strict=True)


def _spec(rows, wanted):
    """What the model is given: sizes the model leaves open, or in which rows differ, are None."""
    shapes = {row.shape for row in rows} if isinstance(rows, list) else {rows.shape[1:]}
    ranks = sorted({len(shape) for shape in shapes})
    expected = None if wanted is None else len(wanted.shape) - 1
    if len(ranks) != 1 or expected not in (None, ranks[0]):
        name = "The input" if wanted is None else f"'{wanted.name}' {tuple(wanted.shape)}"
        raise ShapeError(f"{name} must have rows of one rank, {expected or 'any'}; received rows of ranks {ranks}.")
    sizes = [one.pop() if len(one) == 1 else None for one in (set(axis) for axis in zip(*shapes, strict=True))]
    if wanted is None:
        return keras.InputSpec(shape=(None, *sizes), dtype=_dtype(rows))
    for shape in shapes:
        if not all(want in (None, got) for want, got in zip(wanted.shape[1:], shape, strict=True)):
            raise ShapeError(f"'{wanted.name}' takes {tuple(wanted.shape)}; received a row of shape {shape}.")
    return keras.InputSpec(shape=(None, *wanted.shape[1:]), dtype=keras.backend.standardize_dtype(wanted.dtype))


def _dtype(rows):
    """Of a subclassed model's input: what Keras makes of NumPy's."""
    dtype = rows[0].dtype
    return keras.backend.floatx() if dtype.kind == "f" else {"int64": "int32"}.get(dtype.name, dtype.name)


def _sizes(shapes):
    return [size for shape in shapes for size in shape]
