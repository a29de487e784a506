"""A copy of a model with the same weights, its attention exchanged on the way."""

import inspect

import keras

from keras_attn_xai.capture import seams
from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.errors import ModelError


def copied(model, exchange):
    """A copy of ``model`` with its weights.

    Parameters
    ----------
    model : keras.Model
    exchange : callable
        Is given each new layer before its first call, and may change it in place.

    Returns
    -------
    keras.Model

    Raises
    ------
    ModelError
        A layer or model in it cannot be made again from its configuration.
    """

    def again(part):
        """A new one, built if the old one is."""
        copy = _from_config(part)
        copy.name = part.name  # a configuration that Keras made up by itself has none
        if isinstance(copy, keras.layers.Layer):
            _build_like(copy, part)
            for layer in (copy, *all_layers(copy)):
                exchange(layer)
        return copy

    if isinstance(model, keras.Sequential) or seams.is_functional(model):
        copy = keras.models.clone_model(model, clone_function=again, recursive=True)
    else:
        copy = again(model)
    _same_weights(model, copy)
    return copy


def _from_config(part):
    """A new layer or operation of the same configuration."""
    kind = type(part)
    try:
        if isinstance(part, keras.layers.Lambda):  # its configuration would lose what the function closes over
            return _lambda(part)
        config = part.get_config()
        try:
            return kind.from_config(config)
        except TypeError:  # an __init__ without **kwargs does not take what every layer has
            taken = inspect.signature(kind.__init__).parameters
            return kind(**{key: value for key, value in config.items() if key in taken})
    except Exception as error:  # the code of others: anything may come out of it
        what = "model" if isinstance(part, keras.Model) else "layer"
        raise ModelError(
            f"The {what} '{part.name}' cannot be copied: {kind.__name__} must give all arguments of its __init__ in "
            f"get_config ({type(error).__name__}: {_first_line(error)})."
        ) from error


def _lambda(part):
    config = part.get_config()
    return keras.layers.Lambda(
        part.function,
        output_shape=config.get("output_shape") if isinstance(config.get("output_shape"), (tuple, list)) else None,
        mask=part.mask,
        arguments=part.arguments,
        name=part.name,
        dtype=part.dtype_policy,
    )


def _build_like(copy, part):
    """Build the copy as the original was built, so that parts made in ``build`` are there."""
    can = isinstance(part, keras.Model) or type(part).build is not keras.layers.Layer.build
    if copy.built or not part.built or not can or not all_layers(part):  # if not, its parts are built when called
        return
    config = part.get_build_config()
    try:
        if config:
            copy.build_from_config(config)
    except Exception as error:  # as above
        raise ModelError(
            f"'{part.name}' cannot be copied: its {type(part).__name__} cannot be built again for the same shapes "
            f"({type(error).__name__}: {_first_line(error)})."
        ) from error


def _same_weights(model, copy):
    """Give the copy the weights of the model, and the same freedom to learn."""
    old, new = model.weights, copy.weights
    shapes = [tuple(one.shape) for one in old], [tuple(one.shape) for one in new]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"The model '{model.name}' cannot be copied: made again from its configuration it has {len(new)} weights "
            f"where there are {len(old)}, or other shapes. See that its get_config gives all arguments of __init__, "
            "and that build makes all weights."
        )
    for target, source in zip(new, old, strict=True):
        target.assign(source)
    layers = all_layers(model), all_layers(copy)
    if len(layers[0]) == len(layers[1]):
        for target, source in zip(layers[1], layers[0], strict=True):
            if target.trainable != source.trainable:
                target.trainable = source.trainable


def _first_line(error):
    return (str(error).strip().splitlines() or ["no message"])[0]
