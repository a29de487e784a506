"""Biases of the scores that depend on where query and key stand: ALiBi, and learned ones.

Each is a small Keras layer over positions, so that it can learn and be asked for a few queries at a time.
"""

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.layers import arguments


class PositionBias(keras.layers.Layer):
    """Base of the biases: positions of queries and keys in, numbers to add to the scores out."""

    heads = None

    def build(self, heads):
        """Make ready for scores of ``heads`` heads, or None for scores without an axis of heads."""
        self.heads = heads
        self.built = True

    def call(self, rows, columns):
        """Bias (T, S), or (H, T, S) with heads, for queries at ``rows`` (T, 1) and keys at ``columns`` (S,)."""
        raise NotImplementedError(f"{type(self).__name__} must define call(rows, columns).")

    def get_build_config(self):
        return {"heads": self.heads} if self.built else None

    def build_from_config(self, config):
        self.build(config["heads"])


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class ALiBi(PositionBias):
    """Attention with linear biases: ``-m |t - s|``, with a slope m for each head.

    Parameters
    ----------
    slopes : sequence of float, optional
        One for each head; by default ``2^(-8 h / H)`` for h from 1 to H.

    References
    ----------
    Press, Smith and Lewis 2022, "Train short, test long" (arXiv:2108.12409), section 3; on both sides of the
    query as in its bidirectional form.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.positions import ALiBi
    >>> bias = ALiBi(slopes=[0.5])
    >>> bias.build(None)
    >>> np.array(bias(np.array([[0], [1]]), np.arange(3))).tolist()
    [[-0.0, -0.5, -1.0], [-0.5, -0.0, -0.5]]
    """

    def __init__(self, slopes=None, **kwargs):
        super().__init__(**kwargs)
        self.slopes = None if slopes is None else [float(slope) for slope in slopes]

    def build(self, heads):
        if self.slopes is not None and len(self.slopes) != (heads or 1):
            raise ArgumentError(f"slopes needs one number for each of {heads or 1} heads; received {self.slopes!r}.")
        super().build(heads)

    def call(self, rows, columns):
        count = self.heads or 1
        slopes = self.slopes or [2 ** (-8 * (head + 1) / count) for head in range(count)]
        distance = ops.cast(ops.abs(columns - rows), self.compute_dtype)  # (T, S)
        slopes = ops.cast(ops.array(slopes if self.heads else slopes[0]), self.compute_dtype)
        return -(ops.reshape(slopes, (-1, 1, 1)) * distance if self.heads else slopes * distance)

    def get_config(self):
        return {**super().get_config(), "slopes": self.slopes}


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class RelativeBias(PositionBias):
    """A learned number for every distance ``s - t``, for each head; far distances share the last one.

    Parameters
    ----------
    max_distance : int, default 128
        Distances beyond it count as it.
    initializer : str or keras.initializers.Initializer, default "zeros"

    References
    ----------
    Raffel et al. 2020, "Exploring the limits of transfer learning" (arXiv:1910.10683), section 2.1, with one bucket
    for each distance; Shaw, Uszkoreit and Vaswani 2018 (arXiv:1803.02155), section 3.2 (clipping).

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.positions import RelativeBias
    >>> bias = RelativeBias(max_distance=1, initializer="ones")
    >>> bias.build(2)
    >>> tuple(bias(np.array([[0], [1]]), np.arange(3)).shape)
    (2, 2, 3)
    """

    def __init__(self, max_distance=128, *, initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.max_distance = arguments.require_positive_integer("max_distance", max_distance)
        self.initializer = keras.initializers.get(initializer)

    def build(self, heads):
        shape = (2 * self.max_distance + 1, heads or 1)
        self.table = self.add_weight(name="table", shape=shape, initializer=self.initializer)
        super().build(heads)

    def call(self, rows, columns):
        distance = ops.clip(columns - rows, -self.max_distance, self.max_distance) + self.max_distance  # (T, S)
        bias = ops.take(ops.cast(self.table, self.compute_dtype), distance, axis=0)  # (T, S, H)
        return ops.moveaxis(bias, -1, 0) if self.heads else bias[..., 0]

    def get_config(self):
        return {
            **super().get_config(),
            "max_distance": self.max_distance,
            "initializer": keras.initializers.serialize(self.initializer),
        }


NAMES = {"alibi": ALiBi, "relative": RelativeBias}


def get(position_bias):
    """A position bias from its name, its configuration, or itself; None stays None.

    Parameters
    ----------
    position_bias : str, dict, PositionBias or None

    Returns
    -------
    PositionBias or None

    Raises
    ------
    ArgumentError
        An unknown name, or something else.

    Examples
    --------
    >>> from keras_attn_xai.layers import positions
    >>> positions.get("relative").max_distance
    128
    """
    return arguments.named_layer("position_bias", position_bias, NAMES, PositionBias, optional=True)


def total(position_bias, rows, keys, score_bias):
    """The sum of a layer's position bias and the bias of the call, either of which may be None."""
    if position_bias is None:
        return score_bias
    bias = position_bias(rows, ops.arange(ops.shape(keys)[-2]))
    return bias if score_bias is None else bias + ops.cast(score_bias, bias.dtype)
