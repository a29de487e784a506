"""Losses on attention weights: how spread out, how alike, how diagonal, how often on the same key.

Each is a Keras regulariser with a strength, for the ``weights_regularizer=`` of any layer here.
"""

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.layers import functional


class WeightsRegularizer(keras.regularizers.Regularizer):
    """Base: subclasses say what one query costs.

    Parameters
    ----------
    strength : float, default 0.01
        Multiplies the mean over all queries (and heads).
    """

    def __init__(self, strength=0.01):
        self.strength = strength

    def __call__(self, weights, query_mask=None):
        """The penalty, a scalar.

        Parameters
        ----------
        weights : tensor (..., T, S)
        query_mask : bool tensor (B, T), optional
            Queries that count.
        """
        weights = ops.convert_to_tensor(weights)
        cost = self.cost(weights, query_mask)  # (..., T)
        if query_mask is None:
            return self.strength * ops.mean(cost)
        counts = ops.cast(_along(query_mask, cost), cost.dtype) * ops.ones_like(cost)
        return self.strength * ops.sum(cost * counts) / ops.maximum(ops.sum(counts), 1)

    def cost(self, weights, query_mask):
        """Costs (..., T) of the weights (..., T, S) of each query."""
        raise NotImplementedError(f"{type(self).__name__} must define cost(weights, query_mask).")

    def get_config(self):
        return {"strength": self.strength}


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class Entropy(WeightsRegularizer):
    """The entropy of each query's weights, in nats: a positive strength makes attention sharper, a negative wider.

    Parameters
    ----------
    strength : float, default 0.01

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.weights_regularizers import Entropy
    >>> round(float(Entropy(1.0)(np.array([[[0.5, 0.5, 0.0]]]))), 4)  # log 2
    0.6931
    """

    def cost(self, weights, query_mask):
        positive = ops.greater(weights, 0)
        return -ops.sum(weights * ops.log(ops.where(positive, weights, 1)), axis=-1)


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class Orthogonality(WeightsRegularizer):
    """``||A A^T - I||_F^2``, spread over the queries: each should look at one key, and no two at the same.

    Parameters
    ----------
    strength : float, default 0.01

    References
    ----------
    Lin et al. 2017, "A structured self-attentive sentence embedding" (arXiv:1703.03130), eq. 8.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.weights_regularizers import Orthogonality
    >>> float(Orthogonality(1.0)(np.eye(2)[None])), float(Orthogonality(1.0)(np.ones((1, 2, 1))))
    (0.0, 1.0)
    """

    def cost(self, weights, query_mask):
        product = ops.matmul(weights, ops.swapaxes(weights, -2, -1))  # (..., T, T)
        square = ops.square(product - ops.eye(ops.shape(weights)[-2], dtype=weights.dtype))
        if query_mask is not None:
            square = square * ops.cast(ops.expand_dims(_along(query_mask, square[..., 0]), -2), square.dtype)
        return ops.sum(square, axis=-1)


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class L1(WeightsRegularizer):
    """The sum of each query's weights, for normalisers that do not fix it, such as the sigmoid gate.

    Parameters
    ----------
    strength : float, default 0.01

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.weights_regularizers import L1
    >>> float(L1(1.0)(np.array([[[0.5, 1.0, 0.0]]])))
    1.5
    """

    def cost(self, weights, query_mask):
        return ops.sum(ops.abs(weights), axis=-1)


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class GuidedAlignment(WeightsRegularizer):
    """Weight far from the diagonal: ``sum_s a_ts (1 - exp(-(t/T - s/S)^2 / (2 g^2)))``, for inputs in the same order.

    Parameters
    ----------
    strength : float, default 0.01
    width : float, default 0.2
        The g of the formula, as a share of the length.

    Notes
    -----
    T and S are the lengths of the batch, so rows should be of similar length. For alignments that are known, give
    the layer's weights a loss of their own: they are an output, and ``keras.losses.CategoricalCrossentropy`` over
    keys is the guided alignment of Chen et al. 2016 (arXiv:1607.01628), eq. 4.

    References
    ----------
    Tachibana, Uenoyama and Aihara 2018 (arXiv:1710.08969), section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.weights_regularizers import GuidedAlignment
    >>> penalise, straight = GuidedAlignment(1.0), np.eye(4)[None]
    >>> float(penalise(straight)), float(penalise(straight[:, ::-1])) > 0.5
    (0.0, True)
    """

    def __init__(self, strength=0.01, *, width=0.2):
        super().__init__(strength)
        if not width > 0:
            raise ArgumentError(f"width must be positive; received {width!r}.")
        self.width = width

    def cost(self, weights, query_mask):
        def share(axis):
            count = ops.shape(weights)[axis]
            return ops.cast(ops.arange(count), weights.dtype) / ops.cast(count, weights.dtype)

        apart = ops.expand_dims(share(-2), -1) - share(-1)  # (T, S)
        return ops.sum(weights * (1 - ops.exp(-ops.square(apart) / (2 * self.width**2))), axis=-1)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class Coverage(WeightsRegularizer):
    """Looking where earlier queries looked: ``sum_s min(a_ts, sum_{t' < t} a_t's)``.

    Parameters
    ----------
    strength : float, default 0.01

    References
    ----------
    See, Liu and Manning 2017, "Get to the point" (arXiv:1704.04368), eq. 10 and 12.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.weights_regularizers import Coverage
    >>> float(Coverage(1.0)(np.array([[[1.0, 0.0], [0.5, 0.5]]])))  # half of the second query, over two queries
    0.25
    """

    def cost(self, weights, query_mask):
        if query_mask is not None:
            weights = weights * ops.cast(ops.expand_dims(_along(query_mask, weights[..., 0]), -1), weights.dtype)
        covered = ops.maximum(ops.cumsum(weights, axis=-2) - weights, 0)
        return ops.sum(ops.minimum(weights, covered), axis=-1)


NAMES = {
    "entropy": Entropy,
    "orthogonality": Orthogonality,
    "l1": L1,
    "guided_alignment": GuidedAlignment,
    "coverage": Coverage,
}


def get(regularizer):
    """A regulariser of weights from its name, its configuration, or itself; None stays None.

    Parameters
    ----------
    regularizer : str, dict, callable or None
        A Keras regulariser serves as well; it is given the weights.

    Returns
    -------
    keras.regularizers.Regularizer, callable or None

    Raises
    ------
    ArgumentError
        An unknown name.

    Examples
    --------
    >>> from keras_attn_xai.layers import weights_regularizers
    >>> weights_regularizers.get("coverage").strength
    0.01
    """
    if isinstance(regularizer, str):
        if regularizer not in NAMES:
            raise ArgumentError(
                f"weights_regularizer must be one of {', '.join(map(repr, NAMES))} or an instance; received "
                f"{regularizer!r}."
            )
        return NAMES[regularizer]()
    return keras.regularizers.get(regularizer)


def penalty(regularizer, weights, query_mask=None):
    """The loss of the weights, in float32 at least."""
    weights = ops.cast(weights, functional.accumulation_dtype(weights.dtype))
    if isinstance(regularizer, WeightsRegularizer):
        return regularizer(weights, query_mask)
    return regularizer(weights)


def _along(query_mask, cost):
    """A mask (B, T) beside costs (B, T) or, with heads, (B, H, T)."""
    return ops.expand_dims(query_mask, 1) if len(cost.shape) == 3 else query_mask
