"""The compiled value function: coalitions of rows in, the target's value for each out.

One traced function serves every row and every batch size; masked inputs are built on the device from the players that
are present and the player each number belongs to; a coalition that was evaluated before is looked up.

Shapes: N coalitions, P rows, R background rows, M players of all inputs together.
"""

import re
import time
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from keras_attn_xai.capture.locate import attention_layers
from keras_attn_xai.capture.record import call_with_attention, listening
from keras_attn_xai.capture.selection import EVERYTHING, PREFIX
from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.explain.batch_size import BatchSize
from keras_attn_xai.explain.heads import gates


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and what coalitions of their players are made of.

    Parameters
    ----------
    inputs : list of arrays (P, ...)
        The model's inputs, flat.
    cells : list of int arrays (P, ...)
        The player, of all inputs together, that each number belongs to; -1 is one that never leaves. An axis of size 1
        stands for all.
    background : list of arrays (R, ...)
        What takes the place of an absent player, averaged over its rows.
    index : int array (P,)
        The target's index.
    players : int
        M.
    """

    inputs: list
    cells: list
    background: list
    index: np.ndarray
    players: int

    def __len__(self):
        return len(self.index)

    def take(self, rows):
        """The table of some rows."""
        inputs, cells = ([array[rows] for array in arrays] for arrays in (self.inputs, self.cells))
        return Table(inputs, cells, self.background, self.index[rows], self.players)


class ValueFunction:
    """A model as a function of which players are present.

    Parameters
    ----------
    model : keras.Model
    target : Target
    specs : nested keras.InputSpec
        In the structure of the model's inputs.
    attention : bool or "must", default True
        Whether `look` brings the attention along, if there is any. Attention that cannot come out is noted, or with
        "must" raises.
    batch_size : int, optional
        Most rows the model is given at once; by default what fits and is fastest, up to 2048.

    Attributes
    ----------
    heads : dict of str to int
        Heads that are players, in this order: how many each call has. To be set before the first game.
    notes : tuple of str
        Why there are no maps, known once `look` has run.
    """

    def __init__(self, model, target, specs, *, attention=True, batch_size=None):
        self.model = model
        self.target = target
        self._given_size, self._sizes = batch_size, {}
        self._structure = specs
        self.heads = {}
        inputs = [tf.TensorSpec(spec.shape, spec.dtype) for spec in keras.tree.flatten(specs)]
        cells = [tf.TensorSpec([None] * len(spec.shape), tf.int32) for spec in inputs]
        present, integers = tf.TensorSpec([None, None], tf.bool), tf.TensorSpec([None], tf.int32)
        self.notes: tuple[str, ...] = ()
        self._must_see = attention == "must"
        self._with_attention = attention and bool(attention_layers(model))
        self._look = _traced(self._look_of, inputs)
        self._values = _traced(self._values_of, inputs, cells, inputs, present, integers, integers)
        self._dtypes = [tf.as_dtype(spec.dtype).as_numpy_dtype for spec in inputs]

    def build(self, inputs):
        """Show a subclassed model one row, outside of any trace: it makes its variables on first sight."""
        self._run(lambda one: self.model(self._packed(one), training=False), [array[:1] for array in inputs])

    def look(self, inputs):
        """One pass over rows as they are.

        Parameters
        ----------
        inputs : list of arrays (B, ...)

        Returns
        -------
        explained : float array (B,) or (B, C)
            What a target is chosen from.
        weights : dict of str to float array (B, H, T, S)
            Attention by call name.
        """
        size = self.batch_size(inputs).sizes[0]
        parts = [
            self._run(self._look, [array[start : start + size] for array in inputs])
            for start in range(0, len(inputs[0]), size)
        ]
        explained, weights = zip(*parts, strict=True)
        return np.concatenate(explained), {name: np.concatenate([one[name] for one in weights]) for name in weights[0]}

    def ends(self, table, playing):
        """Values with no player and with every player, all rows in one batch.

        Parameters
        ----------
        table : Table
            Of P rows.
        playing : bool array (P, M)

        Returns
        -------
        float array (2, P)
        """
        every = np.arange(len(table))
        ends = np.array([self.values(table, present, every) for present in (~playing, np.ones_like(playing))])
        lost = np.flatnonzero(~np.isfinite(ends).all(axis=0))
        if len(lost):
            raise ModelError(
                f"The model's output is NaN or infinite for row {lost[0]} or its background ({len(lost)} of "
                f"{len(table)} rows). Leave out rows that are all padding, and look for overflow in the model."
            )
        return ends

    def values(self, table, present, rows):
        """Values (N,) of coalitions ``present`` (N, M) of the table's ``rows`` (N,), averaged over its background."""
        parts, at, pace = [], 0, self.batch_size(table.inputs)
        while at < len(rows):
            size = pace.next
            step = max(1, size // len(table.background[0]))
            start = time.perf_counter()
            parts.append(self._part(table, present[at : at + step], rows[at : at + step]))
            if at + step <= len(rows):
                pace.took(size, time.perf_counter() - start)
            at += step
        return np.concatenate(parts).astype(np.float64)

    def batch_size(self, inputs):
        """The `BatchSize` for such rows."""
        return self._sizes.setdefault(tuple(one.shape[1:] for one in inputs), BatchSize(self._given_size, inputs))

    def _part(self, table, present, rows):
        needed, rows = np.unique(rows, return_inverse=True)
        if len(needed) < len(table):
            table = table.take(needed)
        background = self.cast(table.background)
        index = np.maximum(table.index, 0)[rows].astype(np.int32)
        rest = (table.cells, background, present, rows.astype(np.int32), index)
        return self._run(self._values, table.inputs, *rest).numpy()

    def scalar(self, inputs, index, changes=None):
        """The target of flat inputs (N, ...), one number per row (N,); inside a trace."""
        return self.target.scalar(self._explained_of(inputs, changes), index)

    def _look_of(self, inputs):
        if not self._with_attention:
            return _at_least_single(self._explained_of(inputs)), {}
        try:
            outputs, weights = call_with_attention(self.model, self._packed(inputs), training=False)
        except ModelError as error:
            if self._must_see:
                raise
            self.notes = (f"No maps: {error}",)
            return _at_least_single(self._explained_of(inputs)), {}
        explained = self.target.explained(self.model, outputs, list(weights.values()))
        return _at_least_single(explained), {name: _at_least_single(one) for name, one in weights.items()}

    def _explained_of(self, inputs, changes=None):
        weights = []  # to tell outputs that are attention; a model may have none

        def hear(call, seen):
            weights.append(seen.weights if seen.indices is None else EVERYTHING.shown(call, seen)[PREFIX + call])

        with listening(self.model, hear, changes=changes):
            outputs = self.model(self._packed(inputs), training=False)
        return self.target.explained(self.model, outputs, weights)

    def _values_of(self, inputs, cells, background, present, rows, index):
        present_or_never = tf.concat([present, tf.ones_like(present[:, :1])], axis=1)  # (N, M + 1)
        filled = [_filled(*parts, present_or_never, rows) for parts in zip(inputs, cells, background, strict=True)]
        flat = [
            tf.ensure_shape(tf.reshape(one, tf.concat([[-1], tf.shape(one)[2:]], 0)), array.shape)
            for one, array in zip(filled, inputs, strict=True)
        ]
        counts = tf.shape(filled[0])[:2]  # N, R
        changes = gates(self.heads, tf.repeat(present, counts[1], axis=0)) if self.heads else None
        scalar = self.scalar(flat, tf.repeat(index, counts[1]), changes)
        return tf.reduce_mean(tf.reshape(tf.cast(scalar, tf.float64), counts), axis=1)

    def _packed(self, inputs):
        return keras.tree.pack_sequence_as(self._structure, inputs)

    def cast(self, arrays):
        """Flat inputs in the dtypes the model takes."""
        return [array.astype(dtype) for array, dtype in zip(arrays, self._dtypes, strict=True)]

    def _run(self, function, inputs, *rest):
        try:
            return function(self.cast(inputs), *rest)
        except tf.errors.InvalidArgumentError as error:
            reason = re.search(r"indices\S* = .* is not in \[.*?\)|slice index .* out of bounds", error.message)
            received = " and ".join(
                f"token ids from {array.min()} to {array.max()}" if array.dtype.kind in "iu" else f"shape {array.shape}"
                for array in inputs
            )
            raise ArgumentError(
                f"The model refused its input, {received} or the background: "
                f"{reason.group() if reason else error.message.splitlines()[0]}."
            ) from None


def _filled(array, cells, background, present_or_never, rows):
    """Rows with the background (R, ...) where a player is absent: (N, R, ...)."""
    cells = tf.gather(cells, rows)
    cells = tf.where(cells < 0, tf.shape(present_or_never)[1] - 1, cells)
    kept = tf.gather(present_or_never, cells, batch_dims=1)
    return tf.where(kept[:, None], tf.gather(array, rows)[:, None], background[None])


def _at_least_single(tensor):
    """Half precision as float32, which NumPy and records know."""
    return tf.cast(tensor, tf.float32) if tensor.dtype.size < 4 else tensor


def _traced(function, *signature):
    """A graph of ``function``, as Keras makes them: no AutoGraph.

    The partial is an object of its own, so TensorFlow does not take one trace for each of several
    explainers for one function that is traced again and again, and warn.
    """
    return tf.function(partial(function), input_signature=signature, autograph=False)
