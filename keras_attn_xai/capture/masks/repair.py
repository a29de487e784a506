"""A copy of a model whose attention keeps masks."""

import warnings

import keras

from keras_attn_xai.capture import seams
from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.capture.masks.copying import copied
from keras_attn_xai.capture.masks.keeping import KEEPING, keep_masks
from keras_attn_xai.capture.masks.lint import refuse_without_attention
from keras_attn_xai.capture.masks.readers import computes_another, what_reads_padding
from keras_attn_xai.errors import MaskWarning, ModelError


def repair_masks(model):
    """A copy of a model whose attention leaves masks on the tensors it reads.

    ``keras.layers.MultiHeadAttention`` deletes the masks of its inputs, so that whatever reads the same
    tensors later reads padding. In the copy these layers and ``GroupQueryAttention``, wherever they are, read
    their masks once and leave them where they were. The model itself is not touched.

    Parameters
    ----------
    model : keras.Model
        Functional, Sequential, nested, or subclassed with a ``get_config`` that gives all arguments of its
        ``__init__``.

    Returns
    -------
    keras.Model
        With the same weights, names and calls. Without padding it predicts what the model predicts. With
        padding, if masks were lost in attention alone, it predicts what the model predicts without it.

    Warns
    -----
    MaskWarning
        One for each layer, operation or attention call that reads padding for another reason: a pooling
        or a ``Flatten`` that takes no mask, a ``Lambda``, a layer without ``supports_masking``, a plain ``+``. They
        are found on a made-up padded example of the model's inputs; where none can be made up, nothing is said.

    Raises
    ------
    ModelError
        There is no attention in the model, or a part of it cannot be made again from its configuration.

    Notes
    -----
    The copy predicts, trains, saves, reloads and exports. A subclassed model that makes its layers in its own
    ``__init__`` makes Keras' own again when it is loaded, so repair it again then.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import check_masks, repair_masks
    >>> query, ids = keras.Input((1, 8)), keras.Input((4,), dtype="int32")
    >>> memory = keras.layers.Embedding(10, 8, mask_zero=True)(ids)
    >>> context = keras.layers.MultiHeadAttention(1, 8, name="first")(query, memory)
    >>> context = keras.layers.MultiHeadAttention(1, 8, name="second")(context, memory)
    >>> model = keras.Model([query, ids], context)
    >>> padded = [np.ones((1, 1, 8)), np.array([[3, 4, 0, 0]])]
    >>> [leak.name for leak in check_masks(model, padded)]
    ['second']
    >>> check_masks(repair_masks(model), padded)
    []
    """
    model = refuse_without_attention(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*was passed an input with a mask")  # ours say more
        warnings.filterwarnings("ignore", ".*was called on layer.*unbuilt state")
        copy = copied(model, keep_masks)
        _repair_what_is_loaded(copy)
        if not _is_graph(model) and computes_another(model, copy):
            raise ModelError(
                f"The model '{model.name}' cannot be copied: made again from its configuration it computes something "
                f"else. Let {type(model).__name__}.get_config give all arguments of its __init__."
            )
        remaining = what_reads_padding(copy)
    for sentence in remaining:
        warnings.warn(f"repair_masks: {sentence}", MaskWarning, stacklevel=2)
    return copy


def _repair_what_is_loaded(copy):
    """Let a graph remember, when it is saved, that the layers of others in it hold repaired ones."""
    in_the_graph = {id(layer) for layer in _layers_of_graph(copy)}
    if all(id(layer) in in_the_graph for layer in all_layers(copy) if type(layer) in KEEPING.values()):
        return
    for kind, remembering in ((keras.Sequential, MaskKeepingSequential), (seams.Functional, MaskKeepingFunctional)):
        if type(copy) is kind:
            object.__setattr__(copy, "__class__", remembering)


def _is_graph(model):
    return isinstance(model, keras.Sequential) or seams.is_functional(model)


def _layers_of_graph(model):
    """The layers whose configuration a saved graph holds; those inside a layer are made by that layer."""
    if _is_graph(model):
        for layer in model.layers:
            yield layer
            yield from _layers_of_graph(layer)


class _KeepsMasksWhenLoaded(keras.Model):
    """Repairs what the layers of others made when they were loaded."""

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = super().from_config(config, custom_objects=custom_objects)
        for layer in all_layers(model):
            keep_masks(layer)
        return model


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class MaskKeepingFunctional(_KeepsMasksWhenLoaded, seams.Functional):
    """A graph that holds repaired layers inside layers of others."""


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class MaskKeepingSequential(_KeepsMasksWhenLoaded, keras.Sequential):
    """A stack that holds repaired layers inside layers of others."""
