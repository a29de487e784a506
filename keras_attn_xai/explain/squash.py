"""Behind the last softmax or sigmoid: the numbers it was given.

Probabilities saturate, so what is explained is the log-odds. They are read from the graph of the
traced model rather than recomputed from probabilities, which lose them to rounding near 0 and 1.
This is the one file that looks at TensorFlow operations.
"""

import tensorflow as tf

PASSING = ("Identity", "Cast", "StopGradient")
SQUASHES = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


def before_squash(output):
    """The input of the model's last operation, where that is a softmax or a sigmoid.

    Parameters
    ----------
    output : symbolic tensor
        An output of the model, inside the trace.

    Returns
    -------
    tensor : the operation's input, or ``output`` itself
    squash : {"softmax", "sigmoid", None}
    """
    tensor = output
    while tensor.op.type in PASSING:
        tensor = tensor.op.inputs[0]
    squash = SQUASHES.get(tensor.op.type)
    if squash is None:
        return output, None
    return tf.cast(tensor.op.inputs[0], tf.float32 if output.dtype.size < 8 else output.dtype), squash


def log_odds(logits, index):
    """Log-odds of class ``index`` under a softmax: ``z_c - logsumexp(z_others)``.

    Parameters
    ----------
    logits : tensor (N, C)
    index : int tensor (N,)

    Returns
    -------
    tensor (N,)
        Equal to ``log p - log(1 - p)`` without the rounding of p.
    """
    chosen = tf.one_hot(index, tf.shape(logits)[-1], on_value=True, off_value=False, dtype=tf.bool)
    others = tf.where(chosen, tf.constant(-float("inf"), logits.dtype), logits)
    return tf.gather(logits, index, batch_dims=1) - tf.reduce_logsumexp(others, axis=-1)
