"""What a user hands over to be explained, as one `Side` per input of the model."""

import keras
import numpy as np

from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.capture.model_inputs import symbolic_inputs, zero_is_padding
from keras_attn_xai.capture.rows import Rows
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.explain.players import Side
from keras_attn_xai.text import Tokens, tokenize


class InputReader:
    """Reads rows as the model takes them.

    Parameters
    ----------
    model : keras.Model
    tokenizer : callable or object, optional
    pad_id : int, optional
    """

    def __init__(self, model, tokenizer=None, pad_id=None):
        self.model = model
        self.tokenizer = tokenizer
        layers = all_layers(model)
        self._given_pad = pad_id
        self.pad_id = 0 if pad_id is None and any(getattr(layer, "mask_zero", False) for layer in layers) else pad_id
        self._has_embedding = any(isinstance(layer, keras.layers.Embedding) for layer in layers)
        self._masked_values = [layer.mask_value for layer in layers if isinstance(layer, keras.layers.Masking)]

    @property
    def wanted(self):
        """The inputs as Keras knows them, flat, or None."""
        symbolic = symbolic_inputs(self.model)
        return None if symbolic is None else keras.tree.flatten(symbolic)

    def read(self, x):
        """One `Side` per input, and the specs of the inputs in the model's structure.

        Parameters
        ----------
        x : array, texts, or a list, tuple or dict of these, one per input

        Returns
        -------
        list of Side
        nested keras.InputSpec

        Raises
        ------
        ShapeError, ArgumentError
            Data the model does not take.
        """
        x, wanted = self.of_the_only_input(x), self.wanted
        tokens: dict[str, Tokens] = {}
        several = isinstance(x, dict) or (len(wanted) > 1 if wanted is not None else _is_several(x))
        rows = Rows(self.model, self._parts(x, tokens) if several else self._one(x, tokens))
        names = self.names(rows.input_specs) if several else ["input"]
        pads = [self._pad_of(zero) for zero in zero_is_padding(self.model, len(names))]
        sides = [
            self._side(name, array, spec, pad_id, tokens.get(name))
            for name, array, spec, pad_id in zip(names, rows.inputs, rows.specs, pads, strict=True)
        ]
        return sides, rows.input_specs

    def _pad_of(self, zero_is_masked):
        return 0 if self._given_pad is None and zero_is_masked else self._given_pad

    def names(self, specs):
        """The name of each input: its key in a dict, else Keras' own, else its number."""
        paths = ["/".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(specs)]
        if isinstance(specs, dict) or self.wanted is None:
            return [f"input_{path}" if path.isdigit() else path or "input" for path in paths]
        return [one.name for one in self.wanted]

    @property
    def known_names(self):
        """The names of inputs that Keras knows, [] if it does not."""
        return [] if self.wanted is None else self.names(symbolic_inputs(self.model))

    def of_the_only_input(self, given):
        """What a dict holds for the one input of a model, by the input's own name; anything else as it is."""
        only = isinstance(given, dict) and len(self.known_names) == 1 and list(given) == self.known_names
        return given[self.known_names[0]] if only else given

    def _parts(self, x, tokens):
        """Data of several inputs, their texts as ids."""
        if not isinstance(x, (dict, list, tuple)):
            return x
        known = self.known_names
        own = known if len(known) == len(x) else [f"input_{i}" for i in range(len(x))]
        given = x if isinstance(x, dict) else dict(zip(own, x, strict=True))
        wanted = dict(zip(known, self.wanted or [], strict=True))
        found = {name: self._tokens_of(leaf, name, wanted.get(name), tokens) for name, leaf in given.items()}
        return found if isinstance(x, dict) else tuple(found.values())

    def _one(self, x, tokens):
        """Data of the only input as an array."""
        wanted = None if self.wanted is None else self.wanted[0]
        x = self._tokens_of(x, "input", wanted, tokens)
        if isinstance(x, (list, tuple)) and len(x) == 1 and wanted is not None and np.ndim(x[0]) == len(wanted.shape):
            x = x[0]
        try:
            x = np.asarray(x)
        except ValueError:
            raise ShapeError("Expected rows of one length; received several. Pad them, and say pad_id=.") from None
        _check_ids(x, wanted)
        if wanted is not None and x.ndim and x.ndim == len(wanted.shape) - 1 and x.dtype.kind in "biuf":
            raise ShapeError(
                f"The model takes rows {tuple(wanted.shape)}; received shape {x.shape}. If that is one row, give it a "
                "first axis, x[None]."
            )
        return x

    def _tokens_of(self, leaf, name, wanted, tokens):
        """Texts as ids, remembered with their pieces; anything else as it is."""
        is_text = isinstance(leaf, str) or (isinstance(leaf, (list, tuple)) and len(leaf) and isinstance(leaf[0], str))
        if not is_text and not (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "UO" and leaf.ndim == 1):
            return leaf
        if self.tokenizer is None:
            raise ArgumentError("Texts need a tokenizer: AttentionExplainer(..., tokenizer=...).")
        length = wanted.shape[1] if wanted is not None and len(wanted.shape) > 1 else None
        tokens[name] = tokenize(self.tokenizer, leaf, length=length, pad_id=self.pad_id or 0)
        return tokens[name].ids

    def _side(self, name, array, spec, pad_id, tokens):
        if isinstance(array, list):
            raise ShapeError(f"Expected rows of one length for '{name}'; received several. Pad them, and say pad_id=.")
        if tokens is not None:
            return Side(name, array, tokens.mask, tokens.pieces, tokens.word_ids)
        _check_numbers(name, array, spec)
        if not self._is_ids(array, spec):
            return Side(name, array, self._real_steps(array))
        if array.min() < 0:
            raise ArgumentError(f"Token ids count from 0; received {array.min()}.")
        real = np.ones(array.shape, bool) if pad_id is None else array != pad_id
        pieces = tuple(
            tuple(str(one) if there else "" for one, there in zip(np.ravel(ids), np.ravel(some), strict=True))
            for ids, some in zip(array, real, strict=True)
        )
        word_ids = np.where(real, np.cumsum(real, axis=1) - 1, -1) if array.ndim == 2 else None
        return Side(name, array, real, pieces, word_ids)

    def _is_ids(self, array, spec):
        if array.dtype.kind not in "iu" or array.ndim > 3:
            return False
        dtype = keras.backend.standardize_dtype(spec.dtype)
        declared = dtype.startswith(("int", "uint")) and dtype != "uint8"
        return declared or (self._has_embedding and array.ndim == 2)  # keras.Input is float by default

    def _real_steps(self, array):
        """False at steps that a Masking layer would leave out: (B, ...) without the last axis."""
        if array.ndim < 3 or array.dtype.kind != "f":
            return np.ones(len(array), bool)
        masked = [(array == value).all(-1) for value in self._masked_values]
        return ~np.any(masked, axis=0) if masked else np.ones(len(array), bool)


def _is_several(x):
    """Whether data for a model that Keras knows no inputs of are several inputs."""
    if isinstance(x, tuple):
        return len(x) > 0 and not isinstance(x[0], str)
    return isinstance(x, list) and len(x) > 0 and all(len(getattr(one, "shape", ())) > 1 for one in x)


def _check_ids(array, wanted):
    """Raise where the one input, of token ids (B, S), gets something else."""
    if wanted is None:
        is_ids = array.ndim < 2 or array.dtype.kind != "f"
    else:
        is_ids = len(wanted.shape) == 2 and keras.backend.standardize_dtype(wanted.dtype).startswith("int")
    if is_ids and wanted is None and array.dtype.kind in "iub" and array.ndim > 2:
        return  # an image, say
    if is_ids and (array.ndim != 2 or array.dtype.kind not in "iu" or 0 in array.shape):
        raise ShapeError(
            "Expected token ids, an integer array (rows, positions) with at least one row; received shape "
            f"{array.shape}, dtype {array.dtype}."
        )
    length = wanted.shape[1] if is_ids and wanted is not None else None
    if length is not None and array.shape[1] != length:
        raise ShapeError(f"The model takes {length} positions; received ids of shape {array.shape}.")


def _check_numbers(name, array, spec):
    dtype = keras.backend.standardize_dtype(spec.dtype)
    wanted = "biu" if dtype.startswith(("int", "uint", "bool")) else "biuf"
    if array.dtype.kind not in wanted or 0 in array.shape:
        raise ShapeError(
            f"Expected numbers that {dtype} can hold for '{name}', with at least one row; received shape "
            f"{array.shape}, dtype {array.dtype}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ArgumentError(
            f"The rows of '{name}' must be finite; received {bad} NaN or infinite numbers in shape {array.shape}. "
            "Fill them in or leave those rows out."
        )
