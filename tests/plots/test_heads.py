"""Heads of all layers, read back as numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_attn_xai import AttentionMap, plots
from keras_attn_xai.errors import ArgumentError, ShapeError
from tests.plots.made import attention_map, png


def panels(figure):
    return {ax.get_label(): ax.images[0] for ax in figure.axes if " head " in ax.get_label()}


def test_every_head_of_every_layer_on_one_scale():
    first = attention_map(heads=3, padding=(2, 3), name="first", seed=1)
    second = attention_map(heads=2, queries=11, keys=2, name="second", seed=2)
    found = panels(plots.plot_heads([first, second], row=1))
    assert list(found) == ["first head 0", "first head 1", "first head 2", "second head 0", "second head 1"]
    for head in range(3):
        np.testing.assert_allclose(found[f"first head {head}"].get_array(), first.weights[1, head, :5, :7])
    np.testing.assert_allclose(found["second head 1"].get_array(), second.weights[1, 1])
    largest = max(first.weights[1].max(), second.weights[1].max())
    assert {image.get_clim() for image in found.values()} == {(0.0, float(largest))}


def test_heads_are_counted_along_the_top_and_layers_named_at_the_side():
    figure = plots.plot_heads([attention_map(heads=2, name="one"), attention_map(heads=2, name="$two_2$")], dark=True)
    png(figure)
    titles = [ax.get_title(loc="left") for ax in figure.axes[:4]]
    assert titles == ["head 0", "head 1", "", ""]
    assert [ax.get_ylabel() for ax in figure.axes[:4]] == ["one", "", "$two_2$", ""]


@pytest.mark.parametrize(("layers", "heads", "size"), [(6, 12, 5), (1, 1, 1), (2, 3, 211)])
def test_sizes(layers, heads, size):
    maps = [attention_map(1, heads, size, size, name=f"layer {i}") for i in range(layers)]
    figure = plots.plot_heads(maps)
    assert png(figure)[:4] == b"\x89PNG"
    assert len(panels(figure)) == layers * heads


def test_one_map_the_k_largest_and_the_users_figure():
    seen = AttentionMap("att", [[[[0.75, 0.25]]]], [["?"]], [["a", "b", "c"]], indices=[[[[2, 0]]]])
    own = Figure()
    assert plots.plot_heads(seen, fig=own) is own
    np.testing.assert_allclose(panels(own)["att head 0"].get_array(), [[0.25, 0, 0.75]])


def test_what_cannot_be_drawn_gets_a_sentence():
    with pytest.raises(ArgumentError, match="plot_heads needs at least one attention map; received none"):
        plots.plot_heads([])
    with pytest.raises(ShapeError, match="maps of the same rows"):
        plots.plot_heads([attention_map(rows=2), attention_map(rows=3)])
    with pytest.raises(ArgumentError, match="row must be 0 to 1, one of 2 rows; received -3"):
        plots.plot_heads(attention_map(), row=-3)
    with pytest.raises(ArgumentError, match="nothing but padding"):
        plots.plot_heads(attention_map(queries=0, padding=(2, 0)))
