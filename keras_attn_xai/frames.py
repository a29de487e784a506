"""Where pandas comes from, which only those who ask for a data frame need."""

import importlib

from keras_attn_xai.errors import MissingExtraError


def pandas_for(instead):
    """The module pandas.

    Parameters
    ----------
    instead : str
        Where the numbers are for those who do not have it, as ".rows".

    Returns
    -------
    module

    Raises
    ------
    MissingExtraError
        pandas is not installed.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError:
        raise MissingExtraError(f"to_frame needs pandas: pip install pandas. The numbers are in {instead}.") from None
