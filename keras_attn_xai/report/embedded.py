"""The numbers a page's script looks up: attention of every map, head and query, on the ruler of the page."""

import base64
import json
import zlib
from dataclasses import dataclass, replace

import numpy as np

from keras_attn_xai.alignment import QUERY_REDUCTIONS, align
from keras_attn_xai.derived.maps import reduce_heads
from keras_attn_xai.metrics import row_agreement
from keras_attn_xai.records import AttentionMap

MANY = 8_000_000  # weights that no packing brings under a megabyte; of so many only the largest are looked at
LARGEST = (16, 8, 6, 5, 4, 3, 2, 1)  # weights kept of each query, where not all fit
SHARED = 2  # "mean" and "max", the heads' choices that come first
NO_ORDER = 999  # in the place of a Kendall tau


@dataclass(frozen=True)
class Layer:
    """One map on the ruler of one text: W words, H choices of heads, R reductions of queries, T queries.

    Parameters
    ----------
    name : str
    heads : tuple of str
        ``"mean"``, ``"max"``, then each head's number.
    queries : tuple of str
        Names of the reductions.
    own : bool
        The queries are the words themselves, T = W.
    labels : tuple of str
        Of the queries; empty where they are the words.
    digits : int
        Places behind the point that the page shows.
    ruler : int array (H, R, W)
        What `align` gives, in units of the last place.
    weights : int array (H, T, W)
        Each query's weights on the ruler, in the same units.
    agreement : int array (2, H, R)
        Kendall tau in hundredths, `NO_ORDER` for none, and how many of the three strongest words are shared.
    """

    name: str
    heads: tuple[str, ...]
    queries: tuple[str, ...]
    own: bool
    labels: tuple[str, ...]
    digits: int
    ruler: np.ndarray
    weights: np.ndarray
    agreement: np.ndarray


def layers_of(explanation, merge, words):
    """Each row's maps that fit its words, and a sentence on those that do not.

    Parameters
    ----------
    explanation : Explanation
    merge : {None, "words"}
    words : sequence of Alignment or None
        Each row's words as the page shows them: the default alignment of the row; None without.

    Returns
    -------
    list of (list of Layer, list of str)
        One pair per row.
    """
    positions = len(explanation.labels[0])
    found: list = [([], []) for _ in words]
    places: dict = {}  # of a row and a mask: most maps of a row share theirs
    for one in {one.name: one for one in explanation.attention}.values():
        keys = one.mask.shape[1]
        if keys != positions:
            for _, left_out in found:
                left_out.append(f"'{one.name}' (its {keys} keys are not the {positions} positions of the words)")
            continue
        rulers = _rulers(explanation, one, merge)
        agreements = [row_agreement(seen, measures=("kendall_tau", "top_k_overlap")) for seen in rulers.ravel()]
        for row, shown in enumerate(words):
            if shown is None:
                continue
            if not np.array_equal(rulers[0, 0].mask[row], shown.mask[0]):
                found[row][1].append(f"'{one.name}' (it masks other words)")
                continue
            pairs = np.array([_of_row(both, row, shown) for both in agreements], np.int16)
            key = row, one.mask[row].tobytes()
            if key not in places:
                places[key] = _places(explanation, one, row, merge)[:, shown.mask[0]]
            agreement = pairs.T.reshape(2, *rulers.shape)
            found[row][0].append(_layer(one[row], row, rulers, agreement, places[key]))
    return found


def usual_digits(words):
    """Places behind the point that weights spread over so many words need."""
    return 3 if words <= 100 else 4


def pack(rows, room):
    """The page's numbers, as many as fit.

    Parameters
    ----------
    rows : list of (list of Layer, int, str)
        Each text's layers, how many words it has, and the name of the map that is shown first.
    room : int
        Bytes there are for them.

    Returns
    -------
    tuple (str, int or None, bool)
        JSON; how many weights of each query are in it, None for all; whether single heads are.
    """
    weights = sum(layer.weights.size for layers, *_ in rows for layer in layers)
    largest = [[_largest(layer.weights) for layer in layers] for layers, *_ in rows]
    plans = [(kept, heads) for heads in (None, SHARED) for kept in ((None, *LARGEST) if weights <= MANY else LARGEST)]
    for kept, heads in plans:
        packed = _pack(rows, largest, kept, heads, room)
        if packed is not None:
            return packed, kept, heads is None
    return _pack(rows, largest, 1, SHARED, None), 1, False


def _rulers(explanation, one, merge):
    """Alignments of all rows, (H, R)."""
    choices = ["mean", "max", *range(one.weights.shape[1])]
    reductions = QUERY_REDUCTIONS if one.weights.shape[2] > 1 else QUERY_REDUCTIONS[:1]
    found = np.empty((len(choices), len(reductions)), object)
    for at in np.ndindex(found.shape):
        found[at] = align(explanation, map=one.name, heads=choices[at[0]], query=reductions[at[1]], merge=merge)
    return found


def _layer(one, row, rulers, agreement, places):
    """``one`` is the map of this row alone; ``places`` (S, W) is where its keys stand on the ruler."""
    kept = rulers[0, 0].mask[row]
    ruler = np.array([[seen.attention[row, kept] for seen in line] for line in rulers])
    heads = ("mean", "max", *range(len(ruler) - 2))
    own = one.query_labels == one.key_labels
    weights = _on_ruler(np.stack([reduce_heads(one.dense(), choice)[0][0] for choice in heads]), places)
    if own:  # a word asks what its pieces ask, on average
        asked = _on_ruler(weights.swapaxes(1, 2), places).swapaxes(1, 2)
        weights = asked / np.maximum(places.sum(0), 1)[:, None]
        labels = ()
    else:
        real = one.query_mask[0]
        weights = weights[:, real]
        labels = tuple(label for label, keep in zip(one.query_labels[0], real, strict=True) if keep)
    digits = _digits(max(np.abs(ruler).max(initial=0.0), np.abs(weights).max(initial=0.0)), int(kept.sum()))
    return Layer(
        name=one.name,
        heads=tuple(map(str, heads)),
        queries=tuple(seen.query for seen in rulers[0]),
        own=own,
        labels=labels,
        digits=digits,
        ruler=_in_units(ruler, digits),
        weights=_in_units(weights, digits),
        agreement=agreement,
    )


def _on_ruler(weights, places):
    """Weights (H, T, S) added up to the words, (H, T, W)."""
    if (places.sum(0) == 1).all():  # each word is one key
        return weights[:, :, places.argmax(0)]
    return weights @ places


def _places(explanation, one, row, merge):
    """Where each key stands on the ruler, (S, W): `align` asked about one key at a time."""
    keys = one.mask.shape[1]
    every = [row] * keys
    asked = AttentionMap(
        one.name,
        np.eye(keys)[:, None, None],
        (("key",),) * keys,
        (one.key_labels[row],) * keys,
        mask=one.mask[every],
    )
    return align(replace(replace(explanation, attention=())[every], attention=(asked,)), merge=merge).attention


def _digits(largest, words):
    """Places behind the point: the usual ones, fewer where 16 bits hold no more, more where all weights are tiny."""
    if not largest:
        return usual_digits(words)
    fits = min(100, int(np.floor(np.log10(30_000 / largest))))  # a browser writes no more than 100
    return min(fits, usual_digits(words)) if largest >= 0.01 else fits


def _in_units(values, digits):
    return np.rint(values * 10.0**digits).astype(np.int16)


def _of_row(agreement, row, shown):
    """Hundredths of Kendall tau, and how many of the strongest words are shared."""
    tau, overlap = agreement["kendall_tau"][row], agreement["top_k_overlap"][row]
    compared = min(3, int(shown.mask.sum()))
    return NO_ORDER if np.isnan(tau) else np.rint(100 * tau), np.rint(np.nan_to_num(overlap) * compared)


def _pack(rows, largest, kept, heads, room):
    """JSON of a plan, or None where it needs more than ``room``."""
    texts, used = [], 0
    for (layers, words, first), of_layers in zip(rows, largest, strict=True):
        count = words if kept is None else min(kept, words)
        maps, arrays = [], []
        for layer, (weights, index) in zip(layers, of_layers, strict=True):
            arrays += [layer.agreement[:, :heads], layer.ruler[:heads]]
            if count == words:
                arrays.append(layer.weights[:heads])
            else:
                arrays += [weights[:heads, :, :count], index[:heads, :, :count]]
            maps.append(
                {
                    "name": layer.name,
                    "heads": layer.heads[:heads],
                    "queries": layer.queries,
                    "own": layer.own,
                    "labels": layer.labels,
                    "digits": layer.digits,
                    "rows": layer.weights.shape[1],
                    "kept": count,
                }
            )
        default = next((i for i, layer in enumerate(layers) if layer.name == first), 0)
        texts.append({"words": words, "default": default, "maps": maps, "numbers": _squeezed(arrays)})
        used += len(_json(texts[-1]).encode()) + 1
        if room is not None and used > room:
            return None
    return _json(texts)


def _largest(weights):
    """Each query's largest weights, from the largest down, and where they stand: two arrays (H, T, 16 or fewer)."""
    index = np.argsort(-np.abs(weights.astype(np.int32)), axis=2, kind="stable")[..., : LARGEST[0]]
    return np.take_along_axis(weights, index, axis=2), index.astype(np.int16)


def _squeezed(arrays):
    """16-bit numbers as text: all low bytes, then all high bytes (mostly zeros), deflated, base64."""
    flat = np.concatenate([np.zeros(0, np.int16), *(one.ravel().astype("<i2") for one in arrays)])
    planes = flat.astype("<i2").view(np.uint8).reshape(-1, 2).T.tobytes()
    return base64.b64encode(zlib.compress(planes, 6)).decode()


def _json(given):
    """JSON that no HTML parser takes for markup."""
    return json.dumps(given, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
