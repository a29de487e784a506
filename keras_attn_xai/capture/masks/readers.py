"""What in a model lets padding through although the masks are there: tried out on a padded example."""

import keras
import numpy as np

from keras_attn_xai.capture.masks.causes import described, loss_explained
from keras_attn_xai.capture.masks.lint import leaks_of, run_with_trail
from keras_attn_xai.capture.masks.padding import NOT_WORDS
from keras_attn_xai.capture.masks.trail import Trail, real_tensors, same_positions
from keras_attn_xai.capture.model_inputs import as_inputs, symbolic_inputs
from keras_attn_xai.layers.keras_mask import attach_mask, attached_mask

POSITIONS, TOLERANCE = 7, 1e-4
MASKS = ("made", "given")  # kinds of padding that a mask speaks of


def what_reads_padding(model):
    """Sentences about layers, operations and attention calls whose numbers depend on masked positions.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    list of str
        Empty if nothing does, or if no example of the model's inputs can be made.
    """
    x = padded_example(model)
    if x is None:
        return []
    try:
        weights, trail = run_with_trail(model, x, trail=ReaderTrail)
    except Exception:  # the example is made up: a model need not take it
        return []
    leaks = [leak for leak in leaks_of(weights, trail) if trail.calls[leak.name].key.kind in MASKS]
    readers = [name for name in trail.readers if not any(leak.name.startswith(f"{name}/") for leak in leaks)]
    sentences = [f"the attention '{leak.name}' still reads padding. {leak.cause} {leak.cure}" for leak in leaks]
    sentences += [_sentence(name, *trail.readers[name]) for name in readers]
    if not sentences and trail.has_masks() and depends_on_padding(model, x):
        sentences = [f"{described(model, model.name)}: reads padding in plain operations of its call."]
    return sentences


def _sentence(name, layer, padding):
    if padding.lost is not None:
        return f"{described(layer, name)}: reads padding. {' '.join(loss_explained(padding))}"
    return f"{described(layer, name)}: reads padding; it does not use the mask of {padding.maker}."


class ReaderTrail(Trail):
    """A trail that repeats every call with other numbers in the padding and compares."""

    def __init__(self, weights):
        super().__init__(weights)
        self.readers = {}  # name -> layer, and the padding it met

    def has_masks(self):
        """Whether anything in the run had a mask."""
        return any(known.padding is not None and known.padding.kind in MASKS for known in self.known.values())

    def examine(self, frame, before, outputs, again):
        """Note the layer if its real outputs depend on what stands in the padding."""
        explained = not self.frames or any(one.startswith(f"{frame.name}/") for one in self.readers)
        if explained or getattr(frame.layer, "stateful", False):
            return
        paddings = {
            id(tensor): one for tensor, one in zip(frame.tensors, before, strict=True) if _is_masked(one, tensor)
        }
        if not paddings:
            return
        self.paused = True
        try:
            others = again(lambda arguments: _with_other_padding(arguments, paddings))
        finally:
            self.paused = False
        real = [(tensor, paddings[id(tensor)].real) for tensor in frame.tensors if id(tensor) in paddings]
        pairs = zip(real_tensors((outputs,)), real_tensors((others,)), strict=True)
        if any(_differ(one, other, real) for one, other in pairs):
            self.readers[frame.name] = frame.layer, next(iter(paddings.values()))


def padded_example(model):
    """A batch of two rows, the first of them padded from the middle on, or None if the inputs are not known."""
    symbolic = symbolic_inputs(model)
    if symbolic is not None:
        flat = keras.tree.flatten(symbolic)
        if any(one.dtype == "string" or len(one.shape) < 1 for one in flat):
            return None
        return keras.tree.map_structure(lambda one: _example(one.name, one.shape, one.dtype), symbolic)
    shape = (model.get_build_config() or {}).get("input_shape")
    if isinstance(shape, dict) and all(_is_shape(one) for one in shape.values()):
        return {name: _example(name, one, _likely_dtype(one)) for name, one in shape.items()}
    return _example("", shape, _likely_dtype(shape)) if _is_shape(shape) else None


def depends_on_padding(model, x):
    """Whether the first row has another output without its padding; False where the length cannot be changed."""
    short = keras.tree.map_structure(_without_padding, x)
    try:
        one, other = (_outputs(model, inputs) for inputs in (short, x))
    except Exception:  # as above
        return False
    return any(_gap(left[:1], right[:1]) > TOLERANCE for left, right in zip(one, other, strict=True))


def computes_another(model, copy):
    """Whether a copy differs from its model on an example without padding; False where there is none."""
    x = padded_example(model)
    if x is None:
        return False
    short = keras.tree.map_structure(_without_padding, x)
    try:
        first, again = (_outputs(model, short) for _ in range(2))
    except Exception:  # as above
        return False
    same = zip(first, again, strict=True)
    if any(_gap(left, right) > 0 for left, right in same):  # it draws random numbers
        return False
    other = _outputs(copy, short)
    return len(other) != len(first) or any(
        _gap(left, right) > TOLERANCE for left, right in zip(first, other, strict=True)
    )


def _without_padding(array):
    return array[:, : _half(array.shape[1])] if array.ndim > 1 else array


def _half(length):
    return (length + 1) // 2


def _outputs(model, inputs):
    outputs = model(as_inputs(model, inputs)[0], training=False)
    return [keras.ops.convert_to_numpy(keras.ops.cast(one, "float32")) for one in keras.tree.flatten(outputs)]


def _gap(short, long):
    """The largest difference where both have a number, as a part of the largest number there."""
    if short.ndim != long.ndim:
        return np.inf
    short, long = (one[tuple(map(slice, np.minimum(short.shape, long.shape)))] for one in (short, long))
    return np.max(np.abs(short - long), initial=0) / max(1e-3, np.max(np.abs(long), initial=0))


def _example(name, shape, dtype):
    shape = (shape[0] or 2, *(size or POSITIONS for size in shape[1:]))
    real = np.ones(shape[:2] if len(shape) > 1 else shape, bool)
    if real.ndim == 2:
        real[0, _half(shape[1]) :] = False
    if len(shape) != 2:
        numbers = np.random.default_rng(0).normal(size=shape)
        real = real.reshape(real.shape + (1,) * (len(shape) - real.ndim))
        return (numbers * real).astype(dtype)
    kinds = NOT_WORDS.search(name.lower()) and "mask" not in name.lower()
    return (real * (not kinds)).astype(dtype)


def _is_shape(shape):
    return isinstance(shape, (tuple, list)) and all(size is None or isinstance(size, int) for size in shape)


def _likely_dtype(shape):
    return "int32" if len(shape) == 2 else "float32"


def _is_masked(padding, tensor):
    floats = len(tensor.shape) > 2 and "float" in keras.backend.standardize_dtype(tensor.dtype)
    return floats and padding is not None and padding.kind in MASKS and not padding.real.all()


def _with_other_padding(arguments, paddings):
    """The arguments with other numbers where there is padding, and the same masks."""

    def other(tensor):
        padding = paddings.get(id(tensor))
        if padding is None:
            return tensor
        room = (1,) * (len(tensor.shape) - 2)
        changed = tensor + keras.ops.cast(keras.ops.reshape(~padding.real, (*padding.real.shape, *room)), tensor.dtype)
        attach_mask(changed, attached_mask(tensor))
        return changed

    return keras.tree.map_structure(other, arguments)


def _differ(one, other, real):
    """Whether two outputs differ where they are real; all of an output is that has other positions."""
    gap = np.abs(np.subtract(*(keras.ops.convert_to_numpy(keras.ops.cast(out, "float32")) for out in (one, other))))
    for tensor, kept in real:
        if same_positions(tensor, one):
            gap = gap[kept]
            break
    return bool((gap > TOLERANCE).any())
