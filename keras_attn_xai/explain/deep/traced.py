"""A function as a graph, with the places where what is explained enters."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_attn_xai.errors import ModelError
from keras_attn_xai.explain.deep.graph import ancestors, captured, replay
from keras_attn_xai.explain.deep.model_changes import embedding_outputs, unrolled_loops


@dataclass(frozen=True)
class Met:
    """An Embedding's output inside a trace.

    Attributes
    ----------
    output : str
        The tensor's name.
    input : int
        The number of the input whose ids it was looked up for.
    """

    output: str
    input: int


class Traced:
    """A function as a graph of its flat inputs.

    Attributes
    ----------
    graph : FuncGraph
    captures : dict of str to tensor
        What it closes over.
    met : list of Met
    """

    def __init__(self, function, structure, signature, layers):
        met = []

        def meet(ids, output):
            output = tf.identity(output)
            met.append((ids, output))
            return output

        def flat(*inputs):
            return function(tf.nest.pack_sequence_as(structure, inputs))

        with embedding_outputs(layers, meet), unrolled_loops(layers):
            concrete = tf.function(flat, autograph=False).get_concrete_function(*signature)
        self.graph, self.captures, self._concrete = concrete.graph, captured(concrete), concrete
        if len(concrete.outputs) != 1 or concrete.outputs[0].shape.rank != 1:
            raise ModelError(
                "The function must return one scalar per row, a tensor (N,); it returned "
                f"{', '.join(str(tuple(one.shape)) for one in concrete.outputs)}."
            )
        self.inputs = [one.name for one in self.graph.inputs[: len(signature)]]
        self.output = concrete.graph.outputs[0].name
        self.met = [Met(output.name, source) for ids, output in met if (source := self._source(ids)) is not None]

        if not self.met and not any(one.dtype.is_floating for one in signature):
            raise ModelError(
                "Nothing to explain: the inputs are integers, and no Embedding layer that reads them is among layers=."
            )

    def _source(self, ids):
        """The input that token ids are, or None where they depend on none."""
        if not isinstance(ids, tf.Tensor) or ids.graph is not self.graph:
            return None
        found = {one.outputs[0].name for one in ancestors([ids]) if one.outputs} & set(self.inputs)
        if not found:
            return None
        number = self.inputs.index(found.pop())
        if found or ids.shape[1:] != self.graph.inputs[number].shape[1:]:
            raise ModelError(
                "An Embedding layer reads ids that are not one input as it is, but were shifted, cut or put "
                "together inside the model; their values cannot be told apart. Explain it by its players."
            )
        return number

    def sides(self, rows, references):
        """Both ends of everything that is explained: (input number, tensor name, x, r).

        Parameters
        ----------
        rows, references : list of tensors (P, ...), one per flat input
        """
        looked_up = {met.input for met in self.met}
        ends = [
            (i, name, x, r)
            for i, (name, x, r) in enumerate(zip(self.inputs, rows, references, strict=True))
            if x.dtype.is_floating and i not in looked_up
        ]
        if self.met:
            x, r = (self.replay(one) for one in (rows, references))
            ends += [(met.input, met.output, x[met.output], r[met.output]) for met in self.met]
        return ends

    def replay(self, rows, *, instead=None, on_step=lambda step: None):
        """Every value of the graph for these rows, with other values in the place of those that are named.

        Parameters
        ----------
        rows : list of tensors (P, ...), one per flat input
        instead : dict of str to Tensor or Pair, optional
        on_step : callable
            As in `graph.replay`.
        """
        feed = {**self.captures, **dict(zip(self.inputs, rows, strict=True))}
        instead = instead or {}
        feed |= {name: value for name, value in instead.items() if name in feed}
        return replay(self.graph, feed, instead=instead, on_step=on_step)


def row_signature(inputs):
    """What a function of such rows is traced for: flat, any number of rows."""
    rows = [np.asarray(one) for one in tf.nest.flatten(inputs)]
    return [tf.TensorSpec([None, *one.shape[1:]], one.dtype) for one in rows]


def compiled_for(cache, inputs, make):
    """``make(inputs, signature)``, made once for each structure, dtype and shape of rows."""
    signature = row_signature(inputs)
    structure = repr(tf.nest.map_structure(lambda one: None, inputs))
    key = (structure, *signature)
    if key not in cache:
        cache[key] = make(inputs, signature)
    return cache[key]
