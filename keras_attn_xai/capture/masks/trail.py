"""Following where padding is through one run of a model, also where its mask has been lost.

Every layer and operation is watched while the model runs once on real numbers. A mask that Keras
attached to a tensor is believed. Where there is none, an output that has as many positions as an
input has its padding where that input has it, and a tensor made by plain Python in a layer's
``call`` (``x + y``) is taken to come from what that layer made or received last with as many
positions.
"""

import contextlib
import functools
import inspect
from typing import NamedTuple

import keras
import numpy as np

from keras_attn_xai.capture import seams
from keras_attn_xai.capture.locate import attention_layers, named_layers
from keras_attn_xai.capture.masks.padding import SMALL_VOCABULARY, Padding, real_of_ids
from keras_attn_xai.layers.keras_mask import attached_mask

NOT_STREAMS = ("mask", "bias", "projected")  # arguments of attention that are neither query, value nor key


class Loss(NamedTuple):
    """Where a mask stopped to travel with its tensor."""

    kind: str  # "deleted" from an input, "dropped" between input and output, "plain": lost in plain Python
    by: str  # name of the layer or operation
    layer: object
    further: tuple = ()  # (name, layer) of what would have lost it as well, later on the way


class AttentionCall(NamedTuple):
    """One call of an attention layer, as the padding meets it."""

    layer: object
    name: str
    query: Padding | None  # of T positions
    key: Padding | None  # of S positions
    masks: tuple  # explicit masks of the call, as arrays, but for the query's


class Known:
    """A tensor, held so that nothing else gets its id, and what is known of its positions."""

    def __init__(self, tensor, padding, by="", layer=None):
        self.tensor = tensor
        self.padding = padding
        self.by = by
        self.layer = layer


class Frame(NamedTuple):
    """A layer that is being called."""

    name: str
    layer: object
    tensors: list  # what it received
    made: list  # what its own parts have returned so far


class Trail:
    """The padding of every tensor of one run.

    Parameters
    ----------
    weights : dict of str to tensor
        Filled by `record.recording` while the model runs.
    """

    def __init__(self, weights):
        self.weights = weights
        self.calls = {}  # call name -> AttentionCall
        self.known = {}  # id of a tensor -> Known
        self.frames = []
        self.attention = set()  # ids of the model's attention layers
        self.paused = False

    def begin(self, tensor, padding):
        """Say of an input of the model where its padding is."""
        self.known[id(tensor)] = Known(tensor, padding)

    def followed(self, name, layer):
        """The ``call`` of a layer or operation, with this trail around it."""
        call = layer.call

        @functools.wraps(call)
        def follow(*args, **kwargs):
            """The call, with what is known of its tensors before and after it."""
            tensors = real_tensors((*args, *kwargs.values()))
            if not tensors or self.paused:
                return call(*args, **kwargs)
            frame = Frame(name, layer, tensors, [])
            before = [self.read(tensor) for tensor in tensors]
            streams = self.streams_of(frame, call, args, kwargs) if id(layer) in self.attention else None
            recorded = set(self.weights)
            self.frames.append(frame)
            try:
                outputs = call(*args, **kwargs)
            finally:
                self.frames.pop()
            self.note_deletions(frame)
            self.note_outputs(frame, before, real_tensors((outputs,)))
            if streams is None:
                self.examine(frame, before, outputs, lambda change: call(*change(args), **change(kwargs)))
            else:
                self.note_attention(frame, streams, [name for name in self.weights if name not in recorded])
            return outputs

        return follow

    def examine(self, frame, before, outputs, again):
        """A place for subclasses to look at a call; ``again(change)`` repeats it with changed arguments."""

    def read(self, tensor):
        """The padding of a tensor that is about to be used, or None."""
        if id(tensor) not in self.known:
            self.known[id(tensor)] = self.from_plain_python(tensor)
        known = self.known[id(tensor)]
        mask = attached_mask(tensor)
        if mask is not None and tuple(mask.shape) == tuple(tensor.shape[:2]):
            real = keras.ops.convert_to_numpy(mask).astype(bool)
            heir = known.padding is not None and known.padding.kind == "made"
            same = heir and np.array_equal(known.padding.real, real)
            known.padding = Padding(real, known.padding.maker if same else f"'{known.by}'", "made")
        elif known.padding is not None and known.padding.kind == "made" and known.padding.lost is None:
            known.padding = known.padding._replace(lost=Loss("dropped", known.by, known.layer))
        return known.padding

    def from_plain_python(self, tensor):
        """What a tensor that no layer returned has its positions from: the newest that looks like it."""
        if not self.frames or not (len(tensor.shape) > 2 or "int" in keras.backend.standardize_dtype(tensor.dtype)):
            return Known(tensor, None)
        frame = self.frames[-1]
        alike = [one for one in (*reversed(frame.made), *frame.tensors) if same_positions(one, tensor)]
        found = [padding for padding in map(self.read, alike) if padding is not None]
        if not found:
            return Known(tensor, None, frame.name, frame.layer)
        first = found[0]
        others = tuple(one.real for one in found[1:] if not np.array_equal(one.real, first.real))
        lost = first.lost
        if lost is None and first.kind == "made":
            lost = Loss("plain", frame.name, frame.layer)
        return Known(tensor, first._replace(lost=lost, others=(*first.others, *others)), frame.name, frame.layer)

    def note_deletions(self, frame):
        """Remember which inputs had a mask before the call and have none after it."""
        for tensor in frame.tensors:
            known = self.known[id(tensor)]
            carried = known.padding is not None and known.padding.kind == "made" and known.padding.lost is None
            if carried and attached_mask(tensor) is None:
                known.padding = known.padding._replace(lost=Loss("deleted", frame.name, frame.layer))

    def note_outputs(self, frame, before, outputs):
        """Remember what a layer returned; Keras attaches its mask later, so that is read when the output is used."""
        for output in outputs:
            if id(output) not in self.known:
                padding = self.handed_on(frame, before, output)
                self.known[id(output)] = Known(output, padding, frame.name, frame.layer)
        if self.frames:
            self.frames[-1].made.extend(outputs)

    def handed_on(self, frame, before, output):
        """The padding of an output: that of the first input with as many positions, the query's in attention."""
        if isinstance(frame.layer, keras.layers.Concatenate):
            joined = joined_padding(frame, before, output)
            if joined is not None:
                return joined
        pairs = zip(frame.tensors, before, strict=True)
        alike = [padding for tensor, padding in pairs if padding is not None and same_positions(tensor, output)]
        if isinstance(frame.layer, keras.layers.Embedding):
            return padding_of_embedding(frame, alike)
        if not alike:
            return None
        first = alike[0]
        losses = [one.lost for one in alike if one.lost is not None and np.array_equal(one.real, first.real)]
        lost = losses[0] if losses else None
        if lost is not None and not getattr(frame.layer, "supports_masking", False):
            lost = lost._replace(further=(*lost.further, (frame.name, frame.layer)))
        return first._replace(lost=lost)

    def streams_of(self, frame, call, args, kwargs):
        """Query, value and key of an attention call with their padding, and the masks it was given."""
        arguments = inspect.signature(call).bind(*args, **kwargs).arguments
        streams, masks = {}, []
        for name, value in arguments.items():
            values = list(value.values()) if name == "kwargs" else [value]
            if "mask" in name and name != "query_mask":
                masks += real_tensors(values)
            elif not any(word in name for word in NOT_STREAMS):
                streams[name] = [tensor for tensor in real_tensors(values) if len(tensor.shape) > 2]
        queries, keys = queries_and_keys(streams)
        travelling = {id(attached_mask(stream)) for stream in (*queries, *keys)}
        masks = [keras.ops.convert_to_numpy(mask) for mask in masks if id(mask) not in travelling]
        return *([(one, self.read(one)) for one in ones] for ones in (queries, keys)), tuple(masks)

    def note_attention(self, frame, arguments, calls):
        """Remember the padding that one call of attention met."""
        *streams, masks = arguments
        for call in calls:
            fitting = [
                [padding for stream, padding in ones if stream.shape[1] == size and padding is not None]
                for ones, size in zip(streams, self.weights[call].shape[-2:], strict=True)
            ]
            query, key = (next(iter(ones), None) for ones in fitting)
            self.calls[call] = AttentionCall(frame.layer, frame.name, query, key, masks)


@contextlib.contextmanager
def following(model, trail):
    """Let ``trail`` watch every layer and operation of the model inside the block; they are put back after it."""
    before = []
    trail.attention = {id(layer) for _, layer in attention_layers(model)}
    try:
        for name, part in watched(model, trail.attention):
            before.append((part, part.__dict__.get("call")))
            part.__dict__["call"] = trail.followed(name, part)  # past Keras' attribute tracking
        yield trail
    finally:
        for part, call in before:
            part.__dict__.pop("call", None)
            if call is not None:
                part.__dict__["call"] = call


def watched(model, attention=()):
    """The model, its layers and operations, each once and with a name; attention is not looked into."""
    found, whole = {id(model): (model.name, model)}, list[str]()
    for name, layer in named_layers(model):
        if not any(name.startswith(f"{one}/") for one in whole):
            found.setdefault(id(layer), (name, layer))
            if id(layer) in attention:
                whole.append(name)
    for name, layer in list(found.values()):
        prefix = "" if layer is model else f"{name}/"
        for operation in layer.operations if seams.is_functional(layer) else ():
            found.setdefault(id(operation), (prefix + operation.name, operation))
    return [(name, part) for name, part in found.values() if not isinstance(part, keras.layers.InputLayer)]


def real_tensors(structure):
    """The tensors of numbers in a structure, not those of a graph, of which nothing can be read."""
    return [
        leaf
        for leaf in keras.tree.flatten(structure)
        if keras.ops.is_tensor(leaf)
        and not isinstance(leaf, keras.KerasTensor)
        and getattr(leaf, "graph", None) is None
        and leaf.shape is not None
    ]


def same_positions(tensor, output):
    """Whether ``output`` can have its positions from ``tensor``: as many rows and positions, no fewer axes."""
    shape, other = tuple(tensor.shape), tuple(output.shape)
    return 2 <= len(shape) <= len(other) and shape[:2] == other[:2]


def queries_and_keys(streams):
    """Which tensors of an attention call are queries, and which keys or values.

    Parameters
    ----------
    streams : dict of str to list of tensors
        By argument. Names that begin with q, k and v say what they are; else the query comes first, and what
        is alone is both.
    """
    by_letter: dict[str, list] = {letter: [] for letter in "qkv"}
    for name, tensors in streams.items():
        by_letter.get("" if name == "kwargs" else name[:1].lower(), []).extend(tensors)
    keys = by_letter["k"] + by_letter["v"]
    if by_letter["q"]:
        return by_letter["q"], keys or by_letter["q"]
    flat = [tensor for tensors in streams.values() for tensor in tensors]
    return flat[:1], flat[2:3] + flat[1:2] or flat


def joined_padding(frame, before, output):
    """The padding of tensors put one after the other, or None if they were joined along another axis."""
    shapes = [tuple(tensor.shape) for tensor in frame.tensors]
    axis = frame.layer.axis % len(output.shape)
    if axis != 1 or all(padding is None for padding in before):
        return None
    reals = [np.ones(shape[:2], bool) if one is None else one.real for shape, one in zip(shapes, before, strict=True)]
    some = [padding for padding in before if padding is not None]
    losses = [padding.lost for padding in some if padding.lost is not None]
    return some[0]._replace(real=np.concatenate(reals, axis=1), lost=losses[0] if losses else None, others=())


def padding_of_embedding(frame, alike):
    """The padding of embedded ids; ids of few kinds say nothing by their zeros."""
    if alike:
        padding = alike[0]
        if padding.kind != "guessed":
            return padding
        return None if frame.layer.input_dim <= SMALL_VOCABULARY else padding._replace(maker=f"'{frame.name}'")
    ids = keras.ops.convert_to_numpy(frame.tensors[0])
    if ids.ndim != 2 or ids.dtype.kind != "f" or frame.layer.input_dim <= SMALL_VOCABULARY:
        return None
    real = real_of_ids(ids)
    return None if real is None else Padding(real, f"'{frame.name}'", "guessed")
