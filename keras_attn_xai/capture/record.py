"""One pass through a model that also brings its attention out."""

import contextlib
from collections import Counter

import keras
from keras import ops

from keras_attn_xai.capture import seams
from keras_attn_xai.capture.locate import attention_layers
from keras_attn_xai.errors import ModelError

PREFIX = "attention/"


@contextlib.contextmanager
def recording(model):
    """Collect the weights of every attention call made inside the block.

    The methods of the model's attention layers are wrapped for the length of the block and put
    back whatever happens.

    Parameters
    ----------
    model : keras.Model

    Yields
    ------
    dict of str to tensor
        Call name to weights (B, H, T, S), H = 1 for single-head layers; filled while the model runs.
        The second call of one layer is ``name#1``.
    """
    weights: dict[str, object] = {}
    calls: Counter[str] = Counter()
    wrapped = []

    def recorder(name):
        def weigh(tensor):
            call = name if calls[name] == 0 else f"{name}#{calls[name]}"
            calls[name] += 1
            weights[call] = _four_axes(call, tensor)

        return weigh

    try:
        for name, layer in attention_layers(model):
            # on the instance and past Keras' attribute tracking: other layers of the class keep theirs
            wrapped.append((layer, layer.__dict__.get(seams.seam(layer))))  # one is there if a view holds a view
            layer.__dict__[seams.seam(layer)] = seams.through_seam(layer, recorder(name))
        yield weights
    finally:
        for layer, before in wrapped:
            layer.__dict__.pop(seams.seam(layer), None)
            if before is not None:
                layer.__dict__[seams.seam(layer)] = before


def call_with_attention(model, inputs, *, training=None):
    """Run the model once and return what it predicted and where it looked.

    Parameters
    ----------
    model : keras.Model
    inputs : tensors in the model's own structure
    training : bool, optional

    Returns
    -------
    outputs : the model's own outputs
    weights : dict of str to tensor (B, H, T, S)
        By call name, in the order of the calls.

    Raises
    ------
    ModelError
        An attention layer ran inside a loop of the graph, from which nothing can be brought out, or none ran.
    """
    if not all(part.built for part in (model, *(layer for _, layer in attention_layers(model)))):
        model(inputs, training=False)  # Keras builds by one trace more, which is no call of the model's
    with recording(model) as weights:
        outputs = model(inputs, training=training)
    if not weights:
        raise ModelError(
            f"No attention layer of the model '{model.name}' ran. If its call, or that of a layer in it, is under "
            "tf.function, an earlier trace hides them: take the tf.function off."
        )
    here = getattr(keras.tree.flatten(outputs)[0], "graph", None)
    for name, tensor in weights.items():
        if getattr(tensor, "graph", None) is not here:
            raise ModelError(
                f"The attention call '{name}' runs inside a loop or a function of its own (an RNN cell, a "
                "TimeDistributed over an unknown number of steps, or a method under tf.function), so its weights "
                "cannot leave it. Give the loop a fixed length, unroll the RNN, or take the tf.function off."
            )
    return outputs, weights


def named_outputs(model, outputs):
    """The model's outputs as a flat dict.

    A single output is ``"output"``; those of a list keep the names the model has for them, else
    ``output_0, output_1, ...``; those of a dict keep their keys, nested ones joined by a slash.
    """
    if ops.is_tensor(outputs):
        return {"output": outputs}
    if isinstance(outputs, dict):
        flat: dict[str, object] = {}
        for key, value in outputs.items():
            inner = {"output": value} if ops.is_tensor(value) else named_outputs(model, value)
            flat |= {str(key) if ops.is_tensor(value) else f"{key}/{name}": one for name, one in inner.items()}
        return flat
    leaves = keras.tree.flatten(outputs)
    if len(leaves) == 1:
        return {"output": leaves[0]}
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != len(leaves):
        names = [f"output_{i}" for i in range(len(leaves))]
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        unique.append(name if seen[name] == 0 else f"{name}_{seen[name]}")
        seen[name] += 1
    return dict(zip(unique, leaves, strict=True))


def _four_axes(name, weights):
    if len(weights.shape) == 3:
        return ops.expand_dims(weights, 1)
    if len(weights.shape) != 4:
        raise ModelError(
            f"The attention call '{name}' has weights of shape {tuple(weights.shape)}; maps are (B, H, T, S), so "
            "attention over several axes at once is not supported."
        )
    return weights
