"""Keras' multi-head layers with the mask handling of the layers here: same arguments, same weights.

A mask is read when the layer is called and meets the scores as an explicit argument; the tensors
keep theirs. The query's mask changes no weight and becomes the mask of the context.
"""

import keras
from keras import ops

from keras_attn_xai.layers.functional import merge_masks
from keras_attn_xai.layers.keras_mask import attach_mask, attached_mask, without_masks


class _KeepsMasks(keras.layers.Layer):
    """What both layers do around the ``call`` of Keras'."""

    def __call__(self, *args, **kwargs):
        """Call, and let the context have the query's mask, also one that was given explicitly."""
        outputs = super().__call__(*args, **kwargs)
        attach_mask(keras.tree.flatten(outputs)[0], kwargs.get("query_mask"))
        return outputs

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
    ):
        """As Keras' own; True in a mask keeps."""
        own = attached_mask(query) if query_mask is None else query_mask
        value_mask = attached_mask(value) if value_mask is None else value_mask
        key_mask = attached_mask(key) if key_mask is None and key is not None else key_mask
        with without_masks(query, value, key):
            outputs = super().call(
                query,
                value,
                key=key,
                attention_mask=_over_keys(attention_mask, value_mask, key_mask),
                return_attention_scores=return_attention_scores,
                training=training,
                use_causal_mask=use_causal_mask,
            )
        attach_mask(keras.tree.flatten(outputs)[0], own)
        return outputs


def _over_keys(attention_mask, *masks):
    """Masks of keys (B, S) and one of queries and keys as one mask, or None if there is none."""
    keeps = [ops.cast(mask, "bool") for mask in masks if mask is not None]
    if attention_mask is not None:
        attention_mask = ops.cast(attention_mask, "bool")
    heads = attention_mask is not None and len(attention_mask.shape) == 4
    keys = [mask[:, None, None] if heads else ops.expand_dims(mask, -2) for mask in keeps]
    return merge_masks(attention_mask, *keys)


# The classes are named as those of Keras, because weights are saved under the names of classes: a saved copy and a
# saved original read each other's.


@keras.saving.register_keras_serializable(package="keras_attn_xai", name="MaskKeepingMultiHeadAttention")
class MultiHeadAttention(_KeepsMasks, keras.layers.MultiHeadAttention):
    """``keras.layers.MultiHeadAttention`` that leaves the masks on the tensors it reads."""


@keras.saving.register_keras_serializable(package="keras_attn_xai", name="MaskKeepingGroupQueryAttention")
class GroupedQueryAttention(_KeepsMasks, keras.layers.GroupQueryAttention):
    """``keras.layers.GroupQueryAttention`` that leaves the masks on the tensors it reads."""


KEEPING = {
    keras.layers.MultiHeadAttention: MultiHeadAttention,
    keras.layers.GroupQueryAttention: GroupedQueryAttention,
}


def keep_masks(layer):
    """Let a layer of Keras become its mask-keeping form, in place; other layers stay what they are."""
    kind = KEEPING.get(type(layer))
    if kind is not None:
        object.__setattr__(layer, "__class__", kind)  # same attributes, other methods; past Keras' tracking
    return layer
