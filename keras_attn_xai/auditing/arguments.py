"""What the tests of an audit ask of their numbers."""

import numpy as np

from keras_attn_xai.errors import ArgumentError


def require_count(name, number):
    """Raise unless it is an integer of at least 1."""
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
        raise ArgumentError(f"{name} must be a positive integer; received {number!r}.")


def require_share(name, number):
    """Raise unless it lies between 0 and 1."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < 1:
        raise ArgumentError(f"{name} must be a number between 0 and 1; received {number!r}.")
