"""A second model whose attention weights are changed before they meet the values."""

from keras_attn_xai.capture.changes import Chain, as_change
from keras_attn_xai.capture.view import opened, view_of
from keras_attn_xai.errors import ArgumentError


def intervene(model, changes):
    """A model like this one, with other attention weights.

    Parameters
    ----------
    model : keras.Model
        As `expose_attention` takes it; it is not changed, also when something raises. Weights are shared.
        The result of `intervene` itself is changed further, that of `expose_attention` keeps showing.
    changes : dict of str to change
        From the name of an attention call (``"encoder/mha"``; its second call is ``"encoder/mha#1"``) to what is done
        to its weights: `permute`, `uniform`, `zero`, `set_to`, `temperature`, or a callable that takes weights
        (B, H, T, S), with H = 1 for single-head layers, and returns as many. Written with `keras.ops`, it works
        in every place the model does. In a decoder it is called step by step, with T = 1.

    Returns
    -------
    keras.Model
        Its outputs are those of ``model``, and gradients flow through the changed weights. ``expose_attention`` of
        it shows them. It predicts, trains, saves and exports; a change that is a callable needs
        ``keras.saving.register_keras_serializable`` to be reloaded.

    Raises
    ------
    ArgumentError
        A call the model does not have, or a change that is none.
    ShapeError
        A callable, or an array of `set_to`, whose weights do not fit.
    ModelError
        There is no attention in the model, or a Sequential has no input shape yet.

    Notes
    -----
    Changes of a subclassed model's calls are checked when it is called first. In training, dropout comes after the
    change, but for ``keras.layers.Attention``, which drops before.

    References
    ----------
    Wiegreffe and Pinter 2019, "Attention is not not explanation" (arXiv:1908.04626); Jain and Wallace 2019,
    "Attention is not explanation" (arXiv:1902.10186).

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import intervene
    >>> from keras_attn_xai.capture import uniform
    >>> from keras_attn_xai.layers import LuongAttention
    >>> model = keras.Sequential([keras.Input((None, 1)), LuongAttention(return_weights=False, name="luong")])
    >>> mean = intervene(model, {"luong": uniform()})
    >>> np.array(mean(np.array([[[2.0], [4.0]]], "float32"))).ravel()
    array([3., 3.], dtype=float32)
    """
    if not isinstance(changes, dict) or not changes:
        raise ArgumentError(
            f"changes must be a dict from call name to change, with at least one; received {changes!r}."
        )
    inner, selection, before = opened(model, "intervene")
    merged = dict(before)
    for call, given in changes.items():
        change = as_change(call, given)
        merged[call] = Chain([merged[call], change]) if call in merged else change
    return view_of(inner, selection, merged, name=f"{inner.name}_changed")
