"""Weights times gradients, carried through self-attention and cross-attention from the input to the last layer."""

from itertools import chain

import numpy as np

from keras_attn_xai.derived.gradients import raising
from keras_attn_xai.derived.maps import keys_of, new_map, positions, queries_of, same_rows
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.records import AttentionMap


def generic_attention(maps, *, streams=None, source=None):
    """How much each position at the end rests on each position of the input, for a target, through all layers.

    Parameters
    ----------
    maps : sequence of AttentionMap
        With ``gradients``, in the order in which the model calls them. Maps in a tuple of their own read what was
        there before any of them, as the two directions of a co-attention layer do.
    streams : sequence of (str, str), optional
        For each map the names of its query stream and its key stream, ``("decoder", "encoder")``; in the order of
        the maps, without tuples within. By default all maps are self-attention of one stream, which needs T = S.
    source : str, optional
        The stream the answer speaks about; by default the one that the last map's query stream attended to last in a
        cross-attention, else that query stream itself.

    Returns
    -------
    AttentionMap
        ``"generic_attention"``, one head, (B, 1, T, S): queries are the positions of the last map's query stream,
        keys those of ``source``. At least 0, no unit; rows do not sum to 1. Queries that are padding are 0.

    Raises
    ------
    ArgumentError
        No maps, a map without gradients, streams that are not one pair a map, or a source that nothing reaches.
    ShapeError
        Maps of different rows, or of different sizes where streams have to be named or have one size.

    Notes
    -----
    R of a stream with itself starts as I, of two streams as 0; with A-bar of `attention_times_gradient`, s the query
    stream and q the key stream of a map:

    - self-attention: ``R_sr += A-bar R_sr`` for every stream r (equations 6 and 7);
    - cross-attention: ``R_sq += R-bar_ss^T A-bar R-bar_qq`` (10) and ``R_sr += A-bar R_qr`` for every stream r but q
      (11, where r is s; the paper has two streams);
    - ``R-bar`` is I plus R - I with each row divided by its sum (8 and 9). A row of R - I that is 0, as before any
      self-attention, stays 0; the published division is 0/0 there.

    In an encoder-decoder (11) changes nothing, because no encoder position rests on the decoder. Feed-forward blocks
    and value vectors are left out, and what speaks against the target is cut off in every layer.

    References
    ----------
    Chefer, Gur and Wolf 2021, "Generic attention-model explainability for interpreting bi-modal and encoder-decoder
    transformers" (arXiv:2103.15679).

    Examples
    --------
    >>> from keras_attn_xai import AttentionMap
    >>> from keras_attn_xai.derived import generic_attention
    >>> words = [["a", "b"]]
    >>> seen = AttentionMap("mha", [[[[0.5, 0.5], [0.5, 0.5]]]], words, words, gradients=[[[[4.0, -2.0], [2.0, 0.0]]]])
    >>> generic_attention([seen]).weights[0, 0]  # I + A-bar
    array([[3., 0.],
           [1., 1.]])
    """
    groups = _groups(maps)
    flat = same_rows(chain(*groups), "generic_attention")
    streams = _streams(flat, streams)
    sizes = _sizes(flat, streams)
    weighted = iter(zip(raising(flat, "generic_attention"), streams, strict=True))
    moved = {(name, name): np.zeros((len(flat[0]), size, size)) for name, size in sizes.items()}  # R; R - I if s = q
    for group in groups:
        added = [one for _ in group for one in _additions(moved, *next(weighted))]
        for pair, addition in added:
            moved[pair] = moved.get(pair, 0) + addition
    last, source = streams[-1][0], _source(streams, source)
    if (last, source) not in moved:
        raise ArgumentError(f"No position of '{last}' rests on '{source}'; the streams are {_named(sizes)}.")
    rests = moved[last, source] + (np.eye(sizes[last]) if last == source else 0)
    return new_map("generic_attention", rests, query=queries_of(flat[-1]), key=_keys(flat, streams, source))


def _groups(maps):
    """A list of tuples: maps that read the same state."""
    if isinstance(maps, AttentionMap):
        return same_rows(maps, "generic_attention")
    return [tuple(one) if isinstance(one, (tuple, list)) else (one,) for one in maps]


def _streams(maps, streams):
    """One pair of names for each map."""
    if streams is None:
        sizes = {size for one in maps for size in positions(one)}
        if len(sizes) > 1:
            known = ", ".join(f"'{one.name}' {positions(one)}" for one in maps)
            raise ShapeError(
                f"Maps of several sizes belong to several streams: name the query stream and the key stream of each, "
                f"streams=[('encoder', 'encoder'), ...]; the maps (T, S) are {known}."
            )
        return [("input", "input")] * len(maps)
    streams = [(pair,) if isinstance(pair, str) else tuple(pair) for pair in streams]
    if len(streams) != len(maps) or any(len(pair) != 2 for pair in streams):
        raise ArgumentError(
            f"streams must be one pair (query stream, key stream) for each of {len(maps)} maps; received {streams}."
        )
    return streams


def _sizes(maps, streams):
    """Positions of each stream."""
    sizes: dict[str, int] = {}
    for one, pair in zip(maps, streams, strict=True):
        for name, size in zip(pair, positions(one), strict=True):
            if sizes.setdefault(name, size) != size:
                raise ShapeError(
                    f"A stream has one size; '{name}' has {sizes[name]} positions and {size} as well, in '{one.name}' "
                    f"(T, S) = {positions(one)} with streams {pair}."
                )
    return sizes


def _additions(moved, raised, pair):
    """What one map adds: ((stream, stream), float array (B, T, S)) each, from the state ``moved``."""
    query, key = pair
    if query == key:
        return [(one, raised @ rest + (raised if one == pair else 0)) for one, rest in moved.items() if one[0] == query]
    through = _normalized(moved[query, query]).swapaxes(1, 2) @ raised @ _normalized(moved[key, key])
    others = [((query, to), raised @ rest) for (start, to), rest in moved.items() if start == key and to != key]
    return [(pair, through), *others]


def _normalized(moved):
    """``R-bar`` from R - I: its rows divided by their sums, plus I; a row that is 0 stays 0."""
    total = moved.sum(-1, keepdims=True)
    return np.divide(moved, total, out=np.zeros_like(moved), where=total > 0) + np.eye(moved.shape[-1])


def _source(streams, source):
    """The stream that the answer speaks about."""
    last = streams[-1][0]
    crossed = [key for query, key in streams if query == last != key]
    return source if source is not None else (crossed or [last])[-1]


def _keys(maps, streams, source):
    """Labels and mask of a stream, from the last map that has it."""
    last = max(place for place, pair in enumerate(streams) if source in pair)
    return keys_of(maps[last]) if streams[last][1] == source else queries_of(maps[last])


def _named(sizes):
    return ", ".join(f"'{name}' ({size})" for name, size in sizes.items())
