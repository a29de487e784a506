"""Which number of the model's output is explained."""

import numpy as np
import tensorflow as tf

from keras_attn_xai.capture.record import named_outputs
from keras_attn_xai.capture.selection import PREFIX
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.explain.squash import before_squash, log_odds

OWN = -1  # the target index of a callable


class Target:
    """A user's ``target=`` and how to read it off a model's outputs.

    Parameters
    ----------
    spec : None, int, tuple of int, (str, int), (str, tuple of int) or callable
        None is the predicted class, or the only output. An integer is a class; for an output with more axes the
        index is a tuple, ``(step, class)``. A pair names the output first, ``("tags", (step, class))``; the only output
        is "output", or has the name of its layer.
        A callable maps the model's outputs to one scalar per row, with ``keras.ops`` or TensorFlow.

    Attributes
    ----------
    squash : {"softmax", "sigmoid", None}
        What was taken off the output; known once a trace has run.
    """

    def __init__(self, spec):
        self.spec = spec
        self.squash = None
        self.output_name, self.index = None, spec
        if isinstance(spec, (tuple, list)) and len(spec) == 2 and isinstance(spec[0], str):
            self.output_name, self.index = spec
        is_index = isinstance(self.index, (int, np.integer)) and not isinstance(self.index, bool)
        is_path = isinstance(self.index, tuple) and all(isinstance(one, (int, np.integer)) for one in self.index)
        if not (self.index is None or is_index or is_path or callable(spec)):
            raise ArgumentError(
                f"target must be None, a class number, (step, class), (output name, class number) or a callable; "
                f"received {spec!r}."
            )

    @property
    def unit(self):
        """``"log-odds"`` behind a softmax or sigmoid, else ``"output"``."""
        return "output" if self.squash is None else "log-odds"

    def explained(self, model, outputs, weights):
        """The tensor a class is picked from: (N,) or (N, C); inside a trace.

        Parameters
        ----------
        model : keras.Model
        outputs : the model's outputs
        weights : iterable of tensors
            Attention recorded in the same trace, so that outputs which are attention are left out.
        """
        if callable(self.spec):
            return self._own(outputs)
        output = self._choose_output(model, outputs, weights)
        tensor, self.squash = before_squash(output)
        axes = len(tensor.shape)
        if isinstance(self.index, tuple):
            if len(self.index) != axes - 1:
                raise ArgumentError(
                    f"target index {self.index} has {len(self.index)} numbers; the output of shape "
                    f"{tuple(tensor.shape)} needs {axes - 1}."
                )
            for position in self.index[:-1]:
                steps = tensor.shape[1]
                if steps is not None and not -steps <= position < steps:
                    raise ArgumentError(f"target step {position} is out of range: the output has {steps} steps.")
                tensor = tensor[:, position]
        elif axes > 2:
            raise ArgumentError(
                f"The output has shape {tuple(tensor.shape)}: a target per step. Name the step, for example "
                f"target=('{self.output_name or 'output'}', ({', '.join(['0'] * (axes - 1))}))."
            )
        return tensor

    def choose(self, explained):
        """The index for each row, from the explained tensor of the rows themselves.

        Parameters
        ----------
        explained : float array (B,) or (B, C)

        Returns
        -------
        int array (B,)
        """
        index = self.class_number(explained.shape[1] if explained.ndim == 2 else 1)
        if index is None:
            return explained.argmax(1) if explained.ndim == 2 else np.zeros(len(explained), int)
        return np.full(len(explained), index)

    def class_number(self, classes):
        """The class that was asked for, once it is one of so many (None: nobody knows); None for the predicted one."""
        if callable(self.spec):
            return OWN
        index = self.index[-1] if isinstance(self.index, tuple) else self.index
        if None not in (index, classes) and not 0 <= index < classes:
            raise ArgumentError(f"target {index} is out of range: the output has {classes} (0 to {classes - 1}).")
        return index

    def scalar(self, explained, index):
        """One number per row, (N,), of the explained tensor; inside a trace."""
        if len(explained.shape) == 1:
            return explained
        if self.squash == "softmax" and explained.shape[-1] != 1:
            return log_odds(explained, index)
        return tf.gather(explained, index, batch_dims=1)

    def _own(self, outputs):
        scalar = self.spec(outputs)
        if not tf.is_tensor(scalar) or len(scalar.shape) != 1:
            shape = tuple(scalar.shape) if hasattr(scalar, "shape") else type(scalar).__name__
            raise ArgumentError(
                f"A target callable must map the model's outputs to one scalar per row, a tensor of shape (N,); "
                f"it returned {shape}."
            )
        return scalar

    def _choose_output(self, model, outputs, weights):
        named = {
            name: tensor
            for name, tensor in named_outputs(model, outputs).items()
            if not name.startswith(PREFIX) and not any(_same(tensor, one) for one in weights)
        }
        only = len(named) == 1 and [self.output_name] == list(getattr(model, "output_names", ()))
        if self.output_name is not None and not only:
            if self.output_name not in named:
                raise ArgumentError(f"There is no output '{self.output_name}'; the outputs are {', '.join(named)}.")
            return named[self.output_name]
        if len(named) != 1:
            first = next(iter(named), "output")
            raise ArgumentError(
                f"The model has {len(named)} outputs ({', '.join(named)}); name one, for example target=('{first}', 0)."
            )
        return next(iter(named.values()))


def _same(output, weights):
    """Whether an output is a recorded map; single-head maps were given a head axis on the way."""
    source = weights.op.inputs[0] if weights.op.type == "ExpandDims" else None
    return output is weights or output is source
