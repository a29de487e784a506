"""What a caller may hand to an `AttentionDecoder`, checked."""

import keras

from keras_attn_xai.errors import ArgumentError, MaskError, ShapeError
from keras_attn_xai.layers import arguments
from keras_attn_xai.layers.attention_layer import AttentionLayer
from keras_attn_xai.layers.bahdanau import BahdanauAttention
from keras_attn_xai.layers.keras_mask import attached_mask
from keras_attn_xai.layers.luong import LuongAttention

OF_ATTENTION = ("normalizer", "fully_masked", "weights_kind", "top_k", "weights_regularizer", "dropout", "seed")


def canonical(layer, inputs, memory, initial_state, kwargs):
    """One form for every call form.

    Parameters
    ----------
    layer : AttentionDecoder
        Named in messages.
    inputs, memory : tensors, or a list of both and None
    initial_state : nested tensors or None
    kwargs : dict
        The call's keyword arguments as the user wrote them.

    Returns
    -------
    inputs, memory : tensors
    initial_state : nested tensors or None
    kwargs : dict
        With ``mask`` and ``memory_mask``, each a bool tensor or None.
    """
    arguments.refuse_return_attention_scores(layer, kwargs)
    if memory is None and isinstance(inputs, (list, tuple)) and len(inputs) == 2:
        inputs, memory = inputs
    if memory is None:
        raise ArgumentError(
            f"{layer.name}: a decoder takes two tensors, decoder(inputs, memory); received "
            f"{f'a list of {len(inputs)}' if isinstance(inputs, (list, tuple)) else 'one'}."
        )
    inputs, memory = (arguments.as_tensor(given, dtype=layer.compute_dtype) for given in (inputs, memory))
    check_shapes(layer, inputs, memory)
    arguments.check_features(layer, inputs=inputs.shape, memory=memory.shape)
    arguments.check_top_k(layer.name, layer.attention.top_k, memory.shape[1])
    kwargs = dict(kwargs)
    lengths = kwargs.pop("lengths", None)
    if lengths is not None:
        if kwargs.get("memory_mask") is not None:
            raise MaskError(f"{layer.name}: lengths= is short for a memory_mask=; pass one of the two.")
        kwargs["memory_mask"] = arguments.first_ones(layer, lengths, memory)
    for name, tensor in (("mask", inputs), ("memory_mask", memory)):
        mask = kwargs.get(name)
        mask = attached_mask(tensor) if mask is None else mask
        kwargs[name] = arguments.checked_mask(layer, name, mask, tensor)
    if initial_state is not None:
        initial_state = keras.tree.map_structure(
            lambda state: arguments.as_tensor(state, dtype=layer.compute_dtype), initial_state
        )
        check_states(layer.name, layer.cell, keras.tree.flatten(initial_state))
    return inputs, memory, initial_state, kwargs


def check_shapes(layer, inputs, memory):
    """Ranks, and one batch size."""
    for name, tensor in (("inputs", inputs), ("memory", memory)):
        if len(tensor.shape) != 3:
            raise ShapeError(
                f"{layer.name}: {name} must have shape (batch, positions, features); received "
                f"{tuple(tensor.shape)} of dtype {keras.backend.standardize_dtype(tensor.dtype)}."
            )
    if not arguments.agree(inputs.shape[0], memory.shape[0]):
        raise ShapeError(
            f"{layer.name}: inputs and memory must have the same batch size; received {tuple(inputs.shape)} and "
            f"{tuple(memory.shape)}."
        )


def check_states(name, cell, given):
    """One state (B, size) for each state of the cell."""
    sizes = keras.tree.flatten(cell.state_size)
    shapes = [tuple(state.shape) for state in given]
    if len(shapes) != len(sizes) or any(
        len(shape) != 2 or not arguments.agree(shape[1], size) for shape, size in zip(shapes, sizes, strict=True)
    ):
        wanted = ", ".join(f"(batch, {size})" for size in sizes)
        raise ShapeError(
            f"{name}: initial_state must be {len(sizes)} tensor(s) of shape {wanted}, as the cell keeps them; received "
            f"{', '.join(map(str, shapes))}. A Dense layer each brings an encoder's states to these sizes."
        )


def require_cell(cell):
    """An RNN cell, or a list of them as one."""
    if isinstance(cell, (list, tuple)):
        cell = keras.layers.StackedRNNCells([require_cell(one) for one in cell])
    if isinstance(cell, keras.layers.RNN) or not (callable(cell) and hasattr(cell, "state_size")):
        cure = " Pass its cell: AttentionDecoder runs the loop itself." if isinstance(cell, keras.layers.RNN) else ""
        raise ArgumentError(
            f"cell must be an RNN cell, such as keras.layers.LSTMCell(64), or a list of them; received "
            f"{type(cell).__name__}.{cure}"
        )
    return cell


def require_single_head(attention):
    """An attention for which one query gives one row of weights over the whole memory."""
    if not isinstance(attention, AttentionLayer) or hasattr(attention, "num_heads"):  # heads, or pooling
        raise ArgumentError(
            "attention must be an attention layer of this package with queries and one head, such as "
            f"BahdanauAttention(64) or LuongAttention('general'); received {type(attention).__name__}."
        )
    if getattr(attention, "attentional_vector", None) is not None:
        raise ArgumentError(
            "The attentional vector is the decoder's here: AttentionDecoder(..., attentional_vector="
            f"{attention.attentional_vector}) with an attention without one."
        )
    return attention


def changed_attention(attention, changes):
    """The attention with some of its arguments changed, or itself if it has them so.

    Parameters
    ----------
    attention : AttentionLayer
    changes : dict
        Names of `OF_ATTENTION` and what they shall be.

    Returns
    -------
    AttentionLayer

    Raises
    ------
    ArgumentError
        It would change, and has weights, which other layers or a training may count on.
    """
    if not changes:
        return attention
    other = type(attention).from_config({**attention.get_config(), **changes})
    different = [name for name in changes if _argument(other, name) != _argument(attention, name)]
    if not different:
        return attention
    if attention.built:
        wanted = ", ".join(f"{name}={changes[name]!r}" for name in different)
        raise ArgumentError(
            f"{', '.join(different)} cannot be changed in '{attention.name}', which already has weights; make it so: "
            f"{type(attention).__name__}(..., {wanted})."
        )
    return other


def _argument(attention, name):
    """An argument as the configuration has it, without what the file it came from knows of it."""
    given = attention.get_config()[name]
    if not isinstance(given, dict):
        return given
    return {key: value for key, value in given.items() if key not in ("build_config", "shared_object_id")}


def refuse_what_monotonic_ignores(**given):
    """A monotonic attention has no normaliser, and gives a memory without a position no weight."""
    for name, value in given.items():
        if value is not None and (name, value) != ("fully_masked", "zero"):
            raise ArgumentError(
                f"{name}={value!r} has no meaning with monotonic=True, of which the weights are its own."
            )


def require_additive(attention, argument):
    """An attention whose score takes more features beside the keys."""
    if not (isinstance(attention, BahdanauAttention) or getattr(attention, "score_kind", None) == "concat"):
        score = f"({attention.score_kind!r})" if isinstance(attention, LuongAttention) else ""
        raise ArgumentError(
            f"{argument} adds to the keys inside a tanh, so the attention must be additive: BahdanauAttention(units) "
            f"or LuongAttention('concat'); received {type(attention).__name__}{score}."
        )


def require_count(name, given):
    """A count that may be 0."""
    return given if given == 0 and not isinstance(given, bool) else arguments.require_positive_integer(name, given)


def require_not_negative(name, given):
    """A weight."""
    if not given >= 0:
        raise ArgumentError(f"{name} must not be negative; received {given!r}.")
    return given
