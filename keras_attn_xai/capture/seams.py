"""The one file of ``capture`` that knows private names of Keras: where attention weights meet values.

Each attention layer has one method through which its weights pass on every call, asked for or not:
its *seam*. Wrapping that method on the instance shows the weights and leaves the numbers alone.

=======================================  ====================  ===========================
layer                                    seam                  the weights are
=======================================  ====================  ===========================
``AttentionLayer`` (ours)                ``attend``            ``.weights`` of the result
``AttentionPooling`` (ours)              ``attend``            the same, as a map of one query
``AttentionDecoder`` (ours)              ``attend_all``        the same, of all steps at once
``keras.layers.Attention`` and Additive  ``_apply_scores``     the second result
``MultiHeadAttention``, ``GroupQuery``   ``_compute_attention`` recomputed on the fused path
=======================================  ====================  ===========================
"""

import keras
from keras import ops
from keras.src.models.functional import Functional

from keras_attn_xai.layers import AttentionDecoder, AttentionLayer, AttentionPooling
from keras_attn_xai.layers.top_weights import spread

MULTI_HEAD = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
SEAMS = {
    AttentionDecoder: "attend_all",
    AttentionLayer: "attend",
    keras.layers.Attention: "_apply_scores",
    keras.layers.MultiHeadAttention: "_compute_attention",
    keras.layers.GroupQueryAttention: "_compute_attention",
}


def seam(layer):
    """The name of the layer's seam, or None if it is not an attention layer we know."""
    return next((name for kind, name in SEAMS.items() if isinstance(layer, kind)), None)


def is_functional(layer):
    """Whether ``layer`` is a graph of layers with known inputs (a built Sequential keeps one inside)."""
    return isinstance(layer, Functional)


def sublayers(layer):
    """The layers directly inside ``layer``, each with the attribute that holds it (or None)."""
    held: dict[int, str] = {}
    for attribute, value in vars(layer).items():
        if attribute != "_layers" and not attribute.startswith("_self_"):  # the latter are TensorFlow's
            for suffix, part in _parts(value):
                held.setdefault(id(part), attribute.lstrip("_") + suffix)
    return [(held.get(id(part)), part) for part in layer._layers]


def _parts(value):
    if isinstance(value, keras.Layer):
        return [("", value)]
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return [(f"/{name}{suffix}", part) for name, held in value.items() for suffix, part in _parts(held)]
    return []


def through_seam(layer, weigh):
    """The layer's seam with ``weigh`` in it.

    Parameters
    ----------
    layer : keras.Layer
    weigh : callable
        Is given the weights of each call, (B, T, S) or (B, H, T, S).

    Returns
    -------
    callable
        To stand in for the method of the same name.
    """
    original = getattr(layer, seam(layer))
    if isinstance(layer, AttentionDecoder):
        return _through_attend_all(original, weigh)
    if isinstance(layer, AttentionPooling):
        return _through_pooling(layer, original, weigh)
    if isinstance(layer, AttentionLayer):
        return _through_attend(original, weigh)
    if isinstance(layer, MULTI_HEAD):
        return _through_compute_attention(layer, original, weigh)
    return _through_apply_scores(original, weigh)


def _through_attend(original, weigh):
    def attend(query, value, *args, **kwargs):
        attended = original(query, value, *args, **kwargs)
        weights = attended.weights
        if attended.indices is not None:
            weights = spread(weights, attended.indices, ops.shape(value)[1])
        weigh(weights)
        return attended

    return attend


def _through_attend_all(original, weigh):
    def attend_all(*args, **kwargs):
        decoded = original(*args, **kwargs)
        weigh(decoded.weights)
        return decoded

    return attend_all


def _through_pooling(layer, original, weigh):
    def attend(inputs, *args, **kwargs):
        attended = original(inputs, *args, **kwargs)
        weights = attended.weights
        if attended.indices is not None:
            weights = spread(weights, attended.indices, ops.shape(inputs)[-2])
        weigh(layer.as_map(weights))
        return attended

    return attend


def _through_apply_scores(original, weigh):
    def apply_scores(*args, **kwargs):
        context, weights = original(*args, **kwargs)
        weigh(weights)
        return context, weights

    return apply_scores


def _through_compute_attention(layer, original, weigh):
    def compute_attention(query, key, value, attention_mask=None, training=None, *args, **kwargs):
        context, weights = original(query, key, value, attention_mask, training, *args, **kwargs)
        if weights is None:  # the fused path keeps its weights to itself
            causal = kwargs.get("use_causal_mask", False)
            weights = _fused_weights(layer, query, key, attention_mask, causal)
        weigh(weights)
        return context, weights

    return compute_attention


def _fused_weights(layer, query, key, attention_mask, causal):
    """The weights ``ops.dot_product_attention`` used: (B, T, H, D) and (B, S, H, D) to (B, H, T, S).

    A fully masked row is uniform here, as it is inside the fused path (the unfused one differs).
    """
    is_multi_head = isinstance(layer, keras.layers.MultiHeadAttention)
    scale = layer._inverse_sqrt_key_dim if is_multi_head else layer._inverse_sqrt_head_dim
    scores = ops.cast(ops.einsum("bthd,bshd->bhts", query, key), "float32") * scale
    if attention_mask is not None:
        mask = ops.cast(attention_mask, "bool")
        mask = ops.expand_dims(mask, 1) if len(mask.shape) == 3 else mask
        scores = ops.where(mask, scores, -1e30)
    if causal:
        row = ops.arange(ops.shape(scores)[2])[:, None]
        scores = ops.where(row >= ops.arange(ops.shape(scores)[3])[None, :], scores, -1e30)
    return ops.cast(ops.softmax(scores, axis=-1), query.dtype)
