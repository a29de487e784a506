"""A second model whose attention is a real output."""

import keras

from keras_attn_xai.capture import seams
from keras_attn_xai.capture.locate import attention_layers
from keras_attn_xai.capture.record import PREFIX, call_with_attention, named_outputs
from keras_attn_xai.errors import ModelError


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class AttentionCapture(keras.layers.Layer):
    """A model as a layer whose output is a flat dict of predictions and attention weights.

    Parameters
    ----------
    model : keras.Model
        Shared, not copied: its weights are the layer's weights.
    """

    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        self.model = model
        self.supports_masking = True

    def call(self, inputs, training=None):
        outputs, weights = call_with_attention(self.model, inputs, training=training)
        return named_outputs(self.model, outputs) | {PREFIX + name: tensor for name, tensor in weights.items()}

    def compute_mask(self, inputs, previous_mask=None):
        """None: the outputs leave the model here."""
        return

    def build(self, input_shape):
        self.built = True

    def get_config(self):
        return {**super().get_config(), "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "model": keras.saving.deserialize_keras_object(config["model"])})


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class AttentionView(keras.Model):
    """The view of a model whose inputs Keras does not know beforehand (a subclassed one)."""

    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        self.capture = AttentionCapture(model, name="capture")

    def call(self, inputs, training=None):
        return self.capture(inputs, training=training)

    def get_config(self):
        model = keras.saving.serialize_keras_object(self.capture.model)
        return {"name": self.name, "trainable": self.trainable, "model": model}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects)
        return cls(**{**config, "model": model})


def expose_attention(model):
    """A model with the same prediction that also returns its attention.

    Parameters
    ----------
    model : keras.Model
        Functional, Sequential, subclassed or nested, with layers of this package or
        ``keras.layers.Attention``, ``AdditiveAttention``, ``MultiHeadAttention``, ``GroupQueryAttention``.
        It is not changed. Weights are shared, so training either trains both.

    Returns
    -------
    keras.Model
        Its output is a flat dict: the model's own outputs (a single one is ``"output"``) and one
        ``"attention/<call name>"`` of shape (B, H, T, S) for every attention call, H = 1 for
        single-head layers; each row sums to 1, or to 0 where the layer leaves a row without keys
        empty. A call name is the path of layer names, ``encoder/mha``; a layer's second call is
        ``encoder/mha#1``. The view predicts, trains, saves, reloads and exports as any Keras model.

    Raises
    ------
    ModelError
        There is no attention in the model, or a Sequential has no input shape yet.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import expose_attention
    >>> from keras_attn_xai.layers import LuongAttention
    >>> model = keras.Sequential(
    ...     [keras.Input((5, 3)), LuongAttention(return_weights=False, name="luong"), keras.layers.Dense(1)]
    ... )
    >>> outputs = expose_attention(model)(np.zeros((2, 5, 3)))
    >>> {name: tuple(tensor.shape) for name, tensor in outputs.items()}
    {'output': (2, 5, 1), 'attention/luong': (2, 1, 5, 5)}
    """
    if not isinstance(model, keras.Model):
        raise ModelError(f"expose_attention takes a keras.Model; received {type(model).__name__}.")
    if viewed(model) is not None:
        return model
    if not attention_layers(model):
        raise ModelError(
            f"The model '{model.name}' has no attention layer: nothing in it is one of keras_attn_xai.layers, "
            "keras.layers.Attention, AdditiveAttention, MultiHeadAttention or GroupQueryAttention."
        )
    refuse_unbuilt_sequential(model)
    name = f"{model.name}_with_attention"
    if not (isinstance(model, keras.Sequential) or seams.is_functional(model)):
        return AttentionView(model, name=name)
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name),
        input_structure(model),
    )
    return keras.Model(inputs, AttentionCapture(model, name="capture")(inputs), name=name)


def refuse_unbuilt_sequential(model):
    """Raise for a Sequential that has not seen its input: it has no graph to look into."""
    if isinstance(model, keras.Sequential) and not model.built:
        raise ModelError(
            f"The Sequential '{model.name}' does not know its input yet; start it with keras.Input, or call it once."
        )


def input_structure(model):
    """The symbolic inputs of a Functional or built Sequential, in the structure the user calls it with."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0]
    inputs = model.input
    return inputs[0] if isinstance(inputs, (list, tuple)) and len(inputs) == 1 else inputs


def viewed(model):
    """The model behind a view made by `expose_attention`, or None if it is not one."""
    return next((part.model for part in model.layers if isinstance(part, AttentionCapture)), None)
