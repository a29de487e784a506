"""An audit on one page, read back as numbers."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from keras_attn_xai import plots
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.plots.theme import DARK, LIGHT
from tests.plots.made import attention_map, names_along, png
from tests.plots.test_curves import Row, Table

METHODS = ("attention", "random", "|SHAP|", "a name that is much longer than the others")


class Check(NamedTuple):
    """What speaks for or against."""

    name: str
    speaks: str
    sentence: str


@dataclass
class Audited:
    """What has a verdict, checks and tables."""

    verdict: str
    checks: tuple
    untested: tuple = ()
    tables: dict = field(default_factory=dict)


CHECKS = (
    Check("agreement", "for", "Kendall tau is 0.500 [0.250, 0.750]; " + "words " * 40),
    Check("faithful", "against", "It falls by $0.1$ [0.0, 0.2]."),
    Check("entropy", "neither", "The weights single out positions."),
)


def audited(**given):
    rows = tuple(
        Row(method, measure, i - 1.0, i - 1.5, i - 0.75)
        for i, method in enumerate(METHODS)
        for measure in ("comprehensiveness", "aopc", "sufficiency")
    )
    tables = {"faithfulness": Table((), rows, "log-odds")}
    return Audited("partly", CHECKS, ("Other seeds of training.", "\x1b[1mloud " * 200), tables, **given)


@pytest.mark.parametrize("dark", [False, True])
def test_the_verdict_and_what_speaks_for_it(dark):
    figure = plots.plot_audit(audited(), dark=dark)
    png(figure)
    top = figure.axes[0]
    assert top.get_title(loc="left") == "Verdict: partly"
    marks = [text for text in top.texts if text.get_text() in ("+", "−", "○")]
    theme = DARK if dark else LIGHT
    assert [(mark.get_text(), mark.get_color()) for mark in marks] == [
        ("+", theme.toward), ("−", theme.against), ("○", theme.faint),
    ]  # fmt: skip
    said = [text.get_text().replace("\n", " ") for text in top.texts]
    assert said[1::2][:3] == [check.sentence.strip() for check in CHECKS]
    assert "Not tested: Other seeds of training." in said
    assert any(text.endswith("[...]") and len(text) < 250 for text in said)


def test_texts_do_not_run_into_one_another_or_off_the_page():
    figure = plots.plot_audit(audited())
    png(figure)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if len(text.get_text()) > 1]
    assert all(above.y0 >= below.y1 for above, below in pairwise(boxes))
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    bars = figure.axes[1].get_tightbbox()
    assert boxes[-1].y0 >= bars.y1


def test_bars_are_the_table_with_its_intervals_and_a_line_at_random():
    figure = plots.plot_audit(audited())
    assert [ax.get_label() for ax in figure.axes[1:]] == ["comprehensiveness", "sufficiency"]
    for ax in figure.axes[1:]:
        np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [-1, 0, 1, 2])
        (ends,) = ax.collections
        wanted = [[[i - 1.5, i], [i - 0.75, i]] for i in range(4)]
        np.testing.assert_allclose(ends.get_segments(), wanted)
        dashed = [line for line in ax.lines if line.is_dashed()]
        assert [line.get_xdata()[0] for line in dashed] == [0]
        assert names_along(ax.yaxis)[:3] == list(METHODS[:3])
        assert ax.patches[0].get_facecolor()[:3] == to_rgb(LIGHT.attention)
        assert ax.get_xlabel() == "log-odds"


def test_without_a_table_there_are_no_bars_and_the_users_figure_is_used():
    own = Figure()
    assert plots.plot_audit(Audited("partly", CHECKS[:1]), fig=own) is own
    assert len(own.axes) == 1


def test_what_cannot_be_drawn_gets_a_sentence():
    with pytest.raises(ArgumentError, match="Expected an Audit; received AttentionMap"):
        plots.plot_audit(attention_map())
