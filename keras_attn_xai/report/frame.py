"""An explanation as a table of one line per position, for pandas."""

from dataclasses import replace

import numpy as np

from keras_attn_xai.alignment import align
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.frames import pandas_for

COLUMNS = ("row", "input", "position", "label", "attention", "value", "mask")


def to_frame(explanation):
    """One line per row, input and position; what ``Explanation.to_frame`` returns.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    pandas.DataFrame
        Columns row, input, position, label, attention, value and mask.

    Raises
    ------
    MissingExtraError
        pandas is not installed.

    Examples
    --------
    >>> from keras_attn_xai import Attribution, Explanation, Provenance
    >>> from keras_attn_xai.report.frame import to_frame
    >>> moved = Attribution(
    ...     values=[[2.0, 1.0]], base=[0.0], output=[3.0], target=[1], unit="log-odds", method="exact",
    ...     evaluations=[4], player_labels=[["fine", "film"]],
    ... )
    >>> to_frame(Explanation((), (moved,), moved.player_labels, Provenance("m")))[["label", "value"]]
      label  value
    0  fine    2.0
    1  film    1.0
    """
    pandas = pandas_for(".attributions")
    parts = [
        _columns(explanation, one, first=place == 0, pandas=pandas)
        for place, one in enumerate(explanation.attributions)
    ]
    if not parts:
        return pandas.DataFrame(columns=list(COLUMNS))
    return pandas.concat(parts, ignore_index=True).sort_values("row", kind="stable", ignore_index=True)


def _columns(explanation, attribution, *, first, pandas):
    rows, players = len(attribution), int(np.prod(attribution.values.shape[1:]))
    return pandas.DataFrame(
        {
            "row": np.repeat(np.arange(rows), players),
            "input": attribution.input_name,
            "position": np.tile(np.arange(players), rows),
            "label": [label for labels in attribution.player_labels for label in labels],
            "attention": _attention(explanation, attribution, players) if first else np.nan,
            "value": attribution.values.ravel(),
            "mask": attribution.mask.ravel(),
        },
        columns=list(COLUMNS),
    )


def _attention(explanation, attribution, players):
    """Attention of the default alignment, (B * S,); NaN where there is none for these players."""
    alone = replace(explanation, attributions=(attribution,))
    try:
        return align(alone).attention.ravel()
    except ArgumentError:  # no map that fits, or players that are not positions
        return np.full(len(attribution) * players, np.nan)
