"""Attention of layers nobody told us of: inside a layer that calls itself attention, each softmax is a call.

Most attention in other people's packages meets its weights in one of two functions of Keras: a softmax (its own
``Softmax`` layer, ``ops.softmax``, an activation) or ``ops.dot_product_attention``. While such a layer runs, both tell
us of what they make.
"""

import functools
import re

import keras
from keras import ops

from keras_attn_xai.capture.calls import Seen
from keras_attn_xai.errors import ModelError
from keras_attn_xai.layers import functional

NAMES = re.compile("attention|attn", re.IGNORECASE)


def calls_itself_attention(layer):
    """Whether the name of the layer's class says that it attends, or a softmax goes by such a name."""
    is_softmax = isinstance(layer, keras.layers.Softmax)
    return NAMES.search(layer.name if is_softmax else type(layer).__name__) is not None


def through_call(layer, calls, normalizers_heard):
    """The layer's ``call`` in which every softmax, and every fused attention, is a call of the layer.

    Parameters
    ----------
    layer : keras.Layer
    calls : Calls
    normalizers_heard : callable
        A context manager: ``normalizers_heard(softmax=..., fused=...)`` sends through these what the functions of
        Keras make.

    Returns
    -------
    callable
    """
    as_it_is = layer.call

    def softmax(weights, axis):
        axis = axis[0] if isinstance(axis, (tuple, list)) and len(axis) == 1 else axis
        if not isinstance(axis, int):  # over several axes at once: no map
            return weights
        calls.begin()
        shown, back = as_map(weights, axis)
        if calls.will_change:
            shown = calls.changed(shown, ops.greater(shown, 0))  # the masks went into the scores
            weights = back(shown)
        calls.see(Seen(shown, lambda: _no_values(layer)))
        return weights

    def fused(context, query, key, value, allowed, options):
        calls.begin()
        key, value = (_for_each_head(one, query) for one in (key, value))
        weights = weights_of_fused(query, key, allowed, **options)
        if calls.will_change:
            weights = calls.changed(weights, allowed)
            context = ops.einsum("bhts,bshv->bthv", weights, ops.cast(value, weights.dtype))
        calls.see(Seen(weights, lambda: _no_values(layer), allowed))
        return context

    @functools.wraps(as_it_is)  # Keras reads the signature
    def call(*args, **kwargs):
        with normalizers_heard(softmax=softmax, fused=fused):
            return as_it_is(*args, **kwargs)

    return call


def as_map(weights, axis):
    """Weights whose keys are along ``axis`` as (B, H, T, S), and the way back.

    (B, S) is one query, (B, T, S) one head, (B, K, G, T, S) has K times G heads.
    """
    shape, rank = ops.shape(weights), len(weights.shape)
    last = ops.moveaxis(weights, axis, -1) if axis % rank != rank - 1 else weights
    moved = ops.shape(last)
    if rank == 4:
        shown = last
    elif rank < 4:
        shown = ops.reshape(last, (moved[0], *[1] * (4 - rank), *moved[1:]))
    else:
        heads = 1
        for size in moved[1:-2]:
            heads = heads * size
        shown = ops.reshape(last, (moved[0], heads, *moved[-2:]))

    def back(changed):
        whole = ops.reshape(changed, moved)
        whole = ops.moveaxis(whole, -1, axis) if axis % rank != rank - 1 else whole
        return ops.reshape(whole, shape)

    return shown, back


def weights_of_fused(query, key, allowed, *, scale=None, bias=None, soft_cap=None):
    """The weights of ``ops.dot_product_attention``: (B, T, H, D) and (B, S, H, D) to (B, H, T, S)."""
    scores = ops.cast(ops.einsum("bthd,bshd->bhts", query, key), functional.accumulation_dtype(query.dtype))
    scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + ops.cast(bias, scores.dtype)
    if soft_cap is not None:
        scores = ops.tanh(scores / soft_cap) * soft_cap
    if allowed is not None:
        scores = ops.where(allowed, scores, -1e30)
    return ops.cast(ops.softmax(scores, axis=-1), query.dtype)


def _for_each_head(tensor, query):
    """Keys or values (B, S, G, D), once for each of the query's heads."""
    groups = tensor.shape[2]
    return tensor if groups == query.shape[2] else ops.repeat(tensor, query.shape[2] // groups, axis=2)


def _no_values(layer):
    raise ModelError(
        f"The values of '{layer.name}' cannot come out: {type(layer).__name__} is not a layer we know, only its "
        "softmax is. Leave it out with layers=."
    )
