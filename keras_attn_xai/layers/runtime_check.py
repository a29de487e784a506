"""The check behind ``fully_masked="error"``: a row without a key raises while the model runs.

``keras.ops`` has no assertion, so this one file asks the running backend's own.
"""

import sys

import keras
from keras import ops

from keras_attn_xai.errors import MaskError


def require_a_key_per_row(mask, name):
    """Return ``mask``, or fail if one of its rows keeps no key.

    Parameters
    ----------
    mask : bool tensor (..., S)
    name : str
        The layer, for the message.

    Raises
    ------
    MaskError
        Eagerly. In a TensorFlow graph the same sentence comes as an InvalidArgumentError; in other
        compiled code nothing is raised.
    """
    message = (
        f"{name}: a row has every key masked and fully_masked='error'. Drop empty rows, or build the layer "
        "with fully_masked='zero' or 'uniform'."
    )
    complete = ops.all(ops.any(mask, axis=-1))
    try:
        failed = not bool(complete)
    except Exception as error:  # symbolic: no value yet; each backend has a class of its own for that
        if keras.backend.backend() != "tensorflow":
            return mask
        tensorflow = sys.modules["tensorflow"]
        if not isinstance(error, TypeError):  # OperatorNotAllowedInGraphError is one
            raise
        with tensorflow.control_dependencies([tensorflow.debugging.Assert(complete, [message])]):
            return tensorflow.identity(mask)
    if failed:
        raise MaskError(message)
    return mask
