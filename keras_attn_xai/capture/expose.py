"""A second model whose attention is a real output."""

from keras_attn_xai.capture.selection import select
from keras_attn_xai.capture.view import opened, view_of


def expose_attention(model, layers=None, heads=None, *, top_k=None, values=False):
    """A model with the same prediction that also returns its attention.

    Parameters
    ----------
    model : keras.Model
        Functional, Sequential, subclassed or nested, with layers of this package or
        ``keras.layers.Attention``, ``AdditiveAttention``, ``MultiHeadAttention``, ``GroupQueryAttention``.
        It is not changed. Weights are shared, so training either trains both. A view is shown anew, as asked;
        without options it is returned.
    layers : str or list of str, optional
        Names of layers (all their calls) or of calls, with ``*`` for any part; by default all.
    heads : int, list of int, or dict from call name to either, optional
        By default all.
    top_k : int, optional
        Keep the k largest weights of each query, largest first.
    values : bool, default False
        Bring the value vectors along.

    Returns
    -------
    keras.Model
        Its output is a flat dict: the model's own outputs (a single one is ``"output"``) and for every
        attention call

        - ``"attention/<call name>"`` (B, H, T, S), H = 1 for single-head layers; each row sums to 1, or to 0
          where the layer leaves a row without keys empty, or to less where it has a ``top_k`` of its own. With
          ``top_k`` here (B, H, T, k);
        - with ``top_k``, ``"attention_index/<call name>"`` (B, H, T, k): the keys of those weights;
        - with ``values``, ``"attention_value/<call name>"`` (B, H, S, D): each head's values as they reach the
          layer's output, so that weights times values, summed over heads, plus the output's bias, is that output.

        A call name is the path of layer names, ``encoder/mha``; a layer's second call is
        ``encoder/mha#1``. The view predicts, trains, saves, reloads and exports as any Keras model.

    Raises
    ------
    ModelError
        There is no attention in the model, or a Sequential has no input shape yet.
    ArgumentError
        A layer or head that is not there, or a ``top_k`` above the number of keys.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import expose_attention
    >>> from keras_attn_xai.layers import LuongAttention
    >>> model = keras.Sequential(
    ...     [keras.Input((5, 3)), LuongAttention(return_weights=False, name="luong"), keras.layers.Dense(1)]
    ... )
    >>> outputs = expose_attention(model)(np.zeros((2, 5, 3)))
    >>> {name: tuple(tensor.shape) for name, tensor in outputs.items()}
    {'output': (2, 5, 1), 'attention/luong': (2, 1, 5, 5)}
    """
    selection = select(layers=layers, heads=heads, top_k=top_k, values=values)
    inner, before, changes = opened(model, "expose_attention")
    if before is not None and selection in (before, select()):
        return model
    return view_of(inner, selection, changes, name=f"{inner.name}_with_attention")
