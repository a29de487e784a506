"""The one file of ``capture`` that knows private names of Keras: where attention weights meet values.

Each attention layer has one method through which its weights pass on every call, asked for or not:
its *seam*. Wrapping that method on the instance shows the weights and leaves the numbers alone.

=======================================  ====================  ===========================
layer                                    seam                  the weights are
=======================================  ====================  ===========================
ours                                     see ``own_seams``
``keras.layers.Attention`` and Additive  ``_apply_scores``     the second result
``MultiHeadAttention``, ``GroupQuery``   ``_compute_attention`` the softmax of the fused path
others that call themselves attention    see ``softmax_seam``  what their softmax makes
=======================================  ====================  ===========================
"""

import contextlib
import functools
import threading

import keras
from keras import ops
from keras.src import backend
from keras.src.models.functional import Functional

from keras_attn_xai.capture import own_seams, softmax_seam
from keras_attn_xai.capture.calls import Seen
from keras_attn_xai.errors import ModelError
from keras_attn_xai.layers import AttentionDecoder, AttentionLayer
from keras_attn_xai.layers.functional import merge_masks

MULTI_HEAD = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
SEAMS = {
    AttentionDecoder: "attend_all",
    AttentionLayer: "attend",
    keras.layers.Attention: "_apply_scores",
    keras.layers.MultiHeadAttention: "_compute_attention",
    keras.layers.GroupQueryAttention: "_compute_attention",
}


NORMALIZERS = threading.RLock()  # the functions of Keras are one for all threads
SEEN_ELSEWHERE = threading.local()  # whether a seam is at work that tells of the softmax inside it


def seam(layer):
    """The name of the layer's seam, or None if it is not an attention layer."""
    known = next((name for kind, name in SEAMS.items() if isinstance(layer, kind)), None)
    return "call" if known is None and is_innermost_attention(layer) else known


def is_innermost_attention(layer):
    """Whether a layer calls itself attention and leaves the attending to no layer inside it."""
    if isinstance(layer, keras.Model) or not softmax_seam.calls_itself_attention(layer):
        return False
    return not any(seam(part) for _, part in sublayers(layer))


def replacements(layer, calls):
    """Methods that stand in for the layer's, by name, and tell `Calls`; numbers stay unless weights are changed."""
    if isinstance(layer, (AttentionDecoder, AttentionLayer)):
        return own_seams.replacements(layer, calls)
    if isinstance(layer, MULTI_HEAD):
        own = {"_compute_attention": _through_compute_attention(layer, calls)}
        if type(layer).call in (kind.call for kind in MULTI_HEAD):
            return own
        # a subclass with a call of its own, which may never come to the seam
        return own | {"call": softmax_seam.through_call(layer, calls, normalizers_heard)}
    if isinstance(layer, keras.layers.Attention):
        return {"_apply_scores": _through_apply_scores(layer, calls)}
    return {"call": softmax_seam.through_call(layer, calls, normalizers_heard)}


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


@contextlib.contextmanager
def normalizers_heard(*, softmax, fused):
    """Send what Keras' softmax and fused attention make on this thread through two functions.

    Parameters
    ----------
    softmax : callable
        ``softmax(weights, axis)`` gives the weights that are used.
    fused : callable
        ``fused(context, query, key, value, allowed, options)`` gives the context that is used.
    """
    here, nn = threading.get_ident(), backend.nn
    # the layer is heard itself, for it empties rows without a key after its softmax
    homes = [(nn, "softmax"), (nn, "dot_product_attention"), (keras.layers.Softmax, "call")]
    if hasattr(nn, "tf"):
        homes.append((nn.tf.nn, "softmax"))  # TensorFlow's own, which layers may call past Keras
    inside: list = []

    def outermost(as_it_is, heard):
        @functools.wraps(as_it_is)
        def stand_in(*args, **kwargs):
            made_here = not inside and threading.get_ident() == here and not getattr(SEEN_ELSEWHERE, "now", False)
            inside.append(stand_in)
            try:
                made = as_it_is(*args, **kwargs)
                return heard(made, *args, **kwargs) if made_here else made
            finally:
                inside.pop()

        return stand_in

    def of_softmax(made, x=None, axis=-1, **_):
        return softmax(made, -1 if axis is None else axis)

    def of_layer(made, layer, *_, **__):
        return softmax(made, layer.axis)

    def of_fused(made, query, key, value, bias=None, mask=None, scale=None, is_causal=False, **options):
        allowed = _allowed(query, key, mask, is_causal)
        cap = options.get("attn_logits_soft_cap")
        return fused(made, query, key, value, allowed, {"scale": scale, "bias": bias, "soft_cap": cap})

    with NORMALIZERS:
        before = [getattr(module, name) for module, name in homes]
        heard = {"dot_product_attention": of_fused, "call": of_layer, "softmax": of_softmax}
        for (module, name), as_it_is in zip(homes, before, strict=True):
            setattr(module, name, outermost(as_it_is, heard[name]))
        try:
            yield
        finally:
            for (module, name), as_it_is in zip(homes, before, strict=True):
                setattr(module, name, as_it_is)


@contextlib.contextmanager
def softmax_of_tensorflow():
    """Collect what TensorFlow's softmax makes on this thread: a list of tensors, empty on other backends."""
    made: list = []
    if not hasattr(backend.nn, "tf"):
        yield made
        return
    here, nn = threading.get_ident(), backend.nn.tf.nn

    def softmax(*args, **kwargs):
        weights = as_it_is(*args, **kwargs)
        if threading.get_ident() == here:
            made.append(weights)
        return weights

    with NORMALIZERS:
        as_it_is, nn.softmax = nn.softmax, softmax
        try:
            yield made
        finally:
            nn.softmax = as_it_is


@contextlib.contextmanager
def normalizers_left_alone():
    """No softmax inside the block is a call: its layer has another seam, which tells of it."""
    SEEN_ELSEWHERE.now = True
    try:
        yield
    finally:
        SEEN_ELSEWHERE.now = False


def _through_apply_scores(layer, calls):
    as_it_is = layer._apply_scores

    def apply_scores(scores, value, scores_mask=None, *args, **kwargs):
        calls.begin()
        context, weights = as_it_is(scores, value, scores_mask, *args, **kwargs)
        allowed = scores_mask
        if allowed is not None:
            allowed = ops.cast(allowed, "bool")
            allowed = allowed[:, None, None] if len(allowed.shape) == 2 else ops.expand_dims(allowed, 1)
        if calls.will_change:
            weights = calls.changed(ops.expand_dims(weights, 1), allowed)[:, 0]
            context = ops.matmul(weights, value)
        calls.see(Seen(ops.expand_dims(weights, 1), lambda: ops.expand_dims(value, 1), allowed))
        return context, weights

    return apply_scores


def _through_compute_attention(layer, calls):
    as_it_is = layer._compute_attention

    def compute_attention(query, key, value, attention_mask=None, training=None, *args, **kwargs):
        calls.begin()
        with normalizers_left_alone(), softmax_of_tensorflow() as made:
            context, weights = as_it_is(query, key, value, attention_mask, training, *args, **kwargs)
        if len(query.shape) != 4:  # over several axes at once: no map, which whoever asks for it is told
            calls.see(Seen(weights, values=lambda: None))
            return context, weights
        allowed = _allowed(query, key, attention_mask, kwargs.get("use_causal_mask", False))
        if weights is None and len(made) == 1:  # TensorFlow's fused path is made of operations, one of them this
            weights = ops.cast(made[0], query.dtype)
        if weights is None:  # others keep their weights to themselves
            weights = _fused_weights(layer, query, key, allowed)
        if calls.will_change:
            weights = calls.changed(weights, allowed)
            dropped = layer._dropout_layer(weights, training=training) if layer.dropout else weights
            context = ops.einsum("bhts,bshv->bthv", dropped, value)
        queries = None if attention_mask is None else ops.any(allowed, axis=(1, 3))
        calls.see(Seen(weights, lambda: _values_at_the_output(layer, value), allowed, query_allowed=queries))
        return context, weights

    return compute_attention


def _allowed(query, key, attention_mask, causal):
    """Which keys a query may see, (B, 1, T, S) or narrower, or None: queries are (B, T, H, D), keys (B, S, H, D)."""
    mask = attention_mask
    if mask is not None:
        mask = ops.cast(mask, "bool")
        mask = ops.expand_dims(mask, 1) if len(mask.shape) == 3 else mask
    if causal:
        row = ops.arange(ops.shape(query)[1])[:, None]
        mask = merge_masks(mask, ops.greater_equal(row, ops.arange(ops.shape(key)[1]))[None, None])
    return mask


def _fused_weights(layer, query, key, allowed):
    """The weights ``ops.dot_product_attention`` used: (B, T, H, D) and (B, S, H, D) to (B, H, T, S).

    A fully masked row is uniform here, as it is inside the fused path (the unfused one differs).
    """
    is_multi_head = isinstance(layer, keras.layers.MultiHeadAttention)
    scale = layer._inverse_sqrt_key_dim if is_multi_head else layer._inverse_sqrt_head_dim
    return softmax_seam.weights_of_fused(query, key, allowed, scale=scale)


def _values_at_the_output(layer, value):
    """Projected values (B, S, H, V) after each head's part of the output projection: (B, H, S, D)."""
    if layer.get_config().get("use_gate"):
        raise ModelError(
            f"The values of '{layer.name}' cannot come out: its gate differs from query to query. Leave it out with "
            "layers=."
        )
    kernel = own_seams.output_kernel(layer.name, layer._output_dense, value.dtype)  # (H, V, D) or (H, V, D, E)
    kernel = ops.reshape(kernel, (*kernel.shape[:2], -1))
    return ops.einsum("bshv,hvd->bhsd", value, kernel)


def inputs_of_calls(layer):
    """The symbolic tensors a layer was called with while graphs were built, call after call; [] where it was not."""
    return [tensor for node in layer._inbound_nodes for tensor in node.input_tensors]
