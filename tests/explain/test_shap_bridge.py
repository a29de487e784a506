"""The bridge to shap: its Explanation both ways, and the parts of shap we lean on."""

import keras
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import shap
import tensorflow as tf
from scipy.cluster import hierarchy

from keras_attn_xai import Attribution, Explanation, Provenance
from keras_attn_xai.errors import RecordError
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
    assert all(f"word0{s}" in names for s in range(S))


# from_shap


@pytest.mark.parametrize("rows", [1, B])
def test_there_and_back(rows):
    explanation = made(rows, padded=True)
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
    assert found.player_labels[0] == ("1.0", "2.0", "3.0")
    assert found.mask.all()


@pytest.mark.parametrize("data", [None, ["a", "b", "c"], np.array(["a", "b", "c"])])
def test_from_one_row(data):
    back = Explanation.from_shap(shap.Explanation(values=np.array([0.5, 0.0, -1.0]), base_values=2.0, data=data))
    np.testing.assert_array_equal(back.attribution.values, [[0.5, 0, -1]])
    np.testing.assert_array_equal(back.attribution.output, [1.5])
    assert back.labels == ((("0", "1", "2") if data is None else ("a", "b", "c")),)


REFUSED = {
    "several outputs": (np.zeros((2, 3, 2)), np.zeros((2, 2)), "values of one output.*Select an output with"),
    "ragged": ([np.zeros(3), np.zeros(2)], np.zeros(2), "pad ragged rows first"),
    "ragged objects": (np.array([np.zeros(3), np.zeros(2)], object), np.zeros(2), "pad ragged rows first"),
    "no base": (np.zeros((2, 3)), None, "needs base_values"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_from_shap_refuses(kind):
    values, base, match = REFUSED[kind]
    with pytest.raises(RecordError, match=match):
        Explanation.from_shap(shap.Explanation(values=values, base_values=base))


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
