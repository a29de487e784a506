"""The one file of ``layers`` that touches private names of Keras: the mask a tensor carries.

Keras hands a mask on as an attribute of the tensor, and some layers delete it
(``MultiHeadAttention`` clears it on its own inputs). Our layers read it once, when they are called,
and pass it on as an explicit argument, so that it becomes an edge of the graph.
"""

import contextlib
import inspect

import keras
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask

from keras_attn_xai.errors import ModelError


def attached_mask(tensor):
    """The mask Keras attached to ``tensor``, or None."""
    return get_keras_mask(tensor)


def attach_mask(tensor, mask):
    """Let the layers after this one see ``mask`` on ``tensor``."""
    if mask is not None:
        set_keras_mask(tensor, mask)


@contextlib.contextmanager
def without_masks(*tensors):
    """Take the masks off the tensors for the length of the block, and put them back whatever happens there."""
    carried = [(tensor, attached_mask(tensor)) for tensor in tensors]
    try:
        for tensor, mask in carried:
            if mask is not None:
                set_keras_mask(tensor, None)
        yield
    finally:
        for tensor, mask in carried:
            attach_mask(tensor, mask)


def refuse_tuple_inside_sequential(layer):
    """Raise while a Sequential is being built with ``layer`` before its last place.

    A layer does not know where it stands, so the callers are asked; this runs while a graph is
    built, never per batch.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if frame.f_code.co_name == "build" and isinstance(owner, keras.Sequential):
            if owner.layers and layer in owner.layers[:-1]:
                raise ModelError(
                    f"{type(layer).__name__} '{layer.name}' returns (context, weights), and the next layer of a "
                    f"Sequential takes one tensor. Build it with return_weights=False; "
                    f"expose_attention(model) still brings its weights out."
                )
            return
        frame = frame.f_back
