"""The methods that walk back through the model: DeepLIFT and expected gradients, summed over each player's numbers."""

from dataclasses import dataclass, replace

import numpy as np

from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.errors import ModelError
from keras_attn_xai.explain.deep import Deep, ExpectedGradients

CLOSE = 1e-3  # the relative gap up to which DeepLIFT is believed
SAME, SAME_IN_HALF = 1e-4, 5e-2  # how far, relative to the largest, the traced outputs may be from the model's
ROWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Walked:
    """Values of all players of some rows.

    Attributes
    ----------
    values : float array (P, M)
    base, output : float array (P,)
    evaluations : int array (P,)
        Gradients taken.
    by_gradients : bool array (P,)
        Rows explained by expected gradients.
    """

    values: np.ndarray
    base: np.ndarray
    output: np.ndarray
    evaluations: np.ndarray
    by_gradients: np.ndarray

    def missed(self, ends):
        """The gap (P,) relative to the effect between the model's own ``ends`` (2, P); infinite where these differ."""
        base, output = ends
        effect = np.maximum(np.abs(output - base), 1e-3 * np.abs(ends).max(initial=0))
        gap = np.abs(self.base + self.values.sum(1) - self.output)
        return np.divide(gap, effect, out=np.zeros_like(gap), where=effect > 0)

    def with_rows(self, rows, other, taken):
        """These, but for ``rows`` the ``taken`` ones of ``other``."""

        def merged(one, two):
            """Both, row by row."""
            one = one.copy()
            one[rows[taken]] = two[taken]
            return one

        names = ("values", "base", "output", "evaluations", "by_gradients")
        return replace(self, **{name: merged(getattr(self, name), getattr(other, name)) for name in names})


class GradientMethods:
    """Both engines for one `ValueFunction`, each traced when it is first used.

    Parameters
    ----------
    function : ValueFunction

    Attributes
    ----------
    notes : tuple of str
        What a reader should know, one sentence each.
    """

    def __init__(self, function):
        self._function = function
        self._layers = all_layers(function.model)
        self._deep = Deep(self._scalar, layers=self._layers)
        self._gradients = {}
        self._refused = ""
        half = any(layer.compute_dtype in ("float16", "bfloat16") for layer in self._layers)
        self._same = SAME_IN_HALF if half else SAME
        self.notes: tuple[str, ...] = ()

    def __call__(self, table, playing, method, *, budget=None, tol=None, progress=lambda count: None):
        """Values of a table's rows, a slab after the other.

        Parameters
        ----------
        table : Table
        playing : bool array (P, M)
        method : {"deep", "expected_gradients"}
        budget : int, optional
            Most gradients per row of expected gradients.
        tol : float, optional
            The relative gap that expected gradients reach for; 1e-3 by default.
        progress : callable
            Told how many rows are done.

        Yields
        ------
        rows : slice
        Walked

        Raises
        ------
        ModelError
            No gradient reaches the players.
        """
        references = len(table.background[0])
        cap = 256 if budget is None else max(1, budget // references)
        self.notes, fallen = (), 0
        for start in range(0, len(table), ROWS_AT_ONCE):
            rows = np.arange(len(table))[start : start + ROWS_AT_ONCE]
            part, ends = table.take(rows), self._function.ends(table.take(rows), playing[rows])
            by_gradients = self._engine(cap, tol)
            if method == "deep":
                found = self._deep_or(by_gradients, part, ends)
                fallen += int(found.by_gradients.sum())
            else:
                found = self._run(by_gradients, part)
            _require_some_effect(found, ends)
            progress(len(rows))
            yield slice(start, start + len(rows)), found
        if fallen:
            self.notes += (f"{fallen} of {len(table)} rows are explained by expected gradients instead of DeepLIFT.",)

    def _deep_or(self, by_gradients, table, ends):
        """DeepLIFT, and expected gradients for rows where it does not add up or is of another function."""
        deep = self._try_deep(table)
        if deep is None:
            return self._run(by_gradients, table)
        missed = deep.missed(ends)
        far = np.flatnonzero((missed > CLOSE) | self._differs(deep, ends))
        if not len(far):
            return deep
        other = self._run(by_gradients, table.take(far))
        nearer = (other.missed(ends[:, far]) < missed[far]) & ~self._differs(other, ends[:, far])
        return deep.with_rows(far, other, nearer)

    def _try_deep(self, table):
        """DeepLIFT, or None where it refuses the model."""
        if self._refused:
            self._say(self._refused)
            return None
        try:
            return self._run(self._deep, table)
        except ModelError as error:
            self._refused = f"DeepLIFT is not possible here: {error}"
            self._say(self._refused)
            return None

    def _differs(self, found, ends):
        """Rows (P,) whose traced ends are not the model's own."""
        away = np.abs(np.stack([found.base, found.output]) - ends).max(0)
        return away > self._same * max(np.abs(ends).max(initial=0), 1e-6)

    def _run(self, engine, table):
        kept = [cells < 0 for cells in table.cells]
        index = np.maximum(table.index, 0).astype(np.int32)
        count = len(table.background[0])
        found = engine(
            [*self._function.cast(table.inputs), index],
            [*self._function.cast(table.background), np.zeros(count, np.int32)],
            kept=[*kept, np.ones(len(index), bool)],
        )
        for kind, names in (("attributed by quadrature", found.without_rule), ("let nothing pass", found.blocking)):
            if names:
                self._say(f"Operations without a rule {kind}: {', '.join(names)}.")
        values = _of_players(found.values[:-1], table)
        by_gradients = np.full(len(values), isinstance(engine, ExpectedGradients))
        return Walked(values, found.base, found.output, found.evaluations, by_gradients)

    def _engine(self, cap, tol):
        key = (cap, tol or CLOSE)
        if key not in self._gradients:
            self._gradients[key] = ExpectedGradients(self._scalar, layers=self._layers, cap=cap, tol=key[1])
        return self._gradients[key]

    def _scalar(self, inputs):
        """One number per row of flat inputs whose last is the target's index; to be traced."""
        *rows, index = inputs
        return self._function.scalar(rows, index)

    def _say(self, sentence):
        self.notes = tuple(dict.fromkeys([*self.notes, sentence]))


def _of_players(values, table):
    """Values of numbers, one array (P, ...) per input, summed over each player's: (P, M)."""
    rows, players = len(table), table.players
    total = np.zeros(rows * players)
    for value, cells in zip(values, table.cells, strict=True):
        cells = np.broadcast_to(cells, value.shape)
        place = np.arange(rows).reshape(-1, *[1] * (value.ndim - 1)) * players + cells
        own = cells >= 0
        total += np.bincount(place[own], weights=value[own], minlength=rows * players)
    return total.reshape(rows, players)


def _require_some_effect(found, ends):
    """Raise where the answer moved, and no gradient says so."""
    moved = np.abs(ends[1] - ends[0]) > 1e-6 * max(np.abs(ends).max(initial=0), 1e-6)
    if moved.any() and not found.values[moved].any():
        raise ModelError(
            "No gradient reaches the players: the model turns its inputs into integers, or compares them, before "
            "anything else. Use method='paired_kernel', which needs no gradients."
        )
