"""Attention heads as players: a head that is absent has weights of 0."""

import tensorflow as tf

from keras_attn_xai.capture.changes import Change


class Gate(Change):
    """Weights of 0 where a row's head is absent.

    Parameters
    ----------
    present : bool tensor (N, H)
        False is a head that is off; inside a trace.
    """

    def __init__(self, present):
        self.present = present

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        times = tf.maximum(tf.shape(weights)[0] // tf.shape(self.present)[0], 1)  # windows of a row come as more rows
        present = tf.repeat(self.present, times, axis=0)[:, :, None, None]
        return tf.where(present, weights, tf.zeros_like(weights))


def gates(heads, present):
    """The changes that switch off absent heads.

    Parameters
    ----------
    heads : dict of str to int
        How many heads each call has.
    present : bool tensor (N, M)
        Every head of every call, in the order of the dict.

    Returns
    -------
    dict of str to Gate
    """
    ends = [sum(list(heads.values())[: i + 1]) for i in range(len(heads))]
    return {call: Gate(present[:, end - count : end]) for (call, count), end in zip(heads.items(), ends, strict=True)}


def head_labels(heads):
    """``"encoder/mha head 3"`` for every head.

    Examples
    --------
    >>> from keras_attn_xai.explain.heads import head_labels
    >>> head_labels({"encoder/mha": 2, "pool": 1})
    ('encoder/mha head 0', 'encoder/mha head 1', 'pool head 0')
    """
    return tuple(f"{call} head {head}" for call, count in heads.items() for head in range(count))
