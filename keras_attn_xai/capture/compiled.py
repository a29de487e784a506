"""One compiled function per model and question, kept while the model lives.

The first call of a function is a trace, which takes seconds; asking a model again must not pay for it again. What is
kept knows its model only weakly, so that nothing here keeps a model alive.
"""

import weakref

import keras

MOST = 16  # questions remembered per model
_FUNCTIONS: "weakref.WeakKeyDictionary" = weakref.WeakKeyDictionary()


def compiled(model, question, function, specs):
    """``function(model, inputs)`` for inputs of the given specs, compiled once.

    Parameters
    ----------
    model : keras.Model
    question : str
        Tells functions apart that differ in more than the specs.
    function : callable
        ``function(model, inputs)``; it must not hold the model.
    specs : nested keras.InputSpec
        In the structure of the inputs; a size of None may differ from call to call.

    Returns
    -------
    callable
        ``inputs -> results``. Eager where the backend is not TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        return lambda inputs: function(model, inputs)
    kept = _FUNCTIONS.setdefault(model, {})
    # other variables (a layer added, LoRA, quantisation) mean that a trace shows the model as it was
    key = (question, _described(specs), tuple(id(one) for one in model.variables))
    if key not in kept:
        while len(kept) >= MOST:
            del kept[next(iter(kept))]
        kept[key] = _traced(weakref.ref(model), function, specs)
    return kept[key]


def _described(specs):
    return repr(keras.tree.map_structure(lambda spec: (spec.shape, spec.dtype), specs))


def _traced(reference, function, specs):
    import tensorflow as tf

    signature = keras.tree.map_structure(lambda spec: tf.TensorSpec(spec.shape, spec.dtype), specs)
    made = tf.function(lambda inputs: function(reference(), inputs), autograph=False)
    return made.get_concrete_function(signature)  # TensorFlow takes calls of many new functions for retracing
