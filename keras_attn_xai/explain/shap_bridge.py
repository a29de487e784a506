"""The one file that imports shap: its Partition explainer over our games, and its Explanation both ways.

A game is handed to shap as a function of M zeros and ones explained against all zeros, so shap draws
the same coalitions in the same order as it would over the tokens themselves.
"""

import numpy as np
import shap

from keras_attn_xai.errors import RecordError
from keras_attn_xai.records import Attribution, Explanation, Provenance


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


def to_shap(explanation):
    """`Explanation.to_shap`."""
    if not explanation.attributions:
        raise RecordError("The explanation has no attributions to give to shap.")
    parts = explanation.attributions
    rows = [sum(row, ()) for row in zip(*(one.player_labels for one in parts), strict=True)]
    # padding as a blank: shap 0.48's bar plot trips over an empty string
    labels = np.array([[label or " " for label in row] for row in rows], dtype=object)
    names = [f"position {i}" for i in range(labels.shape[1])]
    if (labels == labels[:1]).all():  # features, and one row, whose features shap's plots name
        names = list(labels[0])
    return shap.Explanation(
        values=np.concatenate([one.values.reshape(len(one), -1) for one in parts], axis=1),
        base_values=np.array(parts[0].base),
        data=labels,
        feature_names=names,
        output_names=parts[0].unit,
    )


def explanation_of_arrays(values, base, data, names=None):
    """A ``shap.Explanation`` of values (N, ..., C), base values (N, C), data (N, ...) and names of features."""
    return shap.Explanation(values=values, base_values=base, data=data, feature_names=names)


def from_shap(explanation, *, target, unit, model):
    """`Explanation.from_shap`."""
    try:
        values = np.asarray(explanation.values)
    except ValueError:  # rows of several lengths
        values = np.empty(len(explanation.values), object)
    if values.dtype == object or values.ndim not in (1, 2):
        raise RecordError(
            f"from_shap takes the values of one output, (B, S) or (S,); received shape {values.shape}, dtype "
            f"{values.dtype}. Select an output with explanation[..., k]; pad ragged rows first."
        )
    rows = np.atleast_2d(values).astype(float)
    if explanation.base_values is None:
        raise RecordError("from_shap needs base_values; this shap.Explanation has none.")
    base = np.broadcast_to(np.ravel(explanation.base_values).astype(float), (len(rows),))
    data = explanation.data if explanation.data is not None else explanation.feature_names
    names = np.arange(rows.shape[1]) if data is None else np.asarray(data, dtype=object)
    labels = np.where(np.broadcast_to(names, rows.shape) == " ", "", names)  # `to_shap` writes padding as a blank
    attribution = Attribution(
        values=rows,
        base=base,
        output=base + rows.sum(1),
        target=np.full(len(rows), target),
        unit=unit,
        method="shap",
        evaluations=np.zeros(len(rows), int),
        player_labels=tuple(map(tuple, labels)),
        mask=(labels != "") | (rows != 0),
    )
    provenance = Provenance(model=model, versions=(("shap", shap.__version__),))
    return Explanation((), (attribution,), attribution.player_labels, provenance)
