"""How far attention and attribution of an explanation agree: every map, reduction and measure, with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from keras_attn_xai.alignment import align
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.frames import pandas_for
from keras_attn_xai.metrics.bootstrap import bootstrap_interval
from keras_attn_xai.metrics.correlations import cosine, kendall_tau, pearson, spearman
from keras_attn_xai.metrics.distributions import jensen_shannon, total_variation
from keras_attn_xai.metrics.top_positions import (
    jaccard_at_k,
    rank_biased_overlap,
    top_k_kendall_distance,
    top_k_overlap,
)

MEASURES = {  # of two arrays without signs, and what their numbers mean
    "kendall_tau": (kendall_tau, "-1 to 1: 1 the same order, 0 unrelated"),
    "spearman": (spearman, "-1 to 1: 1 the same order, 0 unrelated"),
    "pearson": (pearson, "-1 to 1: 1 a rising line, 0 unrelated"),
    "cosine": (cosine, "0 to 1: 1 the same direction"),
    "top_k_overlap": (top_k_overlap, "0 to 1: 1 the same 3 positions on top"),
    "jaccard_at_k": (jaccard_at_k, "0 to 1: 1 the same 3 positions on top"),
    "rank_biased_overlap": (rank_biased_overlap, "0 to 1: 1 the same order"),
    "top_k_kendall_distance": (top_k_kendall_distance, "0 to 1: 0 the same 3 positions on top, in the same order"),
    "jensen_shannon": (jensen_shannon, "0 to 0.693: 0 the same shares"),
    "total_variation": (total_variation, "0 to 1: 0 the same shares"),
}
USUAL = ("kendall_tau", "spearman", "top_k_overlap", "jensen_shannon")


class AgreementRow(NamedTuple):
    """One measure of one map and its reductions: the mean over rows, its 95 % interval, and how many rows counted."""

    map: str
    heads: str
    query: str
    measure: str
    mean: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class AgreementTable:
    """What `agreement` found.

    Parameters
    ----------
    rows : tuple of AgreementRow
    meanings : tuple of (str, str)
        Range and direction of each measure.
    left_out : tuple of str
        Names of maps that have not as many keys as the ruler has positions.

    Examples
    --------
    >>> from keras_attn_xai.metrics.agreement import AgreementRow, AgreementTable
    >>> row = AgreementRow("att", "mean", "first", "kendall_tau", 0.5, 0.25, 0.75, 8)
    >>> print(AgreementTable((row,), (("kendall_tau", "-1 to 1: 1 the same order"),)))
    map  heads  query  measure      mean      95 % interval  rows
    att  mean   first  kendall_tau  0.500  [ 0.250,  0.750]     8
    attention against |attribution|
    kendall_tau: -1 to 1: 1 the same order
    """

    rows: tuple[AgreementRow, ...]
    meanings: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()

    def __str__(self):
        head = ("map", "heads", "query", "measure", "mean", "95 % interval", "rows")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(f"{cell:{'<' if i < 4 else '>'}{widths[i]}}" for i, cell in enumerate(line)) for line in lines
        ]
        notes = ["attention against |attribution|", *(f"{name}: {meaning}" for name, meaning in self.meanings)]
        if self.left_out:
            notes.append(f"left out, for other positions: {', '.join(self.left_out)}")
        return "\n".join((*table, *notes))

    def to_frame(self):
        """The rows as a data frame.

        Returns
        -------
        pandas.DataFrame
            Columns map, heads, query, measure, mean, low, high and rows.

        Raises
        ------
        MissingExtraError
            pandas is not installed.

        Examples
        --------
        >>> from keras_attn_xai.metrics.agreement import AgreementRow, AgreementTable
        >>> row = AgreementRow("att", "mean", "first", "kendall_tau", 0.5, 0.25, 0.75, 8)
        >>> AgreementTable((row,)).to_frame()[["map", "measure", "mean"]]
           map      measure  mean
        0  att  kendall_tau   0.5
        """
        return pandas_for(".rows").DataFrame(list(self.rows), columns=list(AgreementRow._fields))


def agreement(
    explanation,
    *,
    maps=None,
    heads=("mean", "max"),
    query=("mean over unmasked", "max over unmasked"),
    measures=None,
    merge=None,
    seed=0,
):
    """How far attention agrees with attribution, for every map, reduction and measure, over all rows.

    Parameters
    ----------
    explanation : Explanation
        Of many rows: an interval needs at least two, and says little of less than some dozens.
    maps : str or sequence of str, optional
        Names of attention maps; by default all with as many keys as the ruler has positions.
    heads, query : reductions of `keras_attn_xai.align`, one or a sequence
        A map with one head, or with one query position, is measured with the first alone.
    measures : sequence of str or mapping of str to function, optional
        Names of measures of two arrays without signs: kendall_tau, spearman, pearson, cosine, top_k_overlap,
        jaccard_at_k, rank_biased_overlap, top_k_kendall_distance, jensen_shannon, total_variation; by default the
        first two, top_k_overlap and jensen_shannon. Or functions ``f(attention, sizes, mask=mask)`` of arrays (B, S)
        to (B,) by names of your own, as ``{"overlap of 5": partial(top_k_overlap, k=5)}``.
    merge : {None, "words"}
        See `keras_attn_xai.align`.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    AgreementTable
        ``print`` shows it, ``.rows`` and ``.to_frame()`` hold the numbers. A mean is over the rows for which the
        measure is defined, and NaN where it is for none.

    Raises
    ------
    ArgumentError
        No rows, no map that fits, or a measure or reduction that does not exist.

    Notes
    -----
    Attention has no sign, so that it is laid against the magnitude of the attribution. The intervals tell how far a
    mean would move with other rows, one at a time: the best of many lines is better than it would be on new rows.

    References
    ----------
    Jain and Wallace 2019, "Attention is not explanation" (arXiv:1902.10186), section 4.1.

    Examples
    --------
    >>> from keras_attn_xai import Attribution, AttentionMap, Explanation, Provenance
    >>> from keras_attn_xai.metrics import agreement
    >>> words = [["a", "fine", "film"]] * 2
    >>> moved = Attribution(
    ...     values=[[0.0, -2.0, 1.0]] * 2, base=[0.0] * 2, output=[-1.0] * 2, target=[1] * 2, unit="log-odds",
    ...     method="exact", evaluations=[8] * 2, player_labels=words,
    ... )
    >>> seen = AttentionMap("att", [[[[0.1, 0.6, 0.3]]], [[[0.6, 0.3, 0.1]]]], [["?"]] * 2, words)
    >>> table = agreement(Explanation((seen,), (moved,), words, Provenance("m")), measures=["kendall_tau"])
    >>> round(table.rows[0].mean, 3)  # of 1 and, where 1 pair of 3 has the same order and 2 have not, -1/3
    0.333
    """
    chosen = _chosen(measures)
    if not len(explanation):
        raise ArgumentError("Agreement is measured over rows; the explanation has none.")
    names, left_out = _maps(explanation, maps)
    rows = []
    for name in names:
        for one, other in _reductions(explanation, name, _several(heads), _several(query)):
            seen = align(explanation, map=name, heads=one, query=other, merge=merge)
            for measure, values in row_agreement(seen, measures=chosen).items():
                found = bootstrap_interval(values, seed=seed)
                rows.append(AgreementRow(seen.map, seen.heads, seen.query, measure, *found))
    meanings = tuple((name, MEASURES[name][1]) for name in chosen if not isinstance(measures, Mapping))
    return AgreementTable(tuple(rows), meanings, left_out)


def row_agreement(alignment, *, measures=None):
    """How far attention agrees with attribution, row by row: the numbers behind every picture, page and table.

    Parameters
    ----------
    alignment : Alignment
    measures : sequence of str or mapping of str to function, optional
        As for `agreement`.

    Returns
    -------
    dict of str to float array (B,)
        Each measure of attention against the magnitude of the attribution; NaN where it is not defined.

    Raises
    ------
    ArgumentError
        A measure that does not exist.
    ShapeError
        A function of your own that does not return one number per row.

    Examples
    --------
    >>> from keras_attn_xai.alignment import Alignment
    >>> from keras_attn_xai.metrics import row_agreement
    >>> seen = Alignment(
    ...     attention=[[0.1, 0.6, 0.3]], attribution=[[0.0, -2.0, 1.0]], mask=[[True, True, True]],
    ...     labels=(("a", "fine", "film"),), map="att", heads="mean", query="first",
    ... )
    >>> row_agreement(seen, measures=["kendall_tau", "top_k_overlap"])
    {'kendall_tau': array([1.]), 'top_k_overlap': array([1.])}
    """
    sizes, found = np.abs(alignment.attribution), {}
    for name, measure in _chosen(measures).items():
        found[name] = measure(alignment.attention, sizes, mask=alignment.mask)
        if np.shape(found[name]) != (len(alignment),):
            raise ShapeError(
                f"The measure '{name}' must return one number for each of {len(alignment)} rows; it returned shape "
                f"{np.shape(found[name])}."
            )
    return found


def _chosen(measures):
    """Measures by name."""
    if isinstance(measures, Mapping):
        return dict(measures)
    names = USUAL if measures is None else _several(measures)
    unknown = [name for name in names if name not in MEASURES]
    if unknown or not names:
        raise ArgumentError(
            f"measures must be some of {', '.join(MEASURES)}, or functions by name; received "
            f"{', '.join(map(repr, unknown)) or 'none'}."
        )
    return {name: MEASURES[name][0] for name in names}


def _several(one_or_more):
    """A tuple of what may be one name or number."""
    return (one_or_more,) if isinstance(one_or_more, (str, int, np.integer)) else tuple(one_or_more)


def _maps(explanation, names):
    """Names of the maps to measure, and of those that cannot be."""
    if names is not None:
        return _several(names), ()
    fits = {one.name: one.mask.shape[1] == len(explanation.labels[0]) for one in explanation.attention}
    if not any(fits.values()):
        align(explanation)  # says what is there and what would fit
    return tuple(name for name in fits if fits[name]), tuple(name for name in fits if not fits[name])


def _reductions(explanation, name, heads, query):
    """Pairs of reductions of heads and queries that can differ."""
    shape = next((one.weights.shape for one in reversed(explanation.attention) if one.name == name), (0, 0, 0, 0))
    heads = heads[:1] if shape[1] == 1 and all(isinstance(one, str) for one in heads) else heads
    query = query[:1] if shape[2] == 1 and all(isinstance(one, str) for one in query) else query
    return [(one, other) for one in heads for other in query]


def _cells(row):
    interval = f"[{row.low:>6.3f}, {row.high:>6.3f}]"
    return row.map, row.heads, row.query, row.measure, f"{row.mean:.3f}", interval, str(row.rows)
