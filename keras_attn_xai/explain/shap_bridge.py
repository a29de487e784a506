"""The one file that imports shap: its Partition explainer over our games, and its Explanation both ways.

A game is handed to shap as a function of M zeros and ones explained against all zeros, so shap draws
the same coalitions in the same order as it would over the tokens themselves.
"""

import numpy as np
import shap

from keras_attn_xai.errors import RecordError, ShapeError
from keras_attn_xai.records import Attribution, Explanation, Interactions, Provenance

TEXTS = ("tokens", "words", "sentences", "segments")  # players that shap's plot of texts can write


def partition_values(game, budget=None):
    """Owen values (M,) by shap's Partition explainer over neighbours, 500 evaluations by default."""
    players = len(game)
    masker = shap.maskers.Partition(np.zeros((1, players)), clustering=halving_tree(players))
    explainer = shap.PartitionExplainer(game, masker)
    return explainer(np.ones((1, players)), max_evals=budget or 500, silent=True).values[0]


def sampling_values(game, budget=None):
    """Shapley values (M,) by shap's Sampling explainer, a player at a time, 2000 evaluations each by default."""
    players = len(game)
    explainer = shap.SamplingExplainer(game, np.zeros((1, players)))
    samples = "auto" if budget is None else budget // 2  # of two evaluations each
    return explainer.shap_values(np.ones((1, players)), nsamples=samples, silent=True)[0]


def halving_tree(players):
    """A clustering of neighbours: the row is halved, each half is halved, and so on.

    Returns
    -------
    float array (M - 1, 4)
        In the form of ``scipy.cluster.hierarchy.linkage``.

    Examples
    --------
    >>> from keras_attn_xai.explain.shap_bridge import halving_tree
    >>> halving_tree(3)[:, :2].astype(int)
    array([[1, 2],
           [0, 3]])
    """
    rows = []

    def build(first, stop):
        if stop - first == 1:
            return first
        middle = (first + stop) // 2
        left, right = build(first, middle), build(middle, stop)
        rows.append([left, right, stop - first, stop - first])
        return players + len(rows) - 1

    build(0, players)
    tree = np.array(rows, float)
    order = np.argsort(tree[:, 2], kind="stable")  # shap wants distances that grow
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    tree = tree[order]
    inner = tree[:, :2] >= players
    tree[:, :2][inner] = players + rank[tree[:, :2][inner].astype(int) - players]
    tree[:, 2] /= players
    return tree


def to_shap(explanation, data=None):
    """`Explanation.to_shap`."""
    if not explanation.attributions:
        raise RecordError("The explanation has no attributions to give to shap.")
    parts = explanation.attributions
    base = parts[0].base + (parts[0].elsewhere if len(parts) == 1 else 0)
    return _table(parts, base, data)


def attribution_to_shap(attribution, data=None):
    """`Attribution.to_shap`."""
    base = attribution.base + attribution.elsewhere
    if attribution.values.ndim == 2:
        return _table([attribution], base, data)
    grey = attribution.players == "patches" and attribution.values.ndim == 3  # shap's pictures have channels
    values = np.array(attribution.values[..., None] if grey else attribution.values)
    return shap.Explanation(values=values, base_values=base, data=data)  # a name of the output would stop shap's image


def interactions_to_shap(interactions):
    """`Interactions.to_shap`."""
    kept = _kept(interactions.mask)
    labels = _written(interactions.player_labels, interactions.mask.shape)[:, kept]
    return shap.Explanation(
        values=interactions.values[:, kept][:, :, kept],
        base_values=np.array(interactions.base),
        data=labels,
        feature_names=_names(labels, kept, spoken=interactions.players in TEXTS),
    )


def _table(parts, base, data):
    """Players of all inputs side by side, (B, M), without columns that are padding in every row."""
    rows = len(base)
    values, mask = (
        np.concatenate([one.reshape(rows, int(np.prod(one.shape[1:]))) for one in arrays], axis=1)
        for arrays in ([part.values for part in parts], [part.mask for part in parts])
    )
    kept, spoken = _kept(mask), any(part.players in TEXTS for part in parts)
    labels = [sum(row, ()) for row in zip(*(part.player_labels for part in parts), strict=True)]
    labels = _written(labels, mask.shape)[:, kept]
    names = _names(labels, kept, spoken=spoken)
    places = None
    if data is not None:
        data = _own_data(data, mask.shape)[:, kept]
    elif spoken or not _one_each(labels):
        data = labels
        if rows == 1:  # or shap's waterfall says "fine = fine"
            places = np.array([[f"position {i}" for i in np.flatnonzero(kept)]], dtype=object)
    return shap.Explanation(
        values=values[:, kept],
        base_values=np.array(base),
        data=data,
        display_data=places,
        feature_names=names,
        output_names=parts[0].unit,
    )


def _kept(mask):
    """Columns (M,) that are a player in some row."""
    return mask.any(0) if len(mask) else np.ones(mask.shape[1], bool)


def _written(labels, shape):
    """Labels as an array (B, M); padding as a blank: shap 0.48's bar plot trips over an empty string."""
    return np.array([[label or " " for label in row] for row in labels], dtype=object).reshape(shape)


def _one_each(labels):
    """Whether a column is one player in every row, or padding."""
    return all(len({*column} - {" "}) <= 1 for column in labels.T)


def _names(labels, kept, *, spoken):
    """Names of columns: those of features, and the words of one row; else words differ from row to row."""
    if len(labels) and _one_each(labels) and (len(labels) == 1 or not spoken):
        return [max(column) for column in labels.T]  # a blank is the least
    return [f"position {i}" for i in np.flatnonzero(kept)]


def _own_data(data, shape):
    """What the user has of each player, (B, M)."""
    data = np.asarray(data)
    if data.shape[:1] != shape[:1] or data.size != shape[0] * shape[1]:
        raise ShapeError(
            f"data must be one number for each player of each row, {shape}; received {data.dtype} {data.shape}."
        )
    return data.reshape(shape)


def explanation_of_arrays(values, base, data, names=None):
    """A ``shap.Explanation`` of values (N, ..., C), base values (N, C), data (N, ...) and names of features."""
    return shap.Explanation(values=values, base_values=base, data=data, feature_names=names)


def from_shap(explanation, *, target, unit, model):
    """`Explanation.from_shap`."""
    values, base, real = _of_one_output(explanation)
    labels, players = _labels_of(explanation, real)
    mask = real & ((labels != "").reshape(values.shape) | (values != 0))
    attribution = Attribution(
        values=values,
        base=base,
        output=base + values.reshape(len(values), -1).sum(1),
        target=np.full(len(values), target),
        unit=unit,
        method="shap",
        evaluations=np.zeros(len(values), int),
        player_labels=tuple(map(tuple, labels)),
        mask=mask,
        players=players,
    )
    provenance = Provenance(model=model, versions=(("shap", shap.__version__),))
    return Explanation((), (attribution,), attribution.player_labels, provenance)


def interactions_from_shap(explanation, *, target, unit):
    """`Interactions.from_shap`."""
    values, base = np.asarray(explanation.values, float), _base_of(explanation)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[1] != values.shape[2] or base.size not in (1, len(values)):
        raise RecordError(
            "Expected values of pairs of players, (B, M, M) or (M, M), of one output; received shape "
            f"{np.shape(explanation.values)}, base_values {base.shape}. TreeExplainer(model)(x, interactions=True) "
            "makes some; select an output with explanation[..., k]."
        )
    rows, count = values.shape[:2]
    labels, players = _labels_of(explanation, np.ones((rows, count), bool))
    values = _even(values)
    base = np.broadcast_to(np.ravel(base), (rows,))
    return Interactions(
        values=values,
        base=base,
        output=base + values.sum((1, 2)),
        target=np.full(rows, target),
        unit=unit,
        method="shap",
        evaluations=np.zeros(rows, int),
        player_labels=tuple(map(tuple, labels)),
        mask=(labels != "") | (values != 0).any(2),
        players=players,
    )


def _even(values):
    """Both halves of each pair the same, where they differ by rounding alone."""
    turned = values.swapaxes(1, 2)
    near = np.allclose(values, turned, rtol=0, atol=1e-4 * np.abs(values).max(initial=0))  # of float32
    return (values + turned) / 2 if near else values


def _base_of(explanation):
    if explanation.base_values is None:
        raise RecordError("from_shap needs base_values; this shap.Explanation has none.")
    return np.asarray(explanation.base_values, float)


def _of_one_output(explanation):
    """Values (B, ...), base values (B,), and bool as values: False where a ragged row has ended."""
    values, real = _even_rows(explanation.values)
    base = _base_of(explanation)
    given = f"values {np.shape(values)} and base_values {base.shape}"
    if values.ndim > 2 and base.ndim == 2 and values.shape[-1] == base.shape[1] == 1:
        values, real, base = values[..., 0], real[..., 0], base[:, 0]
    if values.ndim == 1 or (values.ndim > 2 and base.ndim == 0):  # one row
        values, real = values[None], real[None]
    if values.ndim < 2 or base.size not in (1, len(values)) or (values.ndim > 2 and base.size != len(values)):
        raise RecordError(
            "Expected values of one output, (B, S), (S,) or (B, ...), with a base value for each row; received "
            f"{given}. Select an output with explanation[..., k]."
        )
    return values, np.broadcast_to(np.ravel(base), (len(values),)), real


def _even_rows(given):
    """Values as one array, ragged rows with zeros at their ends, and where they are not that."""
    if isinstance(given, np.ndarray) and given.dtype != object:
        return given.astype(float), np.ones(given.shape, bool)
    rows = [np.asarray(row, float) for row in given]
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows), np.ones((len(rows), *rows[0].shape), bool)
    if any(row.ndim != 1 for row in rows):
        raise RecordError(
            "Expected values of one output; received rows of several lengths with several outputs each. Select an "
            "output with explanation[..., k]."
        )
    lengths = np.array([len(row) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    values = np.zeros(real.shape)
    values[real] = np.concatenate(rows)
    return values, real


def _labels_of(explanation, real):
    """Names of players (B, M), "" at padding, and what they are: tokens, features or cells."""
    rows, axes = len(real), real.shape[1:]
    real = real.reshape(rows, int(np.prod(axes)))
    data, names = (_of_each_row(given, real) for given in (explanation.data, explanation.feature_names))
    said = data is not None and all(isinstance(one, str) for row in data for one in row)
    if said or (names is None and len(axes) == 1):
        names = data
    if names is None:
        names = [[", ".join(map(str, place)) for place in np.ndindex(axes)]] * rows
    labels = np.full(real.shape, "", dtype=object)
    for row, own, here in zip(labels, names, real, strict=True):
        row[here] = ["" if str(one) == " " else str(one) for one in own]  # `to_shap` writes padding as a blank
    return labels, "tokens" if said else "features" if len(axes) == 1 else "cells"


def _of_each_row(given, real):
    """Names row by row, None where they are not as many as the players."""
    if given is None or isinstance(given, str):
        return None
    given = list(given if isinstance(given, (list, tuple)) else np.asarray(given))
    if not given:
        return None
    rows = [given] * len(real) if np.ndim(given[0]) == 0 else [np.ravel(np.asarray(row, object)) for row in given]
    return rows if [len(row) for row in rows] == real.sum(1).tolist() else None
