"""What is left of attention when a model's arrays are made random: all at once, or layer by layer from the top.

Shapes: B rows, S key positions.
"""

import keras
import numpy as np

from keras_attn_xai.auditing.attention_tests import found, swapped_weights
from keras_attn_xai.capture.maps import capture_attention
from keras_attn_xai.errors import ModelError
from keras_attn_xai.metrics import jensen_shannon


def weight_randomization(model, randomized, x, *, map=None, tokenizer=None, seed=0):
    """Whether the attention changes when the model's weights are made random; what stays does not come from training.

    Parameters
    ----------
    model : keras.Model or SwappedWeights
    randomized : keras.Model
        One of the same kind with random weights, as `randomized_copy` makes it.
    x, map, tokenizer, seed
        As in `permutation_test`.

    Returns
    -------
    AttentionTest
        ``divergence`` (B,) in nats, 0 to 0.693, of the attention of both; near 0, the training left no trace in it.

    Raises
    ------
    ModelError, ArgumentError
        As `permutation_test`.

    References
    ----------
    Adebayo et al. 2018, "Sanity checks for saliency maps" (arXiv:1810.03292), all layers at once.
    """
    swapped = swapped_weights(model, x, map=map, tokenizer=tokenizer)
    return found(
        "weight randomization",
        {"divergence": _divergence(swapped, randomized)},
        "0 to 0.693; near 0, a model that knows nothing attends alike.",
        seed=seed,
    )


def randomized_copy(model, *, seed=0):
    """A copy of a model in which every trained array has its numbers shuffled.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, or a subclass that Keras can clone. It is not changed.
    seed : int, default 0

    Returns
    -------
    keras.Model
        Its arrays are as large and spread as the model's, and know nothing.

    Raises
    ------
    ModelError
        Keras cannot clone it.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.auditing import randomized_copy
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.set_weights([np.array([[1.0], [2.0]])])
    >>> np.sort(randomized_copy(model).get_weights()[0].ravel())
    array([1., 2.], dtype=float32)
    """
    copy = _copied(model)
    _shuffle(copy.trainable_variables, np.random.default_rng(seed))
    return copy


def cascading_randomization(model, x, *, map=None, tokenizer=None, seed=0):
    """Whether the attention changes while the model's layers are made random one after the other, the top one first.

    Parameters
    ----------
    model : keras.Model or SwappedWeights
        Functional or Sequential, or a subclass that Keras can clone. It is not changed.
    x, map, tokenizer, seed
        As in `permutation_test`.

    Returns
    -------
    AttentionTest
        ``down to NAME`` (B,) in nats, 0 to 0.693, for each layer with trained arrays: the divergence of the attention
        from the model's own when that layer and all above it are random. The first one is the lowest layer, with
        everything random. A layer that comes after the attention cannot change it: 0.

    Raises
    ------
    ModelError, ArgumentError
        As `permutation_test`, and a model without trained arrays or that Keras cannot clone.

    Notes
    -----
    The layers are those of ``model.layers``, a model inside the model counts as one; the last is the top.

    References
    ----------
    Adebayo et al. 2018, "Sanity checks for saliency maps" (arXiv:1810.03292), section 4.1.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.auditing import cascading_randomization
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> pool = AttentionPooling("location", return_weights=False, name="pool")
    >>> top = keras.layers.Dense(2, activation="softmax", name="top")
    >>> test = cascading_randomization(keras.Sequential([keras.Input((3, 2)), pool, top]), np.eye(3)[None, :, :2])
    >>> list(test.values), test.values["down to top"]
    (['down to pool', 'down to top'], array([0.]))
    """
    swapped = swapped_weights(model, x, map=map, tokenizer=tokenizer)
    copy, draw = _copied(swapped.model), np.random.default_rng(seed)
    values = {}
    for layer in reversed(copy.layers):
        if layer.trainable_variables:
            _shuffle(layer.trainable_variables, draw)
            values[f"down to {layer.name}"] = _divergence(swapped, copy)
    if not values:
        raise ModelError(f"The model '{swapped.model.name}' has no trained arrays that could be made random.")
    return found(
        "cascading randomization",
        dict(reversed(values.items())),
        "0 to 0.693, of a model that is random from its top down to a layer; near 0, attention stays all the same.",
        seed=seed,
    )


def _divergence(swapped, randomized):
    """Of the attention of both models on the same rows (B,)."""
    (other,) = capture_attention(randomized, swapped.data, layers=[swapped.call], progress=False)
    return jensen_shannon(swapped.by_key(swapped.weights), swapped.by_key(other.dense()), mask=swapped.keys)


def _copied(model):
    try:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(f"Keras cannot clone '{model.name}', so it cannot be made random: {error}") from None
    return copy


def _shuffle(variables, draw):
    """Shuffle the numbers of each array."""
    for variable in variables:
        values = keras.ops.convert_to_numpy(variable)
        variable.assign(draw.permutation(values.ravel()).reshape(values.shape))
