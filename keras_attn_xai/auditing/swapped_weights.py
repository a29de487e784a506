"""A model as a function of the weights of one of its attention calls.

Shapes: B rows, N of them at once, H heads, T query positions, S key positions, C classes.
"""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from keras_attn_xai.capture.changes import Change
from keras_attn_xai.capture.maps import capture_attention
from keras_attn_xai.capture.record import require_same_graph, run
from keras_attn_xai.capture.selection import EVERYTHING, PREFIX
from keras_attn_xai.capture.view import opened
from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.explain.inputs import InputReader
from keras_attn_xai.explain.target import Target

BATCH = 512  # most rows at once


class SwappedWeights:
    """What a model says with other attention weights: `intervene` with weights that are an argument.

    Parameters
    ----------
    model : keras.Model
        As `intervene` takes it; it is not changed.
    x : data, as `AttentionExplainer` takes it
    call : str, optional
        Name of the attention call; by default the last that has as many keys as the rows have positions.
    target : None, int or (str, int), default None
        As in `AttentionExplainer`; None is the predicted class.
    tokenizer : callable or object, optional

    Attributes
    ----------
    model : keras.Model
    call : str
    weights : float array (B, H, T, S)
        As the model makes them.
    allowed : bool array (B, H, T, S)
        The keys a query may see; padding is False.
    queries : bool array (B, T)
        True is a real query.
    keys : bool array (B, S)
    probabilities : float array (B, C)
        Of the model as it is.
    index : int array (B,)
        The target's class of each row.

    Raises
    ------
    ModelError
        No attention, weights made inside a loop, or an output that is no distribution over classes.
    ArgumentError
        No such call.
    """

    def __init__(self, model, x, *, call=None, target=None, tokenizer=None):
        opened(model, "An audit")
        self.model, self._spec = model, target
        sides, self._structure = InputReader(model, tokenizer).read(x)
        self._inputs = [side.array for side in sides]
        self._positions = sides[0].array.shape[1] if sides[0].array.ndim > 1 else None
        flat = keras.tree.flatten(self._structure)
        signature = [tf.TensorSpec(spec.shape, spec.dtype) for spec in flat]
        self._dtypes = [tf.as_dtype(spec.dtype).as_numpy_dtype for spec in flat]
        seen = self._chosen(capture_attention(model, self.packed(self._inputs), progress=False), call)
        self.call, self.queries, self.keys = seen.name, seen.query_mask, seen.mask
        weights, index = tf.TensorSpec([None] * 4, tf.float32), tf.TensorSpec([None], tf.int32)
        self._look = tf.function(partial(self._look_at), input_signature=[signature], autograph=False)
        self._say = tf.function(partial(self.said), input_signature=[signature, weights, index], autograph=False)
        self._both = tf.function(partial(self.looked), input_signature=[signature, index], autograph=False)
        self._derive = tf.function(partial(self._slope), input_signature=[signature, weights, index], autograph=False)
        parts = zip(*(self._look(self.of_rows(rows)) for rows in batches(np.arange(len(self)))), strict=True)
        explained, made, allowed = (np.concatenate(part) for part in parts)
        self.weights = made
        self.allowed = allowed & self.keys[:, None, None] & self.queries[:, None, :, None]
        self.index = Target(target).choose(explained)
        self.probabilities = self(self.weights)

    def __len__(self):
        return len(self._inputs[0])

    def __call__(self, weights, rows=None):
        """Probabilities with these weights in place of the model's own.

        Parameters
        ----------
        weights : float array (N, H, T, S)
        rows : int array (N,), optional
            By default N = B and each row its own.

        Returns
        -------
        float array (N, C)
            In [0, 1], summing to 1.
        """
        return self._in_batches(self._say, weights, rows)

    @property
    def data(self):
        """The rows, in the structure the model takes."""
        return self.packed(self.of_rows(np.arange(len(self))))

    def looked_at(self, inputs, index):
        """Probabilities and weights of rows of one's own.

        Parameters
        ----------
        inputs : list of arrays (N, ...)
            As `of_rows` gives them.
        index : int array (N,)
            Of the target's class.

        Returns
        -------
        float arrays (N, C) and (N, H, T, S)
        """
        parts = []
        for some in batches(np.arange(len(index))):
            made = self._both([one[some] for one in inputs], index[some].astype(np.int32))
            parts.append([one.numpy() for one in made])
        return tuple(np.concatenate(one) for one in zip(*parts, strict=True))

    def gradient(self, weights, rows=None):
        """Derivative of the target with respect to each weight, the others staying.

        Parameters
        ----------
        weights, rows
            As in a call.

        Returns
        -------
        float array (N, H, T, S)
            In the target's unit per unit of weight.
        """
        return self._in_batches(self._derive, weights, rows)

    def of_rows(self, rows):
        """Flat inputs of some rows, in the dtypes the model takes.

        Parameters
        ----------
        rows : int array (N,)

        Returns
        -------
        list of arrays (N, ...)
        """
        return [array[rows].astype(dtype) for array, dtype in zip(self._inputs, self._dtypes, strict=True)]

    def said(self, inputs, weights, index):
        """Probabilities with these weights; inside a trace.

        Parameters
        ----------
        inputs : list of tensors (N, ...)
        weights : tensor (N, H, T, S)
        index : int tensor (N,)

        Returns
        -------
        tensor (N, C)
        """
        explained, _, target = self._run(inputs, weights)
        return _distribution(explained, target.squash, index, self.model.name)

    def looked(self, inputs, index):
        """Probabilities, and the weights the model makes itself; inside a trace.

        Parameters
        ----------
        inputs : list of tensors (N, ...)
        index : int tensor (N,)

        Returns
        -------
        tensors (N, C) and (N, H, T, S)
        """
        explained, seen, target = self._run(inputs, None)
        said = _distribution(explained, target.squash, index, self.model.name)
        return said, tf.cast(seen.weights, tf.float32)

    def by_key(self, weights):
        """Weights as one number for each key: mean over heads and real queries.

        Parameters
        ----------
        weights : float array (B, H, T, S)

        Returns
        -------
        float array (B, S)
        """
        count = np.maximum(self.queries.sum(1), 1)[:, None]
        return np.einsum("bhts,bt->bs", weights, self.queries.astype(float)) / (weights.shape[1] * count)

    def _chosen(self, maps, name):
        if name is not None:
            maps_of_name = [one for one in maps if one.name == name]
            if not maps_of_name:
                raise ArgumentError(
                    f"There is no attention call '{name}'; the calls are: {', '.join(one.name for one in maps)}."
                )
            return maps_of_name[-1]
        fitting = [one for one in maps if one.mask.shape[1] == self._positions]
        if not fitting:
            raise ModelError(
                f"No attention call of '{self.model.name}' has a key for each of {self._positions} positions; name "
                f"one with map=: {', '.join(one.name for one in maps)}."
            )
        return fitting[-1]

    def packed(self, inputs):
        """Flat inputs in the structure the model takes.

        Parameters
        ----------
        inputs : list of arrays or tensors

        Returns
        -------
        nested arrays or tensors
        """
        return keras.tree.pack_sequence_as(self._structure, list(inputs))

    def _in_batches(self, function, weights, rows):
        rows = np.arange(len(self)) if rows is None else np.asarray(rows)
        parts = []
        for which in batches(np.arange(len(rows))):
            some, given = rows[which], np.asarray(weights[which], np.float32)
            parts.append(function(self.of_rows(some), given, self.index[some].astype(np.int32)).numpy())
        return np.concatenate(parts)

    def _look_at(self, inputs):
        explained, seen, _ = self._run(inputs, None)
        here = tf.ones_like(seen.weights, tf.bool)
        allowed = here if seen.allowed is None else tf.logical_and(here, seen.allowed)
        return explained, tf.cast(seen.weights, tf.float32), allowed

    def _slope(self, inputs, weights, index):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            explained, _, target = self._run(inputs, weights)
            scalar = target.scalar(explained, index)
        return tape.gradient(scalar, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _run(self, inputs, given):
        """The tensor a class is picked from, what was seen of the call, and the target."""
        target, maps, calls = Target(self._spec), [], {}

        def hear(call, seen):
            maps.append(EVERYTHING.shown(call, seen)[PREFIX + call])
            calls[call] = seen

        changes = None if given is None else {self.call: _Swap(given)}
        outputs = run(self.model, self.packed(inputs), hear, changes=changes, training=False)
        seen = calls[self.call]
        require_same_graph(outputs, {PREFIX + self.call: seen.weights})
        if seen.indices is not None:
            raise ModelError(
                f"'{self.call}' keeps its largest weights alone (top_k), so that they cannot be swapped for others; "
                "build the layer without top_k, or name another call with map=."
            )
        return tf.cast(target.explained(self.model, outputs, maps), tf.float32), seen, target


def batches(rows):
    """Row numbers, at most 512 at once.

    Parameters
    ----------
    rows : int array (N,)

    Returns
    -------
    list of int arrays
    """
    return [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]


class _Swap(Change):
    """Puts given weights (B, H, T, S) in the place of a call's own."""

    def __init__(self, given):
        self._given = given

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        given = self._given if rows is None else tf.gather(self._given, rows, axis=2)  # a block of queries
        return tf.ensure_shape(tf.cast(given, weights.dtype), weights.shape)


def _distribution(explained, squash, index, name):
    """Probabilities (N, C); inside a trace."""
    single = len(explained.shape) == 1 or explained.shape[1] == 1
    if squash is None and single:
        raise ModelError(
            f"The output of '{name}' is one number, not a distribution over classes, so that no distance between "
            "distributions is known. The tests of swapped attention need classes."
        )
    if squash == "sigmoid" or single:
        one = tf.reshape(explained, [-1]) if single else tf.gather(explained, index, batch_dims=1)
        return tf.stack([tf.sigmoid(-one), tf.sigmoid(one)], axis=1)
    return tf.nn.softmax(explained)  # without a squash they are logits
