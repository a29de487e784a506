"""What both drop-in explainers do: pairs of a row and one of its outputs go in, values come out in shap's shapes."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.explain.deep import InputAttributions
from keras_attn_xai.explain.deep.rows import parts
from keras_attn_xai.explain.drop_in_model import Data, OneOutput
from keras_attn_xai.explain.repair_tensorflow import repair_tensorflow
from keras_attn_xai.explain.shap_bridge import explanation_of_arrays
from keras_attn_xai.layers.arguments import require_choice

PAIRS_AT_ONCE = 512
ORDERS = {
    "max": lambda outputs: -outputs,
    "min": lambda outputs: outputs,
    "max_abs": lambda outputs: -np.abs(outputs),
}


@dataclass(frozen=True, eq=False)
class Answer:
    """Rows with k outputs each.

    Attributes
    ----------
    rows : Data
    classes : int array (N, k)
        The numbers of the outputs.
    values : list of array (N, ..., k)
        One per input.
    base : array (N, k)
    missed : array (N, k)
        Relative gaps; infinite where the traced model gives something else than the model itself.
    """

    rows: Data
    classes: np.ndarray
    values: list
    base: np.ndarray
    missed: np.ndarray

    def to_shap(self):
        """``shap.Explanation``; several inputs stand side by side, each flat."""
        rows = self.rows
        if len(rows.arrays) == 1:
            return explanation_of_arrays(self.values[0], self.base, rows.arrays[0], rows.columns[0])
        return explanation_of_arrays(
            np.concatenate([one.reshape(len(rows), -1, one.shape[-1]) for one in self.values], axis=1),
            self.base,
            np.concatenate([one.reshape(len(rows), -1) for one in rows.arrays], axis=1),
            rows.feature_names,
        )


class DropIn:
    """A model, background rows, and answers in shap's shapes; the two explainers are made of it."""

    def __init__(self, model, data):
        repair_tensorflow()
        self._output = OneOutput(model, type(self).__name__)
        self.model, self.data = self._output.model, data
        self._background = self.expected_value = None
        if not callable(data):
            self._background = self._output.read(data, "data").arrays
            self.expected_value = tf.constant(self._output(self._background).mean(0), tf.float32)

    def _answer(self, x, ranked, order, attribute):
        """`Answer` for what the user gave.

        Parameters
        ----------
        attribute : callable
            Rows, numbers of outputs (M,), the model's outputs (M,), references: to `InputAttributions`.
        """
        repair_tensorflow()
        rows = self._output.read(x, "X")
        outputs = self._output(rows.arrays)
        classes = ranks(outputs, ranked, order)
        asked, count = np.take_along_axis(outputs, classes, 1), classes.shape[1]
        found, missed = [], []
        for few in parts(len(rows), max(1, PAIRS_AT_ONCE // count) if self._background else 1):
            references = self._background or self._references(rows, few.start)
            pairs = [np.repeat(one[few], count, axis=0) for one in rows.arrays]
            _require_one_shape(pairs, references)
            found.append(attribute(pairs, classes[few].ravel().astype("int32"), asked[few].ravel(), references))
            missed.append(self._missed(found[-1], asked[few].ravel()))
        values = [by_output(np.concatenate(one), classes) for one in zip(*(one.values for one in found), strict=True)]
        base = np.concatenate([one.base for one in found]).reshape(classes.shape)
        return Answer(rows, classes, values, base, np.concatenate(missed).reshape(classes.shape))

    def _references(self, rows, number):
        """What a background that is a function gives for one row."""
        row = [one[number] for one in rows.arrays]
        given = self.data(dict(zip(rows.names, row, strict=True)) if rows.container is dict else row)
        return self._output.read(given, "data(x)").arrays

    def _run(self, engine, rows, index, references):
        """One engine on rows and the numbers of their outputs; padding stays padding."""
        kept = [*self._output.padding(rows), np.ones(len(index), bool)]
        found = engine([*rows, index], [*references, np.zeros(len(references[0]), "int32")], kept=kept)
        return InputAttributions(
            found.values[:-1], found.base, found.output, found.evaluations, found.without_rule, found.blocking
        )

    def _missed(self, found, asked):
        """Relative gaps (M,), infinite where the traced model gives something else than the model itself."""
        differs = np.abs(found.output - asked) > self._output.tolerance * np.abs(asked).max(initial=0)
        return np.where(differs, np.inf, found.relative_gap)


def ranks(outputs, ranked=None, order="max"):
    """The numbers of the outputs to explain, row by row.

    Parameters
    ----------
    outputs : array (N, C)
    ranked : int or int array (N, k), optional
        How many; the numbers themselves where ``order`` is "custom". None is all.
    order : {"max", "min", "max_abs", "custom"}

    Returns
    -------
    int array (N, k)

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.drop_in_answer import ranks
    >>> ranks(np.array([[1.0, -3.0, 2.0]]), 2, "max_abs").tolist()
    [[1, 2]]
    """
    rows, count = outputs.shape
    if ranked is None:
        return np.tile(np.arange(count), (rows, 1))
    require_choice("output_rank_order", order, (*ORDERS, "custom"))
    if order == "custom":
        return _own_ranks(ranked, rows, count)
    if isinstance(ranked, bool) or not isinstance(ranked, (int, np.integer)) or ranked < 1:
        raise ArgumentError(f"ranked_outputs must be a positive number of outputs or None; received {ranked!r}.")
    return np.argsort(ORDERS[order](outputs), axis=1, kind="stable")[:, :ranked]


def _own_ranks(ranked, rows, count):
    found = np.atleast_1d(np.asarray(ranked))
    if found.ndim > 2 or found.dtype.kind not in "iu" or (found.ndim == 2 and len(found) != rows):
        raise ArgumentError(
            "Under output_rank_order='custom' ranked_outputs are numbers of outputs, integers (N, k) or (k,); received "
            f"shape {found.shape}, dtype {found.dtype}."
        )
    if not found.size or found.min() < 0 or found.max() >= count:
        raise ArgumentError(f"ranked_outputs must name outputs from 0 to {count - 1}; received {np.unique(found)}.")
    return np.broadcast_to(found, (rows, found.shape[-1])).astype(int)


def by_output(values, classes):
    """Values of pairs (N k, ...) as (N, ..., k)."""
    return np.moveaxis(values.reshape(*classes.shape, *values.shape[1:]), 1, -1)


def _require_one_shape(rows, references):
    for one, other in zip(rows, references, strict=True):
        if one.shape[1:] != other.shape[1:]:
            raise ShapeError(
                f"X and the background must have rows of one shape; received {one.shape[1:]} and {other.shape[1:]}. "
                "Cut or pad both to one length."
            )
