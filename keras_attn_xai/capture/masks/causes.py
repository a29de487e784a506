"""Why an attention call reads padding, in words with the names of the user's graph, and what helps."""

import keras

INVERTED = 0.99  # of the weight on padding: then the mask says the opposite


def explained(call, share):
    """The cause of a leak and its cure.

    Parameters
    ----------
    call : AttentionCall
        Its key has padding.
    share : float
        The part of its weight on padding, in the row where it is largest.

    Returns
    -------
    cause, cure : str
        A sentence or two each.
    """
    key = call.key
    if key.lost is None and _wrong_masks(call):
        return _wrong_mask(call, share)
    if key.kind == "guessed":
        return _never_made(key)
    if key.kind == "given":
        return (
            f"The mask of {key.maker} is not passed to it.",
            f"Pass that mask to '{call.name}', as value_mask= or attention_mask=.",
        )
    if key.lost is None:
        return (
            f"The mask of {key.maker} arrives with its keys, and {described(call.layer, call.name)}, does not use it.",
            f"Pass it on explicitly, or put a layer that uses masks in the place of '{call.name}'.",
        )
    return loss_explained(key, call.name)


def loss_explained(padding, user=None):
    """The cause and the cure of a mask that no longer travels with its tensor; ``user`` is the layer that misses it."""
    lost = padding.lost
    if lost.kind == "deleted":
        cause, cure = _deleted(padding, user)
    else:
        cause, cure = (_dropped if lost.kind == "dropped" else _plain)(padding)
    further = dict(one for one in lost.further if one[0] != lost.by)
    if further:
        cause += f" Nor is it passed on by {_listed([described(layer, one) for one, layer in further.items()])}."
        cure += f" {' '.join(_handing_on(one, layer) for one, layer in further.items())}"
    return cause, cure


def _wrong_masks(call):
    """Masks handed to the call that are not the truth; where that is a guess, only those that speak of keys alone."""
    real = call.key.real
    wrong = [mask for mask in call.masks if not (mask.shape == real.shape and (mask == real).all())]
    if call.key.kind != "guessed":
        return wrong
    return [mask for mask in wrong if mask.shape == real.shape or (mask == mask[..., :1, :]).all()]


def _wrong_mask(call, share):
    if share > INVERTED:
        return (
            f"The mask '{call.name}' is given is inverted: it keeps the padding of {call.key.maker}.",
            "True must keep a position; pass the opposite.",
        )
    return (
        f"The mask '{call.name}' is given does not cover the padding of {call.key.maker}.",
        "Combine both masks with &, so that a padded key is False for every query.",
    )


def _never_made(key):
    if key.maker.startswith("input "):
        return (
            f"No mask is ever made: rows of {key.maker} end in zeros.",
            "If they are padding, make its mask: Embedding(mask_zero=True) for ids, keras.layers.Masking() for steps.",
        )
    return (
        f"No mask is ever made: the ids of {key.maker} end in runs of 0, and it has mask_zero=False.",
        f"If 0 is padding, give {key.maker} mask_zero=True.",
    )


def _deleted(padding, user):
    lost = padding.lost
    again = " (an earlier call of the same layer)" if lost.by == user else ""
    return (
        f"The mask of {padding.maker} was deleted by {described(lost.layer, lost.by)}{again}, which takes the masks "
        "off the tensors it reads.",
        f"Use repair_masks(model), or keras_attn_xai.layers.MultiHeadAttention in the place of '{lost.by}'.",
    )


def _dropped(padding):
    lost = padding.lost
    cause = f"The mask of {padding.maker} is not passed on by {described(lost.layer, lost.by)}."
    return cause, _handing_on(lost.by, lost.layer)


def _handing_on(name, layer):
    """What makes a layer or operation hand masks on."""
    if not isinstance(layer, keras.layers.Layer):
        return f"Put a layer in the place of '{name}', such as keras.layers.{_layer_for(layer)}, which hands masks on."
    if isinstance(layer, keras.layers.Lambda):
        return f"Give '{name}' mask=lambda inputs, mask: mask, if its positions stay what they were."
    if layer.supports_masking:
        return f"See that every input of '{name}' has its mask."
    return f"Set supports_masking = True in '{name}', if its positions stay what they were."


def _plain(padding):
    where = described(padding.lost.layer, padding.lost.by)
    return (
        f"The mask of {padding.maker} is lost in plain operations inside {where}.",
        "Use layers for them, such as keras.layers.Add() for +, or pass the mask to the attention explicitly.",
    )


def described(layer, name):
    """``'decoder/cross', a keras MultiHeadAttention``."""
    kind = type(layer)
    if not isinstance(layer, keras.layers.Layer):
        return f"the operation '{name}'"
    home = "keras " if kind.__module__.startswith("keras.") else ""
    article = "an" if not home and kind.__name__[:1] in "AEIOU" else "a"
    return f"'{name}', {article} {home}{kind.__name__}"


def _layer_for(operation):
    """A Keras layer that does what the operation does, where there is one of its name."""
    name = type(operation).__name__
    return name if isinstance(getattr(keras.layers, name, None), type) else "Identity"


def _listed(words):
    return " and ".join(([", ".join(words[:-1])] if words[1:] else []) + words[-1:])
