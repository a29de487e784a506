"""A Keras model as the drop-in explainers see it: data read in, one output as it is, padding found."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.capture.model_inputs import symbolic_inputs
from keras_attn_xai.capture.rows import Rows
from keras_attn_xai.capture.view import capture_of, refuse_unbuilt_sequential
from keras_attn_xai.errors import ArgumentError, ModelError, ShapeError
from keras_attn_xai.explain.deep.rows import parts
from keras_attn_xai.explain.deep.traced import Traced, row_signature

ROWS_AT_ONCE = 256
TOLERANCE, HALF_TOLERANCE = 1e-4, 5e-2
HALF = ("float16", "bfloat16")


@dataclass(frozen=True)
class Data:
    """What a user handed over.

    Attributes
    ----------
    arrays : list of array (N, ...)
        In the order and dtypes of the model's inputs.
    names : list of str
        Of the inputs.
    columns : list
        Names of columns where an input was a table, else None.
    container : type
        Of what several inputs came in: list or dict; None for one input.
    """

    arrays: list
    names: list
    columns: list
    container: type | None

    def __len__(self):
        return len(self.arrays[0])

    def packed(self, leaves):
        """One thing per input, as the data came: alone, in a list, or in a dict by name."""
        if self.container is None:
            return leaves[0]
        return dict(zip(self.names, leaves, strict=True)) if self.container is dict else list(leaves)

    @property
    def feature_names(self):
        """Names of the cells of all inputs side by side: a table's columns, else the input and the place in it."""
        found: list[str] = []
        for name, columns, array in zip(self.names, self.columns, self.arrays, strict=True):
            places = [", ".join(map(str, one)) for one in np.ndindex(array.shape[1:])]
            found += columns or [f"{name}[{place}]" for place in places]
        return found


class OneOutput:
    """A model with one output (N, C) or (N,), as functions of flat arrays.

    Parameters
    ----------
    model : keras.Model or pair
        Or Keras tensors (inputs, output).
    asker : str
        The public class, for messages.

    Raises
    ------
    ModelError
        No Keras model.
    """

    def __init__(self, model, asker):
        self.asker = asker
        self.model = _as_model(model, asker)
        self.layers = all_layers(self.model)
        self._structure = self._padded = None

    @property
    def tolerance(self):
        """How far, relative to the largest output, a traced run may be from the model itself."""
        return HALF_TOLERANCE if any(one.compute_dtype in HALF for one in self.layers) else TOLERANCE

    def read(self, given, name):
        """`Data` for the model.

        Parameters
        ----------
        given : array, pandas.DataFrame, or a list or dict of these, one per input
        name : str
            Of the argument, for messages.

        Raises
        ------
        ShapeError, ArgumentError
            Data the model does not take.
        """
        names, leaves, container = self._leaves(given, name)
        wanted = self._wanted
        specs = wanted if len(wanted) == len(leaves) else [None] * len(leaves)
        arrays = [_numbers(leaf, spec, name) for leaf, spec in zip(leaves, specs, strict=True)]
        rows = Rows(self.model, dict(zip(names, arrays, strict=True)) if container is dict else _alone(arrays))
        structure = rows.input_specs
        self._structure = structure if self._structure is None else self._structure
        if keras.tree.map_structure(_nothing, structure) != keras.tree.map_structure(_nothing, self._structure):
            raise ShapeError(f"{name} must have the structure of the background: an array, or the same list or dict.")
        flat = keras.tree.flatten(rows.take(np.arange(len(rows))))
        columns = [list(map(str, leaf.columns)) if _is_table(leaf) else None for leaf in leaves]
        return Data(flat, names, columns, container)

    def __call__(self, arrays):
        """The model's own outputs, float64 (N, C), not traced."""
        some = [
            np.asarray(tf.cast(self._output([one[few] for one in arrays]), tf.float64))
            for few in parts(len(arrays[0]), ROWS_AT_ONCE)
        ]
        return np.concatenate(some)

    def chosen(self, inputs):
        """One number per row, (N,), for flat inputs whose last is the number of an output, int (N,); to be traced."""
        *rows, index = inputs
        return tf.gather(tf.cast(self._output(rows), tf.float32), index, batch_dims=1)

    def padding(self, arrays):
        """True where a row is padding, one array (N, ...) per input, its axes as long as the input's or 1.

        Ids 0 that an Embedding with ``mask_zero`` reads, and steps that a Masking layer right behind an
        input leaves out.
        """
        found = [np.zeros((len(one), *[1] * (one.ndim - 1)), bool) for one in arrays]
        if self._padded is None:
            self._padded = self._padded_inputs(arrays)
        for i, value in self._padded:
            found[i] = arrays[i] == 0 if value is None else (arrays[i] == value).all(-1, keepdims=True)
        return found

    @property
    def _wanted(self):
        """The inputs Keras knows of, flat."""
        symbolic = symbolic_inputs(self.model)
        return [] if symbolic is None else keras.tree.flatten(symbolic)

    def _leaves(self, given, name):
        """Names of the inputs, what was given for each, and what it came in."""
        wanted = self._wanted
        if isinstance(given, dict):
            by_key = not wanted or isinstance(symbolic_inputs(self.model), dict)
            names = sorted(given) if by_key else [one.name for one in wanted]
            if set(names) != set(given):
                raise ShapeError(f"{name} needs the inputs {', '.join(names)}; received {', '.join(given)}.")
            return names, [given[one] for one in names], dict
        if isinstance(given, (list, tuple)):
            if len(given) == 1 and len(wanted) < 2 and np.ndim(given[0]) > 1:
                return ["input"], [given[0]], None  # as shap takes the only input too
            if len(wanted) > 1 or (not wanted and _are_tables(given)):
                known = [one.name for one in wanted]
                made_up = [f"input_{i}" for i in range(len(given))]
                return (known if len(known) == len(given) else made_up), list(given), list
        return ["input"], [given], None

    def _output(self, arrays):
        """The one output, (N, C)."""
        inputs = keras.tree.pack_sequence_as(self._structure, [tf.convert_to_tensor(one) for one in arrays])
        outputs = keras.tree.flatten(self.model(inputs, training=False))
        if len(outputs) != 1:
            raise ModelError(
                f"{self.asker} explains one output; the model '{self.model.name}' has {len(outputs)}. Pass "
                "(model.inputs, model.outputs[0]), or use AttentionExplainer(..., target=(output name, class))."
            )
        (output,) = outputs
        if len(output.shape) not in (1, 2) or not output.dtype.is_floating:
            raise ModelError(
                f"{self.asker} explains an output of numbers (N, C) or (N,); the model '{self.model.name}' gives "
                f"{tuple(output.shape)}, {output.dtype.name}. Name one step with AttentionExplainer(..., "
                "target=(output name, (step, class))), or pass (model.inputs, a tensor of shape (N, C))."
            )
        return output if len(output.shape) == 2 else output[:, None]

    def _padded_inputs(self, arrays):
        """Pairs (number of an input, value of its masked steps); the value None is id 0."""
        found = [
            (i, layer.mask_value)
            for layer in self.layers
            if isinstance(layer, keras.layers.Masking)
            for i, one in enumerate(self._wanted)
            if getattr(layer, "input", None) is one
        ]
        readers = [one for one in self.layers if isinstance(one, keras.layers.Embedding) and one.mask_zero]
        if not readers:
            return found
        if len(arrays) == 1:
            return [*found, (0, None)]
        inputs = [*arrays, np.zeros(len(arrays[0]), "int32")]
        met = Traced(self.chosen, inputs, row_signature(inputs), readers).met
        return [*found, *((i, None) for i in sorted({one.input for one in met}))]


def _as_model(given, asker):
    """The model, or one made of Keras tensors (inputs, output)."""
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"{asker} needs the TensorFlow backend of Keras; '{keras.backend.backend()}' is running. "
            "Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    if isinstance(given, (list, tuple)) and len(given) == 2 and _are_symbolic(given):
        return keras.Model(*given)
    if not isinstance(given, keras.Model):
        cure = f"Models of PyTorch are explained by shap.{asker}." if hasattr(given, "named_parameters") else ""
        raise ModelError(
            f"{asker} takes a keras.Model, or a pair of Keras tensors (inputs, output); received "
            f"{type(given).__name__}. {cure}".strip()
        )
    capture = capture_of(given)
    model = capture.model if capture is not None and not capture.changes else given
    refuse_unbuilt_sequential(model)
    return model


def _are_symbolic(pair):
    return all(isinstance(one, keras.KerasTensor) for one in keras.tree.flatten(list(pair)))


def _nothing(leaf):
    return 0


def _alone(arrays):
    """The array itself where there is one, else all."""
    return arrays[0] if len(arrays) == 1 else arrays


def _is_table(leaf):
    return hasattr(leaf, "columns") and hasattr(leaf, "to_numpy")


def _are_tables(given):
    """Whether a list for a model that Keras knows no inputs of is one of inputs."""
    return len(given) > 0 and all(len(getattr(one, "shape", ())) > 1 for one in given)


def _numbers(leaf, wanted, name):
    """An array of finite numbers (N, ...) of the rank the model takes."""
    try:
        array = np.asarray(leaf)
        array = array.astype(float) if array.dtype == object else array  # a table of several dtypes
    except (ValueError, TypeError):
        array = np.empty(0, object)
    of = "" if wanted is None else f" for '{wanted.name}' {tuple(wanted.shape)}"
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise ArgumentError(
            f"{name} must be numbers in rows of one length{of}; received {type(leaf).__name__}, dtype {array.dtype}. "
            "Encode words and categories as numbers, and pad rows to one length."
        )
    if wanted is not None and array.ndim == 1 and tuple(wanted.shape)[1:] == (1,):
        array = array[:, None]
    if array.ndim == 0 or 0 in array.shape:
        raise ShapeError(f"{name} needs at least one row{of}; received shape {array.shape}. Pass some rows of data.")
    if wanted is not None and array.ndim != len(wanted.shape):
        raise ShapeError(
            f"{name} has {array.ndim} axes where the model takes {len(wanted.shape)}{of}; received shape "
            f"{array.shape}. If that is one row, give it a first axis, x[None]."
        )
    if wanted is not None and any(
        n not in (None, got) for n, got in zip(wanted.shape[1:], array.shape[1:], strict=True)
    ):
        raise ShapeError(
            f"{name} needs rows of the size the model was made for{of}; received shape {array.shape}. Choose, cut or "
            "pad them to it."
        )
    finite = np.isfinite(array.astype(np.float64))
    if not finite.all():
        raise ArgumentError(
            f"{name} must be finite{of}; received {int((~finite).sum())} NaN or infinite numbers in shape "
            f"{array.shape}. Fill them in, or leave those rows out."
        )
    if wanted is not None and array.dtype.kind == "f" and "int" in wanted.dtype and (array % 1).any():
        raise ArgumentError(f"{name} must be whole numbers{of}; received fractions, {array.dtype}. Pass ids.")
    return array
