"""What a recurrent decoder with attention carries from step to step, and the loop that carries it.

Shapes: B batch, T decoder steps, S memory positions, E input features, V memory features, U units.
"""

import inspect
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_attn_xai.layers import arguments, decoder_arguments


class Carried(NamedTuple):
    """What changes with every step."""

    position: object  # (B, 1) integers: how many steps came before
    output: object  # (B, units), of the step before; zeros at first
    context: object  # (B, V), of the step before; zeros at first
    alignment: object  # (B, S), the weights of the step before, in float32 at least
    shown: object  # (B, S), what the decoder returns of them: weights, scores or dropped weights
    coverage: object  # (B, S), the sum of all weights before
    cell: object  # the states of the cell, as the cell nests them


class DecoderState(NamedTuple):
    """All that one step of a decoder needs beside its input."""

    memory: object  # (B, S, V)
    mask: object  # (B, S), True keeps
    keys: object  # (B, S, U), projected once for all steps
    carried: Carried


class DecoderStep(NamedTuple):
    """What one step gives."""

    output: object  # (B, units)
    weights: object  # (B, S)
    state: DecoderState


class Decoded(NamedTuple):
    """What all steps of one call give."""

    outputs: object  # (B, T, units)
    weights: object  # (B, T, S), the alignment history
    shown: object  # (B, T, S), the same or the kind the attention was asked for
    contexts: object  # (B, T, V)
    states: list  # the cell's states after the last step, flat


def run_steps(step, inputs, carried, mask, *, dtype):
    """Run ``step`` over the second axis of ``inputs``.

    Parameters
    ----------
    step : callable
        ``step(inputs (B, E), carried) -> carried``.
    inputs : tensor (B, T, E)
    carried : Carried
        Before the first step.
    mask : bool tensor (B, T) or None
        A step that is False leaves what is carried as it was.
    dtype : str
        Of the history, and of all that is carried while the loop runs.

    Returns
    -------
    outputs, contexts, alignments, shown : tensors (B, T, units), (B, T, V), (B, T, S), (B, T, S)
        What was carried out of each step.
    carried : Carried
        After the last step.

    Notes
    -----
    ``keras.layers.RNN`` is the one loop of Keras that takes an unknown T and has a gradient under XLA on every backend;
    ``ops.scan`` has none on TensorFlow. It stacks one tensor, hence the concatenation. The mask is handled here,
    because on JAX a masked step of RNN gives out its first state.
    """
    leaves = keras.tree.flatten(carried)
    dtypes = [leaf.dtype for leaf in leaves]
    size = inputs.shape[-1]
    if mask is not None:
        inputs = ops.concatenate([inputs, ops.cast(ops.expand_dims(mask, -1), inputs.dtype)], axis=-1)

    class Loop:
        """What RNN takes for a cell."""

        state_size = tuple(leaf.shape[-1] for leaf in leaves)
        compute_dtype = dtype

        def call(self, given, before, **kwargs):
            """One step on the leaves of what is carried."""
            before = _cast(before, dtypes)
            after = step(given[:, :size], keras.tree.pack_sequence_as(carried, before))
            if mask is not None:
                kept = ops.greater(given[:, size:], 0.5)  # (B, 1)
                after = keras.tree.pack_sequence_as(
                    carried,
                    [ops.where(kept, *pair) for pair in zip(keras.tree.flatten(after), before, strict=True)],
                )
            shown = _cast((after.output, after.context, after.alignment, after.shown), [dtype] * 4)
            return ops.concatenate(shown, axis=-1), _cast(keras.tree.flatten(after), [dtype] * len(leaves))

        __call__ = call

    # called past Layer.__call__: this is a loop, not a layer of the model
    loop = keras.layers.RNN(Loop(), return_sequences=True, return_state=True, name="steps", dtype=dtype)
    history, *after = loop.call(inputs, initial_state=leaves)
    ends = np.cumsum([carried.output.shape[-1], carried.context.shape[-1]])
    outputs, contexts, both = history[..., : ends[0]], history[..., ends[0] : ends[1]], history[..., ends[1] :]
    positions = ops.shape(carried.alignment)[-1]  # may be unknown
    parts = (outputs, contexts, both[..., :positions], both[..., positions:])
    return parts, keras.tree.pack_sequence_as(carried, _cast(after, dtypes))


def _cast(tensors, dtypes):
    return [ops.cast(tensor, dtype) for tensor, dtype in zip(tensors, dtypes, strict=True)]


def flat_sizes(cell):
    """The sizes of the cell's states, those of a stack one after the other."""
    return keras.tree.flatten(cell.state_size)


def shown_state(cell, states):
    """The state a cell shows to the outside, (B, units): h rather than c, and of a stack the topmost."""
    if hasattr(cell, "cells"):
        return shown_state(cell.cells[-1], states[-1])
    return keras.tree.flatten(states)[0]  # Keras' cells keep it first


def shown_size(cell):
    """The size of `shown_state`."""
    return shown_size(cell.cells[-1]) if hasattr(cell, "cells") else flat_sizes(cell)[0]


def output_size(cell):
    """The size of what the cell gives out."""
    size = getattr(cell, "output_size", None)
    return shown_size(cell) if size is None else size


def first_states(name, cell, given, memory):
    """The cell's states before the first step.

    Parameters
    ----------
    name : str
        The decoder, for messages.
    cell : RNN cell
    given : tensor (B, units), nested tensors or None
        In the order of the cell's states; None is what the cell itself starts with.
    memory : tensor (B, S, V)

    Returns
    -------
    nested tensors
        As the cell nests them.

    Raises
    ------
    ShapeError
        Too many, too few, or of a wrong size.
    """
    own = keras.layers.RNN(cell, name="steps").get_initial_state(ops.shape(memory)[0])
    dtype = getattr(cell, "compute_dtype", memory.dtype)
    if given is None:
        return keras.tree.map_structure(lambda state: ops.cast(state, dtype), own)
    given = [arguments.as_tensor(state, dtype=dtype) for state in keras.tree.flatten(given)]
    decoder_arguments.check_states(name, cell, given)
    return keras.tree.pack_sequence_as(own, [ops.cast(state, dtype) for state in given])


def step_cell(cell, inputs, states, training):
    """One step of the cell; the states keep the nesting they had."""
    takes_training = "training" in inspect.signature(cell.call).parameters
    output, after = cell(inputs, states, **({"training": bool(training)} if takes_training else {}))
    return output, keras.tree.pack_sequence_as(states, keras.tree.flatten(after))


def draw_dropout(cell, batch, size):
    """Draw the dropout masks of a cell before the loop, which must not draw: a mask holds for all steps of one call.

    Parameters
    ----------
    cell : RNN cell
        Keras' cells keep their masks until they are told to forget them.
    batch : int or scalar tensor
    size : int
        Of the cell's input.
    """
    for part in getattr(cell, "cells", ()):
        draw_dropout(part, batch, size)
        size = output_size(part)
    if hasattr(cell, "get_dropout_mask"):
        cell.get_dropout_mask(ops.ones((batch, size), dtype=cell.compute_dtype))
        cell.get_recurrent_dropout_mask(ops.ones((batch, output_size(cell)), dtype=cell.compute_dtype))


def forget_dropout(cell):
    """Make the cell draw new dropout masks when it needs them next."""
    for part in getattr(cell, "cells", ()):
        forget_dropout(part)
    if hasattr(cell, "reset_dropout_mask"):
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()


def first_alignment(mask, dtype, *, monotonic):
    """The alignment (B, S) before the first step: none, or for a monotonic one all on the first position."""
    nothing = ops.cast(ops.zeros_like(mask), dtype)
    if not monotonic:
        return nothing
    position = ops.cumsum(ops.ones_like(mask, dtype="int32"), axis=1)
    return ops.cast(ops.equal(position, 1), dtype)
