"""The waist: what was seen and what was computed, as frozen arrays that need no Keras and no shap.

Shapes: B rows, H heads, T query positions, S key positions or positions of the ruler, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from keras_attn_xai.errors import ArgumentError, RecordError

Labels = tuple[tuple[str, ...], ...]


def frozen_array(name, given, shape, *, kind="float"):
    """``given`` as a read-only array, checked: shape (None is any size, a last ... any more axes), finite, of its kind.

    It is a copy, unless nobody can write to ``given`` any more: a read-only array that owns its memory is kept.
    """
    try:
        array = given if _frozen(given) else np.array(given)
    except ValueError:
        raise RecordError(f"{name} must be {kind} of one shape; received rows of different lengths.") from None
    wanted = {"float": "f", "int": "iu", "bool": "b"}[kind]
    if kind == "float" and array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if kind == "float" and array.dtype == np.float16:
        array = array.astype(np.float32)
    axes = (*shape[:-1], *array.shape[len(shape) - 1 :]) if shape[-1:] == (...,) else shape
    fits = array.ndim == len(axes) and all(
        want is None or want == got for want, got in zip(axes, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in wanted:
        letters = ", ".join({None: "any", ...: "..."}.get(size, str(size)) for size in shape)
        raise RecordError(
            f"{name} must be {kind} of shape ({letters}); received shape {array.shape}, dtype {array.dtype}."
        )
    if kind == "float" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise RecordError(f"{name} must be finite; received {bad} NaN or infinite numbers in shape {array.shape}.")
    array.setflags(write=False)
    return array


def _frozen(given):
    return type(given) is np.ndarray and given.base is None and not given.flags.writeable


def _labels(name, given, rows, positions):
    """One tuple of ``positions`` strings per row."""
    given = list(given)
    if any(isinstance(row, str) for row in given):
        raise RecordError(f"{name} must be {rows} rows of {positions} strings; received strings without rows.")
    labels = tuple(tuple(str(label) for label in row) for row in given)
    if len(labels) != rows or any(len(row) != positions for row in labels):
        raise RecordError(
            f"{name} must be {rows} rows of {positions} strings; received rows of "
            f"{sorted({len(row) for row in labels})} in {len(labels)} rows."
        )
    return labels


class _Rows:
    """Selecting rows, shared by the records whose arrays and labels all start with B."""

    _per_row: tuple[str, ...] = ()

    def __len__(self):
        return len(getattr(self, self._per_row[0]))

    def __getitem__(self, index):
        rows = _row_indices(index, len(self))
        changes = {}
        for name in self._per_row:
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                changes[name] = np.take(value, rows, axis=0)
                changes[name].setflags(write=False)  # so that the new record keeps it instead of copying it again
            elif value is not None:
                changes[name] = tuple(value[i] for i in rows)
        return replace(self, **changes)  # type: ignore[type-var]


def _row_indices(index, length):
    """An integer, slice, mask or list of integers as an array of row numbers; an integer keeps the axis."""
    if isinstance(index, (int, np.integer)):
        if not -length <= index < length:
            raise IndexError(f"row {index} of {length}")
        return np.array([index % length])
    return np.arange(length)[index]


@dataclass(frozen=True, eq=False, repr=False)
class AttentionMap(_Rows):
    """The weights of one attention call.

    Parameters
    ----------
    name : str
        Call name, ``"encoder/mha"``.
    weights : float array (B, H, T, S), or (B, H, T, k) beside ``indices``
        After the normaliser, before dropout; in [0, 1] for softmax and its relatives.
    query_labels, key_labels : tuples of strings, (B, T) and (B, S)
    query_mask : bool array (B, T)
        True is a real query position, False is padding.
    mask : bool array (B, S)
        The same for keys.
    indices : int array (B, H, T, k), optional
        The keys of the k largest weights of each query, k <= S; what the other keys got was not kept.
    values : float array (B, H, S, D), optional
        Each head's value vectors as they reach the layer's output: projected, then through the head's part of the
        output projection. ``weights @ values``, summed over heads, plus the output's bias is the layer's output.
    gradients : float array (B, H, T, S), optional
        Derivative of a target with respect to the weights, in the target's unit.

    Raises
    ------
    RecordError
        Shapes that contradict one another, numbers that are not finite, or indices that are no keys.

    Notes
    -----
    Arrays are copied, except those that are read-only and own their memory.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai import AttentionMap
    >>> seen = AttentionMap("att", np.array([[[[0.25, 0.75]]]]), (("the end",),), (("the", "end"),))
    >>> seen.mask
    array([[ True,  True]])
    """

    name: str
    weights: np.ndarray
    query_labels: Labels
    key_labels: Labels
    query_mask: np.ndarray | None = None
    mask: np.ndarray | None = None
    indices: np.ndarray | None = None
    values: np.ndarray | None = None
    gradients: np.ndarray | None = None

    _per_row = (
        "weights", "query_labels", "key_labels", "query_mask", "mask", "indices", "values", "gradients",
    )  # fmt: skip

    def __repr__(self):
        largest = "" if self.indices is None else f", the largest of {np.asarray(self.mask).shape[1]} keys"
        return f"AttentionMap({self.name!r}, weights {self.weights.shape}{largest})"

    def dense(self):
        """The weights over all keys.

        Returns
        -------
        float array (B, H, T, S)
            The weights themselves or, where the map has ``indices``, a new array with zeros at the keys not kept.

        Examples
        --------
        >>> from keras_attn_xai import AttentionMap
        >>> seen = AttentionMap("att", [[[[0.75, 0.25]]]], [["?"]], [["a", "b", "c"]], indices=[[[[2, 0]]]])
        >>> seen.dense()
        array([[[[0.25, 0.  , 0.75]]]])
        """
        if self.indices is None:
            return self.weights
        spread = np.zeros((*self.weights.shape[:3], np.asarray(self.mask).shape[1]), self.weights.dtype)
        np.put_along_axis(spread, self.indices, self.weights, axis=3)
        return spread

    def __post_init__(self):
        weights = frozen_array(f"{self.name}: weights", self.weights, (None, None, None, None))
        rows, heads, queries, keys = weights.shape
        if self.indices is not None:  # the labels know how many keys there are, and of no rows the mask does
            without = weights if self.mask is None else self.mask
            keys = len(self.key_labels[0]) if len(self.key_labels) else np.asarray(without).shape[-1]
        query_mask = np.ones((rows, queries), bool) if self.query_mask is None else self.query_mask
        mask = np.ones((rows, keys), bool) if self.mask is None else self.mask
        _set(
            self,
            weights=weights,
            query_labels=_labels(f"{self.name}: query_labels", self.query_labels, rows, queries),
            key_labels=_labels(f"{self.name}: key_labels", self.key_labels, rows, keys),
            query_mask=frozen_array(f"{self.name}: query_mask", query_mask, (rows, queries), kind="bool"),
            mask=frozen_array(f"{self.name}: mask", mask, (rows, keys), kind="bool"),
        )
        shapes = {"values": (rows, heads, keys, None), "gradients": (rows, heads, queries, keys)}
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                _set(self, **{name: frozen_array(f"{self.name}: {name}", getattr(self, name), shape)})
        if self.indices is not None:
            _set(self, indices=_key_indices(self.name, self.indices, weights.shape, keys))


def _key_indices(name, given, shape, keys):
    """Positions of keys (B, H, T, k), each key at most once in a row."""
    if shape[3] > keys:
        raise RecordError(f"{name}: indices must be at most one for each of {keys} keys; received {shape[3]} of a row.")
    indices = frozen_array(f"{name}: indices", given, shape, kind="int")
    if indices.size and (indices.min() < 0 or indices.max() >= keys):
        raise RecordError(
            f"{name}: indices must lie between 0 and {keys - 1}, the last key; "
            f"received {indices.min()} to {indices.max()}."
        )
    ordered = np.sort(indices, axis=3)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise RecordError(f"{name}: indices must name each key at most once in a row; received some twice.")
    return indices


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(_Rows):
    """What moved the answer: one input, one target per row.

    Parameters
    ----------
    values : float array (B, S), or (B, ...) with the axes of the players
        Signed, in the unit of the target: ``base + sum(values) + elsewhere = output``.
    base : float array (B,)
        The target with every player switched off.
    output : float array (B,)
        The target of the row itself.
    target : int array (B,)
        Which output of the model was explained; -1 for a target of the user's own.
    unit : str
        ``"log-odds"``, or ``"output"`` where the model's output is explained as it is.
    method : str
    evaluations : int array (B,)
        Distinct coalitions the model was run on; gradients taken, for deep and expected_gradients.
    player_labels : tuples of strings (B, S)
        One per player; of players along several axes in the order of ``values[row].ravel()``.
    mask : bool array, as values
        True is a player; the other values are exactly 0.
    input_name : str, default "input"
    standard_error : float array, as values, optional
        One per value, for sampled methods that know it.
    players : str, default "tokens"
        What they are: tokens, words, steps, features, cells, patches, heads, or groups of an index array.
    elsewhere : float array (B,), optional
        What the players of the model's other inputs add up to; 0 for a model with one input.
    asked, used : int array (B,), optional
        Evaluations the method was allowed, and coalitions behind the values, those that came again included; both
        are ``evaluations`` by default.

    Attributes
    ----------
    gap : float array (B,)
        ``base + sum(values) + elsewhere - output``; 0 for a perfect account.

    Raises
    ------
    RecordError
        Shapes that contradict one another, numbers that are not finite, a value on padding.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai import Attribution
    >>> moved = Attribution(
    ...     values=[[1.0, -0.5]], base=[0.25], output=[0.75], target=[1], unit="log-odds", method="exact",
    ...     evaluations=[4], player_labels=[["good", "film"]],
    ... )
    >>> moved.gap, moved.relative_gap
    (array([0.]), array([0.]))
    """

    values: np.ndarray
    base: np.ndarray
    output: np.ndarray
    target: np.ndarray
    unit: str
    method: str
    evaluations: np.ndarray
    player_labels: Labels
    mask: np.ndarray | None = None
    input_name: str = "input"
    standard_error: np.ndarray | None = None
    players: str = "tokens"
    elsewhere: np.ndarray | None = None
    asked: np.ndarray | None = None
    used: np.ndarray | None = None
    gap: np.ndarray = field(init=False)

    _per_row = (
        "values", "base", "output", "target", "evaluations", "player_labels", "mask", "standard_error", "elsewhere",
        "asked", "used",
    )  # fmt: skip

    def __post_init__(self):
        values = frozen_array("values", self.values, (None, None, ...))
        rows, players = len(values), int(np.prod(values.shape[1:]))
        mask = np.ones(values.shape, bool) if self.mask is None else self.mask
        mask = frozen_array("mask", mask, values.shape, kind="bool")
        if np.any(values[~mask]):
            raise RecordError("values must be exactly 0 where mask is False (padding is never a player).")
        base, output = frozen_array("base", self.base, (rows,)), frozen_array("output", self.output, (rows,))
        elsewhere = np.zeros(rows) if self.elsewhere is None else self.elsewhere
        elsewhere = frozen_array("elsewhere", elsewhere, (rows,))
        gap = base + values.reshape(rows, players).sum(1) + elsewhere - output
        error = self.standard_error
        counts = {
            name: frozen_array(name, self.evaluations if given is None else given, (rows,), kind="int")
            for name, given in (("evaluations", None), ("asked", self.asked), ("used", self.used))
        }
        _set(
            self,
            values=values,
            mask=mask,
            base=base,
            output=output,
            gap=frozen_array("gap", gap, (rows,)),
            target=frozen_array("target", self.target, (rows,), kind="int"),
            **counts,
            player_labels=_labels("player_labels", self.player_labels, rows, players),
            standard_error=None if error is None else frozen_array("standard_error", error, values.shape),
            elsewhere=elsewhere,
        )

    def __repr__(self):
        gap = self.relative_gap.max(initial=0.0)
        return f"Attribution({self.method!r}, values {self.values.shape} in {self.unit}, relative gap {gap:.0e})"

    @property
    def relative_gap(self):
        """``|gap| / max(|output - base|, 1e-3 max|output|)``, (B,), at best 0."""
        floor = 1e-3 * np.abs(self.output).max(initial=0.0)
        scale = np.maximum(np.abs(self.output - self.base), floor)
        return np.divide(np.abs(self.gap), scale, out=np.zeros_like(self.gap), where=scale > 0)

    def to_shap(self, data=None):
        """The values as a ``shap.Explanation`` with the axes of the players, for ``shap.plots.image`` above all.

        Parameters
        ----------
        data : array (B, ...), optional
            What the model read: images, or a number for each player, (B, M).

        Returns
        -------
        shap.Explanation
            ``values`` (B, M) as of `Explanation.to_shap`, else (B, ...) with the players' axes, of patches
            (B, rows, columns, 1); ``base_values`` (B,).

        Examples
        --------
        >>> shap.plots.image(explanation.attribution.to_shap(images))  # doctest: +SKIP
        """
        from keras_attn_xai.explain.shap_bridge import attribution_to_shap

        return attribution_to_shap(self, data)


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(_Rows):
    """What pairs of players moved together: one target per row.

    Parameters
    ----------
    values : float array (B, M, M)
        Symmetric, in the unit of the target. Beside the diagonal stands half of a pair's Shapley interaction, on it
        what a player does by itself; a row adds up to the player's Shapley value, all to ``output - base``.
    base, output : float array (B,)
    target : int array (B,)
    unit, method : str
    evaluations : int array (B,)
        Distinct coalitions the model was run on.
    player_labels : tuples of strings (B, M)
    mask : bool array (B, M), optional
        True is a player; the rows and columns of others are exactly 0.
    players : str, default "tokens"

    Attributes
    ----------
    shapley_values : float array (B, M)
        The sums of rows.

    Raises
    ------
    RecordError
        Shapes that contradict one another, numbers that are not finite, values that are not symmetric.

    References
    ----------
    Grabisch and Roubens 1999 (doi:10.1007/s001820050125); halves beside the diagonal as in Lundberg et al. 2020
    (doi:10.1038/s42256-019-0138-9).

    Examples
    --------
    >>> from keras_attn_xai import Interactions
    >>> together = Interactions(
    ...     values=[[[1.0, 2.0], [2.0, 0.0]]], base=[0.0], output=[5.0], target=[0], unit="output", method="exact",
    ...     evaluations=[4], player_labels=[["not", "bad"]],
    ... )
    >>> together.shapley_values
    array([[3., 2.]])
    """

    values: np.ndarray
    base: np.ndarray
    output: np.ndarray
    target: np.ndarray
    unit: str
    method: str
    evaluations: np.ndarray
    player_labels: Labels
    mask: np.ndarray | None = None
    players: str = "tokens"

    _per_row = ("values", "base", "output", "target", "evaluations", "player_labels", "mask")

    def __post_init__(self):
        values = frozen_array("values", self.values, (None, None, None))
        rows, players = values.shape[:2]
        values = frozen_array("values", values, (rows, players, players))
        mask = np.ones((rows, players), bool) if self.mask is None else self.mask
        mask = frozen_array("mask", mask, (rows, players), kind="bool")
        if not np.allclose(values, values.swapaxes(1, 2), atol=1e-9 * np.abs(values).max(initial=0)):
            raise RecordError("values must be symmetric: what i and j move together has no order.")
        if np.any(values[~mask]):
            raise RecordError("values must be exactly 0 where mask is False (padding is never a player).")
        _set(
            self,
            values=values,
            mask=mask,
            base=frozen_array("base", self.base, (rows,)),
            output=frozen_array("output", self.output, (rows,)),
            target=frozen_array("target", self.target, (rows,), kind="int"),
            evaluations=frozen_array("evaluations", self.evaluations, (rows,), kind="int"),
            player_labels=_labels("player_labels", self.player_labels, rows, players),
        )

    def __repr__(self):
        return f"Interactions({self.method!r}, values {self.values.shape} in {self.unit})"

    @property
    def shapley_values(self):
        """Each player's share with its half of every pair, (B, M)."""
        return self.values.sum(2)

    def to_shap(self):
        """The interactions as a ``shap.Explanation``, in the form of shap's TreeExplainer.

        Returns
        -------
        shap.Explanation
            ``values`` (B, M, M), ``base_values`` (B,), ``data`` the labels (B, M).

        Examples
        --------
        >>> together.to_shap().values.shape  # doctest: +SKIP
        (1, 2, 2)
        """
        from keras_attn_xai.explain.shap_bridge import interactions_to_shap

        return interactions_to_shap(self)

    @classmethod
    def from_shap(cls, explanation, *, target=-1, unit="output"):
        """Interactions found by shap, so that they can be drawn here.

        Parameters
        ----------
        explanation : shap.Explanation
            Of pairs, (B, M, M) or (M, M), of one output: ``shap.TreeExplainer(model)(x, interactions=True)``.
        target : int, default -1
        unit : str, default "output"

        Returns
        -------
        Interactions

        Raises
        ------
        RecordError
            Values that are not of pairs, or of several outputs; select one with ``explanation[..., k]``.
        """
        from keras_attn_xai.explain.shap_bridge import interactions_from_shap

        return interactions_from_shap(explanation, target=target, unit=unit)


@dataclass(frozen=True)
class Provenance:
    """Where an explanation came from, enough to make it again.

    Parameters
    ----------
    model : str
        Name of the model.
    background : str
        What stood in for an absent player.
    seed : int
    versions : tuple of (str, str)
        Library and version.
    notes : tuple of str, optional
        What the explainer wants a reader to know, one sentence each.

    Examples
    --------
    >>> from keras_attn_xai import Provenance
    >>> Provenance("reviews", "token id 1", seed=0).notes
    ()
    """

    model: str
    background: str = ""
    seed: int = 0
    versions: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        _set(self, versions=tuple((str(a), str(b)) for a, b in self.versions), notes=tuple(map(str, self.notes)))


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Attention and attribution of the same rows.

    It can be sliced by row: ``explanation[3]``, ``explanation[:10]``; an integer keeps the row axis.

    Parameters
    ----------
    attention : tuple of AttentionMap
        In the order of the calls; empty for a model without attention.
    attributions : tuple of Attribution
        One per input of the model.
    labels : tuples of strings (B, S)
        The positions of the ruler, those of the first input: the user's own pieces, padding as ``""``, or steps; where
        an input has no positions, its players.
    provenance : Provenance
    word_ids : int array (B, S), optional
        Which word a piece belongs to, -1 for padding; pieces of one word share a number.

    Raises
    ------
    RecordError
        Records with different numbers of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai import Attribution, Explanation, Provenance
    >>> moved = Attribution(
    ...     values=np.eye(2), base=[0.0, 0.0], output=[1.0, 1.0], target=[0, 0], unit="output", method="exact",
    ...     evaluations=[4, 4], player_labels=[["a", "b"], ["c", "d"]],
    ... )
    >>> explanation = Explanation((), (moved,), moved.player_labels, Provenance("model"))
    >>> len(explanation), explanation[1].labels
    (2, (('c', 'd'),))
    """

    attention: tuple[AttentionMap, ...]
    attributions: tuple[Attribution, ...]
    labels: Labels
    provenance: Provenance
    word_ids: np.ndarray | None = None

    def __post_init__(self):
        attention, attributions = tuple(self.attention), tuple(self.attributions)
        rows = len(attributions[0]) if attributions else len(self.labels)
        for record in (*attention, *attributions):
            if len(record) != rows:
                raise RecordError(f"every record must have {rows} rows; received one with {len(record)}.")
        words = self.word_ids
        positions = len(self.labels[0]) if len(self.labels) else np.shape(words)[-1] if words is not None else 0
        _set(
            self,
            attention=attention,
            attributions=attributions,
            labels=_labels("labels", self.labels, rows, positions),
            word_ids=None if words is None else frozen_array("word_ids", words, (rows, positions), kind="int"),
        )

    @property
    def attribution(self):
        """The only attribution; with several inputs, a sentence."""
        if len(self.attributions) != 1:
            names = ", ".join(one.input_name for one in self.attributions)
            raise ArgumentError(
                f"The explanation has {len(self.attributions)} attributions ({names}); take one from .attributions."
            )
        return self.attributions[0]

    def __repr__(self):
        parts = ", ".join(map(repr, (*self.attributions, *self.attention)))
        return f"Explanation of {len(self)} rows by '{self.provenance.model}': {parts or 'nothing yet'}"

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        rows = _row_indices(index, len(self))
        return replace(
            self,
            attention=tuple(one[rows] for one in self.attention),
            attributions=tuple(one[rows] for one in self.attributions),
            labels=tuple(self.labels[i] for i in rows),
            word_ids=None if self.word_ids is None else self.word_ids[rows],
        )

    def to_shap(self, data=None):
        """The attributions as a ``shap.Explanation``, for shap's own plots.

        Parameters
        ----------
        data : array (B, M), optional
            A number for each player, which ``shap.plots.scatter`` needs and ``beeswarm`` takes colours from: the table
            that was explained.

        Returns
        -------
        shap.Explanation
            ``values`` (B, M), ``base_values`` (B,); M counts the players of all inputs, those along several axes one
            after the other, without those that are padding in every row: of one text, ``explanation[3].to_shap()``,
            there are its own words alone. ``data`` are the pieces of texts, and None where the players of all rows have
            the same names, the ``feature_names``.

        Raises
        ------
        RecordError
            An explanation without attributions.
        ShapeError
            Data that are not one for each player.

        Examples
        --------
        >>> explanation.to_shap().values.shape  # doctest: +SKIP
        (2, 2)
        """
        from keras_attn_xai.explain.shap_bridge import to_shap

        return to_shap(self, data)

    @classmethod
    def from_shap(cls, explanation, *, target=-1, unit="output", model="unknown"):
        """An explanation made by shap, so that it can be drawn and measured here.

        Parameters
        ----------
        explanation : shap.Explanation
            Of one output: values (B, S) or (S,), rows of several lengths too, or with more axes (B, ...) and a base
            value for each row.
        target : int, default -1
        unit : str, default "output"
        model : str, default "unknown"

        Returns
        -------
        Explanation
            Without attention maps. Its players are tokens where the data are strings, else features; cells of values
            with more axes.

        Raises
        ------
        RecordError
            Several outputs; select one with ``explanation[..., k]``.
        """
        from keras_attn_xai.explain.shap_bridge import from_shap

        return from_shap(explanation, target=target, unit=unit, model=model)

    def to_frame(self):
        """One line per row, input and position, for pandas.

        Returns
        -------
        pandas.DataFrame
            Columns row, input, position, label, attention (that of `keras_attn_xai.align` by default, in [0, 1] for
            softmax; NaN without a map that fits, and for inputs after the first), value (signed, in the
            attribution's unit) and mask (False is padding).

        Raises
        ------
        MissingExtraError
            pandas is not installed.

        Examples
        --------
        >>> explanation.to_frame().groupby("label")["value"].mean()  # doctest: +SKIP
        """
        from keras_attn_xai.report.frame import to_frame

        return to_frame(self)

    def _repr_html_(self):
        """The page of `write_report` in a frame of its own, for notebooks."""
        from keras_attn_xai.report.page import inline

        return inline(self)


def _set(record, **values):
    """Fill a frozen dataclass at birth."""
    for name, value in values.items():
        object.__setattr__(record, name, value)


def pad_labels(rows: Sequence[Sequence[str]], positions: int) -> Labels:
    """Rows of labels brought to ``positions`` with empty strings.

    Examples
    --------
    >>> from keras_attn_xai.records import pad_labels
    >>> pad_labels([["a", "b"], ["c"]], 2)
    (('a', 'b'), ('c', ''))
    """
    return tuple((*row, *[""] * (positions - len(row))) for row in rows)


def field_names(record) -> tuple[str, ...]:
    """The fields a record is built from."""
    return tuple(one.name for one in fields(record) if one.init)
