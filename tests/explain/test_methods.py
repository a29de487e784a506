"""The methods over whole batches: fallbacks, tolerances, what is counted, interruption, warnings about backgrounds."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_attn_xai import AttentionExplainer
from keras_attn_xai.errors import ArgumentError, BackgroundWarning, ModelError, ShapeError
from keras_attn_xai.explain import methods
from keras_attn_xai.explain.game import Game, play, play_together
from keras_attn_xai.explain.sampling import first_last_values, permutation_values, seeded_numpy_random
from tests.explain.kinds import KINDS
from tests.explain.models import MASK, S, attention_model, token_ids
from tests.explain.test_paired_kernel import Network


@pytest.fixture(scope="module")
def masking():
    """Any length, id 0 is masked."""
    return attention_model(length=None, mask_zero=True)


def by_players(case, explanation):
    """Values (B, M) of a case with one input."""
    return explanation.attribution.values.reshape(len(explanation), -1)


@pytest.mark.parametrize(
    ("name", "correlation"),
    [("encoder_block", 0.8), ("cnn_batch_norm", 0.8), ("embedding_mask_attention", 0.8), ("lstm", 0.8)],
)
@pytest.mark.parametrize("method", ["deep", "expected_gradients"])
def test_walked_values_add_up_and_are_near_exact_ones(name, correlation, method):
    case = KINDS[name]()
    first = tf.nest.flatten(case.inputs)[0]
    players = case.players[0] if first.ndim == 4 else "auto"
    explain = AttentionExplainer(
        case.model, case.background, method=method, target=case.scalar, players=players, attention=None
    )
    found = explain(case.inputs)
    assert found.attribution.method == method
    assert found.attribution.relative_gap.max() <= 1e-3
    exact = np.stack([case.exact_values(row) for row in range(3)])
    assert np.corrcoef(by_players(case, found).ravel(), exact.ravel())[0, 1] > correlation
    expected = np.asarray(case.function(case.inputs), np.float64)
    np.testing.assert_allclose(found.attribution.output, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["deep", "expected_gradients"])
def test_each_row_is_explained_for_its_own_class(method):
    model = attention_model(activation="softmax")
    ids = token_ids(4)
    together = AttentionExplainer(model, MASK, method=method, attention=None)(ids).attribution
    assert len(set(together.target)) > 1
    for row, target in enumerate(together.target):
        alone = AttentionExplainer(model, MASK, method=method, target=int(target), attention=None)(ids[row : row + 1])
        np.testing.assert_allclose(together.values[row], alone.attribution.values[0], atol=1e-4)
    assert together.unit == "log-odds"


def test_what_deep_refuses_falls_back_and_says_so():
    class Loop(layers.Layer):
        """Three times the same, in a loop of the graph."""

        def call(self, x):
            return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(y + x)), (0, tf.zeros_like(x)))[1]

    x = keras.Input((5,))
    model = keras.Model(x, layers.Dense(1)(Loop()(x)))
    found = AttentionExplainer(model, 0.0, method="deep")(np.random.default_rng(0).normal(size=(3, 5)))
    assert found.attribution.method == "expected_gradients"
    assert found.attribution.relative_gap.max() <= 1e-3
    assert "While" in found.provenance.notes[0]
    assert "3 of 3 rows are explained by expected gradients" in found.provenance.notes[-1]


@pytest.mark.parametrize("method", ["deep", "expected_gradients"])
def test_a_model_without_gradients_gets_a_sentence(method):
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(1, kernel_initializer="ones")(ops.cast(ops.cast(x, "int32"), "float32")))
    with pytest.raises(ModelError, match=r"No gradient reaches the players: .* Use method='paired_kernel'"):
        AttentionExplainer(model, 0.0, method=method)(np.array([[2.0, 3.0, 1.0]]))


def test_heads_cannot_be_walked(masking):
    with pytest.raises(ArgumentError, match="players='heads' are switched off by coalitions; method='deep' moves"):
        AttentionExplainer(masking, None, players="heads", method="deep")(token_ids())


def test_a_tolerance_stops_rows_one_by_one():
    model = attention_model(length=None)
    ids = token_ids(3, 14)
    ids[1, 3:] = MASK  # three players: enumerated
    found = AttentionExplainer(model, MASK, method="paired_kernel", attention=None)(ids, tol=0.02).attribution
    error = found.standard_error.max(1)
    done = (error <= 0.02 * np.abs(found.output - found.base)) | (found.used == found.asked)
    assert done.all()
    assert found.evaluations[1] == 2**3
    assert (found.standard_error[1] == 0).all()
    spent = AttentionExplainer(model, MASK, method="permutation", attention=None)(ids, tol=1e-9, budget=700).attribution
    assert (spent.used[[0, 2]] == 700 // 29 * 29).all()
    assert spent.standard_error[0].max() > 0


@pytest.mark.parametrize("method", ["kernel", "partition", "sampling", "first_last", "deep"])
def test_methods_without_a_tolerance_say_so(masking, method):
    explainer = AttentionExplainer(masking, MASK, method=method)
    with pytest.raises(ArgumentError, match=f"method='{method}' does not stop at a tolerance; use exact, permutation"):
        explainer(token_ids(), tol=0.1)


def test_evaluations_asked_distinct_and_used(masking):
    found = AttentionExplainer(masking, MASK, method="permutation", attention=None)(token_ids(), budget=100).attribution
    orders = 100 // (2 * S + 1)
    np.testing.assert_array_equal(found.asked, 100)
    np.testing.assert_array_equal(found.used, orders * (2 * S + 1))
    assert (found.evaluations < found.used).all()
    whole = AttentionExplainer(masking, MASK, method="exact", attention=None)(token_ids()).attribution
    for count in (whole.asked, whole.used, whole.evaluations):
        np.testing.assert_array_equal(count, 2**S)
    assert whole.standard_error is None


def test_the_standard_error_of_permutations_is_that_of_the_values():
    scaled = []
    for seed in range(30):
        game = Network(8, seed=5)
        with seeded_numpy_random(seed):
            found = play(permutation_values(game, 20 * 17), game)
        scaled.append((found.values, found.standard_error))
    values, errors = map(np.stack, zip(*scaled, strict=True))
    ratio = values.std(0, ddof=1) / errors.mean(0)
    assert 0.6 < np.median(ratio) < 1.4


def test_first_and_last_share_what_is_missing_among_those_that_differ():
    class Triple:
        base, output = 0.0, 10.0

        def __len__(self):
            return 4

        def __call__(self, present):
            return 9.0 * present[:, :3].all(1) + present[:, 3]

    np.testing.assert_allclose(play(first_last_values(Triple()), Triple()).values, [3, 3, 3, 1])


def test_rows_that_play_together_are_rows_alone():
    games = [Network(players, seed=players) for players in (3, 5, 4)]
    asked = []

    def evaluate(wanted):
        asked.append(sum(len(one) for _, one in wanted))
        return np.concatenate([games[n].worth(one.astype(float)) for n, one in wanted])

    def of(network):
        return Game(
            lambda present: network.worth(present.astype(float)),
            np.arange(len(network)),
            ends=(network.base, network.output),
        )

    together = play_together([of(one) for one in games], [first_last_values(one) for one in games], evaluate)
    for game, shares in zip(games, together, strict=True):
        np.testing.assert_allclose(shares.values, play(first_last_values(game), game).values, rtol=1e-12)
    assert asked == [2 * (3 + 5 + 4)]


def test_slabs_change_nothing(masking, monkeypatch):
    ids = token_ids(5)
    whole = AttentionExplainer(masking, MASK, method="permutation", attention=None)(ids).attribution
    monkeypatch.setattr(methods, "AT_ONCE", 200)
    parts = AttentionExplainer(masking, MASK, method="permutation", attention=None)(ids).attribution
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-6)


def test_what_was_finished_is_kept_when_interrupted(masking, monkeypatch):
    monkeypatch.setattr(methods, "AT_ONCE", 2 * 2**S)  # two rows at a time
    explainer = AttentionExplainer(masking, MASK, method="exact")
    ids = token_ids(5)
    whole = explainer(ids)
    assert explainer.partial is None
    function = next(iter(explainer._functions.values()))
    values, calls = function.values, []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 6:  # in the second slab
            raise KeyboardInterrupt
        return values(*given)

    monkeypatch.setattr(function, "values", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explainer(ids)
    assert len(explainer.partial) == 2
    np.testing.assert_allclose(explainer.partial.attribution.values, whole.attribution.values[:2], atol=1e-6)
    assert len(explainer.partial.attention) == len(whole.attention)
    monkeypatch.undo()
    np.testing.assert_allclose(explainer(ids).attribution.values, whole.attribution.values, atol=1e-6)


def test_doubtful_backgrounds_are_said_and_good_ones_are_not(masking):
    ids = token_ids(3)
    with pytest.warns(BackgroundWarning, match="equal"):
        AttentionExplainer(masking, np.stack([ids[0], ids[0]]), method="exact", attention=None)(ids[:1])
    line = keras.Sequential([keras.Input((1,)), layers.Dense(1, kernel_initializer="ones")])
    with pytest.warns(BackgroundWarning, match="2 background rows are few"):
        AttentionExplainer(line, np.array([[-10.0], [10.0]]))(np.array([[1.0]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AttentionExplainer(masking, MASK, method="exact", attention=None)(ids)
        AttentionExplainer(line, np.array([[0.9], [1.1]]))(np.array([[3.0]]))


def test_interactions_are_symmetric_and_sum_to_shapley_values(masking):
    ids = token_ids(3)
    ids[1, 4:] = 0
    explainer = AttentionExplainer(masking, MASK, method="exact", target=1, attention=None)
    together, alone = explainer.interactions(ids), explainer(ids).attribution
    np.testing.assert_allclose(together.shapley_values, alone.values, atol=1e-5)
    assert together.method == "exact"
    assert (together.values[1, 4:] == 0).all()
    sampled = explainer.interactions(ids[:1], budget=60)
    assert sampled.method == "paired_kernel"
    assert sampled.evaluations[0] == 60
    np.testing.assert_allclose(sampled.values.sum(), together.values[0].sum(), rtol=1e-5)


def test_interactions_of_two_inputs_get_a_sentence():
    case = KINDS["cross_attention"]()
    with pytest.raises(ArgumentError, match=r"Interactions are of the players of one input; here .* and .* have some"):
        AttentionExplainer(case.model, case.background, target=case.scalar).interactions(case.inputs)


def test_coalitions_of_ones_own(masking):
    ids = token_ids(2)
    explainer = AttentionExplainer(masking, MASK, method="exact", target=1, attention=None)
    worth, found = explainer.coalitions(ids), explainer(ids).attribution
    everybody = np.ones((2, S), bool)
    np.testing.assert_allclose(worth(everybody), found.output, atol=1e-6)
    np.testing.assert_allclose(worth(~everybody, [1, 0]), found.base[[1, 0]], atol=1e-6)
    assert (len(worth), worth.unit, worth.target.tolist()) == (2, found.unit, [1, 1])
    np.testing.assert_array_equal(worth.mask, found.mask)
    assert worth(everybody[:0], []).shape == (0,)
    with pytest.raises(ShapeError, match=r"Coalitions are booleans \(N, 7\), one row number for each; received"):
        worth(everybody[:, 1:])
    with pytest.raises(ShapeError, match="Row numbers go from 0 to 1; received 0 to 2"):
        worth(everybody, [0, 2])
