"""A picture under attention and SHAP, read back as numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_attn_xai import AttentionMap, Attribution, Explanation, Provenance, plots
from keras_attn_xai.errors import ArgumentError, ShapeError
from tests.made import explanation
from tests.plots.made import attention_map, png

DRAW = np.random.default_rng(5)
PICTURE = DRAW.random((11, 13, 3))


def moved(shape, *, rows=2, players="patches"):
    values = DRAW.normal(size=(rows, *shape))
    count = int(np.prod(shape))
    return Attribution(
        values=values, base=np.zeros(rows), output=values.reshape(rows, -1).sum(1), target=[0] * rows, unit="log-odds",
        method="exact", evaluations=[1] * rows, player_labels=[[f"p{i}" for i in range(count)]] * rows, players=players,
    )  # fmt: skip


def explained(*maps, shape=(5, 3)):
    attribution = moved(shape)
    return Explanation(maps, (attribution,), [[str(i) for i in range(11)]] * 2, Provenance("sees"))


def panels(figure):
    return {ax.get_label(): ax for ax in figure.axes if ax.get_label() in ("picture", "attention", "SHAP")}


def patch_of(side, most):
    """Which of ``most`` patches each of ``side`` pixels belongs to, one by one."""
    return [pixel * most // side for pixel in range(side)]


def test_each_pixel_has_the_number_of_its_patch():
    seen = attention_map(keys=6, queries=7)
    shown = explained(attention_map(keys=7, name="text"), seen)
    found = panels(plots.plot_image(shown, PICTURE, row=1, grid=(2, 3)))
    assert list(found) == ["picture", "attention", "SHAP"]
    np.testing.assert_allclose(found["picture"].images[0].get_array(), PICTURE)
    weights = seen.weights[1].mean(0).mean(0).reshape(2, 3)
    attention = weights[np.ix_(patch_of(11, 2), patch_of(13, 3))]
    np.testing.assert_allclose(found["attention"].images[1].get_array(), attention)
    assert found["attention"].images[1].get_clim() == pytest.approx((0, weights.max()))
    values = shown.attribution.values[1]
    np.testing.assert_allclose(found["SHAP"].images[1].get_array(), values[np.ix_(patch_of(11, 5), patch_of(13, 3))])
    largest = np.abs(values).max()
    assert found["SHAP"].images[1].get_clim() == pytest.approx((-largest, largest))


def test_a_class_token_in_front_is_not_drawn():
    seen = attention_map(queries=10, keys=10)
    found = panels(plots.plot_image(seen, PICTURE[..., 0], query="first", heads=2))
    assert list(found) == ["picture", "attention"]
    wanted = seen.weights[0, 2, 0, 1:].reshape(3, 3)[np.ix_(patch_of(11, 3), patch_of(13, 3))]
    np.testing.assert_allclose(found["attention"].images[1].get_array(), wanted)


def test_where_the_number_is_0_the_picture_shows():
    found = panels(plots.plot_image(explained(attention_map(keys=4)), PICTURE))
    assert found["attention"].images[1].cmap(0.0)[3] == 0
    assert found["SHAP"].images[1].cmap(0.5)[3] < 0.02
    assert found["SHAP"].images[1].cmap(0.0)[3] == found["SHAP"].images[1].cmap(1.0)[3] == pytest.approx(0.72)


def test_regions_and_channels():
    regions = np.full((11, 13), -1)
    regions[:2, :3], regions[5:, 7:], regions[4, 0] = 3, 0, 7
    groups = moved((3,), players="groups")
    found = panels(plots.plot_image(groups, PICTURE, regions=regions, row=1))
    drawn = found["SHAP"].images[1].get_array()
    assert set(drawn[:2, :3].ravel()) == {groups.values[1, 1]}
    assert set(drawn[5:, 7:].ravel()) == {groups.values[1, 0]}
    assert drawn[4, 0] == groups.values[1, 2]
    assert drawn[3, 0] == 0
    cells = moved((11, 13, 3), players="cells")
    np.testing.assert_allclose(
        panels(plots.plot_image(cells, PICTURE))["SHAP"].images[1].get_array(), cells.values[0].sum(-1)
    )


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ((PICTURE * 255).astype("uint8"), (PICTURE * 255).astype("uint8") / 255),
        (PICTURE[..., :1], np.repeat(PICTURE[..., :1], 3, 2)),
        (np.array([[-3.0, 1.0, 5.0]] * 5), np.repeat([[[0.0], [0.5], [1.0]]] * 5, 3, 2)),
        (np.full((11, 13), 255, int), np.ones((11, 13, 3))),
        (np.full((11, 13), -7.0), np.zeros((11, 13, 3))),
    ],
)  # fmt: skip
def test_pictures_of_any_numbers(image, wanted):
    figure = plots.plot_image(moved((5, 3)), image)
    np.testing.assert_allclose(panels(figure)["picture"].images[0].get_array(), wanted, atol=1e-9)
    png(figure)


@pytest.mark.parametrize(("size", "dark"), [(4, False), (224, True)])
def test_sizes(size, dark):
    figure = plots.plot_image(moved((4, 4)), np.zeros((size, 2 * size)), dark=dark)
    assert png(figure)[:4] == b"\x89PNG"
    own = Figure()
    assert plots.plot_image(moved((4, 4)), PICTURE, fig=own) is own


def test_what_cannot_be_drawn_gets_a_sentence():
    with pytest.raises(ArgumentError, match="Expected Explanation or AttentionMap or Attribution; received ndarray"):
        plots.plot_image(PICTURE, PICTURE)
    for image in (PICTURE[None], PICTURE[..., :2], PICTURE[0, 0], np.zeros((0, 2))):
        with pytest.raises(ShapeError, match="image must be of one row"):
            plots.plot_image(moved((5, 3)), image)
    with pytest.raises(ArgumentError, match=r"must be a square of patches, or one more .*; it has 7. Pass grid"):
        plots.plot_image(attention_map(keys=7), PICTURE)
    with pytest.raises(ArgumentError, match=r"must be 2 x 3 = 6 patches, .*; it has 8"):
        plots.plot_image(explained(attention_map(keys=8)), PICTURE, grid=(2, 3))
    with pytest.raises(ShapeError, match=r"at least \(5, 3\) pixels, one a patch; received \(4, 13\)"):
        plots.plot_image(moved((5, 3)), PICTURE[:4])
    with pytest.raises(ShapeError, match=r"received tokens \(1, 3\). Pass regions="):
        plots.plot_image(explanation(3).attribution, PICTURE)
    with pytest.raises(ShapeError, match=r"with 3 groups, one a value; received int64 \(11, 13\) with 1"):
        plots.plot_image(explanation(3).attribution, PICTURE, regions=np.zeros((11, 13), int))
    with pytest.raises(ArgumentError, match="row must be 0 to 1, one of 2 rows; received 2"):
        plots.plot_image(moved((5, 3)), PICTURE, row=2)
    with pytest.raises(ArgumentError, match="row must be of a record with rows; received 0"):
        plots.plot_image(AttentionMap("att", np.zeros((0, 1, 1, 4)), [], []), PICTURE)
