"""What `Deep` will do with a model, before anything is run."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.capture.model_inputs import symbolic_inputs
from keras_attn_xai.errors import ModelError
from keras_attn_xai.explain.deep.engine import trace_walk

UNKNOWN = 2  # a length for axes that may have any


@dataclass(frozen=True)
class Preflight:
    """Operation types between a model's inputs and its outputs, each with how often it comes.

    Attributes
    ----------
    exact : dict of str to int
        With a rule that conserves.
    quadrature : dict of str to int
        Integrated along the line between their two inputs.
    blocking : dict of str to int
        Nothing passes: they make integers, or have no gradient.
    refused : dict of str to int
        Loops and branches of the graph; `Deep` raises.
    """

    exact: dict
    quadrature: dict
    blocking: dict
    refused: dict

    @property
    def ready(self):
        """Whether every operation has an exact rule."""
        return not (self.quadrature or self.blocking or self.refused)

    def __str__(self):
        parts = [
            ("exact rules", self.exact),
            ("by quadrature", self.quadrature),
            ("nothing passes", self.blocking),
            ("refused", self.refused),
        ]
        return "\n".join(
            f"{title}: {', '.join(f'{name} x{count}' for name, count in sorted(found.items()))}"
            for title, found in parts
            if found
        )


def preflight(model, inputs=None):
    """List the operations of a model by how `Deep` attributes through them. Nothing is run, the model is traced.

    Parameters
    ----------
    model : keras.Model
    inputs : array, or list or dict of them, optional
        Rows like those to be explained. Needed where Keras does not know the model's inputs, and for
        axes of any length, which count 2 otherwise.

    Returns
    -------
    Preflight

    Raises
    ------
    ModelError
        A subclassed model without ``inputs``.

    Examples
    --------
    >>> import keras
    >>> from keras_attn_xai.explain.deep import preflight
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    >>> preflight(model).exact["Softmax"]
    1
    """
    if inputs is None:
        symbolic = symbolic_inputs(model)
        if symbolic is None:
            raise ModelError(
                f"Keras does not know the inputs of '{model.name}'; pass inputs= with rows like those to be explained."
            )
        inputs = tf.nest.map_structure(
            lambda one: np.zeros([1, *(n or UNKNOWN for n in one.shape[1:])], tf.as_dtype(one.dtype).as_numpy_dtype),
            symbolic,
        )
    walk = trace_walk(lambda rows: _everything(model(rows, training=False)), inputs, all_layers(model))
    return Preflight(walk.exact, walk.quadrature, walk.blocking, walk.refused)


def _everything(outputs):
    """One number per row that depends on every output."""
    numbers = [tf.cast(one, tf.float32) for one in tf.nest.flatten(outputs) if one.dtype.is_floating]
    return tf.add_n([tf.reduce_sum(one, axis=list(range(1, one.shape.rank))) for one in numbers])
