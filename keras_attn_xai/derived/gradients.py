"""Weights times what they do to a target."""

import numpy as np

from keras_attn_xai.derived.maps import keys_of, new_map, queries_of
from keras_attn_xai.errors import ArgumentError


def attention_times_gradient(map):
    """The weights that raise a target, each times how much it raises it; mean over the heads.

    Parameters
    ----------
    map : AttentionMap
        With ``gradients`` (B, H, T, S).

    Returns
    -------
    AttentionMap
        ``"attention_times_gradient/<the map's name>"``, one head, (B, 1, T, S). At least 0, in the unit of the
        target; rows do not sum to 1. Queries that are padding are 0.

    Raises
    ------
    ArgumentError
        A map without gradients.

    Notes
    -----
    The mean over heads of ``max(gradient * A, 0)``. What speaks against the target is cut off, so that nothing is
    seen of it. Of one layer; `generic_attention` carries it through all of them.

    References
    ----------
    Chefer, Gur and Wolf 2021, "Generic attention-model explainability for interpreting bi-modal and encoder-decoder
    transformers" (arXiv:2103.15679), equation 5.

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap
    >>> from keras_attn_xai.derived import attention_times_gradient
    >>> seen = AttentionMap("mha", [[[[0.5, 0.5]]]], [["?"]], [["dull", "fine"]], gradients=[[[[-2.0, 3.0]]]])
    >>> attention_times_gradient(seen).weights
    array([[[[0. , 1.5]]]])
    """
    raised = raising([map], "attention_times_gradient")[0]
    return new_map(f"attention_times_gradient/{map.name}", raised, query=queries_of(map), key=keys_of(map))


def raising(maps, method):
    """``A-bar`` (B, T, S) of each map: the mean over heads of the positive part of gradient times weights.

    Parameters
    ----------
    maps : sequence of AttentionMap
    method : str
        Who asks, for the message.

    Returns
    -------
    list of float arrays (B, T, S)
    """
    without = ", ".join(f"'{one.name}'" for one in maps if one.gradients is None)
    if without:
        raise ArgumentError(
            f"{method} needs the gradients of a target, which capture_gradients brings. Without them: {without}."
        )
    return [_positive_mean(one.dense(), one.gradients) for one in maps]


def _positive_mean(weights, gradients):
    """Head by head, so that no second array (B, H, T, S) is made."""
    rows, heads, queries, keys = weights.shape
    total = np.zeros((rows, queries, keys), np.result_type(weights, gradients))
    for head in range(heads):
        total += np.maximum(gradients[:, head] * weights[:, head], 0)
    return total / max(heads, 1)
