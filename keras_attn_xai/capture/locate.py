"""Finding the attention layers of a model and giving each a name that lasts."""

import re

import keras

from keras_attn_xai.capture import seams


def attention_layers(model):
    """The attention layers of a model, outermost first.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    list of (str, keras.Layer)
        Name and layer. The name is the path of names from the model down, ``encoder/mha``. Inside a
        subclassed model or layer, a part whose name Keras made up goes by the attribute that holds it,
        because made-up names change from one process to the next.
    """
    found, seen = [], set()

    def walk(container, prefix):
        for name, layer in _named_parts(container):
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            if hasattr(layer, "shown_model"):  # a view: names are those of what it shows
                walk(layer.shown_model, prefix)
            elif seams.seam(layer):
                found.append((prefix + name, layer))
            else:
                walk(layer, f"{prefix}{name}/")

    walk(model, "")
    return found


def all_layers(model):
    """Every layer inside a model, each once, however deep."""
    return [layer for _, layer in named_layers(model)]


def named_layers(model):
    """Every layer inside a model, each once and before its own parts, with its name as in `attention_layers`."""
    found, seen = [], set()

    def walk(container, prefix):
        for name, layer in _named_parts(container):
            if id(layer) not in seen:
                seen.add(id(layer))
                found.append((prefix + name, layer))
                shown = getattr(layer, "shown_model", None)  # a view: names are those of what it shows
                if shown is None:
                    walk(layer, f"{prefix}{name}/")
                else:
                    found.append((prefix + shown.name, shown))
                    walk(shown, prefix)

    walk(model, "")
    return found


def _named_parts(container):
    if isinstance(container, keras.Sequential) or seams.is_functional(container):
        return [(layer.name, layer) for layer in container.layers]
    return [
        (attribute if attribute and made_up(layer) else layer.name, layer)
        for attribute, layer in seams.sublayers(container)
    ]


def made_up(layer):
    """Whether the layer's name is one Keras counted up, like ``multi_head_attention_3``."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
    return re.fullmatch(re.escape(snake) + r"(_\d+)?", layer.name) is not None
