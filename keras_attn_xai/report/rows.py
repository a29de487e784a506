"""Each row in short: what the model answered, and what is strongest by SHAP and by attention."""

import numpy as np

from keras_attn_xai.alignment import align, fitting_maps, merged, require_ruler
from keras_attn_xai.answer import answer
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import row_agreement


def describe(explanation, *, class_names=None, texts=None):
    """What an explanation says of each row, in dicts, texts and numbers as JSON has them.

    Parameters
    ----------
    explanation : Explanation
    class_names : sequence of str, optional
        A name for each class of the model's output.
    texts : sequence of str, optional
        The rows as a person wrote them; by default their labels with spaces between.

    Returns
    -------
    dict
        "model", "method", "unit"; "map", the name, heads and query of the map laid beside SHAP, None where none
        fits; and "rows", for each row "text", "answer" (the name), "target", "probability" (None where the unit is not
        log-odds), "output", "strongest" ("shap" and "attention": label, position and value, or None), "kendall_tau" (-1
        to 1, of attention with the size of the SHAP values; None where it is not defined).

    Raises
    ------
    ArgumentError
        No rows, a class without a name, or players that are not positions.

    Examples
    --------
    >>> from keras_attn_xai import Attribution, Explanation, Provenance
    >>> from keras_attn_xai.report.rows import describe
    >>> words = [["fine", "film"]]
    >>> moved = Attribution(
    ...     values=[[2.0, -3.0]], base=[0.0], output=[-1.0], target=[1], unit="log-odds", method="exact",
    ...     evaluations=[4], player_labels=words,
    ... )
    >>> describe(Explanation((), (moved,), words, Provenance("m")))["rows"][0]["strongest"]["shap"]
    {'label': 'film', 'position': 1, 'value': -3.0}
    """
    if not len(explanation):
        raise ArgumentError("Expected at least one explained row; received none.")
    require_ruler(explanation)
    attribution = explanation.attribution
    seen = align(explanation) if fitting_maps(explanation) else None
    return {
        "model": explanation.provenance.model,
        "method": attribution.method,
        "unit": attribution.unit,
        "map": None if seen is None else {"name": seen.map, "heads": seen.heads, "query": seen.query},
        "rows": _rows(explanation, seen, class_names, texts),
    }


def _rows(explanation, seen, class_names, texts):
    attribution = explanation.attribution
    if seen is None:
        values, mask, labels = merged(explanation, None, attribution.mask, attribution.values)
        taus = np.full(len(values), np.nan)
    else:
        values, mask, labels = seen.attribution, seen.mask, seen.labels
        taus = row_agreement(seen, measures=["kendall_tau"])["kendall_tau"]
    rows = []
    for row in range(len(explanation)):
        said = answer(explanation[row].attribution, class_names)
        words = " ".join(label for label, real in zip(labels[row], mask[row], strict=True) if real)
        strongest = {"shap": _strongest(values[row], mask[row], labels[row])}
        strongest["attention"] = None if seen is None else _strongest(seen.attention[row], mask[row], labels[row])
        rows.append(
            {
                "text": words if texts is None else texts[row],
                "answer": said.name,
                "target": int(attribution.target[row]),
                "probability": said.probability,
                "output": said.output,
                "strongest": strongest,
                "kendall_tau": None if np.isnan(taus[row]) else float(taus[row]),
            }
        )
    return rows


def _strongest(values, mask, labels):
    """The label, position and value of the largest magnitude; None in a row of padding alone."""
    if not mask.any():
        return None
    position = int(np.where(mask, np.abs(values), -1).argmax())
    return {"label": labels[position], "position": position, "value": float(values[position])}
