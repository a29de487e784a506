"""How much the target would change if a weight did: gradients with respect to attention weights."""

from collections.abc import Mapping
from functools import partial

import keras
import tensorflow as tf

from keras_attn_xai.capture.changes import Change
from keras_attn_xai.capture.maps import GRADIENT, at_least_single, maps_in_batches, masks_of
from keras_attn_xai.capture.record import require_same_graph, run
from keras_attn_xai.capture.selection import EVERYTHING, PREFIX, select
from keras_attn_xai.capture.view import opened
from keras_attn_xai.errors import ModelError
from keras_attn_xai.explain.target import Target


def capture_gradients(model, x, *, target=None, batch_size=32, layers=None, memory_limit=2**32, progress=None):
    """The attention of rows, and the gradient of a target with respect to each weight.

    Parameters
    ----------
    model : keras.Model
        As `expose_attention` takes it. It is not changed.
    x : array, list of rows, or a list, tuple or dict of these, one per input
        As `capture_attention` takes it.
    target : None, int, (str, int) or callable, default None
        As in `AttentionExplainer`; None is each row's predicted class. Behind a softmax or sigmoid the
        log-odds are derived.
    batch_size, layers, memory_limit, progress
        As in `capture_attention`.

    Returns
    -------
    tuple of AttentionMap
        With ``weights`` and ``gradients`` (B, H, T, S), in the unit of the target per unit of weight; each weight is
        taken for itself, as if the others of its row stayed.

    Raises
    ------
    ModelError
        Weights made inside a loop (a decoder, a layer with ``top_k`` over many queries), or as `expose_attention`.
    ArgumentError, ShapeError
        As `capture_attention`, and a target that cannot be meant.

    References
    ----------
    Chefer, Gur and Wolf 2021, "Generic attention-model explainability" (arXiv:2103.15679), where
    ``derived.generic_attention`` takes what this returns.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import capture_gradients
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> model = keras.Sequential([keras.Input((2, 1)), AttentionPooling("location", return_weights=False, name="pool")])
    >>> (seen,) = capture_gradients(model, np.array([[[3.0], [5.0]]]))
    >>> seen.gradients  # the output is 3 times one weight and 5 times the other
    array([[[[3., 5.]]]], dtype=float32)
    """
    if keras.backend.backend() != "tensorflow":
        raise ModelError(f"capture_gradients needs the TensorFlow backend; '{keras.backend.backend()}' is running.")
    Target(target)  # refuses what cannot be meant, before any work
    opened(model, "capture_gradients")
    selection = select(layers=layers)
    return maps_in_batches(
        model,
        x,
        partial(_look, selection=selection, spec=target),
        f"gradients {selection!r} {target!r}",  # a callable's address; what is kept keeps it alive
        batch_size=batch_size,
        memory_limit=memory_limit,
        progress=progress,
    )


class Watch(Change, Mapping):
    """Lets a tape see the weights of the selected calls and changes nothing; it passes for a dict with those calls."""

    def __init__(self, tape, graph, selection):
        self._tape, self._graph, self._selection = tape, graph, selection
        self.watched = {}

    def __getitem__(self, call):
        if not self._selection.wants(call):
            raise KeyError(call)
        return self

    def __iter__(self):
        return iter(())  # no call is asked for by name

    def __len__(self):
        return 0

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        if getattr(weights, "graph", None) is not self._graph:
            raise ModelError(
                f"The weights of '{call}' are made inside a loop (a decoder's steps, or top_k over blocks of queries), "
                "which no gradient leaves. Leave the call out with layers=, or build the layer without top_k."
            )
        self.watched[call] = watched = tf.identity(weights)
        self._tape.watch(watched)
        return watched


def _look(model, inputs, *, selection, spec):
    target, shown, seen_weights = Target(spec), {}, []

    def hear(call, seen):
        weights = EVERYTHING.shown(call, seen)[PREFIX + call]
        seen_weights.append(weights)
        if selection.wants(call):
            shown.update({PREFIX + call: at_least_single(weights), **masks_of(call, seen)})

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        watch = Watch(tape, tf.nest.flatten(inputs)[0].graph, selection)
        outputs = run(model, inputs, hear, changes=watch, selection=selection, training=False)
        require_same_graph(outputs, shown)
        explained = target.explained(model, outputs, seen_weights)
        scalar = target.scalar(explained, _index(target, explained))
    names = list(watch.watched)
    gradients = tape.gradient(
        scalar, [watch.watched[name] for name in names], unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return shown | {GRADIENT + name: at_least_single(one) for name, one in zip(names, gradients, strict=True)}


def _index(target, explained):
    """The class of each row, (N,), inside the trace."""
    classes = explained.shape[1] if len(explained.shape) == 2 else 1
    index = target.class_number(classes)
    if index is None and len(explained.shape) == 2:
        return tf.argmax(explained, axis=1, output_type=tf.int32)
    return tf.fill([tf.shape(explained)[0]], index or 0)
