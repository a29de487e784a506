"""The batch a user hands over, brought to the structure and dtypes a model takes, or refused in one sentence."""

import keras
import numpy as np

from keras_attn_xai.capture import seams
from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.errors import ShapeError


def as_inputs(model, x):
    """The batch as tensors in the structure the model is called with.

    Parameters
    ----------
    model : keras.Model
    x : array, or list or dict of arrays

    Returns
    -------
    structure of tensors
    dict of str to tensor
        The same tensors by name: the model's own names where it has them, else the keys of ``x``.

    Raises
    ------
    ShapeError
        Another number of inputs than the model has, or one with too few or too many axes.
    """
    expected = symbolic_inputs(model)
    if expected is None:
        inputs = keras.tree.map_structure(_tensor, x)
        named = {_path(path) or "input": leaf for path, leaf in keras.tree.flatten_with_path(inputs)}
    else:
        flat = _in_order(model, expected, x)
        wanted = keras.tree.flatten(expected)
        tensors = [_tensor(one, want.dtype) for one, want in zip(flat, wanted, strict=True)]
        named = {want.name: tensor for want, tensor in zip(wanted, tensors, strict=True)}
        inputs = keras.tree.pack_sequence_as(expected, tensors)
    return inputs, named


def symbolic_inputs(model):
    """The inputs of a graph in the structure it is called with, or None where Keras does not know them."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.built and hasattr(model, "inputs") else None
    if not seams.is_functional(model):
        return None
    inputs = model.input
    return inputs[0] if isinstance(inputs, (list, tuple)) and len(inputs) == 1 else inputs


def zero_is_padding(model, count):
    """Of which flat inputs the id 0 is padding.

    Parameters
    ----------
    model : keras.Model
    count : int
        How many inputs there are.

    Returns
    -------
    list of bool
        True where an Embedding with ``mask_zero`` reads the input; of all, where some are read that Keras does not
        connect with an input.
    """
    readers = [layer for layer in all_layers(model) if getattr(layer, "mask_zero", False)]
    inputs = keras.tree.flatten(symbolic_inputs(model)) if symbolic_inputs(model) is not None else []
    read = [{id(one) for one in seams.inputs_of_calls(layer)} for layer in readers]  # in other models too
    own = [id(one) for one in inputs]
    if len(inputs) != count or not all(some.intersection(own) for some in read):
        return [bool(readers)] * count
    return [any(one in some for some in read) for one in own]


def _in_order(model, expected, x):
    """The arrays in the order of the model's inputs."""
    wanted = keras.tree.flatten(expected)
    names = [one.name for one in wanted]
    takes = ", ".join(f"'{one.name}' {tuple(one.shape)}" for one in wanted)
    if isinstance(x, dict):
        missing = [name for name in names if name not in x]
        if missing or len(x) != len(names):
            raise ShapeError(f"The model '{model.name}' takes {takes}; received {_shapes(x)}.")
        flat = [x[name] for name in names]
    elif isinstance(x, (list, tuple)) and len(names) != 1:
        flat = keras.tree.flatten(x)
    else:  # rows in a list are an array too
        flat = [x[0] if isinstance(x, (list, tuple)) and len(x) == 1 and np.ndim(x[0]) >= len(wanted[0].shape) else x]
    if len(flat) != len(names) or any(not _fits(one, want) for one, want in zip(flat, wanted, strict=True)):
        raise ShapeError(f"The model '{model.name}' takes {takes}; received {_shapes(x)}.")
    return flat


def _fits(array, want):
    shape = np.shape(array)
    return len(shape) == len(want.shape) and all(
        size is None or size == given for size, given in zip(want.shape, shape, strict=True)
    )


def _shapes(x):
    if isinstance(x, dict):
        return ", ".join(f"'{name}' {np.shape(array)}" for name, array in x.items())
    arrays = keras.tree.flatten(x) if isinstance(x, (list, tuple)) and np.ndim(x[0]) else [x]
    return " and ".join(str(np.shape(array)) for array in arrays)


def _tensor(array, dtype=None):
    """A tensor; without a dtype asked for, fractions come in Keras' own."""
    array = array if keras.ops.is_tensor(array) else np.asarray(array)
    if dtype is None and "float" in keras.backend.standardize_dtype(array.dtype):
        dtype = keras.config.floatx()
    return keras.ops.convert_to_tensor(array, dtype=dtype)


def _path(path):
    return "/".join(map(str, path))
