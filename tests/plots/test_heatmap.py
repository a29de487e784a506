"""Pairs of positions as colours, read back as numbers."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from keras_attn_xai import AttentionMap, plots
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.plots.theme import DARK, LIGHT
from keras_attn_xai.records import Interactions
from tests.made import explanation
from tests.plots.made import attention_map, names_along, png


def interactions(players=5, padding=2, rows=2):
    draw = np.random.default_rng(1)
    size = players + padding
    mask = np.broadcast_to(np.arange(size) < players, (rows, size))
    values = draw.normal(size=(rows, size, size)) * mask[:, None] * mask[..., None]
    values = values + values.swapaxes(1, 2)
    return Interactions(
        values=values, base=np.zeros(rows), output=values.sum((1, 2)), target=[0] * rows, unit="log-odds",
        method="exact", evaluations=[1] * rows, player_labels=[[f"p{i}" for i in range(size)]] * rows, mask=mask,
    )  # fmt: skip


@pytest.mark.parametrize("heads", ["mean", "max", 2])
def test_colours_are_the_weights_and_padding_is_not_drawn(heads):
    seen = attention_map(padding=(3, 2))
    ax = plots.plot_heatmap(seen, row=1, heads=heads)
    wanted = seen.weights[1, 2] if heads == 2 else getattr(seen.weights[1], heads)(0)
    np.testing.assert_allclose(ax.images[0].get_array(), wanted[:5, :7])
    assert ax.images[0].get_clim() == pytest.approx((0, wanted.max()))
    assert names_along(ax.yaxis) == [f"q{i}" for i in range(5)]
    assert names_along(ax.xaxis) == [f"k{i}" for i in range(7)]
    said = "head 2" if heads == 2 else f"heads: {heads}"
    assert ax.get_title(loc="left") == f"encoder/att, {said}"


def test_the_k_largest_are_drawn_over_all_keys():
    seen = AttentionMap("att", [[[[0.75, 0.25]]]], [["?"]], [["a", "b", "c"]], indices=[[[[2, 0]]]])
    np.testing.assert_allclose(plots.plot_heatmap(seen).images[0].get_array(), [[0.25, 0, 0.75]])


def test_interactions_have_one_scale_on_both_sides_of_0():
    together = interactions()
    ax = plots.plot_interactions(together, row=1)
    np.testing.assert_allclose(ax.images[0].get_array(), together.values[1, :5, :5])
    largest = np.abs(together.values[1]).max()
    assert ax.images[0].get_clim() == pytest.approx((-largest, largest))
    shades = ax.images[0].cmap([0.0, 0.5, 1.0])[:, :3]
    for shade, wanted in zip(shades, (LIGHT.against, LIGHT.page, LIGHT.toward), strict=True):
        np.testing.assert_allclose(shade, to_rgb(wanted), atol=0.01)
    assert names_along(ax.xaxis) == names_along(ax.yaxis) == [f"p{i}" for i in range(5)]


@pytest.mark.parametrize(("size", "dark"), [(1, False), (5, True), (607, False)])
def test_one_to_six_hundred_positions(size, dark):
    ax = plots.plot_heatmap(attention_map(1, 1, size, size), dark=dark)
    assert png(ax)[:4] == b"\x89PNG"
    assert len(ax.get_xticks()) == len(names_along(ax.xaxis)) <= 60
    assert names_along(ax.xaxis)[-1] == f"k{ax.get_xticks()[-1]}"
    assert ax.figure.get_facecolor()[:3] == to_rgb((DARK if dark else LIGHT).page)


def test_the_users_axes_are_drawn_on_and_returned():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plots.plot_heatmap(attention_map(), ax=right) is right
    assert not left.images
    assert figure.get_facecolor() == Figure().get_facecolor()


def test_a_map_of_zeros_has_a_scale():
    seen = AttentionMap("att", np.zeros((1, 1, 2, 3)), [["a", "b"]], [["a", "b", "c"]])
    assert plots.plot_heatmap(seen).images[0].get_clim() == (0, 1)


def test_what_cannot_be_drawn_gets_a_sentence():
    with pytest.raises(ArgumentError, match=r"Expected AttentionMap; received Explanation. Take one of"):
        plots.plot_heatmap(explanation(3))
    with pytest.raises(ArgumentError, match="Expected Interactions; received AttentionMap"):
        plots.plot_interactions(attention_map())
    with pytest.raises(ArgumentError, match="row must be 0 to 1, one of 2 rows; received 2"):
        plots.plot_heatmap(attention_map(), row=2)
    with pytest.raises(ArgumentError, match="received True"):
        plots.plot_heatmap(attention_map(), row=True)
    with pytest.raises(ArgumentError, match="one of 3 heads; received 3"):
        plots.plot_heatmap(attention_map(), heads=3)
    nothing = AttentionMap("att", np.zeros((1, 1, 1, 2)), [["?"]], [["", ""]], mask=[[False, False]])
    with pytest.raises(ArgumentError, match="nothing but padding"):
        plots.plot_heatmap(nothing)
