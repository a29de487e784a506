"""The bridge to shap: its Explanation both ways, and the parts of shap we lean on."""

from dataclasses import replace

import keras
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import shap
import tensorflow as tf
from matplotlib.text import Text
from scipy.cluster import hierarchy

from keras_attn_xai import Attribution, Explanation, Interactions, Provenance
from keras_attn_xai.errors import RecordError, ShapeError
from keras_attn_xai.explain import squash
from keras_attn_xai.explain.shap_bridge import halving_tree

B, S = 3, 5


def made(rows=B, *, padded=False):
    """An explanation of words, by hand; with ``padded`` the first row has three."""
    values = np.random.default_rng(0).normal(size=(rows, S))
    mask = np.ones((rows, S), bool)
    mask[0, 3:] = not padded
    values[~mask] = 0
    labels = [[f"word{r}{s}" if mask[r, s] else "" for s in range(S)] for r in range(rows)]
    base = np.linspace(0.1, 0.3, rows)
    attribution = Attribution(
        values=values,
        base=base,
        output=base + values.sum(1),
        target=np.arange(rows),
        unit="log-odds",
        method="exact",
        evaluations=np.full(rows, 2**S),
        player_labels=labels,
        mask=mask,
    )
    return Explanation((), (attribution,), labels, Provenance("reviews"))


# to_shap


def test_to_shap_holds_the_same_numbers():
    explanation = made(padded=True)
    given = explanation.to_shap()
    assert isinstance(given, shap.Explanation)
    np.testing.assert_array_equal(given.values, explanation.attribution.values)
    np.testing.assert_array_equal(given.base_values, explanation.attribution.base)
    assert given.data.tolist() == [[label or " " for label in row] for row in explanation.labels]  # blank padding
    given.values[:] = 7  # its own copy
    assert explanation.attribution.values.max() < 7


@pytest.fixture
def figures():
    """No figure outlives a test."""
    yield
    plt.close("all")


PLOTS = {  # how many rows each of shap's plots takes
    "bar": ("several", "one", "only"),
    "beeswarm": ("several", "only"),
    "heatmap": ("several",),
    "waterfall": ("one",),
    "text": ("several", "one", "only"),
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("plot", "rows"), [(plot, rows) for plot, taken in PLOTS.items() for rows in taken])
@pytest.mark.usefixtures("figures")
def test_shap_draws_it(plot, rows, padded):
    given = made(1 if rows == "only" else B, padded=padded).to_shap()
    if rows == "one":
        given = given[0]
    draw = getattr(shap.plots, plot)
    if plot == "text":
        page = draw(given, display=False)
        assert "word02" in page
        return
    draw(given, show=False)
    plt.gcf().canvas.draw()


@pytest.mark.usefixtures("figures")
def test_a_waterfall_names_the_words():
    shap.plots.waterfall(made(1).to_shap()[0], show=False)
    names = " ".join(text.get_text() for text in plt.gcf().axes[0].get_yticklabels())
    assert all(f"position {s} = word0{s}" in names for s in range(S))


# from_shap


def test_padding_of_every_row_is_left_out():
    explanation = made(padded=True)[:1]
    given = explanation.to_shap()
    np.testing.assert_array_equal(given.values, explanation.attribution.values[:, :3])
    assert given.feature_names == list(explanation.labels[0][:3])
    assert given.data.tolist() == [list(explanation.labels[0][:3])]
    assert made(padded=True).to_shap().values.shape == (B, S)


TABLE = np.arange(float(B * S)).reshape(B, S) ** 2


def columns(*, padded=False, players="features"):
    """The same numbers, of players that have the same names in every row."""
    given = made(padded=padded)
    labels = [[f"column {s}" if real else "" for s, real in enumerate(row)] for row in given.attribution.mask]
    return replace(given, attributions=(replace(given.attribution, player_labels=labels, players=players),))


@pytest.mark.parametrize("padded", [False, True])
def test_features_are_named_and_have_no_words(padded):
    explanation = columns(padded=padded)
    given = explanation.to_shap()
    assert given.feature_names == [f"column {s}" for s in range(S)]
    assert given.data is None
    np.testing.assert_array_equal(explanation.to_shap(TABLE).data, TABLE)
    np.testing.assert_array_equal(columns(padded=True)[0].to_shap(TABLE[:1]).data, TABLE[:1, :3])
    with pytest.raises(
        ShapeError, match=r"one number for each player of each row, \(3, 5\); received float64 \(3, 4\)"
    ):
        explanation.to_shap(TABLE[:, :4])


COLUMNS = {
    "bar": lambda given: shap.plots.bar(given, show=False),
    "bar of one": lambda given: shap.plots.bar(given[1], show=False),
    "beeswarm": lambda given: shap.plots.beeswarm(given, show=False),
    "heatmap": lambda given: shap.plots.heatmap(given, show=False),
    "waterfall": lambda given: shap.plots.waterfall(given[1], show=False),
    "force": lambda given: shap.plots.force(given[1], matplotlib=True, show=False),
    "decision": lambda given: shap.plots.decision(
        given.base_values[0], given.values, feature_names=given.feature_names, show=False
    ),
}


@pytest.mark.parametrize(("plot", "data"), [*((plot, None) for plot in COLUMNS), *((plot, TABLE) for plot in COLUMNS)])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.usefixtures("figures")
def test_shap_draws_features_by_their_names(plot, data, padded):
    COLUMNS[plot](columns(padded=padded, players="steps").to_shap(data))
    plt.gcf().canvas.draw()
    written = " ".join(text.get_text() for text in plt.gcf().findobj(Text))
    assert "column 1" in written
    assert "column 1 = column 1" not in written


@pytest.mark.usefixtures("figures")
def test_scatter_has_the_numbers_of_the_table():
    ax = shap.plots.scatter(columns().to_shap(TABLE)[:, 2], show=False, x_jitter=0)
    points = np.concatenate([np.asarray(one.get_offsets()) for one in plt.gcf().axes[0].collections])
    assert ax is None or ax is plt.gcf().axes[0]
    assert {tuple(point) for point in np.stack([TABLE[:, 2], made().attribution.values[:, 2]], 1).round(9)} <= {
        tuple(point) for point in points.round(9)
    }


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.usefixtures("figures")
def test_shap_draws_words_of_one_row(row):
    given = made(padded=True)[row].to_shap()
    shap.plots.force(given[0], matplotlib=True, show=False)
    plt.gcf().canvas.draw()
    plt.figure()
    shap.plots.decision(given.base_values[0], given.values[0], feature_names=given.feature_names, show=False)
    plt.gcf().canvas.draw()
    names = {text.get_text() for text in plt.gcf().axes[0].get_yticklabels()}
    assert names >= set(made(padded=True)[row].labels[0]) - {""}


def patches(rows=2):
    """An explanation of 2 by 3 patches of grey images of 4 by 6 pixels, and the images."""
    values = np.random.default_rng(1).normal(size=(rows, 2, 3))
    labels = [[f"patch {r}, {c}" for r in range(2) for c in range(3)]] * rows
    moved = Attribution(
        values=values,
        base=np.ones(rows),
        output=1 + values.sum((1, 2)),
        target=np.zeros(rows, int),
        unit="logits",
        method="exact",
        evaluations=np.full(rows, 64),
        player_labels=labels,
        players="patches",
    )
    return moved, np.random.default_rng(2).random((rows, 4, 6, 1))


@pytest.mark.usefixtures("figures")
def test_shap_draws_patches_over_the_images():
    moved, images = patches()
    given = moved.to_shap(images)
    assert given.values.shape == (2, 2, 3, 1)
    shap.plots.image(given, show=False)
    axes = plt.gcf().axes
    np.testing.assert_array_equal(axes[3].images[-1].get_array(), moved.values[1])
    plt.gcf().canvas.draw()
    shap.plots.image(moved.to_shap(), images, show=False)
    back = Explanation.from_shap(given).attribution
    np.testing.assert_array_equal(back.values[..., 0], moved.values)
    assert back.players == "cells"


def test_an_attribution_by_itself_adds_up():
    whole = made()
    part = replace(whole.attribution, elsewhere=np.full(B, 2.0), output=whole.attribution.output + 2)
    for given in (part.to_shap(), replace(whole, attributions=(part,)).to_shap()):
        np.testing.assert_allclose(given.base_values + given.values.sum(1), part.output)
    both = replace(whole, attributions=(part, replace(whole.attribution, values=np.full((B, S), 0.4), base=part.base)))
    given = both.to_shap()
    np.testing.assert_allclose(given.base_values + given.values.sum(1), part.output)
    assert given.values.shape == (B, 2 * S)


def test_interactions_go_there_and_back():
    pairs = np.random.default_rng(3).normal(size=(B, S, S))
    pairs[0, 3:] = pairs[0, :, 3:] = 0
    pairs += pairs.swapaxes(1, 2)
    one = made(padded=True).attribution
    together = Interactions(
        pairs, one.base, one.base + pairs.sum((1, 2)), one.target, "logits", "exact", one.evaluations,
        one.player_labels, one.mask,
    )  # fmt: skip
    given = together.to_shap()
    assert given.values.shape == (B, S, S)
    back = Interactions.from_shap(given, target=2, unit="logits")
    np.testing.assert_array_equal(back.values, together.values)
    np.testing.assert_allclose(back.output, together.output)
    np.testing.assert_array_equal(back.mask, together.mask)
    assert back.player_labels == together.player_labels
    assert (back.unit, back.target.tolist()) == ("logits", [2] * B)
    assert together[0].to_shap().values.shape == (1, 3, 3)
    row = Interactions.from_shap(given[1])
    np.testing.assert_array_equal(row.values, together.values[1:2])


def test_pairs_that_differ_by_rounding_are_evened_out_and_no_others():
    pairs = np.full((1, 3, 3), 1.0)
    pairs[0, 0, 1] += 1e-6
    back = Interactions.from_shap(shap.Explanation(values=pairs, base_values=np.zeros(1)))
    np.testing.assert_array_equal(back.values, back.values.swapaxes(1, 2))
    pairs[0, 0, 1] += 0.5
    with pytest.raises(RecordError, match="must be symmetric"):
        Interactions.from_shap(shap.Explanation(values=pairs, base_values=np.zeros(1)))


def test_what_is_no_interactions_gets_a_sentence():
    for values, base in ((np.zeros((2, 3, 5)), np.zeros(2)), (np.zeros((2, 3, 3, 2)), np.zeros((2, 2)))):
        with pytest.raises(RecordError, match=r"values of pairs of players, \(B, M, M\).*interactions=True"):
            Interactions.from_shap(shap.Explanation(values=values, base_values=base))


INDEXES = {
    "a number": (1, [1]),
    "the last": (-1, [2]),
    "a slice": (slice(1, 3), [1, 2]),
    "a step": (slice(None, None, -2), [2, 0]),
    "a mask": (np.array([True, False, True]), [0, 2]),
    "a list of truths": ([True, False, True], [0, 2]),
    "a list": ([2, 0], [2, 0]),
    "an array": (np.array([1]), [1]),
    "none": ([], []),
}


@pytest.mark.parametrize("index", INDEXES)
def test_slices_are_what_shap_gets(index):
    item, rows = INDEXES[index]
    explanation = made(padded=True)
    part = explanation[item]
    assert part.labels == tuple(explanation.labels[i] for i in rows)
    given = part.to_shap()
    shown = given.values.shape[1]
    np.testing.assert_array_equal(given.values, explanation.attribution.values[rows, :shown])
    assert not explanation.attribution.mask[rows, shown:].any()
    np.testing.assert_array_equal(given.base_values, explanation.attribution.base[rows])


@pytest.mark.parametrize("rows", [1, B])
def test_there_and_back(rows):
    explanation = made(B, padded=True)[B - rows :]
    back = Explanation.from_shap(explanation.to_shap(), target=2, unit="log-odds", model="reviews")
    one, other = explanation.attribution, back.attribution
    np.testing.assert_array_equal(other.values, one.values)
    np.testing.assert_array_equal(other.base, one.base)
    np.testing.assert_allclose(other.output, one.output)
    np.testing.assert_array_equal(other.mask, one.mask)
    assert back.labels == other.player_labels == explanation.labels
    assert (other.unit, other.method, other.target.tolist()) == ("log-odds", "shap", [2] * rows)
    assert back.provenance.model == "reviews"
    assert back.attention == ()


def test_from_what_shap_itself_computes():
    weight = np.array([1.0, -2.0, 3.0])
    explainer = shap.ExactExplainer(lambda x: x @ weight, shap.maskers.Independent(np.zeros((1, 3))))
    found = Explanation.from_shap(explainer(np.array([[1.0, 2.0, 3.0], [0.5, 0.0, 1.0]]), silent=True)).attribution
    np.testing.assert_allclose(found.values, [[1, -4, 9], [0.5, 0, 3]], atol=1e-12)
    np.testing.assert_allclose(found.output, [6, 3.5])
    assert found.player_labels[0] == ("Feature 0", "Feature 1", "Feature 2")  # as shap names them
    assert found.mask.all()


@pytest.mark.parametrize("data", [None, ["a", "b", "c"], np.array(["a", "b", "c"])])
def test_from_one_row(data):
    back = Explanation.from_shap(shap.Explanation(values=np.array([0.5, 0.0, -1.0]), base_values=2.0, data=data))
    np.testing.assert_array_equal(back.attribution.values, [[0.5, 0, -1]])
    np.testing.assert_array_equal(back.attribution.output, [1.5])
    assert back.labels == ((("0", "1", "2") if data is None else ("a", "b", "c")),)


REFUSED = {
    "several outputs": (np.zeros((2, 3, 2)), np.zeros((2, 2)), "values of one output.*Select an output with"),
    "ragged, several outputs": (
        [np.zeros((3, 2)), np.zeros((5, 2))],
        np.zeros((2, 2)),
        "values of one output; received rows of several lengths.*Select an output with",
    ),
    "one row, several outputs": (np.zeros((5, 2)), np.zeros(2), r"values \(5, 2\) and base_values \(2,\)"),
    "one base for many images": (np.zeros((2, 3, 5)), np.zeros(1), "with a base value for each row"),
    "no base": (np.zeros((2, 3)), None, "needs base_values"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_from_shap_refuses(kind):
    values, base, match = REFUSED[kind]
    with pytest.raises(RecordError, match=match):
        Explanation.from_shap(shap.Explanation(values=values, base_values=base))


@pytest.mark.parametrize("objects", [False, True])
def test_from_rows_of_several_lengths(objects):
    values, words = [np.array([0.5, 0.0, -2.0]), np.array([1.0, 0.25])], [["a ", "fine ", "film"], ["so ", ""]]
    if objects:
        values = np.array([*values, None], object)[:2]
    given = shap.Explanation(values=values, base_values=np.array([1.0, 2.0]), data=words)
    back = Explanation.from_shap(given)
    np.testing.assert_array_equal(back.attribution.values, [[0.5, 0, -2], [1, 0.25, 0]])
    np.testing.assert_array_equal(back.attribution.mask, [[True, True, True], [True, True, False]])
    np.testing.assert_array_equal(back.attribution.output, [-0.5, 3.25])
    assert back.labels == (("a ", "fine ", "film"), ("so ", "", ""))
    assert back.attribution.players == "tokens"


def test_features_keep_their_names():
    given = shap.Explanation(
        values=np.array([[0.5, -1.0]]), base_values=np.array([0.0]), data=np.array([[39.0, 2.0]]),
        feature_names=["age", "children"],
    )  # fmt: skip
    back = Explanation.from_shap(given)
    assert (back.labels, back.attribution.players) == ((("age", "children"),), "features")


@pytest.mark.parametrize("one", [False, True])
def test_from_values_with_more_axes(one):
    values = np.random.default_rng(0).normal(size=(2, 3, 5, 1))
    given = shap.Explanation(values=values, base_values=np.array([1.0, 2.0]), data=np.zeros((2, 3, 5, 1)))
    back = Explanation.from_shap(given[1] if one else given).attribution
    np.testing.assert_array_equal(back.values, values[1:] if one else values)
    np.testing.assert_allclose(back.output, np.add(values.sum((1, 2, 3)), [1, 2])[1 if one else 0 :])
    assert back.player_labels[0][:6] == ("0, 0, 0", "0, 1, 0", "0, 2, 0", "0, 3, 0", "0, 4, 0", "1, 0, 0")
    assert back.players == "cells"


def test_the_only_output_needs_not_be_selected():
    values = np.random.default_rng(0).normal(size=(2, 3, 1))
    back = Explanation.from_shap(shap.Explanation(values=values, base_values=np.array([[1.0], [2.0]])))
    np.testing.assert_array_equal(back.attribution.values, values[..., 0])


# the tree


@pytest.mark.parametrize("players", [2, 3, 5, 7, 8, 13, 31, 97])
def test_the_halving_tree_is_a_linkage_of_neighbours(players):
    tree = halving_tree(players)
    assert hierarchy.is_valid_linkage(tree, throw=True)
    assert hierarchy.is_monotonic(tree)
    members = [{leaf} for leaf in range(players)]
    for left, right in tree[:, :2].astype(int):
        joined = members[left] | members[right]
        assert max(joined) - min(joined) + 1 == len(joined)  # neighbours, without a hole
        assert abs(len(members[left]) - len(members[right])) <= 1  # halves
        members.append(joined)
    np.testing.assert_array_equal(tree[:, 3], [len(one) for one in members[players:]])
    assert members[-1] == set(range(players))


def test_the_halving_tree_of_three():
    np.testing.assert_allclose(halving_tree(3), [[1, 2, 2 / 3, 2], [0, 3, 1, 3]])


# what we lean on


@pytest.mark.parametrize(("activation", "name"), [("softmax", "Softmax"), ("sigmoid", "Sigmoid")])
def test_tensorflow_still_calls_the_squashes_by_these_names(activation, name):
    """If this fails, an operation was renamed: mend ``SQUASHES`` in keras_attn_xai/explain/squash.py."""
    seen = []

    @tf.function(input_signature=[tf.TensorSpec([None, 3])], autograph=False)
    def traced(x):
        output = keras.activations.get(activation)(x)
        seen.append((output.op.type, squash.before_squash(output)))
        return output

    traced(np.zeros((2, 3), np.float32))
    operation, (_, found) = seen[0]
    assert operation == name, f"the operation is now '{operation}'; mend keras_attn_xai/explain/squash.py"
    assert found == activation
