"""Where the weights of our own layers are seen, and where they can be changed before they meet the values.

=========================  ==============  ================  =========================================
layer                      seen in         changed in        the weights are
=========================  ==============  ================  =========================================
``AttentionLayer``         ``attend``      ``attend_block``  (B, T, S), with heads (B, H, T, S)
``AttentionPooling``       ``attend``      ``weigh``         a map of one query, a query a hop, a head
``AttentionDecoder``       ``attend_all``  ``attend_step``   (B, T, S) of all steps, (B, S) of one
=========================  ==============  ================  =========================================

Each function returns the methods that stand in for the layer's own, by name.
"""

from keras import ops

from keras_attn_xai.capture.calls import Seen
from keras_attn_xai.errors import ModelError
from keras_attn_xai.layers import AttentionDecoder, AttentionPooling, LuongAttention, MultiHeadAttention, functional
from keras_attn_xai.layers.multi_head import heads_first


def replacements(layer, calls):
    """The methods of one of our layers with ``calls`` in them, by name."""
    if isinstance(layer, AttentionDecoder):
        return _of_decoder(layer, calls)
    if isinstance(layer, AttentionPooling):
        return _of_pooling(layer, calls)
    return _of_attention(layer, calls)


def with_heads(weights):
    """(B, T, S) as (B, 1, T, S); with heads as it is."""
    return weights if len(weights.shape) == 4 else ops.expand_dims(weights, 1)


def _of_attention(layer, calls):
    attend_as_it_is, block_as_it_is = layer.attend, layer.attend_block

    def attend(query, value, *args, mask=None, head_mask=None, **kwargs):
        calls.begin()
        gates = {} if head_mask is None else {"head_mask": head_mask}
        attended = attend_as_it_is(query, value, *args, mask=mask, **gates, **kwargs)
        weights = with_heads(attended.weights)
        allowed = None if mask is None else ops.expand_dims(mask, 1)
        calls.see(
            Seen(
                weights,
                values=lambda: _values_of_attention(layer, value, head_mask),
                allowed=allowed,
                query_allowed=_of_itself(mask) if query is value else None,
                indices=None if attended.indices is None else with_heads(attended.indices),
                positions=ops.shape(value)[1],
            )
        )
        return attended

    def attend_block(query, value, keys, *, rows, mask=None, score_bias=None, training=None):
        options = {} if score_bias is None else {"score_bias": score_bias}
        attended = block_as_it_is(query, value, keys, rows=rows, mask=mask, training=training, **options)
        if not calls.will_change:
            return attended
        narrower = score_bias is not None or (isinstance(layer, LuongAttention) and layer.window)
        return _changed(calls, layer, attended, value, mask, rows[:, 0], narrower=narrower, training=training)

    return {"attend": attend, "attend_block": attend_block}


def _of_itself(mask):
    """The keys that any query may see, (B, S): in self-attention they are the queries that are real."""
    return None if mask is None else ops.any(mask, axis=1)


def _changed(calls, layer, attended, value, mask, rows, *, narrower, training):
    """What was attended, after the change of the weights."""
    weights = with_heads(attended.weights)
    allowed = mask if mask is None or len(mask.shape) == 4 else ops.expand_dims(mask, 1)
    if narrower:  # a window, or a bias of minus infinity: what it took away has no weight
        allowed = functional.merge_masks(allowed, ops.greater(weights, 0))
    weights = calls.changed(weights, allowed, rows)
    weights = weights if len(attended.weights.shape) == 4 else weights[:, 0]
    dropped = layer.drop(weights, training)
    return attended._replace(weights=weights, dropped=dropped, context=functional.weighted_sum(dropped, value))


def _values_of_attention(layer, value, head_mask):
    if not isinstance(layer, MultiHeadAttention):
        return ops.expand_dims(value, 1)
    heads = layer.shared_heads(heads_first(layer.value_dense(value)))  # (B, H, S, V)
    if head_mask is not None:
        heads = heads * layer.gates(head_mask, heads)
    return ops.einsum("bhsv,hvd->bhsd", heads, output_kernel(layer.name, layer.output_dense, heads.dtype))


def output_kernel(name, dense, dtype):
    """The matrix (H, V, D) that brings heads together.

    Raises
    ------
    ModelError
        It is quantised: its integers are no matrix.
    """
    if not str(dense.kernel.dtype).startswith(("float", "bfloat")):
        raise ModelError(f"The values of '{name}' cannot come out: its output projection is quantised to integers.")
    return ops.cast(dense.kernel, dtype)


def _of_pooling(layer, calls):
    attend_as_it_is, weigh_as_it_is = layer.attend, layer.weigh

    def attend(inputs, *, mask=None, **kwargs):
        calls.begin()
        attended = attend_as_it_is(inputs, mask=mask, **kwargs)
        indices = None if attended.indices is None else layer.as_map(attended.indices)
        calls.see(
            Seen(
                layer.as_map(attended.weights),
                values=lambda: _values_of_pooling(layer, inputs),
                allowed=None if mask is None else layer.as_map(mask) if len(mask.shape) == 3 else mask[:, None, None],
                indices=indices,
                positions=ops.shape(inputs)[-2],
            )
        )
        return attended

    def weigh(scores, mask=None, *, training=None, **kwargs):
        scores, weights, dropped = weigh_as_it_is(scores, mask, training=training, **kwargs)
        if not calls.will_change:
            return scores, weights, dropped
        if layer.score_kind == "query":  # (B, H, 1, S)
            weights = calls.changed(weights, mask)
        elif len(weights.shape) == 3:  # (B, 1, S) or (B, R, S)
            weights = calls.changed(weights[:, None], None if mask is None else mask[:, None])[:, 0]
        else:  # (B, N, 1, S)
            swapped = None if mask is None else ops.swapaxes(mask, 1, 2)
            weights = ops.swapaxes(calls.changed(ops.swapaxes(weights, 1, 2), swapped), 1, 2)
        return scores, weights, layer.drop(weights, training)

    return {"attend": attend, "weigh": weigh}


def _values_of_pooling(layer, inputs):
    if len(inputs.shape) == 4:
        raise ModelError(
            f"The values of '{layer.name}' cannot come out: each of its sequences has values of its own, and a map has "
            "one set for all its queries. Leave the layer out with layers=."
        )
    if layer.score_kind != "query":
        return ops.expand_dims(inputs, 1)
    heads = layer.value_dense(inputs)  # (B, H, S, U)
    return ops.einsum("bhsu,huv->bhsv", heads, output_kernel(layer.name, layer.output_dense, heads.dtype))


def _of_decoder(layer, calls):
    all_as_it_is, step_as_it_is = layer.attend_all, layer.attend_step

    def attend_all(inputs, memory, *, mask=None, memory_mask=None, **kwargs):
        calls.begin()
        decoded = all_as_it_is(inputs, memory, mask=mask, memory_mask=memory_mask, **kwargs)
        allowed = None if memory_mask is None else memory_mask[:, None, None]
        values = ops.expand_dims(memory, 1)
        calls.see(Seen(decoded.weights[:, None], lambda: values, allowed, query_allowed=mask))
        return decoded

    def attend_step(query, state, kept=None):
        attended = step_as_it_is(query, state, kept)
        if not calls.will_change:
            return attended
        allowed = state.mask[:, None, None]
        if layer.monotonic:
            allowed = ops.logical_and(allowed, ops.greater(attended.weights, 0)[:, None, None])
        weights = calls.changed(attended.weights[:, None, None], allowed, state.carried.position[0])[:, 0, 0]
        dropped = weights if kept is None else weights * ops.cast(kept, weights.dtype)
        context = functional.weighted_sum(dropped[:, None], state.memory)[:, 0]
        return attended._replace(context=ops.cast(context, layer.compute_dtype), weights=weights, dropped=dropped)

    return {"attend_all": attend_all, "attend_step": attend_step}
