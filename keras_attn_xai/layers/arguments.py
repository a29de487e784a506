"""What a caller may hand to an attention layer, brought into one form and checked."""

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError, MaskError, ShapeError
from keras_attn_xai.layers.keras_mask import attach_mask, attached_mask

MASKS = ("query_mask", "value_mask", "key_mask")


def canonical(layer, query, value, key, kwargs):
    """One form for every call form.

    Parameters
    ----------
    layer : AttentionLayer
        Named in messages.
    query, value, key : tensor, list of tensors, or None
    kwargs : dict
        The call's keyword arguments as the user wrote them.

    Returns
    -------
    query, value, key : tensors or None
    kwargs : dict
        With ``query_mask``, ``value_mask`` and ``key_mask`` (each a bool tensor or None) and without
        ``mask`` and ``lengths``.
    """
    refuse_return_attention_scores(layer, kwargs)
    kwargs = dict(kwargs)
    query, value, key = tensors(layer, *split(layer, query, value, key))
    check_shapes(layer, query, value, key)
    memory = query if value is None else value
    projected = kwargs.get("projected_keys") is not None
    key_shape = None if projected else (memory if key is None else key).shape
    layer.check_features(query.shape, memory.shape, key_shape)
    check_top_k(layer.name, layer.top_k, memory.shape[1])
    by_order = masks_by_order(layer, kwargs.pop("mask", None), value)
    lengths = kwargs.pop("lengths", None)
    if lengths is not None:
        if kwargs.get("value_mask") is not None:
            raise MaskError(f"{layer.name}: lengths= is short for a value_mask=; pass one of the two.")
        kwargs["value_mask"] = first_ones(layer, lengths, memory)
    for name, tensor, given in zip(MASKS, (query, value, key), by_order, strict=True):
        mask = kwargs.get(name)
        mask = given if mask is None else mask
        mask = attached_mask(tensor) if mask is None else mask
        kwargs[name] = checked_mask(layer, name, mask, memory if tensor is None else tensor)
    if value is None:  # self-attention: one mask serves as both, unless each was given
        own, other = kwargs["query_mask"], kwargs["value_mask"]
        kwargs["query_mask"] = other if own is None else own
        kwargs["value_mask"] = own if other is None else other
    for name in ("attention_mask", "projected_keys", "score_bias"):
        if kwargs.get(name) is not None:
            kwargs[name] = as_tensor(kwargs[name])
    check_attention_mask(layer, kwargs.get("attention_mask"), query, memory)
    check_projected_keys(layer, kwargs.get("projected_keys"), memory)
    check_score_bias(layer, kwargs.get("score_bias"), query, memory)
    return query, value, key, kwargs


def refuse_return_attention_scores(layer, kwargs):
    """Say that the outputs are chosen in the constructor."""
    if "return_attention_scores" in kwargs:
        raise ArgumentError(
            f"{layer.name}: return_attention_scores is not a call argument here; the layer returns its weights "
            "unless it was built with return_weights=False."
        )


def split(layer, query, value, key):
    """Open up ``layer([query, value])`` and ``layer([query, value, key])``."""
    if not isinstance(query, (list, tuple)):
        return query, value, key
    if value is not None or not 1 <= len(query) <= 3:
        raise ArgumentError(
            f"{layer.name}: expected [query], [query, value] or [query, value, key] as the only positional "
            f"argument; received a list of {len(query)}{' and a second argument' if value is not None else ''}."
        )
    return (*query, None, None)[:3]


def tensors(layer, *inputs):
    """Arrays become tensors of the layer's dtype; tensors keep the masks they carry."""
    return tuple(given if given is None else as_tensor(given, dtype=layer.compute_dtype) for given in inputs)


def check_shapes(layer, query, value, key):
    """Ranks, and the sizes that must agree."""
    for name, tensor in zip(("query", "value", "key"), (query, value, key), strict=True):
        if tensor is not None and len(tensor.shape) != 3:
            cure = (
                " For one state per row pass query[:, None, :]." if name == "query" and len(tensor.shape) == 2 else ""
            )
            raise ShapeError(
                f"{layer.name}: {name} must have shape (batch, positions, features); received "
                f"{tuple(tensor.shape)} of dtype {keras.backend.standardize_dtype(tensor.dtype)}.{cure}"
            )
    if key is not None and value is None:
        raise ArgumentError(f"{layer.name}: a key needs a value; received key={tuple(key.shape)} and value=None.")
    for name, tensor in (("value", value), ("key", key)):
        if tensor is not None and not agree(query.shape[0], tensor.shape[0]):
            raise ShapeError(
                f"{layer.name}: query and {name} must have the same batch size; received "
                f"{tuple(query.shape)} and {tuple(tensor.shape)}."
            )
    if key is not None and not agree(key.shape[1], value.shape[1]):
        raise ShapeError(
            f"{layer.name}: key and value must have the same number of positions; received "
            f"{tuple(key.shape)} and {tuple(value.shape)}."
        )


def check_features(layer, **shapes):
    """The features for which ``layer.features_built`` says that there are weights."""
    for name, shape in shapes.items():
        size = layer.features_built.get(name)
        if shape is not None and not agree(size, shape[-1]):
            raise ShapeError(
                f"{layer.name}: its weights were made for {name} with {size} features; received {tuple(shape)}. "
                "Bring it to that size with a Dense layer, or make a second layer."
            )


def require_weights(layer, method, shapes):
    """Say how a layer gets weights, when one of its methods needs them before its first call."""
    if not layer.built:
        raise ArgumentError(
            f"{layer.name}: {method} needs weights, and there are no weights yet: their sizes are those of the inputs. "
            f"Call the layer once, or build it: layer.build({shapes})."
        )


def same_features(shape, other):
    """Whether two shapes, the second perhaps unknown, end alike."""
    return other is None or agree(shape[-1], other[-1])


def masks_by_order(layer, mask, value):
    """``mask=`` as one mask per input, in the order of the inputs."""
    if mask is None:
        return None, None, None
    if isinstance(mask, (list, tuple)) and not (mask and isinstance(mask[0], (list, tuple, bool))):
        if not 1 <= len(mask) <= 3:
            raise MaskError(f"{layer.name}: mask= takes up to three masks; received {len(mask)}.")
        return (*mask, None, None)[:3]
    if value is not None:
        raise MaskError(
            f"{layer.name}: one mask= for two inputs could mean either; pass query_mask= and value_mask=, "
            "or mask=[query_mask, value_mask]."
        )
    return mask, None, None


def checked_mask(layer, name, mask, tensor):
    """A boolean (batch, positions) mask that fits ``tensor``."""
    if mask is None:
        return None
    mask = boolean(layer, name, mask)
    expected = tuple(tensor.shape[:2])
    if len(mask.shape) != 2 or not all(map(agree, mask.shape, expected)):
        raise MaskError(
            f"{layer.name}: {name} must have shape (batch, positions) = {expected}; received {tuple(mask.shape)}."
        )
    return mask


def check_attention_mask(layer, mask, query, memory):
    """A mask over (queries, keys) has three axes: with two it could be (B, S) or (T, S)."""
    if mask is None:
        return
    boolean(layer, "attention_mask", mask)
    shape = tuple(mask.shape)
    if len(shape) == 2:
        raise MaskError(
            f"{layer.name}: attention_mask of shape {shape} could be (batch, keys) or (queries, keys); pass "
            "value_mask= for the first, attention_mask[None] for the second."
        )
    expected = (query.shape[0], query.shape[1], memory.shape[1])
    if len(shape) != 3 or not all(size == 1 or agree(size, want) for size, want in zip(shape, expected, strict=True)):
        raise MaskError(f"{layer.name}: attention_mask must have shape (B, T, S) = {expected}; received {shape}.")


def check_top_k(name, top_k, keys):
    """No more weights than there are keys, where that number is known."""
    if top_k is not None and keys is not None and keys < top_k:
        raise ShapeError(f"{name}: top_k={top_k} of {keys} keys; ask for as many as there are.")


def check_projected_keys(layer, keys, memory):
    """One projected key for every value."""
    if keys is None:
        return
    if len(keys.shape) != (3 if layer.heads is None else 4) or not all(map(agree, keys.shape[:2], memory.shape[:2])):
        raise ShapeError(
            f"{layer.name}: projected_keys must have shape (batch, positions, ...) with the batch and positions of "
            f"the value, {tuple(memory.shape[:2])}; received {tuple(keys.shape)}. layer.project_keys(key) makes them."
        )


def check_score_bias(layer, bias, query, memory):
    """A bias over (queries, keys), for each row or for all; in layers with heads also for each head."""
    if bias is None:
        return
    shape = tuple(bias.shape)
    heads = [layer.heads] if layer.heads is not None and len(shape) == 4 else []
    expected = [query.shape[0], *heads, query.shape[1], memory.shape[1]]
    ranks = (4,) if heads else (2, 3)
    fits = len(shape) in ranks and all(
        size == 1 or agree(size, want) for size, want in zip(shape, expected[-len(shape) :], strict=True)
    )
    if not fits:
        axes = "(B, H, T, S)" if heads else "(B, T, S)"
        raise ShapeError(f"{layer.name}: score_bias must broadcast to {axes} = {tuple(expected)}; received {shape}.")


def boolean(layer, name, mask):
    """The mask as a tensor; anything but booleans is refused, because its sign could be read either way."""
    mask = as_tensor(mask)
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if dtype != "bool":
        raise MaskError(
            f"{layer.name}: {name} must be boolean, True keeps; received dtype {dtype} of shape "
            f"{tuple(mask.shape)}. For 0/1 masks pass mask.astype(bool); numbers to be added to the scores go into "
            "score_bias=."
        )
    return mask


def first_ones(layer, lengths, memory):
    """Mask (B, S) that keeps the first ``lengths[b]`` positions; works while S is still unknown."""
    lengths = as_tensor(lengths)
    if len(lengths.shape) != 1 or not agree(lengths.shape[0], memory.shape[0]):
        raise ShapeError(
            f"{layer.name}: lengths must have shape (batch,) = ({memory.shape[0]},), one number a row; received "
            f"{tuple(lengths.shape)}."
        )
    position = ops.cumsum(ops.ones_like(memory[..., 0], dtype="int32"), axis=1)
    return ops.less_equal(position, ops.expand_dims(ops.cast(lengths, "int32"), 1))


def as_tensor(given, *, dtype=None):
    """``given`` itself if it is a tensor, symbolic or not, else a tensor of ``dtype``; that of integers is made one."""
    if not isinstance(given, keras.KerasTensor) and not ops.is_tensor(given):
        return ops.convert_to_tensor(given, dtype=dtype)
    if dtype is None or "float" in keras.backend.standardize_dtype(given.dtype):
        return given
    cast = ops.cast(given, dtype)
    attach_mask(cast, attached_mask(given))
    return cast


def only_input(inputs):
    """``inputs`` out of a list or tuple of one tensor, the form in which others take several."""
    alone = isinstance(inputs, (list, tuple)) and len(inputs) == 1 and len(getattr(inputs[0], "shape", ())) > 2
    return inputs[0] if alone else inputs


def agree(size, other):
    """Two static sizes, either of them possibly unknown."""
    return size is None or other is None or size == other


def require_positive_integer(name, given):
    """A count."""
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ArgumentError(f"{name} must be a positive integer; received {given!r}.")
    return given


def require_choice(name, given, choices):
    """One of a few words."""
    if given not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, choices))}; received {given!r}.")


def named_layer(argument, given, names, kind, *, optional=False):
    """A small layer from its name, its configuration, or itself; None stays None where it is ``optional``."""
    if isinstance(given, dict):
        given = keras.saving.deserialize_keras_object(given)
    if isinstance(given, str) and given in names:
        return names[given](name=given)
    if isinstance(given, kind) or (optional and given is None):
        return given
    home = f"layers.{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
    raise ArgumentError(
        f"{argument} must be {'None, ' * optional}one of {', '.join(map(repr, names))} or an instance of {home}; "
        f"received {given!r}."
    )
