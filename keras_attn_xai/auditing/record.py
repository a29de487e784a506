"""What an audit found: the verdict, why, what was not tested, and the tables."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from keras_attn_xai.auditing.page import write_page
from keras_attn_xai.auditing.verdict import Check
from keras_attn_xai.frames import pandas_for

MARKS = {"for": "+", "against": "-", "neither": " "}
COLUMNS = ("table", "method", "measure", "mean", "low", "high", "rows")


@dataclass(frozen=True, eq=False)
class Audit:
    """What `audit` found.

    Parameters
    ----------
    verdict : str
        "attention can be read as an explanation here", "partly", "attention does not explain this model" or "nothing
        can be read"; the rules are in `keras_attn_xai.auditing.verdict.judge`.
    checks : tuple of Check
        What each test says, for or against.
    untested : tuple of str
        What could not be tested, or was not.
    tables : mapping
        "agreement" (`AgreementTable`), "faithfulness" (`FaithfulnessTable`), "tests" (tuple of `AttentionTest`).
    notes : tuple of str
        Of what, with what, over how many rows.

    Examples
    --------
    >>> from keras_attn_xai.auditing import Audit
    >>> from keras_attn_xai.auditing.verdict import Check
    >>> print(Audit("partly", (Check("agreement", "for", "Both agree."),), ("Other seeds.",)))
    Verdict: partly
    + Both agree.
    Not tested:
      Other seeds.
    """

    verdict: str
    checks: tuple[Check, ...]
    untested: tuple[str, ...] = ()
    tables: Mapping = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def reasons(self):
        """A sentence for each check, with numbers, intervals and baselines."""
        return tuple(check.sentence for check in self.checks)

    def __str__(self):
        lines = [f"Verdict: {self.verdict}", *(f"{MARKS[one.speaks]} {one.sentence}" for one in self.checks)]
        if self.untested:
            lines += ["Not tested:", *(f"  {one}" for one in self.untested)]
        return "\n".join((*lines, *self.notes))

    @property
    def rows(self):
        """Every number of every table: tuples (table, method, measure, mean, low, high, rows)."""
        found = [("agreement", row.map, *row[3:]) for row in getattr(self.tables.get("agreement"), "rows", ())]
        found += [("faithfulness", *row) for row in getattr(self.tables.get("faithfulness"), "rows", ())]
        for test in self.tables.get("tests", ()):
            found += [("tests", test.name, measure, *interval) for measure, interval in test.intervals.items()]
        return tuple(found)

    def to_dict(self):
        """All of it as plain lists, dicts, texts and numbers, as JSON has them.

        Returns
        -------
        dict
            "verdict", "checks" (name, speaks, sentence), "untested", "notes", "numbers" (the fields of a row; None
            where a number is not defined), and "curves" (method, kind, fractions, mean, low,
            high), in "unit".

        Examples
        --------
        >>> from keras_attn_xai.auditing import Audit
        >>> Audit("partly", ()).to_dict()["verdict"]
        'partly'
        """
        faithfulness = self.tables.get("faithfulness")
        return {
            "verdict": self.verdict,
            "checks": [check._asdict() for check in self.checks],
            "untested": list(self.untested),
            "notes": list(self.notes),
            "numbers": [dict(zip(COLUMNS, map(_plain, row), strict=True)) for row in self.rows],
            "unit": getattr(faithfulness, "unit", None),
            "curves": [
                {name: list(map(_plain, value)) if np.ndim(value) else value for name, value in one._asdict().items()}
                for one in getattr(faithfulness, "curves", ())
            ],
        }

    def to_frame(self):
        """Every number as a data frame.

        Returns
        -------
        pandas.DataFrame
            Columns table, method, measure, mean, low, high and rows.

        Raises
        ------
        MissingExtraError
            pandas is not installed.
        """
        return pandas_for(".rows").DataFrame(list(self.rows), columns=list(COLUMNS))

    def to_html(self, path, *, title="Is this attention an explanation?"):
        """Write one page that loads nothing from anywhere and runs no script.

        Parameters
        ----------
        path : str or path
            An existing file is replaced; it appears whole or not at all.
        title : str

        Returns
        -------
        pathlib.Path
        """
        return write_page(self, path, title=title)


def _plain(value):
    """A text or number as JSON has it, which knows no NaN."""
    if isinstance(value, str):
        return value
    return None if math.isnan(value) else value if isinstance(value, int) else float(value)
