"""Attention that learns projections: the Dense sublayers and the arguments that shape them."""

import keras
from keras import ops

from keras_attn_xai.layers import arguments
from keras_attn_xai.layers.attention_layer import AttentionLayer


class ProjectedAttention(AttentionLayer):
    """Base of the layers with weights of their own.

    Parameters
    ----------
    use_bias : bool, default False
        Add a bias to the query's projection.
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, \
    kernel_constraint, bias_constraint
        As in ``keras.layers.Dense``; for every projection alike.
    **kwargs
        See `AttentionLayer`.
    """

    fixed_features: tuple[str, ...] = ("query", "key")

    def __init__(
        self,
        *,
        use_bias=False,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    def project_keys(self, key):
        """Keys (B, S, K) as `score` takes them; needs weights, so the first call or `build` comes before."""
        arguments.require_weights(self, "project_keys", "query_shape, value_shape, key_shape")
        return self.key_dense(key)

    def projection(self, units, name, input_shape, *, use_bias=False):
        """A built Dense sublayer; projections live in Dense so that quantisation and LoRA find them."""
        return self._built(keras.layers.Dense(units, name=name, **self._dense_arguments(use_bias)), input_shape)

    def einsum_projection(self, equation, output_shape, bias_axes, name, input_shape):
        """A built EinsumDense sublayer, for projections to and from heads."""
        bias_axes = bias_axes if self.use_bias else None
        given = self._dense_arguments(self.use_bias)
        del given["use_bias"]
        dense = keras.layers.EinsumDense(equation, output_shape, bias_axes=bias_axes, name=name, **given)
        dense.supports_masking = True  # positions stay where they are; Keras would warn about a mask it loses
        return self._built(dense, input_shape)

    def vector_of(self, dense, units):
        """The vector (U,) a Dense of one unit multiplies by, also when it is quantised or adapted by LoRA."""
        return ops.squeeze(dense(ops.eye(units, dtype=self.compute_dtype)), -1)

    def _built(self, dense, input_shape):
        dense.build(input_shape)
        return dense

    def _dense_arguments(self, use_bias):
        return {
            "use_bias": use_bias,
            # a fresh copy each: one unseeded initializer would give every projection the same numbers
            "kernel_initializer": keras.initializers.get(keras.initializers.serialize(self.kernel_initializer)),
            "bias_initializer": self.bias_initializer,
            "kernel_regularizer": self.kernel_regularizer,
            "bias_regularizer": self.bias_regularizer if use_bias else None,
            "kernel_constraint": self.kernel_constraint,
            "bias_constraint": self.bias_constraint if use_bias else None,
            "dtype": self.dtype_policy,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
