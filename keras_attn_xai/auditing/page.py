"""An audit as one self-contained HTML page."""

from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from keras_attn_xai.writing import write_whole_file

WIDTH, HEIGHT = 400, 180  # of a picture of curves, in its own units
HUES = 5  # of orders other than attention and random


def write_page(audit, path, *, title):
    """Write an audit to a file.

    Parameters
    ----------
    audit : Audit
    path : str or path
    title : str

    Returns
    -------
    pathlib.Path
    """
    faithfulness = audit.tables.get("faithfulness")
    html = _template().render(
        title=title,
        audit=audit,
        unit=getattr(faithfulness, "unit", ""),
        pictures=[_picture(faithfulness.curves, kind) for kind in ("deletion", "insertion")] if faithfulness else [],
        size=(WIDTH, HEIGHT),
    )
    write_whole_file(path, html)
    return Path(path)


@cache
def _template():
    environment = Environment(
        loader=PackageLoader("keras_attn_xai.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("audit.html.j2")


def _picture(curves, kind):
    """Lines of one kind in the picture's units, and the ends of its axis."""
    chosen = [one for one in curves if one.kind == kind]
    low, high = (float(end([end(one.mean) for one in chosen])) for end in (np.min, np.max))
    scale = HEIGHT / (high - low) if high > low else 0.0
    styles = _styles([one.method for one in chosen])
    lines = [
        {
            "method": one.method,
            "style": styles[one.method],
            "points": " ".join(
                f"{WIDTH * x:.1f},{HEIGHT - scale * (y - low):.1f}"
                for x, y in zip(one.fractions, one.mean, strict=True)
            ),
        }
        for one in chosen
    ]
    return {"kind": kind, "low": low, "high": high, "lines": lines}


def _styles(methods):
    """A stroke for each method: a hue for the values, drawn through for their magnitudes and dashed for their signs."""
    own = {"attention": "attention", "random": "random"}
    names = list(dict.fromkeys(one.strip("|") for one in methods if one not in own))
    dashed = {one: " signed" if f"|{one}|" in methods else "" for one in methods}
    return own | {one: f"hue{names.index(one.strip('|')) % HUES}{dashed[one]}" for one in methods if one not in own}
