"""What is changed in a model while it is traced, and put back: embeddings are listened to, loops unrolled."""

from contextlib import ExitStack, contextmanager

import keras
import tensorflow as tf

from keras_attn_xai.layers.blocks import one_block


@contextmanager
def embedding_outputs(layers, meet):
    """Let ``meet(ids, output)`` stand in for what Embedding layers give, masks as they are.

    Parameters
    ----------
    layers : iterable of keras.layers.Layer
        All others are left alone.
    meet : callable
        Gets the ids a layer was called with and its output; returns the tensor the model goes on with.
    """
    with ExitStack() as stack:
        for layer in layers:
            if isinstance(layer, keras.layers.Embedding):
                stack.enter_context(replaced(layer, "call", _listening(layer.call, meet)))
        yield


@contextmanager
def unrolled_loops(layers):
    """Recurrent layers of a known length run step by step, attention looks from all queries at once: without a loop."""
    with ExitStack() as stack:
        stack.enter_context(one_block())
        for layer in layers:
            if isinstance(layer, keras.layers.RNN):
                stack.enter_context(replaced(layer, "inner_loop", _unrolling(layer)))
        yield


def _listening(call, meet):
    def listen(ids, *args, **options):
        output = call(ids, *args, **options)
        return output if tf.as_dtype(ids.dtype).is_floating and options.get("reverse") else meet(ids, output)

    return listen


def _unrolling(layer):
    """The layer's loop, unrolled; a backward one is given the sequence and its mask reversed.

    Keras unrolls ``go_backwards`` with a mask wrongly: under ``zero_output_for_mask`` it reads the mask in
    the order of the sequence.
    """
    inner_loop = layer.inner_loop

    def run(sequences, initial_state, mask, training=False):
        if sequences.shape[1] is None:
            return inner_loop(sequences, initial_state, mask, training=training)
        with ExitStack() as stack:
            stack.enter_context(replaced(layer, "unroll", True))
            if layer.go_backwards:
                stack.enter_context(replaced(layer, "go_backwards", False))
                sequences = tf.reverse(sequences, [1])
                mask = None if mask is None else tf.reverse(mask, [1])
            return inner_loop(sequences, initial_state, mask, training=training)

    return run


@contextmanager
def replaced(layer, name, value):
    """An attribute of a layer's instance is another one for as long as this is open."""
    own, before = name in vars(layer), vars(layer).get(name)
    setattr(layer, name, value)
    try:
        yield
    finally:
        if own:
            setattr(layer, name, before)
        else:
            delattr(layer, name)
