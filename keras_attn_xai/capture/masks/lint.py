"""Finding attention that reads padding, why it does, and what helps."""

import warnings
from dataclasses import dataclass

import keras
import numpy as np

from keras_attn_xai.capture.locate import all_layers, attention_layers
from keras_attn_xai.capture.masks.causes import explained
from keras_attn_xai.capture.masks.padding import padding_of_inputs
from keras_attn_xai.capture.masks.trail import Trail, following
from keras_attn_xai.capture.model_inputs import as_inputs
from keras_attn_xai.capture.record import recording
from keras_attn_xai.errors import ModelError, ShapeError

THRESHOLD = 1e-6  # of the weight: what rounding leaves behind a mask is less


@dataclass(frozen=True, repr=False)
class MaskLeak:
    """One attention call that reads padded positions.

    ``str()`` is one text that starts with the call's name.

    Parameters
    ----------
    name : str
        The call, as in `expose_attention`: ``decoder/cross``, its second call ``decoder/cross#1``.
    share : float in (0, 1]
        The part of the weight that lands on padded keys, mean over heads and real queries of the batch.
    worst_row : int
        The row of the batch with the largest share.
    worst_share : float in (0, 1]
        The share of that row.
    cause : str
        One sentence about the graph.
    cure : str
        One sentence, what to change.
    """

    name: str
    share: float
    worst_row: int
    worst_share: float
    cause: str
    cure: str

    def __str__(self):
        """The call, the weight, the cause and the cure."""
        weight = f"{_percent(self.share)} of its weight lands on padded keys"
        worst = f"(worst row {self.worst_row}: {_percent(self.worst_share)})"
        return f"{self.name}: {weight} {worst}. {self.cause} {self.cure}"

    __repr__ = __str__


def check_masks(model, x):
    """Find the attention calls that read padded positions of a batch.

    The model runs once, on this batch, and every mask is followed from where it is made to where it
    is used or lost.

    Parameters
    ----------
    model : keras.Model
        Functional, Sequential, nested or subclassed, also a view made by `expose_attention`. It is not
        changed.
    x : array, or list or dict of arrays
        A batch with padding in it, as the model takes it. Padding is what masks say: those Keras makes
        (``mask_zero=True``, ``Masking``), those the layers here are given, and 0/1 inputs (B, S) with ``mask``
        in their name. Where the model has none of these, it is the zeros that rows of ids or of steps end
        in, or start with if they start at different places.

    Returns
    -------
    list of MaskLeak
        One for each call, in the order of the calls; empty if no real query reads a padded key. What
        padded queries read does not count, nor do rows without a real key.

    Raises
    ------
    ModelError
        There is no attention in the model, or none that an eager run reaches.
    ShapeError
        The batch has another number of inputs or of axes than the model takes.

    Notes
    -----
    Padding is followed as long as the number of positions stays the same, and through
    ``Concatenate``. Behind a layer that changes it without handing on a mask, nothing is known and
    nothing is reported. All tensors of the run are held until it ends, so check a small batch.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import check_masks
    >>> ids = keras.Input((4,), dtype="int32")
    >>> memory = keras.layers.Embedding(10, 8, name="embedding")(ids)  # no mask_zero=True
    >>> context = keras.layers.MultiHeadAttention(1, 8, name="mha")(memory, memory)
    >>> for leak in check_masks(keras.Model(ids, context), np.array([[3, 4, 0, 0]])):
    ...     print(leak.name, "|", leak.cause)
    mha | No mask is ever made: the ids of 'embedding' end in runs of 0, and it has mask_zero=False.
    """
    model = refuse_without_attention(model)
    return leaks_of(*run_with_trail(model, x))


def refuse_without_attention(model):
    """The model; anything that has no attention to look at is refused."""
    if not isinstance(model, keras.Model):
        raise ModelError(f"Masks are looked for in a keras.Model; received {type(model).__name__}.")
    if not attention_layers(model):
        raise ModelError(
            f"The model '{model.name}' has no attention layer: nothing in it is one of keras_attn_xai.layers, "
            "keras.layers.Attention, AdditiveAttention, MultiHeadAttention or GroupQueryAttention."
        )
    return model


def leaks_of(weights, trail):
    """A MaskLeak for each call of attention that reads padding."""
    found = [_leak(name, weights[name], call) for name, call in trail.calls.items()]
    return [leak for leak in found if leak is not None]


def run_with_trail(model, x, *, trail=Trail):
    """Run the model once on a batch, eagerly, with a trail of this kind.

    Returns
    -------
    weights : dict of str to array (B, H, T, S)
    trail : Trail
    """
    inputs, named = as_inputs(model, x)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*was passed an input with a mask")  # that is what we are here for
        if not all(layer.built for layer in (model, *all_layers(model))):
            _run(model, inputs, named)  # Keras builds by one run more
        with recording(model) as weights:
            trail = trail(weights)
            arrays = {name: keras.ops.convert_to_numpy(one) for name, one in named.items() if _is_numeric(one)}
            paddings = padding_of_inputs(arrays)
            for name, tensor in named.items():
                trail.begin(tensor, paddings.get(name))
            with following(model, trail):
                _run(model, inputs, named)
    missed = [name for name, one in weights.items() if getattr(one, "graph", None) is not None]
    if missed or not weights:
        raise ModelError(
            f"The attention of '{model.name}' runs inside a compiled function or a loop"
            f"{f' ({missed[0]})' if missed else ''}, where its weights cannot be read: take the tf.function off."
        )
    return {name: keras.ops.convert_to_numpy(one) for name, one in weights.items()}, trail


def _run(model, inputs, named):
    try:
        model(inputs, training=False)
    except (ValueError, TypeError, LookupError) as error:  # the words of Keras about an input that does not fit
        shapes = ", ".join(f"'{name}' {tuple(one.shape)}" for name, one in named.items())
        raise ShapeError(
            f"The model '{model.name}' refused its input of {shapes}: {str(error).strip().splitlines()[0]}"
        ) from error


def _is_numeric(tensor):
    return keras.backend.standardize_dtype(tensor.dtype) != "string"


def _leak(name, weights, call):
    """A MaskLeak, or None if real queries keep to real keys."""
    rows, _, queries, _ = weights.shape
    if call.key is None or len(call.key.real) != rows:
        return None
    real = np.ones((rows, queries), bool) if call.query is None else call.query.real
    if not all(_is_leak(_shares(weights, real, kept)) for kept in (call.key.real, *call.key.others)):
        return None
    shares = _shares(weights, real, call.key.real)
    by_row = [0 if one.size == 0 else one.mean() for one in shares]
    share, worst = np.concatenate(shares).mean(), int(np.argmax(by_row))
    return MaskLeak(name, float(share), worst, float(by_row[worst]), *explained(call, by_row[worst]))


def _shares(weights, real_queries, real_keys):
    """For each row the part of the weight on padded keys, of every head and real query.

    Parameters
    ----------
    weights : array (B, H, T, S)
    real_queries : bool array (B, T)
    real_keys : bool array (B, S)

    Returns
    -------
    list of B arrays
        Empty where a row has no real query, no real key or no weight.
    """
    shares = []
    for row, queries, keys in zip(weights.astype("float64"), real_queries, real_keys, strict=True):
        mass = row[:, queries].sum(-1)
        padded = row[:, queries][..., ~keys].sum(-1)
        shares.append(padded[mass > 0] / mass[mass > 0] if keys.any() else np.zeros(0))
    return shares


def _is_leak(shares):
    return any((one > THRESHOLD).any() for one in shares)


def _percent(share):
    return f"{100 * share:.3g} %"
