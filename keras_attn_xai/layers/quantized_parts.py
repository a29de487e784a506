"""Sublayers that were quantised come back quantised when their layer is reloaded.

Keras keeps the dtype of a layer in its configuration. A layer that makes its sublayers itself would make them as they
were before ``model.quantize``, and what was saved would not fit (in Keras 3.15 its own MultiHeadAttention does).
"""

import operator

import keras

KEY = "quantized"


class RebuildsQuantizedParts(keras.layers.Layer):
    """Base of the layers that make Dense sublayers: how those are quantised is part of how the layer is built."""

    def get_build_config(self):
        config, parts = super().get_build_config(), dict(quantized_parts(self))
        return {**config, KEY: parts} if parts else config

    def build_from_config(self, config):
        super().build_from_config(config)
        for path, given in (config or {}).get(KEY, {}).items():
            part = operator.attrgetter(path)(self)
            if part.quantization_mode is None:
                how = keras.saving.deserialize_keras_object(given["config"])
                part.quantize(given["mode"], config=how)


def quantized_parts(layer):
    """Where in a layer something is quantised, and how.

    Parameters
    ----------
    layer : keras.Layer

    Yields
    ------
    path : str
        Attributes from the layer to the sublayer, with dots between them.
    how : dict
        The arguments of its ``quantize``, serialised.

    Examples
    --------
    >>> import keras
    >>> from keras_attn_xai.layers import LuongAttention
    >>> from keras_attn_xai.layers.quantized_parts import quantized_parts
    >>> layer = LuongAttention("general")
    >>> layer.build((1, 2, 3), (1, 2, 3))
    >>> layer.key_dense.quantize("int8")
    >>> [path for path, how in quantized_parts(layer)]
    ['key_dense']
    """
    attributes = vars(layer) | dict(getattr(layer, "named_children", dict)())  # on torch, layers are not in vars
    for name, part in sorted(attributes.items()):
        if isinstance(part, RebuildsQuantizedParts):
            yield from ((f"{name}.{path}", how) for path, how in quantized_parts(part))
        elif isinstance(part, keras.layers.Layer) and part.quantization_mode is not None:
            how = getattr(part, "quantization_config", None)  # Keras 3.12 has none
            yield name, {"mode": part.quantization_mode, "config": keras.saving.serialize_keras_object(how)}
