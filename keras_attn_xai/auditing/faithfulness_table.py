"""Whether what an explanation calls strong moves the answer: players taken away, for several explanations at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from keras_attn_xai.auditing.coalition_orders import Questions, check_orders, counts_of, ranks_of
from keras_attn_xai.auditing.search import search_bounds
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.frames import pandas_for
from keras_attn_xai.metrics import (
    FRACTIONS,
    aopc,
    area_under_curve,
    comprehensiveness,
    faithfulness_correlation,
    infidelity,
    normalized_aopc,
    sensitivity_n,
    sufficiency,
)
from keras_attn_xai.metrics.bootstrap import bootstrap_band

STEPS = 10  # of the curves of deletion and insertion
SUBSETS = 50  # random ones of each row
OFF_TOGETHER = 0.2  # share of the players that sensitivity_n switches off
MEANINGS = {
    "comprehensiveness": "drop without the strongest players; higher is better",
    "sufficiency": "drop with the strongest players alone; lower is better",
    "aopc": "mean drop while players leave, the strongest first, down to none; higher is better",
    "normalized_aopc": "comprehensiveness, 0 the worst order known and 1 the best; higher is better",
    "deletion_area": "mean target while the strongest leave; lower is better",
    "insertion_area": "mean target while the strongest come; higher is better",
    "faithfulness_correlation": "-1 to 1, of sums with drops over random subsets; higher is better",
    "sensitivity_n": "-1 to 1, the same over subsets of one size; higher is better",
    "infidelity": "squared error of the drops foretold, at the best scale; lower is better",
}


class FaithfulnessRow(NamedTuple):
    """One measure of one explanation: the mean over rows, its 95 % interval, and how many rows counted."""

    method: str
    measure: str
    mean: float
    low: float
    high: float
    rows: int


class Curve(NamedTuple):
    """The mean target of all rows while players leave ("deletion") or come ("insertion"), the strongest first."""

    method: str
    kind: str
    fractions: np.ndarray  # (F,), 0 to 1
    mean: np.ndarray  # (F,), in the target's unit
    low: np.ndarray  # (F,), ends of 95 % intervals over rows
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class FaithfulnessTable:
    """What `faithfulness` found.

    Parameters
    ----------
    rows : tuple of FaithfulnessRow
    curves : tuple of Curve
    values : mapping of (str, str) to float array (B,)
        The measure of each row, by method and measure; for comparing two methods row by row.
    unit : str
        Of the target.
    notes : tuple of str

    Examples
    --------
    >>> from keras_attn_xai.auditing.faithfulness_table import FaithfulnessRow, FaithfulnessTable
    >>> row = FaithfulnessRow("attention", "sufficiency", 0.5, 0.25, 0.75, 8)
    >>> print(FaithfulnessTable((row,), unit="log-odds"))
    method     measure       mean      95 % interval  rows
    attention  sufficiency  0.500  [ 0.250,  0.750]     8
    drops and areas in log-odds
    sufficiency: drop with the strongest players alone; lower is better
    """

    rows: tuple[FaithfulnessRow, ...]
    curves: tuple[Curve, ...] = ()
    values: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    unit: str = "output"
    notes: tuple[str, ...] = ()

    def __str__(self):
        head = ("method", "measure", "mean", "95 % interval", "rows")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(f"{cell:{'<' if i < 2 else '>'}{widths[i]}}" for i, cell in enumerate(line)) for line in lines
        ]
        named = dict.fromkeys(row.measure for row in self.rows)
        meanings = (f"{name}: {MEANINGS[name]}" for name in named)
        return "\n".join((*table, f"drops and areas in {self.unit}", *meanings, *self.notes))

    def row(self, method, measure):
        """One line of the table.

        Parameters
        ----------
        method, measure : str

        Returns
        -------
        FaithfulnessRow

        Raises
        ------
        ArgumentError
            A line the table does not have.
        """
        found = [one for one in self.rows if (one.method, one.measure) == (method, measure)]
        if not found:
            methods, measures = (
                ", ".join(dict.fromkeys(getattr(one, name) for one in self.rows)) for name in ("method", "measure")
            )
            raise ArgumentError(
                f"There is no '{measure}' of '{method}'; the methods are {methods}, the measures {measures}."
            )
        return found[0]

    def to_frame(self):
        """The rows as a data frame.

        Returns
        -------
        pandas.DataFrame
            Columns method, measure, mean, low, high and rows.

        Raises
        ------
        MissingExtraError
            pandas is not installed.
        """
        return pandas_for(".rows").DataFrame(list(self.rows), columns=list(FaithfulnessRow._fields))


def faithfulness(explainer, x, orders, *, fractions=FRACTIONS, subsets=SUBSETS, search=True, seed=0):
    """Measure how well explanations tell what moves a model, by taking players away in the order they give.

    Parameters
    ----------
    explainer : AttentionExplainer
        Its target is measured, its background stands for what is absent.
    x : as the explainer takes it
    orders : dict of str to float array (B, M)
        By name, a value for each player, the strongest the largest: attention by `attention_order`, the values of an
        attribution or their magnitudes, `leave_one_out`, `random_order` as a baseline.
    fractions : sequence of float, default (0.01, 0.05, 0.1, 0.2, 0.5)
        Of ERASER: the shares of a row's players that comprehensiveness and sufficiency take. A share is rounded up to
        whole players, at least 1.
    subsets : int, default 50
        Random subsets of each row, for faithfulness_correlation and infidelity (any size, each player with
        probability 1/2) and for sensitivity_n (a fifth of the players).
    search : bool, default True
        Look for the best and the worst order of each row, for normalized_aopc: greedily, the player first that changes
        the target most. It costs about ``K M`` evaluations a row, with K the largest count of ``fractions``, twice.
    seed : int, default 0
        Of ties, subsets and intervals.

    Returns
    -------
    FaithfulnessTable
        ``print`` shows it; ``.rows``, ``.curves``, ``.values`` and ``.to_frame()`` hold the numbers.

    Raises
    ------
    ArgumentError
        No orders, numbers that are not finite, fractions that are no shares, subsets below 2.
    ShapeError
        Values of another shape than the players have, or rows the model does not take.

    Notes
    -----
    All coalitions of all methods and rows are evaluated in one batch, each once; the search needs one batch a step.
    Without a search the bounds are those of the orders given. Greedy orders need not be the best or worst there are, so
    the bounds are widened to the orders given.

    Attention has no unit, so infidelity is measured at each explanation's best scale. A model was not trained on rows
    with players missing, which by itself moves the target: read every figure beside that of a random order.

    References
    ----------
    DeYoung et al. 2020, ERASER (arXiv:1911.03429). Petsiuk, Das and Saenko 2018, RISE (arXiv:1806.07421). Samek et al.
    2017 (arXiv:1509.06321). Edin et al. 2024, normalised AOPC (arXiv:2408.08137). Bhatt et al. 2020
    (arXiv:2005.00631). Ancona et al. 2018 (arXiv:1711.06104). Yeh et al. 2019 (arXiv:1901.09392).

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import AttentionExplainer
    >>> from keras_attn_xai.auditing import faithfulness
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    >>> x = np.array([[4.0, 1.0, 6.0]])
    >>> table = faithfulness(AttentionExplainer(model, 0.0), x, {"x": x, "backwards": -x}, fractions=[0.5])
    >>> table.row("x", "comprehensiveness").mean, table.row("backwards", "comprehensiveness").mean  # 6 + 4, 1 + 4
    (10.0, 5.0)
    """
    coalitions = explainer.coalitions(x)
    mask = coalitions.mask
    orders = check_orders(orders, mask)
    if isinstance(subsets, bool) or not isinstance(subsets, (int, np.integer)) or subsets < 2:
        raise ArgumentError(f"subsets must be an integer of at least 2; received {subsets!r}.")
    counts = counts_of(fractions, mask)
    asked = _Asked(mask, orders, counts, int(subsets), seed)
    answers = asked.questions.answered_by(coalitions)
    values, curves = asked.measured(answers)
    bounds = search_bounds(coalitions, counts) if search else ()
    _normalize(values, orders, bounds)
    rows, curves = _with_intervals(values, curves, seed)
    searched = ", widened by a greedy search for each row" if search else ""
    note = f"normalized_aopc: worst and best are those of the orders above{searched}"
    return FaithfulnessTable(rows, curves, MappingProxyType(values), coalitions.unit, (note,))


class _Asked:
    """What all measures of all orders ask of the model, in one batch."""

    def __init__(self, mask, orders, counts, subsets, seed):
        self._mask, self._orders, self._seed = mask, orders, seed
        self.questions = Questions(mask)
        steps = np.maximum(np.round(np.linspace(0, 1, STEPS + 1) * mask.sum(1, keepdims=True)), 0)
        self._subsets = random_subsets(mask, subsets, seed)
        ask = self.questions.ask
        self._whole = ask(np.zeros((len(mask), 1, mask.shape[1]), bool))
        self._drops = [ask(one) for one in self._subsets]
        self._of = {}
        for name, values in orders.items():
            ranks = ranks_of(values, mask, seed=seed)[:, None]
            first, top = (ranks < one[..., None] for one in (steps, counts))
            self._of[name] = [ask(gone) for gone in (top, ~top, first, ~first)]

    def measured(self, answers):
        """Values by (method, measure), and the scores (B, F) of the curves by (method, kind)."""
        whole = answers(self._whole)[:, 0]
        drops = [whole[:, None] - answers(one) for one in self._drops]
        found: dict[tuple[str, str], np.ndarray] = {}
        curves: dict[tuple[str, str], np.ndarray] = {}
        for name, values in self._orders.items():
            without, alone, deleted, inserted = (answers(one) for one in self._of[name])
            numbers = (
                comprehensiveness(whole, without),
                sufficiency(whole, alone),
                aopc(whole, deleted[:, 1:]),
                np.full(len(whole), np.nan),  # takes its place when the bounds are known
                area_under_curve(deleted),
                area_under_curve(inserted),
                faithfulness_correlation(values, self._subsets[0], drops[0], mask=self._mask),
                sensitivity_n(values, self._subsets[1], drops[1], mask=self._mask),
                infidelity(values, self._subsets[0].astype(float), drops[0], scaled=True, mask=self._mask),
            )
            found |= {(name, measure): one for measure, one in zip(MEANINGS, numbers, strict=True)}
            curves |= {(name, "deletion"): deleted, (name, "insertion"): inserted}
        return found, curves


def random_subsets(mask, count, seed):
    """Random players of each row, to be switched off.

    Parameters
    ----------
    mask : bool array (B, M)
    count : int
        K.
    seed : int

    Returns
    -------
    tuple of two bool arrays (B, K, M)
        Each player with probability 1/2, at least one of a row; and a fifth of the row's players, rounded up.
    """
    draw = np.random.default_rng(seed)
    places = np.where(mask[:, None], draw.random((len(mask), count, mask.shape[1])), 2.0).argsort(2).argsort(2)
    players = mask.sum(1)[:, None]
    half = np.maximum(draw.binomial(players, 0.5, (len(mask), count)), 1)
    return places < half[..., None], places < counts_of([OFF_TOGETHER], mask)[..., None]


def _normalize(values, orders, bounds):
    """Put normalized_aopc where it belongs."""
    reached = [values[name, "comprehensiveness"] for name in orders]
    lowest, highest = np.min([*reached, *bounds], axis=0), np.max([*reached, *bounds], axis=0)
    for name in orders:
        found = normalized_aopc(values[name, "comprehensiveness"], lowest, highest)
        values[name, "normalized_aopc"] = found


def _with_intervals(values, curves, seed):
    """Every mean over rows with its interval, all of the same resamples: tuples of FaithfulnessRow and of Curve."""
    found = np.array(bootstrap_band(np.column_stack([*values.values(), *curves.values()]), seed=seed))
    measures, along = found[:, : len(values)].T.tolist(), found[:3, len(values) :].reshape(3, len(curves), -1)
    ruler = np.linspace(0, 1, STEPS + 1)
    return (
        tuple(
            FaithfulnessRow(method, measure, mean, low, high, int(rows))
            for (method, measure), (mean, low, high, rows) in zip(values, measures, strict=True)
        ),
        tuple(
            Curve(method, kind, ruler, mean, low, high)
            for (method, kind), (mean, low, high) in zip(curves, along.swapaxes(0, 1), strict=True)
        ),
    )


def _cells(row):
    interval = f"[{row.low:>6.3f}, {row.high:>6.3f}]"
    return row.method, row.measure, f"{row.mean:.3f}", interval, str(row.rows)
