"""The compiled value function: coalitions of one row in, the target's value for each out.

One traced function serves every row and every batch size; masked inputs are built on the device;
a coalition that was evaluated before is looked up.
"""

import re
from functools import partial

import numpy as np
import tensorflow as tf

from keras_attn_xai.capture.locate import attention_layers
from keras_attn_xai.capture.record import call_with_attention, recording
from keras_attn_xai.errors import ArgumentError, ModelError

DEFAULT_BATCH = 512


class ValueFunction:
    """A model as a function of which tokens are present.

    Parameters
    ----------
    model : keras.Model
        With one token-id input (B, S).
    target : Target
    input_dtype : str
        What the model takes ids as.
    length : int or None
        Positions per row; None where the model takes any number.
    attention : bool, default True
        Whether `look` brings the attention along, if there is any.
    batch_size : int, default 512
        Most rows the model is given at once.
    """

    def __init__(self, model, target, *, input_dtype="int32", length=None, attention=True, batch_size=None):
        self.model = model
        self.target = target
        self.batch_size = batch_size or DEFAULT_BATCH
        ids = tf.TensorSpec([None, length], input_dtype)
        present, index = tf.TensorSpec([None, length], tf.bool), tf.TensorSpec([None], tf.int32)
        self._with_attention = attention and bool(attention_layers(model))
        self._look = _traced(self._look_of, ids)
        self._values = _traced(self._values_of, ids, present, ids, index)
        self._dtype = tf.as_dtype(input_dtype).as_numpy_dtype

    def build(self, ids):
        """Show a subclassed model one row, outside of any trace: it makes its variables on first sight."""
        self._run(partial(self.model, training=False), ids[:1])

    def look(self, ids):
        """One pass over rows as they are.

        Parameters
        ----------
        ids : int array (B, S)

        Returns
        -------
        explained : float array (B,) or (B, C)
            What a target is chosen from.
        weights : dict of str to float array (B, H, T, S')
            Attention by call name.
        """
        starts = range(0, len(ids), self.batch_size)
        explained, weights = zip(
            *(self._run(self._look, ids[start : start + self.batch_size]) for start in starts), strict=True
        )
        return np.concatenate(explained), {name: np.concatenate([one[name] for one in weights]) for name in weights[0]}

    def games(self, ids, background, index, playing):
        """One `Game` per row, its two ends already evaluated, all rows in one batch.

        Parameters
        ----------
        ids : int array (B, S)
        background : int array (R, S)
        index : int array (B,)
        playing : bool array (B, S)
        """
        ends = [self.values(present, ids, background, index) for present in (~playing, np.ones_like(playing))]
        lost = np.flatnonzero(~np.isfinite(ends).all(axis=0))
        if len(lost):
            raise ModelError(
                f"The model's output is NaN or infinite for row {lost[0]} or its background ({len(lost)} of {len(ids)} "
                "rows). Leave out rows that are all padding, and look for overflow in the model."
            )
        return [
            Game(
                self, ids[row], background, index[row], np.flatnonzero(playing[row]), ends=(ends[0][row], ends[1][row])
            )
            for row in range(len(ids))
        ]

    def values(self, present, ids, background, index):
        """Values (N,) of coalitions ``present`` (N, S) of rows ``ids`` (N, S), averaged over background rows (R, S)."""
        step = max(1, self.batch_size // len(background))
        index = np.maximum(index, 0).astype(np.int32)
        parts = [
            self._run(self._values, ids[some], present[some], background.astype(self._dtype), index[some]).numpy()
            for some in (slice(start, start + step) for start in range(0, len(present), step))
        ]
        return np.concatenate(parts).astype(np.float64)

    def _look_of(self, ids):
        if not self._with_attention:
            return self._explained_of(ids), {}
        outputs, weights = call_with_attention(self.model, ids, training=False)
        explained = self.target.explained(self.model, outputs, list(weights.values()))
        return explained, {
            name: tf.cast(one, tf.float32) if one.dtype.size < 4 else one for name, one in weights.items()
        }

    def _explained_of(self, ids):
        with recording(self.model) as weights:  # to tell outputs that are attention; a model may have none
            outputs = self.model(ids, training=False)
        return self.target.explained(self.model, outputs, list(weights.values()))

    def _values_of(self, ids, present, background, index):
        rows = tf.where(present[:, None, :], ids[:, None, :], background[None])  # (N, R, S)
        counts = tf.shape(rows)
        flat = tf.ensure_shape(tf.reshape(rows, [-1, counts[2]]), [None, ids.shape[1]])
        scalar = self.target.scalar(self._explained_of(flat), tf.repeat(index, counts[1]))
        return tf.reduce_mean(tf.reshape(tf.cast(scalar, tf.float64), counts[:2]), axis=1)

    def _run(self, function, ids, *rest):
        try:
            return function(ids.astype(self._dtype), *rest)
        except tf.errors.InvalidArgumentError as error:
            reason = re.search(r"indices\S* = .* is not in \[.*?\)|slice index .* out of bounds", error.message)
            raise ArgumentError(
                f"The model refused its input, token ids from {ids.min()} to {ids.max()} or the background: "
                f"{reason.group() if reason else error.message.splitlines()[0]}."
            ) from None


def _traced(function, *signature):
    """A graph of ``function``, as Keras makes them: no AutoGraph.

    The partial is an object of its own, so TensorFlow does not take one trace for each of several
    explainers for one function that is traced again and again, and warn.
    """
    return tf.function(partial(function), input_signature=signature, autograph=False)


class Game:
    """Coalitions of the players of one row.

    Parameters
    ----------
    function : ValueFunction
    ids : int array (S,)
    background : int array (R, S)
        What takes the place of an absent player, averaged over its rows.
    index : int
        The target's index.
    players : int array (M,)
        Their positions; every other position always keeps its own id.
    ends : (float, float)
        The values with no player and with every player.
    """

    def __init__(self, function, ids, background, index, players, *, ends):
        self._function = function
        self._row = (ids, background, index)
        self.players = players
        self.base, self.output = ends
        nobody, everybody = np.packbits(np.array([[0], [1]]).repeat(len(players), axis=1).astype(bool), axis=1)
        self._known = {nobody.tobytes(): self.base, everybody.tobytes(): self.output}

    def __len__(self):
        return len(self.players)

    @property
    def evaluations(self):
        """Distinct coalitions evaluated so far."""
        return len(self._known)

    def __call__(self, coalitions):
        """Values (N,) of coalitions (N, M), True (or 1) for a present player."""
        coalitions = np.asarray(coalitions).astype(bool).reshape(-1, len(self.players))
        keys = [row.tobytes() for row in np.packbits(coalitions, axis=1)]
        fresh = {key: n for n, key in enumerate(keys) if key not in self._known}
        if fresh:
            ids, background, index = self._row
            present = np.ones((len(fresh), len(ids)), bool)
            present[:, self.players] = coalitions[list(fresh.values())]
            rows = np.broadcast_to(ids, present.shape)
            values = self._function.values(present, rows, background, np.broadcast_to(index, len(fresh)))
            self._known.update(zip(fresh, values, strict=True))
        return np.array([self._known[key] for key in keys])
