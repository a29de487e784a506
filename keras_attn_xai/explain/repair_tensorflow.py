"""What a failed ``shap.DeepExplainer`` leaves behind in TensorFlow, undone.

The one file that looks at how TensorFlow records gradients.
"""

from tensorflow.python.eager import backprop, execute
from tensorflow.python.framework import ops


def repair_tensorflow():
    """Make gradients work again after ``shap.DeepExplainer`` has failed on a model.

    shap puts gradients of its own in the place of TensorFlow's while it explains. When that raises, as on
    every model with attention, the recording of gradients stays replaced, and ``tf.GradientTape`` and
    ``fit`` raise LookupError for the rest of the process.

    Returns
    -------
    tuple of str
        What was put back; empty when nothing was wrong.

    Examples
    --------
    >>> from keras_attn_xai.explain.repair_tensorflow import repair_tensorflow
    >>> repair_tensorflow()
    ()
    """
    repaired = []
    if execute.record_gradient is not backprop.record_gradient:
        execute.record_gradient = backprop.record_gradient
        repaired.append("the recording of gradients")
    registry = ops._gradient_registry._registry
    for name in list(registry):
        gradient = registry[name]["type"]
        if name.startswith("shap_"):
            del registry[name]
        elif _of_shap(gradient) and name in gradient.__self__.orig_grads:
            registry[name]["type"] = gradient.__self__.orig_grads[name]
        else:
            continue
        repaired.append(f"the gradient of {name}")
    return tuple(repaired)


def _of_shap(gradient):
    """Whether a gradient is a method of one of shap's explainers."""
    return type(getattr(gradient, "__self__", None)).__module__.startswith("shap.")
