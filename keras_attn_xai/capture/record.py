"""One pass through a model that also brings its attention out."""

import contextlib
from collections import Counter
from fnmatch import fnmatchcase

import keras
from keras import ops

from keras_attn_xai.capture import seams
from keras_attn_xai.capture.calls import Calls, Listener
from keras_attn_xai.capture.locate import attention_layers
from keras_attn_xai.capture.selection import EVERYTHING, PREFIX
from keras_attn_xai.errors import ArgumentError, ModelError


@contextlib.contextmanager
def listening(model, hear, *, changes=None):
    """Hear of every attention call made inside the block, and change weights on their way.

    The methods of the model's attention layers are replaced for the length of the block and put
    back whatever happens.

    Parameters
    ----------
    model : keras.Model
    hear : callable
        ``hear(call name, Seen)``. The second call of one layer is ``name#1``.
    changes : dict of str to Change, optional
        By call name.
    """
    joined = []
    try:
        for name, layer in attention_layers(model):
            listener = Listener(name, hear, {} if changes is None else changes)
            calls = listeners_of(layer)
            calls.listeners.append(listener)
            joined.append((layer, calls, listener))
        yield
    finally:
        for layer, calls, listener in joined:
            calls.listeners.remove(listener)
            if not calls.listeners:
                leave(layer)


def listeners_of(layer):
    """The `Calls` that the layer tells of its calls; its methods are replaced if there is none yet."""
    stand_in = layer.__dict__.get(seams.seam(layer))
    if stand_in is not None:  # of a view around this one
        return stand_in.calls
    calls = Calls()
    for method, stand_in in seams.replacements(layer, calls).items():
        stand_in.calls = calls
        layer.__dict__[method] = stand_in  # past Keras' attribute tracking; other layers of the class keep theirs
    return calls


def leave(layer):
    """Give the layer its own methods back."""
    for name, method in list(layer.__dict__.items()):
        if isinstance(getattr(method, "calls", None), Calls):
            del layer.__dict__[name]


@contextlib.contextmanager
def recording(model):
    """Collect the weights of every attention call made inside the block.

    Parameters
    ----------
    model : keras.Model

    Yields
    ------
    dict of str to tensor
        Call name to weights (B, H, T, S), H = 1 for single-head layers; filled while the model runs.
    """
    weights: dict[str, object] = {}

    def hear(call, seen):
        weights[call] = EVERYTHING.shown(call, seen)[PREFIX + call]

    with listening(model, hear):
        yield weights


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
    outputs, shown = call_with_selection(model, inputs, EVERYTHING, training=training)
    return outputs, {name.removeprefix(PREFIX): tensor for name, tensor in shown.items()}


def call_with_selection(model, inputs, selection, *, changes=None, training=None):
    """Run the model once, with changes, and return what it predicted and what was asked for of its attention.

    Parameters
    ----------
    model : keras.Model
    inputs : tensors in the model's own structure
    selection : Selection or None
        None: nothing comes out.
    changes : dict of str to Change, optional
    training : bool, optional

    Returns
    -------
    outputs : the model's own outputs
    shown : dict of str to tensor
        By the names `Selection.shown` gives.

    Raises
    ------
    ModelError
        As `call_with_attention`.
    ArgumentError
        A name that is no call's.
    """
    shown: dict[str, object] = {}

    def hear(call, seen):
        if selection is not None and selection.wants(call):
            shown.update(selection.shown(call, seen))

    outputs = run(model, inputs, hear, changes=changes, selection=selection, training=training)
    require_same_graph(outputs, shown)
    return outputs, shown


def run(model, inputs, hear, *, changes=None, selection=None, training=None):
    """The model's outputs; ``hear`` is told of each attention call."""
    if not all(part.built for part in (model, *(layer for _, layer in attention_layers(model)))):
        model(inputs, training=False)  # Keras builds by one trace more, which is no call of the model's
    calls = []

    def heard(call, seen):
        calls.append(call)
        hear(call, seen)

    with listening(model, heard, changes=changes):
        outputs = model(inputs, training=training)
    if not calls:
        named = ", ".join(f"{type(layer).__name__} '{name}'" for name, layer in attention_layers(model))
        raise ModelError(
            f"No attention layer of the model '{model.name}' ran, or let its weights be seen; there is {named}. If its "
            "call, or that of a layer in it, is under tf.function, an earlier trace hides them: take the tf.function "
            "off. A layer that is neither Keras' nor ours is seen where it calls a softmax of Keras."
        )
    require_known(calls, changes, selection)
    return outputs


def require_known(calls, changes, selection):
    """Raise for a name that is not the name of a call, or of a layer where that will do."""
    layers = {call.split("#")[0] for call in calls}
    missing = [name for name in ({} if changes is None else changes) if name not in calls]
    patterns = () if selection is None else (*(selection.layers or ()), *_dict_names(selection.heads))
    missing += [one for one in patterns if not any(fnmatchcase(name, one) for name in {*calls, *layers})]
    if missing:
        raise ArgumentError(f"There is no attention call '{missing[0]}'; the calls are: {', '.join(calls)}.")


def _dict_names(heads):
    return tuple(heads) if isinstance(heads, dict) else ()


def require_same_graph(outputs, shown):
    """Raise for a tensor that a loop of the graph keeps to itself."""
    here = getattr(keras.tree.flatten(outputs)[0], "graph", None)
    for name, tensor in shown.items():
        if getattr(tensor, "graph", None) is not here:
            raise ModelError(
                f"The attention call '{name.partition('/')[2]}' runs inside a loop or a function of its own (an RNN "
                "cell, a TimeDistributed over an unknown number of steps, or a method under tf.function), so its "
                "weights cannot leave it. Give the loop a fixed length, unroll the RNN, or take the tf.function off."
            )


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
