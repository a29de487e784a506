"""Rollout after each layer, read back as numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_attn_xai import plots
from keras_attn_xai.derived import rollout
from keras_attn_xai.errors import ArgumentError, ShapeError
from tests.plots.made import attention_map, names_along, png


def layers(count=3, size=5, padding=2):
    return [attention_map(2, 3, size, size, padding=(padding, padding), name=f"mha {i}", seed=i) for i in range(count)]


@pytest.mark.parametrize(("query", "said"), [(3, "query 3"), ("last", "last"), ("mean over unmasked",) * 2])
def test_a_line_for_each_layer(query, said):
    maps = layers()
    ax = plots.plot_rollout(maps, row=1, query=query, heads="max", residual=None)
    product, wanted = np.eye(7), []
    for one in maps:
        product = one.weights[1].max(0) @ product
        product[5:] = 0
        wanted.append({3: product[3], "last": product[4]}.get(query, product[:5].mean(0))[:5])
    np.testing.assert_allclose(ax.images[0].get_array(), wanted)
    assert names_along(ax.yaxis) == ["1 mha 0", "2 mha 1", "3 mha 2"]
    assert names_along(ax.xaxis) == [f"k{i}" for i in range(5)]
    assert ax.get_title(loc="left") == f"Rollout, heads: max, {said}"


def test_the_last_line_is_the_rollout_of_all():
    maps = layers()
    last = plots.plot_rollout(maps, query="first", heads=2).images[0].get_array()[-1]
    np.testing.assert_allclose(last, rollout(maps, heads=2).weights[0, 0, 0, :5])


@pytest.mark.parametrize(("size", "dark"), [(5, False), (211, True)])
def test_five_and_two_hundred(size, dark):
    assert png(plots.plot_rollout(layers(2, size), dark=dark))[:4] == b"\x89PNG"
    own = Figure().add_subplot()
    assert plots.plot_rollout(layers(), ax=own) is own


def test_what_cannot_be_drawn_gets_a_sentence():
    with pytest.raises(ArgumentError, match="takes a sequence of maps"):
        plots.plot_rollout(attention_map())
    with pytest.raises(ShapeError, match="self-attention over the same positions"):
        plots.plot_rollout([attention_map(queries=5, keys=7)])
    with pytest.raises(ArgumentError, match="row must be 0 to 1, one of 2 rows; received 5"):
        plots.plot_rollout(layers(), row=5)
    with pytest.raises(ArgumentError, match="query must be"):
        plots.plot_rollout(layers(), query=7)


def test_the_title_of_a_narrow_picture_stays_on_the_page():
    ax = plots.plot_rollout([attention_map(queries=2, keys=2, name="a")])
    png(ax)
    assert ax.figure.get_tightbbox().x1 <= ax.figure.get_size_inches()[0]
