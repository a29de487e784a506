"""One self-contained HTML page: every text with its attention and its SHAP values."""

import base64
import hashlib
from functools import cache
from html import escape
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from keras_attn_xai.alignment import align, fitting_maps, merged, require_ruler
from keras_attn_xai.answer import answer
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import bootstrap_interval, row_agreement
from keras_attn_xai.report.embedded import MANY, layers_of, pack
from keras_attn_xai.writing import write_whole_file

LIMIT = 1_000_000  # bytes of a page, as long as its words alone take no more than half of them
SHOWN = 20  # rows of an explanation shown in a notebook, fewer of those with millions of weights
HEIGHT = 720  # pixels of it there; its lower edge can be dragged


def write_report(explanations, path, *, class_names=None, title="Attention beside SHAP", merge=None):
    """Write a page that shows each text twice: where the model looked, and what moved its answer.

    A small script lets the reader choose text, layer, head and queries; pointing at a word, or walking to it with the
    arrow keys, shows what it attends to, or what attends to it; all heads of all layers can be seen at a glance.
    Without the script, and in print, every text is there with the default alignment; its numbers are in a table.

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
        The file. It loads nothing from anywhere, and runs its own script alone.

    Raises
    ------
    ArgumentError
        No rows, a class without a name, or players that are not positions.

    Notes
    -----
    The page holds each query's weights of every layer and head, three places behind the point (four beyond 100 words).
    Where they would make it larger than 1 MB, it keeps the largest weights of each query, then only the mean and the
    maximum of heads, and says so; the attention of all queries together is always complete. Maps whose keys are not
    the positions of the words (those of a decoder, say) are named as left out.

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
    write_whole_file(path, _page(explanations, _texts(explanations, class_names, merge), title))
    return Path(path)


def inline(explanation):
    """The page as an element of a notebook, alone in a frame: what ``Explanation._repr_html_`` returns.

    Parameters
    ----------
    explanation : Explanation
        Its first 20 rows are shown, or as many as have 8 million weights together, so that it is there in seconds.

    Returns
    -------
    str
        HTML: an ``iframe`` that holds the page, may run its script, and can reach neither the notebook nor the
        network; any number of them stand beside each other. A sentence where there is nothing to show.

    Notes
    -----
    JupyterLab shows a frame in notebooks it trusts, those run by the same user; of a notebook from elsewhere it drops
    the frame and shows the tinted words inside it until the notebook is trusted. It may draw a frame afresh, in its
    first state, when it was scrolled out of sight. VS Code shows HTML in trusted workspaces and ``repr`` in others.
    The frame is light or dark as the browser asks, which need not be as the notebook is.

    Examples
    --------
    >>> from keras_attn_xai import Attribution, Explanation, Provenance
    >>> from keras_attn_xai.report.page import inline
    >>> moved = Attribution(
    ...     values=[[2.0]], base=[0.0], output=[2.0], target=[1], unit="log-odds", method="exact", evaluations=[2],
    ...     player_labels=[["fine"]],
    ... )
    >>> inline(Explanation((), (moved,), [["fine"]], Provenance("m")))[:30]
    '<iframe sandbox="allow-scripts'
    """
    rows = len(explanation)
    weights = sum(one.weights[:1].size for one in explanation.attention)
    shown = max(1, min(SHOWN, MANY // max(1, weights)))
    title = "Attention beside SHAP" + (f", the first {shown} of {rows} rows" if rows > shown else "")
    try:
        texts = _texts([explanation[:shown]], None, None)
    except ArgumentError as error:
        return f"<pre>{escape(repr(explanation))}</pre><p>{escape(str(error))}</p>"
    page = _page([explanation[:shown]], texts, title, folded=True)
    still = _environment().get_template("still.html.j2").render(texts=texts)
    return (
        f'<iframe sandbox="allow-scripts" title="{title}" width="100%" height="{HEIGHT}" '
        f'style="border:0;resize:vertical;overflow:auto" srcdoc="{escape(page)}">{still}</iframe>'
    )


def _page(explanations, texts, title, *, folded=False):
    script = _environment().loader.get_source(_environment(), "report.js")[0]
    given = {
        "title": title,
        "folded": folded,  # how to read it, where there is little room
        "texts": texts,
        "summary": _summary(texts),
        "provenance": list(dict.fromkeys(_origin(one) for one in explanations)),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    template = _environment().get_template("report.html.j2")
    words = len(template.render(**given, numbers="", kept=None, single_heads=True).encode())
    numbers, kept, single_heads = pack(
        [(text["layers"], len(text["words"]), text["map"]) for text in texts], max(LIMIT - words - 500, words)
    )
    return template.render(**given, numbers=Markup(numbers), kept=kept, single_heads=single_heads)


@cache
def _environment():
    return Environment(
        loader=PackageLoader("keras_attn_xai.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _texts(explanations, class_names, merge):
    """What the template shows of each row."""
    texts = [one for explanation in explanations if len(explanation) for one in _rows(explanation, class_names, merge)]
    if not texts:
        raise ArgumentError("Expected at least one explained row; received none.")
    for text in texts:
        among = max(other["largest"] for other in texts if other["unit"] == text["unit"])
        text["strength"] = round(text["largest"] / among, 3) if among else 0.0
    return texts


def _rows(explanation, class_names, merge):
    require_ruler(explanation)
    fits = fitting_maps(explanation)
    rows = [explanation[row] for row in range(len(explanation))]
    seen = [align(row, merge=merge) if fits else None for row in rows]
    found = layers_of(explanation, merge, seen)
    return [
        _text(row, shown, layers, left_out, class_names, merge)
        for row, shown, (layers, left_out) in zip(rows, seen, found, strict=True)
    ]


def _text(explanation, seen, layers, left_out, class_names, merge):
    attribution = explanation.attribution
    if seen is not None:
        keep, moved, labels = seen.mask[0], seen.attribution[0], seen.labels[0]
    else:
        moved, keep, labels = (one[0] for one in merged(explanation, merge, attribution.mask, attribution.values))
    looked = np.zeros(len(moved)) if seen is None else seen.attention[0]
    digits = next((layer.digits for layer in layers if seen is not None and layer.name == seen.map), 3)
    words = [
        {"label": label, "attention": f"{a:.{max(0, digits)}f}", "shap": f"{v:+.3f}", "for": v > 0,
         "looked": a_share, "moved": v_share}
        for label, a, v, a_share, v_share, real in zip(
            labels, looked, moved, _share(looked), _share(moved), keep, strict=True
        )
        if real
    ]  # fmt: skip
    return {
        "words": words,
        "names": min(6.5, 1.2 + 0.5 * max((len(word["label"]) for word in words), default=0)),  # room on the ruler
        "layers": layers,
        "left_out": left_out,
        "has_map": seen is not None,
        "map": seen.map if seen is not None else "",
        "reductions": f"heads: {seen.heads}, query: {seen.query}" if seen is not None else "",
        "answer": answer(attribution, class_names),
        "unit": attribution.unit,
        "method": attribution.method,
        "base": float(attribution.base[0]),
        "largest": float(np.abs(moved[keep]).max(initial=0.0)),
        "toward": float(moved[keep & (moved > 0)].sum()),
        "against": float(moved[keep & (moved < 0)].sum()),
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
    """Each magnitude as a share of the largest."""
    largest = np.abs(values).max(initial=0.0)
    return [round(abs(float(value)) / largest, 3) if largest > 0 else 0.0 for value in values]


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
