"""One self-contained HTML page: every text with its attention and its SHAP values."""

from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from keras_attn_xai.alignment import align, merged, require_ruler
from keras_attn_xai.answer import answer
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import bootstrap_interval, row_agreement
from keras_attn_xai.writing import write_whole_file


def write_report(explanations, path, *, class_names=None, title="Attention beside SHAP", merge=None):
    """Write a page that shows each text twice: where the model looked, and what moved its answer.

    Parameters
    ----------
    explanations : Explanation or sequence of Explanation
        Every row becomes a section. Rows without attention show SHAP alone and say so.
    path : str or path
        The HTML file; an existing one is replaced. It appears whole or not at all.
    class_names : sequence of str, optional
        A name for each class of the model's output.
    title : str
    merge : {None, "words"}
        See `keras_attn_xai.align`.

    Returns
    -------
    pathlib.Path
        The file. It loads nothing from anywhere and runs no script.

    Raises
    ------
    ArgumentError
        No rows, a class without a name, or players that are not positions.

    Examples
    --------
    >>> import tempfile
    >>> from keras_attn_xai import Attribution, Explanation, Provenance, write_report
    >>> words = [["fine", "film"]]
    >>> moved = Attribution(
    ...     values=[[2.0, 1.0]], base=[0.0], output=[3.0], target=[1], unit="log-odds", method="exact",
    ...     evaluations=[4], player_labels=words,
    ... )
    >>> page = write_report(Explanation((), (moved,), words, Provenance("m")), tempfile.mkdtemp() + "/report.html")
    >>> "film" in page.read_text()
    True
    """
    explanations = [explanations] if hasattr(explanations, "attributions") else list(explanations)
    texts = [_text(one[row], class_names, merge) for one in explanations for row in range(len(one))]
    if not texts:
        raise ArgumentError("Expected at least one explained row; received none.")
    html = _template().render(
        title=title,
        texts=texts,
        summary=_summary(texts),
        provenance=list(dict.fromkeys(_origin(one) for one in explanations)),
    )
    write_whole_file(path, html)
    return Path(path)


@cache
def _template():
    environment = Environment(
        loader=PackageLoader("keras_attn_xai.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2")


def _text(explanation, class_names, merge):
    """What the template shows of one row."""
    attribution = explanation.attribution
    require_ruler(explanation)
    seen = align(explanation, merge=merge) if explanation.attention else None
    if seen is not None:
        keep, moved, labels = seen.mask[0], seen.attribution[0], seen.labels[0]
    else:
        moved, keep, labels = (one[0] for one in merged(explanation, merge, attribution.mask, attribution.values))
    looked = np.zeros(len(moved)) if seen is None else seen.attention[0]
    words = [
        {"label": label, "attention": float(a), "shap": float(v), "looked": a_share, "moved": v_share}
        for label, a, v, a_share, v_share, real in zip(
            labels, looked, moved, _share(looked), _share(moved), keep, strict=True
        )
        if real
    ]
    return {
        "words": words,
        "has_map": seen is not None,
        "map": seen.map if seen is not None else "",
        "reductions": f"heads: {seen.heads}, query: {seen.query}" if seen is not None else "",
        "answer": answer(attribution, class_names),
        "unit": attribution.unit,
        "method": attribution.method,
        "base": float(attribution.base[0]),
        "gap": float(attribution.relative_gap[0]),
        "evaluations": int(attribution.evaluations[0]),
        **_agreement(seen),
    }


def _agreement(seen):
    if seen is None:
        return {"tau": np.nan, "overlap": np.nan, "compared": 0}
    (tau,), (overlap,) = row_agreement(seen, measures=("kendall_tau", "top_k_overlap")).values()
    return {"tau": float(tau), "overlap": float(overlap), "compared": min(3, int(seen.mask.sum()))}


def _share(values):
    """Each value as a percentage of the largest magnitude, signed."""
    largest = np.abs(values).max(initial=0.0)
    return [round(100 * float(value) / largest, 1) if largest > 0 else 0.0 for value in values]


def _summary(texts):
    """Agreement over the page's texts that have a map."""
    mapped = [text for text in texts if text["has_map"]]
    tau = bootstrap_interval([text["tau"] for text in mapped])
    if not tau.rows:  # no text with an order: one word, or all of one weight
        return None
    return {"tau": tau, "overlap": bootstrap_interval([text["overlap"] for text in mapped])}


def _origin(explanation):
    origin = explanation.provenance
    versions = ", ".join(f"{name} {number}" for name, number in origin.versions)
    parts = [f"Model {origin.model}", f"background: {origin.background}" if origin.background else "", versions]
    return "; ".join(part for part in (*parts, *origin.notes) if part)
