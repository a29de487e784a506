"""A second model around a first: the same prediction, its attention brought out, or changed on the way."""

import keras

from keras_attn_xai.capture import seams
from keras_attn_xai.capture.locate import attention_layers
from keras_attn_xai.capture.model_inputs import symbolic_inputs
from keras_attn_xai.capture.record import call_with_selection, named_outputs
from keras_attn_xai.capture.selection import EVERYTHING, Selection
from keras_attn_xai.errors import ModelError


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class AttentionCapture(keras.layers.Layer):
    """A model as a layer that shows its attention, changes it, or both.

    Parameters
    ----------
    model : keras.Model
        Shared, not copied: its weights are the layer's weights.
    selection : Selection, dict of its fields or None
        What comes out, in a flat dict with the model's own outputs. None: the outputs as the model
        gives them. Without the argument: all maps.
    changes : dict of str to Change, optional
        By call name, what is done to the weights before they meet the values.
    """

    def __init__(self, model, selection=EVERYTHING, changes=None, **kwargs):
        super().__init__(**kwargs)
        self.model = model
        # not as attributes of their own, for Keras would track and wrap what they hold
        self._parts = (selection, dict(changes or {}))
        self.supports_masking = True

    @property
    def shown_model(self):
        """The model whose parts keep their names, as if this layer were not around it."""
        return self.model

    @property
    def selection(self):
        """What comes out."""
        return self._parts[0]

    @property
    def changes(self):
        """What is done to the weights."""
        return self._parts[1]

    def call(self, inputs, training=None):
        outputs, shown = call_with_selection(
            self.model, inputs, self.selection, changes=self.changes, training=training
        )
        return outputs if self.selection is None else named_outputs(self.model, outputs) | shown

    def compute_mask(self, inputs, previous_mask=None):
        """None: the outputs leave the model here."""
        return

    def build(self, input_shape):
        self.built = True

    def get_config(self):
        return {**super().get_config(), **self.parts_config()}

    def parts_config(self):
        """The model, the selection and the changes, for saving."""
        serialize = keras.saving.serialize_keras_object
        return {
            "model": serialize(self.model),
            "selection": None if self.selection is None else self.selection.get_config(),
            "changes": {call: serialize(change) for call, change in self.changes.items()},
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, **_parts_from(config)})


def _parts_from(config, custom_objects=None):
    """Model, selection and changes of `AttentionCapture.parts_config`."""
    make = keras.saving.deserialize_keras_object
    parts = {"model": make(config["model"], custom_objects=custom_objects)}
    if "selection" in config:  # files of version 0.1 have none
        given = config["selection"]
        parts["selection"] = given if given is None else Selection(**_with_tuples(given))
        parts["changes"] = {call: make(one) for call, one in config["changes"].items()}
    return parts


def _with_tuples(given):
    """The fields of a Selection as they were before JSON made lists of tuples."""
    return {
        name: {call: tuple(some) for call, some in one.items()}
        if isinstance(one, dict)
        else tuple(one)
        if isinstance(one, list)
        else one
        for name, one in given.items()
    }


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class AttentionView(keras.Model):
    """The view of a model whose inputs Keras does not know beforehand (a subclassed one)."""

    def __init__(self, model, selection=EVERYTHING, changes=None, **kwargs):
        super().__init__(**kwargs)
        self.capture = AttentionCapture(model, selection, changes, name="capture")

    def call(self, inputs, training=None):
        return self.capture(inputs, training=training)

    def get_config(self):
        return {"name": self.name, "trainable": self.trainable, **self.capture.parts_config()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**{**config, **_parts_from(config, custom_objects)})


def view_of(model, selection, changes, *, name):
    """The view of a model: a Functional where the inputs are known."""
    if not (isinstance(model, keras.Sequential) or seams.is_functional(model)):
        return AttentionView(model, selection, changes, name=name)
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name),
        symbolic_inputs(model),
    )
    return keras.Model(inputs, AttentionCapture(model, selection, changes, name="capture")(inputs), name=name)


def capture_of(model):
    """The one layer of a view, or None if the model is no view."""
    layers = [part for part in model.layers if not isinstance(part, keras.layers.InputLayer)]
    return layers[0] if len(layers) == 1 and isinstance(layers[0], AttentionCapture) else None


def opened(model, asker):
    """What a view was made of, or a model that is none: itself, nothing selected, no changes.

    Parameters
    ----------
    model : keras.Model
    asker : str
        The public function, for messages.

    Returns
    -------
    model : keras.Model
        With attention, and built if it is a Sequential.
    selection : Selection or None
    changes : dict of str to Change

    Raises
    ------
    ModelError
        No model, no attention in it, or a Sequential without an input shape.
    """
    if not isinstance(model, keras.Model):
        raise ModelError(f"{asker} takes a keras.Model; received {type(model).__name__}.")
    capture = capture_of(model)
    if capture is not None:
        return capture.model, capture.selection, capture.changes
    if not attention_layers(model):
        raise ModelError(
            f"The model '{model.name}' has no attention layer: nothing in it is one of keras_attn_xai.layers, "
            "keras.layers.Attention, AdditiveAttention, MultiHeadAttention or GroupQueryAttention, and no other "
            "layer's class has attention in its name."
        )
    refuse_unbuilt_sequential(model)
    return model, None, {}


def refuse_unbuilt_sequential(model):
    """Raise for a Sequential that has not seen its input: it has no graph to look into."""
    if isinstance(model, keras.Sequential) and not model.built:
        raise ModelError(
            f"The Sequential '{model.name}' does not know its input yet; start it with keras.Input, or call it once."
        )
