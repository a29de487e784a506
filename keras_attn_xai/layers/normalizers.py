"""What turns scores into weights: softmax, its sparse relatives, and the sigmoid gate.

Each is a small Keras layer, because one of them learns; an attention layer takes a name or an instance.
"""

import math

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.layers import arguments, functional

ALPHAS = (1.0, 2.0)  # between softmax and sparsemax, both ends left out, for a learned alpha


class Normalizer(keras.layers.Layer):
    """Base of the normalisers: scores and a mask in, weights out.

    Parameters
    ----------
    temperature : float, default 1.0
        Divides the scores; large ones even the weights out, small ones sharpen them.

    Raises
    ------
    ArgumentError
        The temperature is not positive.
    """

    def __init__(self, *, temperature=1.0, **kwargs):
        super().__init__(**kwargs, autocast=False)
        if not temperature > 0:
            raise ArgumentError(f"temperature must be positive; received {temperature!r}.")
        self.temperature = temperature

    def call(self, scores, attention_mask=None, fully_masked="zero"):  # mask= would be Keras' own, of the positions
        return functional.masked_weights(
            self.weights_of, scores, attention_mask, fully_masked=fully_masked, temperature=self.temperature
        )

    def weights_of(self, logits):
        """Weights of finite logits (..., S), over the last axis."""
        raise NotImplementedError(f"{type(self).__name__} must define weights_of(logits).")

    def compute_output_shape(self, scores_shape):
        return scores_shape

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class Softmax(Normalizer):
    """``exp(z_s) / sum exp(z)``: every kept key gets some weight.

    Parameters
    ----------
    temperature : float, default 1.0

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.normalizers import Softmax
    >>> np.array(Softmax()(np.log([[1.0, 3.0]]))).round(3).tolist()
    [[0.25, 0.75]]
    """

    def weights_of(self, logits):
        return functional.softmax(logits)


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class Sparsemax(Normalizer):
    """The point of the simplex nearest to the scores: keys that fall behind get exactly 0.

    Parameters
    ----------
    temperature : float, default 1.0

    References
    ----------
    Martins and Astudillo 2016, "From softmax to sparsemax" (arXiv:1602.02068), eq. 2.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.normalizers import Sparsemax
    >>> np.array(Sparsemax()(np.array([[1.0, 0.5, -1.0]]))).tolist()
    [[0.75, 0.25, 0.0]]
    """

    def weights_of(self, logits):
        return functional.entmax(logits, 2.0)


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class Entmax15(Normalizer):
    """Entmax with alpha 1.5, half way between softmax and sparsemax: smooth, and still with exact zeros.

    Parameters
    ----------
    temperature : float, default 1.0

    References
    ----------
    Peters, Niculae and Martins 2019, "Sparse sequence-to-sequence models" (arXiv:1905.05702), section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.normalizers import Entmax15
    >>> np.array(Entmax15()(np.array([[0.0, 0.0, -3.0]]))).round(3).tolist()
    [[0.5, 0.5, 0.0]]
    """

    def weights_of(self, logits):
        return functional.entmax(logits, 1.5)


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class Entmax(Normalizer):
    """Entmax with any alpha above 1, given or learned: 2 is sparsemax, towards 1 it becomes softmax.

    Parameters
    ----------
    alpha : float above 1, default 1.5
    learnable : bool, default False
        True learns ``alpha = 1 + sigmoid(a)``, one for each head, from ``alpha`` on, which must then be below 2.
    temperature : float, default 1.0

    Raises
    ------
    ArgumentError
        alpha is out of range.

    References
    ----------
    Peters, Niculae and Martins 2019 (arXiv:1905.05702), eq. 10; learned, one per head: Correia, Niculae and
    Martins 2019, "Adaptively sparse transformers" (arXiv:1909.00015), section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.normalizers import Entmax
    >>> np.array(Entmax(alpha=2.0)(np.array([[1.0, 0.5, -1.0]]))).round(3).tolist()
    [[0.75, 0.25, 0.0]]
    """

    def __init__(self, alpha=1.5, *, learnable=False, **kwargs):
        super().__init__(**kwargs)
        low, high = ALPHAS
        if not alpha > low or (learnable and not alpha < high):
            raise ArgumentError(f"alpha must be above 1{' and below 2 to be learned' * learnable}; received {alpha!r}.")
        self.alpha = alpha
        self.learnable = bool(learnable)

    def build(self, scores_shape):
        if self.learnable:
            heads = scores_shape[1] if len(scores_shape) == 4 else 1
            self.shift = self.add_weight(name="shift", shape=(heads,), initializer=_logit(self.alpha - 1))
        self.built = True

    def weights_of(self, logits):
        return functional.entmax(logits, self.current_alpha(logits))

    def current_alpha(self, logits):
        """The alpha in force, one for each head when it is learned."""
        if not self.learnable:
            return self.alpha
        alpha = 1 + ops.sigmoid(ops.cast(self.shift, logits.dtype))
        return ops.reshape(alpha, (-1, 1, 1)) if len(logits.shape) == 4 else alpha

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "learnable": self.learnable}


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class Sigmoid(Normalizer):
    """A gate for each key on its own, ``1 / (1 + exp(-z_s))``: weights in [0, 1] that need not sum to 1.

    Parameters
    ----------
    temperature : float, default 1.0

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers.normalizers import Sigmoid
    >>> np.array(Sigmoid()(np.array([[0.0, 0.0, 0.0]]))).tolist()
    [[0.5, 0.5, 0.5]]
    """

    def weights_of(self, logits):
        return ops.sigmoid(logits)


NAMES = {"softmax": Softmax, "sparsemax": Sparsemax, "entmax15": Entmax15, "entmax": Entmax, "sigmoid": Sigmoid}


def get(normalizer):
    """A normaliser from its name, its configuration, or itself.

    Parameters
    ----------
    normalizer : str, dict or Normalizer

    Returns
    -------
    Normalizer

    Raises
    ------
    ArgumentError
        An unknown name, or something else.

    Examples
    --------
    >>> from keras_attn_xai.layers import normalizers
    >>> normalizers.get("entmax15").temperature
    1.0
    """
    return arguments.named_layer("normalizer", normalizer, NAMES, Normalizer)


def _logit(share):
    return keras.initializers.Constant(math.log(share / (1 - share)))
