"""What all pictures promise: nothing global changes, nothing is written into, and the page takes the theme."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure

from keras_attn_xai import plots
from keras_attn_xai.plots.theme import DARK, LIGHT
from tests.made import explanation
from tests.plots.made import attention_map, png
from tests.plots.test_curves import curves
from tests.plots.test_heatmap import interactions

CHECK = SimpleNamespace(speaks="for", sentence="Both agree.")
SHOWN = explanation(5, rows=2)
MAP = attention_map(queries=5, keys=5)
EXAMPLES = {
    "plot_alignment": ((MAP,), "fig"),
    "plot_audit": ((SimpleNamespace(verdict="partly", checks=(CHECK,), tables={}),), "fig"),
    "plot_curves": ((curves(),), "fig"),
    "plot_heads": ((MAP,), "fig"),
    "plot_heatmap": ((MAP,), "ax"),
    "plot_image": ((attention_map(keys=4), np.zeros((7, 5))), "fig"),
    "plot_interactions": ((interactions(),), "ax"),
    "plot_rollout": (([MAP],), "ax"),
    "plot_scatter": ((SHOWN,), "ax"),
    "plot_series": ((SHOWN, np.arange(5.0)), "fig"),
    "plot_side_by_side": ((SHOWN[0],), "fig"),
    "plot_tokens": ((SHOWN.attribution,), "ax"),
}


def test_every_picture_is_here():
    assert sorted(EXAMPLES) == sorted(plots.__all__)


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_global_changes_and_the_page_takes_the_theme(name):
    import matplotlib.pyplot as plt

    given, _ = EXAMPLES[name]
    before, settings, colours = plt.get_fignums(), dict(mpl.rcParams), list(mpl.colormaps)
    for dark in (False, True):
        picture = getattr(plots, name)(*given, dark=dark)
        figure = getattr(picture, "figure", None) or picture
        assert figure.get_facecolor()[:3] == to_rgb((DARK if dark else LIGHT).page)
        assert png(figure)[:4] == b"\x89PNG"
    assert (plt.get_fignums(), dict(mpl.rcParams), list(mpl.colormaps)) == (before, settings, colours)


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"plot_side_by_side"}))  # that one sets the size of its page
def test_a_figure_within_a_figure_will_do(name):
    given, kind = EXAMPLES[name]
    whole = Figure(figsize=(9, 9))
    part = whole.subfigures(1, 2)[1]
    own = part if kind == "fig" else part.add_subplot()
    picture = getattr(plots, name)(*given, **{kind: own})
    assert picture is own
    assert isinstance(picture if kind == "fig" else picture.figure, SubFigure)
    assert tuple(whole.get_size_inches()) == (9, 9)


LONG = "functional_1/encoder/transformer_block_11/self_attention"
LONG_MAP = attention_map(queries=5, keys=5, name=LONG)
LONG_WORDS = explanation(5, rows=2, labels=["unpronounceable" * 3] * 5)
LONG_SHOWN = replace(LONG_WORDS, attention=(replace(LONG_WORDS.attention[0], name=LONG),))
WITH_LONG_NAMES = {
    "plot_alignment": (LONG_MAP, [LONG_WORDS] * 5),
    "plot_audit": EXAMPLES["plot_audit"][0],
    "plot_curves": ([one._replace(method=f"{LONG} {one.method}") for one in curves()],),
    "plot_heads": (LONG_MAP,),
    "plot_heatmap": (replace(LONG_MAP, key_labels=LONG_WORDS.labels, query_labels=LONG_WORDS.labels),),
    "plot_image": (attention_map(keys=4, name=LONG), np.zeros((7, 5))),
    "plot_interactions": (replace(interactions(5, 0), player_labels=LONG_WORDS.labels),),
    "plot_rollout": ([LONG_MAP] * 2,),
    "plot_scatter": (LONG_SHOWN,),
    "plot_series": (LONG_SHOWN, np.arange(5.0)),
    "plot_side_by_side": (LONG_SHOWN[0],),
    "plot_tokens": (LONG_SHOWN.attention[0],),
}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("long", [False, True])
def test_nothing_is_cut_off_at_the_edge_of_the_page(name, long):
    picture = getattr(plots, name)(*(WITH_LONG_NAMES[name] if long else EXAMPLES[name][0]))
    figure = getattr(picture, "figure", None) or picture
    png(figure)  # settles the layout
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(drawn.x0, drawn.y0) >= -0.02
    assert drawn.x1 <= width + 0.02
    assert drawn.y1 <= height + 0.02


def test_scales_lie_on_the_page():
    figure = plots.plot_image(*EXAMPLES["plot_image"][0], dark=True)
    assert figure.axes[-1].get_facecolor()[:3] == to_rgb(DARK.page)  # seen through the colours near 0


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_pictures_can_be_printed(form, tmp_path):
    for name in ("plot_tokens", "plot_heads", "plot_series"):
        given, _ = EXAMPLES[name]
        picture = getattr(plots, name)(*given)
        file = tmp_path / f"{name}.{form}"
        (getattr(picture, "figure", None) or picture).savefig(file)
        assert file.stat().st_size > 1000
