"""A model as a function of small moves of what stands at its positions: embedded tokens, or the steps of a series.

Shapes: B rows, N of them at once, S positions, D features of a position, C classes.
"""

from contextlib import ExitStack, contextmanager
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from keras_attn_xai.auditing.swapped_weights import batches
from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.errors import ModelError
from keras_attn_xai.explain.deep.graph import ancestors
from keras_attn_xai.explain.deep.model_changes import embedding_outputs, replaced


class MovedInputs:
    """What a model says and where it looks when its first input is moved a little.

    Parameters
    ----------
    swapped : SwappedWeights

    Attributes
    ----------
    embeddings : tuple of keras.layers.Embedding
        Those that look up the first input's tokens; empty where it is numbers itself.
    positions : float array (B, S, D)
        What stands at each position, unmoved.

    Raises
    ------
    ModelError
        Token ids that no Embedding layer looks up, or several of different sizes; an input without positions.
    """

    def __init__(self, swapped):
        self._swapped = swapped
        self._layers = [one for one in all_layers(swapped.model) if isinstance(one, keras.layers.Embedding)]
        self._ids = np.issubdtype(swapped.of_rows(np.arange(1))[0].dtype, np.integer)
        self.embeddings: tuple = ()
        self.positions = self._found()
        if self.positions.ndim != 3 or self.positions.shape[:2] != swapped.keys.shape:
            raise ModelError(
                f"Small moves are made at the positions that '{swapped.call}' attends to, {swapped.keys.shape}; the "
                f"first input of '{swapped.model.name}' has shape {self.positions.shape}."
            )
        self.said = tf.function(self._said, autograph=False)

    def _found(self):
        rows = self._swapped.of_rows(np.arange(len(self._swapped)))
        if not self._ids:
            return np.asarray(rows[0])
        met: list = []
        signature = [tf.TensorSpec([None, *one.shape[1:]], one.dtype) for one in rows]

        def look_up(*inputs):
            with ExitStack() as stack:
                for layer in self._layers:
                    listen = partial(_listen, met, layer, inputs[0].op)
                    stack.enter_context(embedding_outputs([layer], listen))
                self._swapped.looked(list(inputs), tf.zeros(tf.shape(inputs[0])[:1], tf.int32))
            return [output for _, output in met]

        made = tf.function(look_up, autograph=False).get_concrete_function(*signature)
        self.embeddings = tuple(dict.fromkeys(layer for layer, _ in met))
        if len(met) != 1:
            raise ModelError(
                f"Small moves are made where one Embedding layer looks up the token ids; '{self._swapped.model.name}' "
                f"looks them up {len(met)} times."
            )
        some = batches(np.arange(len(rows[0])))
        return np.concatenate([made(*(tf.constant(one[which]) for one in rows))[0] for which in some])

    def _said(self, inputs, moves, index):
        """Probabilities (N, C) and weights (N, H, T, S) with moves (N, S, D) added."""
        if not self._ids:
            return self._swapped.looked([inputs[0] + tf.cast(moves, inputs[0].dtype), *inputs[1:]], index)
        with embedding_outputs(self.embeddings, lambda ids, output: output + tf.cast(moves, output.dtype)):
            return self._swapped.looked(inputs, index)


def _listen(met, layer, wanted, ids, output):
    if isinstance(ids, tf.Tensor) and wanted in ancestors([ids]):
        output = tf.identity(output)
        met.append((layer, output))
    return output


@contextmanager
def moved_tokens(embedding, ids, moves):
    """For as long as this is open, an Embedding layer also knows ids that stand for moved tokens.

    Parameters
    ----------
    embedding : keras.layers.Embedding
    ids : int array (B, S)
    moves : float array (B, S, D)

    Yields
    ------
    int array (B, S)
        An id of its own for each token that moves, so that whatever switches tokens off leaves the move out with
        them; a token without a move keeps its id.
    """
    first = int(embedding.input_dim)
    goes = (moves != 0).any(2)
    own = np.where(goes, first + np.arange(ids.size).reshape(ids.shape), ids)
    tokens, table = tf.constant(ids.ravel()), tf.constant(moves.reshape(-1, moves.shape[2]), tf.float32)

    def knowing(call):
        """The layer's call, with the new ids."""

        def look_up(given, *args, **options):
            """A token, and its move."""
            given = tf.convert_to_tensor(given)
            place = tf.cast(given, tf.int32) - first
            known, place = place >= 0, tf.maximum(place, 0)
            real = tf.where(known, tf.cast(tf.gather(tokens, place), given.dtype), given)
            output = call(real, *args, **options)
            return output + tf.cast(tf.where(known[..., None], tf.gather(table, place), 0.0), output.dtype)

        return look_up

    with replaced(embedding, "call", knowing(embedding.call)):
        yield own.astype(ids.dtype)
