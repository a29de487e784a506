"""A SavedModel that answers with its attention."""

import contextlib
import logging
from pathlib import Path

import keras
import numpy as np

from keras_attn_xai.capture.expose import expose_attention
from keras_attn_xai.capture.seams import is_functional
from keras_attn_xai.errors import ModelError
from keras_attn_xai.writing import whole_folder


def export_saved_model(model, path, *, example=None):
    """Write a SavedModel whose signature returns the prediction and the attention by name.

    Parameters
    ----------
    model : keras.Model
        With attention; a view made by `expose_attention` is written as it is. Not changed.
    path : str or path
        The folder to write; a SavedModel already there is replaced, anything else is refused.
    example : array, list or dict of arrays, optional
        Rows as the model takes them; needed for a subclassed model, whose inputs Keras does not know.
        Its batch axis is left open.

    Returns
    -------
    pathlib.Path
        The folder. Load it anywhere with ``tf.saved_model.load(path).signatures["serving_default"]``;
        Keras is not needed. The outputs are those of `expose_attention`.

    Raises
    ------
    ModelError
        No attention, or a subclassed model without an example.
    FileExistsError
        Something that is not a SavedModel is at ``path``.

    Examples
    --------
    >>> import keras, numpy as np, tempfile, tensorflow as tf
    >>> from keras_attn_xai import export_saved_model
    >>> from keras_attn_xai.layers import LuongAttention
    >>> model = keras.Sequential([keras.Input((5, 3), name="x"), LuongAttention(return_weights=False, name="luong")])
    >>> path = export_saved_model(model, tempfile.mkdtemp() + "/served")
    >>> serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    >>> sorted(serve(x=np.zeros((2, 5, 3), "float32")))
    ['attention/luong', 'output']
    """
    view = expose_attention(model)
    signature = None
    if not is_functional(view):
        if example is None:
            raise ModelError(
                f"The model '{model.name}' is subclassed, so Keras does not know its inputs: pass example=, a few rows "
                "as the model takes them."
            )
        example = keras.tree.map_structure(np.asarray, example)
        view(example, training=False)
        signature = [keras.tree.map_structure(_open_batch, example)]
    with whole_folder(path, ours="saved_model.pb") as folder, _quiet_tensorflow():
        view.export(str(folder), format="tf_saved_model", verbose=False, input_signature=signature)
    return Path(path)


@contextlib.contextmanager
def _quiet_tensorflow():
    """Without the line that names the temporary folder; warnings still come through."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


def _open_batch(array):
    return keras.InputSpec(shape=(None, *array.shape[1:]), dtype=keras.backend.standardize_dtype(array.dtype))
