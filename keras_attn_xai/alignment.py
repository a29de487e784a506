"""Attention and attribution on one ruler, so that a picture and a number cannot disagree."""

from dataclasses import dataclass

import numpy as np

from keras_attn_xai.derived.maps import reduce_heads
from keras_attn_xai.errors import ArgumentError, RecordError
from keras_attn_xai.records import Labels, frozen_array, pad_labels

QUERY_REDUCTIONS = ("mean over unmasked", "max over unmasked", "first", "last")


@dataclass(frozen=True, eq=False)
class Alignment:
    """One number of attention and one of attribution for every position.

    Parameters
    ----------
    attention, attribution : float arrays (B, S)
        Attention is what `align`'s reductions make of the map's weights; attribution is signed.
    mask : bool array (B, S)
        True is a position both speak about.
    labels : tuples of strings (B, S)
    map, heads, query : str
        The map's name and the reductions used.
    """

    attention: np.ndarray
    attribution: np.ndarray
    mask: np.ndarray
    labels: Labels
    map: str
    heads: str
    query: str

    def __post_init__(self):
        shape = np.shape(self.mask)
        for name, kind in (("attention", "float"), ("attribution", "float"), ("mask", "bool")):
            object.__setattr__(self, name, frozen_array(name, getattr(self, name), shape, kind=kind))

    def __len__(self):
        return len(self.labels)


def align(explanation, *, map=None, heads="mean", query="mean over unmasked", merge=None):
    """Put attention and attribution on one ruler.

    Parameters
    ----------
    explanation : Explanation
    map : str, optional
        Name of the attention map; by default the last one with as many keys as the ruler has positions.
    heads : {"mean", "max", "min"} or int, default "mean"
    query : {"mean over unmasked", "max over unmasked", "first", "last"} or int, default "mean over unmasked"
        How the query positions become one; "first" and "last" are the first and last real ones.
    merge : {None, "words"}
        "words" adds up the pieces of a word, in attention and attribution alike. Where the players are words, attention
        is added up in any case.

    Returns
    -------
    Alignment
        Attention in [0, 1], summing to 1 over a row of softmax weights for the mean reductions.

    Raises
    ------
    ArgumentError
        No map fits the ruler, no map of that name, an unknown reduction, or players that are not positions.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai import Attribution, AttentionMap, Explanation, Provenance, align
    >>> words = [["a", "fine", "film"]]
    >>> moved = Attribution(
    ...     values=[[0.0, 2.0, 1.0]], base=[0.0], output=[3.0], target=[1], unit="log-odds", method="exact",
    ...     evaluations=[8], player_labels=words,
    ... )
    >>> seen = AttentionMap("att", [[[[0.0, 0.5, 0.5]], [[0.0, 1.0, 0.0]]]], [["?"]], words)
    >>> align(Explanation((seen,), (moved,), words, Provenance("m"))).attention  # mean of two heads
    array([[0.  , 0.75, 0.25]])
    """
    attribution = explanation.attribution
    require_ruler(explanation)
    chosen = _choose_map(explanation, map)
    per_query, heads_name = reduce_heads(chosen.dense(), heads)
    attention, query_name = _reduce_queries(per_query, chosen.query_mask, query)
    seen = chosen.mask
    if attribution.players == "words":
        attention, seen = _summed_by_word(explanation, attention, seen)
    attention, values, mask, labels = merged(explanation, merge, attribution.mask & seen, attention, attribution.values)
    return Alignment(
        attention=np.where(mask, attention, 0.0),
        attribution=np.where(mask, values, 0.0),
        mask=mask,
        labels=labels,
        map=chosen.name,
        heads=heads_name,
        query=query_name,
    )


def require_ruler(explanation):
    """Raise where the players do not lie along the positions of the rows."""
    attribution = explanation.attribution
    along = attribution.players in ("tokens", "words", "steps") or attribution.player_labels == explanation.labels
    if attribution.values.ndim != 2 or not along:
        raise ArgumentError(
            "Attention is laid beside players along the positions (B, S): tokens, words or steps; this explanation "
            f"has {attribution.players} {attribution.values.shape}. Explain with players='tokens', 'words' or 'steps'."
        )


def fitting_maps(explanation):
    """Maps whose keys lie along the positions of the rows."""
    return [one for one in explanation.attention if one.mask.shape[1] == _positions(explanation)]


def _positions(explanation):
    return len(explanation.labels[0]) if len(explanation) else explanation.attribution.values.shape[1]


def _choose_map(explanation, name):
    if not explanation.attention:
        raise ArgumentError(
            "The explanation has no attention map to lay beside the attribution: the model has no attention, or it was "
            "explained with attention=None. write_report shows SHAP alone."
        )
    positions = _positions(explanation)
    known = (
        "; ".join(f"'{one.name}' {(*one.weights.shape[:3], one.mask.shape[1])}" for one in explanation.attention)
        or "none"
    )
    if name is not None:
        found = [one for one in explanation.attention if one.name == name]
        if not found:
            raise ArgumentError(f"There is no attention map '{name}'; the maps (B, H, T, S) are: {known}.")
    else:
        found = fitting_maps(explanation)
    if not found or found[-1].mask.shape[1] != positions:
        raise ArgumentError(f"No map with {positions} keys to lay beside the attribution; the maps are: {known}.")
    return found[-1]


def _reduce_queries(weights, mask, query):
    """(B, T, S) to (B, S), and the reduction's name."""
    if query == "mean over unmasked":
        count = np.maximum(mask.sum(1, keepdims=True), 1)
        return np.einsum("bts,bt->bs", weights, mask.astype(weights.dtype)) / count, query
    if query == "max over unmasked":
        return np.where(mask[:, :, None], weights, 0.0).max(1), query
    rows = np.arange(len(weights))
    if query == "first":
        return weights[rows, mask.argmax(1)], query
    if query == "last":
        return weights[rows, mask.shape[1] - 1 - mask[:, ::-1].argmax(1)], query
    if isinstance(query, (int, np.integer)) and -weights.shape[1] <= query < weights.shape[1]:
        return weights[:, query], f"query {query}"
    words = ", ".join(map(repr, QUERY_REDUCTIONS))
    raise ArgumentError(f"query must be {words} or one of {weights.shape[1]} positions; received {query!r}.")


def _summed_by_word(explanation, attention, mask):
    """Attention (B, S) and its mask added up to the words that are players, (B, W)."""
    if explanation.word_ids is None:
        raise RecordError("Players that are words need word_ids, which say which pieces are theirs; there are none.")
    rows, words = explanation.attribution.values.shape
    sums, kept = np.zeros((rows, words + 1)), np.zeros((rows, words + 1), bool)
    place = np.arange(rows)[:, None], np.where(mask, explanation.word_ids, -1)  # the last column is padding
    np.add.at(sums, place, attention)
    np.logical_or.at(kept, place, True)
    return sums[:, :words], kept[:, :words]


def merged(explanation, merge, mask, *values):
    """Arrays (B, S) with the pieces of each word summed where ``merge`` asks for it, then their mask and labels."""
    if merge not in (None, "words"):
        raise ArgumentError(f"merge must be None or 'words'; received {merge!r}.")
    if explanation.attributions and explanation.attribution.players == "words":
        return *values, mask, explanation.attribution.player_labels
    if merge is None:
        return *values, mask, explanation.labels
    if explanation.word_ids is None:
        raise RecordError("merge='words' needs word_ids; explain with a tokenizer that tells words from pieces.")
    groups = []  # per row: the positions of each word
    for words, real in zip(explanation.word_ids, mask, strict=True):
        order = dict.fromkeys(int(word) for word in words[real])
        groups.append([np.flatnonzero(real & (words == word)) for word in order])
    most = max(map(len, groups), default=0)
    sums = np.zeros((len(values), len(groups), most))
    kept = np.zeros((len(groups), most), bool)
    labels = []
    for row, words in enumerate(groups):
        kept[row, : len(words)] = True
        for column, positions in enumerate(words):
            sums[:, row, column] = [one[row, positions].sum() for one in values]
        pieces = explanation.labels[row]
        labels.append(["".join(pieces[i] for i in positions) for positions in words])
    return *sums, kept, pad_labels(labels, most)
