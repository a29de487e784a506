"""A traced graph run on a row and on its reference side by side: every operation once, with both its values.

The one file of this folder that looks inside TensorFlow: how operations are copied and calls are opened.
"""

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import tensorflow as tf

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
SAME_FOR_BOTH = {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "BroadcastGradientArgs"}
WIDER = {
    "float32": {tf.float16: tf.float32, tf.bfloat16: tf.float32},
    "float64": {tf.float16: tf.float64, tf.bfloat16: tf.float64, tf.float32: tf.float64},
}
_wider = ContextVar("wider", default=WIDER["float32"])
NOTHING: dict = {}
LEFT_BEHIND = {"_class", "_output_shapes", "_gradient_op_type", "_XlaMustCompile", "_noinline"}


@dataclass(frozen=True, eq=False, slots=True)
class Pair:
    """A tensor's value for the row and for its reference."""

    x: tf.Tensor
    r: tf.Tensor

    @property
    def dtype(self):
        """What both are."""
        return self.x.dtype

    @property
    def flows(self):
        """Whether a multiplier can belong to it: to a number, or to a truth value read as 0 or 1."""
        return self.dtype.is_floating or self.dtype == tf.bool

    @property
    def delta(self):
        """Row minus reference."""
        if self.dtype == tf.bool:
            return tf.cast(self.x, tf.float32) - tf.cast(self.r, tf.float32)
        return self.x - self.r

    @property
    def mean(self):
        """Halfway between the two."""
        if self.dtype == tf.bool:
            return (tf.cast(self.x, tf.float32) + tf.cast(self.r, tf.float32)) / 2
        return self.r + (self.x - self.r) / 2


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One operation, run on both.

    Attributes
    ----------
    op : tf.Operation
        As it was traced.
    inputs : tuple of Pair or Tensor
        A tensor where row and reference have the same.
    outputs : tuple of Pair
    """

    op: tf.Operation
    inputs: tuple
    outputs: tuple

    @property
    def type(self):
        """The operation's type, ``"MatMul"``."""
        return self.op.type

    @property
    def flowing(self):
        """Numbers of the inputs a multiplier can go to."""
        return [i for i, one in enumerate(self.inputs) if isinstance(one, Pair) and one.flows]

    def at(self, inputs):
        """The outputs of the same operation for other inputs."""
        return copy(self.op, inputs)

    def point(self, share):
        """The inputs on the line between reference (0) and row (1)."""
        return [
            one.r + tf.cast(share, one.dtype) * one.delta if i in self.flowing else x_of(one)
            for i, one in enumerate(self.inputs)
        ]


def x_of(value):
    """The row's side of a pair or of a tensor that is the same for both."""
    return value.x if isinstance(value, Pair) else value


def r_of(value):
    """The reference's side."""
    return value.r if isinstance(value, Pair) else value


@contextmanager
def precision(name):
    """Copy operations with at least this many bits while this is open."""
    before = _wider.set(WIDER[name])
    try:
        yield
    finally:
        _wider.reset(before)


@contextmanager
def truth_as(dtype):
    """Copy operations on truth values as operations on numbers, 0 and 1, while this is open."""
    before = _wider.set({**_wider.get(), tf.bool: dtype})
    try:
        yield
    finally:
        _wider.reset(before)


def replay(graph, feed, *, instead: dict = NOTHING, on_step: Callable = lambda step: None):
    """Run a traced graph inside the current one.

    Parameters
    ----------
    graph : FuncGraph
        What ``tf.function(...).get_concrete_function(...)`` traced.
    feed : dict of tensor name to Tensor or Pair
        For every placeholder, those of captured variables too.
    instead : dict of tensor name to Tensor or Pair, optional
        Values that take the place of the graph's own.
    on_step : callable
        Gets each `Step` whose two runs differ, in order.

    Returns
    -------
    dict of tensor name to Tensor or Pair
        Every tensor the graph's outputs are made of.
    """
    values = {name: _widened(value) for name, value in feed.items()}
    for op in ancestors(graph.outputs):
        if op.outputs and op.outputs[0].name in values:
            continue
        inputs = tuple(values[one.name] for one in op.inputs)
        outputs = _call(op, inputs, on_step) if op.type in CALLS else _run(op, inputs, on_step)
        for tensor, value in zip(op.outputs, outputs, strict=True):
            values[tensor.name] = instead.get(tensor.name, value)
    return values


def ancestors(tensors, until=()):
    """The operations that ``tensors`` are computed from, in the order they were traced."""
    found, open_ = set(), [tensor.op for tensor in tensors]
    while open_:
        op = open_.pop()
        if op not in found and op not in until:
            found.add(op)
            open_ += [one.op for one in op.inputs]
    return [op for op in tensors[0].graph.get_operations() if op in found] if tensors else []


def captured(concrete):
    """Placeholder name to outer tensor, for the variables and constants a concrete function closes over."""
    own = concrete.graph.inputs[len(concrete.graph.inputs) - len(concrete.captured_inputs) :]
    return {inner.name: outer for inner, outer in zip(own, concrete.captured_inputs, strict=True)}


def copy(op, inputs):
    """The outputs of an operation like ``op`` in the current graph, in the `precision` that is open."""
    if op.type == "Const":
        return [_widened(tf.constant(tf.make_ndarray(op.get_attr("value")), op.outputs[0].dtype))]
    into = tf.compat.v1.get_default_graph()
    attributes = {name: value for name, value in op.node_def.attr.items() if name not in LEFT_BEHIND}
    bodies = [one.func.name for one in attributes.values() if one.func.name]  # of a loop or a branch
    for name in bodies:
        into._add_function_recursive(op.graph._get_function(name))
    if bodies or any(one.dtype == tf.resource for one in op.inputs):  # these have a dtype of their own
        inputs = [tf.cast(one, old.dtype) if old.dtype.is_floating else one for one, old in _zipped(inputs, op.inputs)]
        dtypes = [one.dtype for one in op.outputs]
    else:
        attributes = {name: _wider_attribute(value) for name, value in attributes.items()}
        dtypes = [_wider.get().get(one.dtype, one.dtype) for one in op.outputs]
    made = into.create_op(op.type, list(inputs), dtypes, attrs=attributes)
    for new, old in _zipped(made.outputs, op.outputs):
        new.set_shape(old.shape)
    return [_widened(one) for one in made.outputs]


def _zipped(some, others):
    return zip(some, others, strict=True)


def _run(op, inputs, on_step):
    """Outputs of one operation; two copies only where row and reference differ."""
    differ = any(isinstance(one, Pair) for one in inputs) and op.type not in SAME_FOR_BOTH
    outputs = copy(op, [x_of(one) for one in inputs])
    if not differ:
        return outputs
    outputs = [Pair(*two) for two in zip(outputs, copy(op, [r_of(one) for one in inputs]), strict=True)]
    if op.type == "StopGradient" and _is_shift(op):
        outputs = [_common_shift(outputs[0])]
    on_step(Step(op, inputs, tuple(outputs)))
    return outputs


def _call(op, inputs, on_step):
    """Outputs of a called function, its operations run in place."""
    body = op.graph._get_function(op.get_attr("f").name).graph
    feed = {one.name: value for one, value in zip(body.inputs, inputs, strict=True)}
    values = replay(body, feed, on_step=on_step)
    return [values[one.name] for one in body.outputs]


def _is_shift(op):
    """Whether what the gradient is stopped at is a maximum, as in a stable log-sum-exp."""
    while op.type in {"StopGradient", "Identity", "Cast", "Select", "SelectV2"}:
        op = op.inputs[1 if op.type.startswith("Select") else 0].op
    return op.type == "Max"


def _common_shift(pair):
    """The same shift for both, where that is safe: a shift cancels, and so belongs to nobody."""
    near = tf.abs(pair.delta) < 100
    return Pair(tf.where(near, pair.mean, pair.x), tf.where(near, pair.mean, pair.r))


def _widened(value):
    wider = _wider.get()
    if value.dtype not in wider:
        return value
    if isinstance(value, Pair):
        return Pair(_widened(value.x), _widened(value.r))
    return tf.cast(value, wider[value.dtype])


def _wider_attribute(value):
    """The attribute with wider types in the place of its own."""
    wider = {one.as_datatype_enum: other.as_datatype_enum for one, other in _wider.get().items()}
    if value.type not in wider and not any(one in wider for one in value.list.type):
        return value
    changed = type(value)()
    changed.CopyFrom(value)
    if value.type in wider:
        changed.type = wider[value.type]
    for i, one in enumerate(value.list.type):
        changed.list.type[i] = wider.get(one, one)
    return changed
