"""`AttentionExplainer`: what comes back, what it refuses, and what it leaves alone."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_attn_xai import AttentionExplainer
from keras_attn_xai.errors import ArgumentError, ModelError, ShapeError
from keras_attn_xai.text import Vocabulary
from tests.explain.models import (
    MASK,
    B,
    C,
    D,
    H,
    S,
    Subclassed,
    V,
    attention_model,
    sequential_model,
    subclassed_model,
    token_ids,
    wide_weights,
)


@pytest.fixture(scope="module")
def model():
    """Seven positions, no masking."""
    return attention_model()


@pytest.fixture(scope="module")
def masking():
    """Any length, id 0 is masked."""
    return attention_model(length=None, mask_zero=True)


@pytest.fixture(scope="module")
def explainer(masking):
    """By permutation over the masking model."""
    return AttentionExplainer(masking, MASK, method="permutation", seed=3)


def two_readers():
    """Two attention calls with names."""
    ids = keras.Input((S,), dtype="int32")
    x = layers.Embedding(V, D)(ids)
    x = layers.MultiHeadAttention(H, 2, name="near")(x, x)
    x = layers.MultiHeadAttention(2, 2, name="far")(x, x)
    return wide_weights(keras.Model(ids, layers.Dense(C)(layers.GlobalAveragePooling1D()(x))))


# what comes back


def test_maps_come_with_the_explanation(masking, explainer):
    ids = token_ids()
    ids[1, 5:] = 0
    explanation = explainer(ids)
    (seen,) = explanation.attention
    assert seen.name == "mha"
    assert seen.weights.shape == (B, H, S, S)
    np.testing.assert_allclose(seen.weights.sum(-1), 1, atol=1e-5)
    assert (seen.weights[1, :, :5, 5:] == 0).all()
    np.testing.assert_array_equal(seen.mask, ids != 0)
    np.testing.assert_array_equal(seen.query_mask, ids != 0)
    assert seen.key_labels == seen.query_labels == explanation.labels == explanation.attribution.player_labels
    assert explanation.labels[1] == (*map(str, ids[1, :5]), "", "")
    np.testing.assert_array_equal(explanation.word_ids[1], [0, 1, 2, 3, 4, -1, -1])


def test_the_maps_are_those_of_the_model(model):
    ids = token_ids()
    x = model.layers[1](ids)
    _, expected = model.get_layer("mha")(x, x, return_attention_scores=True)
    weights = AttentionExplainer(model, MASK, method="permutation")(ids).attention[0].weights
    np.testing.assert_allclose(weights, np.asarray(expected), atol=1e-6)


def test_a_model_without_attention_has_no_maps():
    explanation = AttentionExplainer(sequential_model(), MASK, method="permutation")(token_ids())
    assert explanation.attention == ()
    assert len(explanation) == B
    with pytest.raises(ArgumentError, match="There is no attention call 'mha'; the calls are: none"):
        AttentionExplainer(sequential_model(), MASK, attention=["mha"])(token_ids())


@pytest.mark.parametrize(
    ("attention", "names"),
    [("all", ["near", "far"]), (None, []), (["far"], ["far"]), (("far", "near"), ["far", "near"])],
)
def test_which_maps_come_along(attention, names):
    explanation = AttentionExplainer(two_readers(), MASK, method="permutation", attention=attention)(token_ids())
    assert [one.name for one in explanation.attention] == names


def test_a_map_that_does_not_exist():
    with pytest.raises(ArgumentError, match="There is no attention call 'hear'; the calls are: near, far"):
        AttentionExplainer(two_readers(), MASK, attention=["far", "hear"])(token_ids())
    with pytest.raises(ArgumentError, match=r"list of names, must be one of 'all'; received 'far'"):
        AttentionExplainer(two_readers(), MASK, attention="far")


def test_provenance_says_how_to_make_it_again(model):
    provenance = AttentionExplainer(model, token_ids(3), method="permutation", seed=11)(token_ids()).provenance
    assert (provenance.model, provenance.background, provenance.seed) == ("reader", "3 rows", 11)
    assert dict(provenance.versions)["keras"] == keras.__version__
    assert AttentionExplainer(model, MASK, method="permutation")(token_ids()).provenance.background == "token id 1"


def test_texts_with_a_tokenizer(masking):
    vocabulary = Vocabulary(["", "[MASK]", "a", "good", "film"])
    explanation = AttentionExplainer(masking, MASK, tokenizer=vocabulary)(["A good film", "good"])
    assert explanation.labels == (("A", "good", "film"), ("good", "", ""))
    np.testing.assert_array_equal(explanation.attribution.mask, [[True, True, True], [True, False, False]])
    by_word = AttentionExplainer(masking, "[MASK]", tokenizer=vocabulary)(["A good film", "good"])
    np.testing.assert_array_equal(by_word.attribution.values, explanation.attribution.values)
    by_ids = AttentionExplainer(masking, MASK)(np.array([[2, 3, 4], [3, 0, 0]]))
    np.testing.assert_allclose(explanation.attribution.values, by_ids.attribution.values, atol=1e-6)
    one = AttentionExplainer(masking, MASK, tokenizer=vocabulary)("A good film")
    np.testing.assert_allclose(one.attribution.values, by_ids.attribution.values[:1], atol=1e-6)


def test_texts_are_padded_to_the_models_length(model):
    vocabulary = Vocabulary(["", "[MASK]", "a", "good", "film"])
    explanation = AttentionExplainer(model, MASK, tokenizer=vocabulary, pad_id=4)("a good good")
    assert explanation.labels == (("a", "good", "good", "", "", "", ""),)
    assert (explanation.attribution.values[0, 3:] == 0).all()
    with pytest.raises(ArgumentError, match="has 8 tokens; the model takes 7"):
        AttentionExplainer(model, MASK, tokenizer=vocabulary)("a good " * 4)


def test_padding_by_pad_id(model):
    ids = token_ids()
    ids[0, 4:] = 29
    padded = AttentionExplainer(model, MASK, method="permutation", pad_id=29)(ids).attribution
    np.testing.assert_array_equal(padded.mask, ids != 29)
    assert (padded.values[0, 4:] == 0).all()
    plain = AttentionExplainer(model, MASK, method="permutation")(ids).attribution
    assert plain.mask.all()
    assert (plain.values[0, 4:] != 0).all()


def test_auto_is_exact_up_to_twelve_players_and_samples_above(masking):
    explainer = AttentionExplainer(masking, MASK, attention=None)
    ids = np.pad(token_ids(1, 12), [(0, 0), (0, 3)])
    assert explainer(token_ids(1, 3)).attribution.method == "exact"
    twelve = explainer(ids).attribution
    assert (twelve.method, twelve.evaluations[0]) == ("exact", 2**12)
    ids[0, 12] = 5
    thirteen = explainer(ids, budget=50)
    assert (thirteen.attribution.method, thirteen.attribution.evaluations[0]) == ("paired_kernel", 50)
    assert thirteen.provenance.notes == (
        "auto took paired_kernel: up to 13 players, more than the 12 that are enumerated.",
    )
    assert explainer(token_ids(1, 5), budget=31).attribution.method == "paired_kernel"
    assert explainer(token_ids(1, 5), budget=32).attribution.method == "exact"
    ids[0, 1] = MASK
    assert explainer(ids).attribution.method == "exact"  # 13 tokens, of which one is the background


def test_the_method_is_named(model):
    names = {
        method: AttentionExplainer(model, MASK, method=method)(token_ids()[:, :S]).attribution.method
        for method in ("permutation", "partition")
    }
    assert names == {"permutation": "permutation", "partition": "partition (Owen values)"}


def test_evaluations_are_counted(masking):
    ids = token_ids(3)
    ids[1, 3:] = 0
    ids[2, :] = MASK
    exact = AttentionExplainer(masking, MASK, method="exact")(ids).attribution
    np.testing.assert_array_equal(exact.evaluations, [2**S, 2**3, 1])
    sampled = AttentionExplainer(masking, MASK, method="permutation")(ids, budget=2 * S + 1).attribution
    np.testing.assert_array_equal(sampled.evaluations, [2 * S, 2 * 3, 1])  # there and back; both ends are shared


@pytest.mark.parametrize(
    ("method", "least"), [("exact", 2**S), ("permutation", 2 * S + 1), ("partition", 4), ("kernel", S + 2)]
)
def test_the_least_budget_works_and_one_less_is_refused(model, method, least):
    explainer = AttentionExplainer(model, MASK, method=method, attention=None)
    found = explainer(token_ids(), budget=least).attribution
    assert found.relative_gap.max() <= 1e-5
    with pytest.raises(ArgumentError, match=f"needs a budget of at least {least} for 7 players; received {least - 1}"):
        explainer(token_ids(), budget=least - 1)


def test_exact_has_a_limit(masking):
    with pytest.raises(ArgumentError, match=r"2\^21 coalitions for 21 players; the limit is 20"):
        AttentionExplainer(masking, MASK, method="exact")(token_ids(1, 21))


# what is refused

BAD_ROWS = [
    (np.array([3, 4, 5, 6, 7, 8, 9]), ShapeError, r"integer array \(rows, positions\).*received shape \(7,\)"),
    (np.ones((2, 7, 1), int), ShapeError, r"received shape \(2, 7, 1\)"),
    (np.ones((2, 7)), ShapeError, "dtype float64"),
    (np.full((2, 7), np.nan), ShapeError, "dtype float64"),
    (np.ones((0, 7), int), ShapeError, r"at least one row; received shape \(0, 7\)"),
    ([], ShapeError, "at least one row"),
    ([[3, 4], [5]], ShapeError, "Expected rows of one length; received several. Pad them"),
    (np.ones((2, 5), int), ShapeError, r"The model takes 7 positions; received ids of shape \(2, 5\)"),
    (np.full((2, 7), 31), ArgumentError, r"token ids from 31 to 31 .*31 is not in \[0, 31\)"),
    (np.full((2, 7), -2), ArgumentError, "Token ids count from 0; received -2"),
    ("a text", ArgumentError, r"Texts need a tokenizer: AttentionExplainer\(..., tokenizer=...\)"),
    (["a text"], ArgumentError, "Texts need a tokenizer"),
    (np.array(["a text"]), ArgumentError, "Texts need a tokenizer"),
]


@pytest.mark.parametrize(("ids", "error", "match"), BAD_ROWS)
def test_bad_rows(model, ids, error, match):
    with pytest.raises(error, match=match):
        AttentionExplainer(model, MASK)(ids)


@pytest.mark.parametrize("make", [Subclassed, subclassed_model])
def test_ids_a_subclassed_model_refuses(make):
    with pytest.raises(ArgumentError, match=r"31 is not in \[0, 31\)"):
        AttentionExplainer(make(), MASK)(np.full((2, 7), 31))


BAD_BACKGROUNDS = [0.5, np.nan, True, None, "mask", [1, 1, 1], np.ones((3, 7)), np.ones((0, 7), int)]


@pytest.mark.parametrize("background", BAD_BACKGROUNDS)
def test_bad_backgrounds(model, background):
    with pytest.raises(ArgumentError, match="background must be one token id, or an integer array"):
        AttentionExplainer(model, background)


def test_backgrounds_that_do_not_fit(model, masking):
    with pytest.raises(ArgumentError, match="background=0 would remove tokens"):
        AttentionExplainer(masking, 0)
    AttentionExplainer(model, 0)  # an id like any other where nothing is masked
    with pytest.raises(ArgumentError, match="count from 0; received -1"):
        AttentionExplainer(model, -1)
    with pytest.raises(ArgumentError, match="count from 0; received -3"):
        AttentionExplainer(model, np.full((2, S), -3))
    with pytest.raises(ArgumentError, match=r"or the background: .*31 is not in \[0, 31\)"):
        AttentionExplainer(model, 31)(token_ids())
    with pytest.raises(ShapeError, match="The background has 5 positions, the rows have 7"):
        AttentionExplainer(model, token_ids(2, 5))(token_ids())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "lime"}, "method must be one of 'auto', 'exact'"),
        ({"players": "letters"}, "players must be one of 'auto', 'tokens', 'words', .*'heads'; received 'letters'"),
        ({"batch_size": 0}, "batch_size must be a positive integer or None; received 0"),
        ({"seed": -3}, "seed must be an integer from 0 to .*; received -3"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer"),
    ],
)
def test_bad_options(model, options, match):
    with pytest.raises(ArgumentError, match=match):
        AttentionExplainer(model, MASK, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tol": 0}, "tol must be a number between 0 and 1, or None; received 0"),
        ({"tol": True}, "tol must be a number between 0 and 1"),
        ({"budget": 0}, "budget must be a positive integer or None; received 0"),
        ({"budget": 99.5}, "budget must be a positive integer"),
    ],
)
def test_bad_call_options(explainer, options, match):
    with pytest.raises(ArgumentError, match=match):
        explainer(token_ids(), **options)


def test_models_this_version_does_not_explain():
    with pytest.raises(ModelError, match=r"takes a keras\.Model; received Dense"):
        AttentionExplainer(layers.Dense(2), MASK)
    with pytest.raises(ModelError, match=r"does not know its input yet; start it with keras\.Input"):
        AttentionExplainer(keras.Sequential([layers.Embedding(V, D)]), MASK)


def test_a_row_of_padding_that_the_model_cannot_read(masking):
    ids = token_ids(3)
    ids[1] = 0
    with pytest.raises(ModelError, match=r"NaN or infinite for row 1 .*\(1 of 3 rows\)"):
        AttentionExplainer(masking, MASK)(ids)


# what is left alone


def belongings(model):
    """The names held by every layer, and what the model says and holds."""
    parts = [sorted(vars(layer)) for layer in model._flatten_layers()]
    return parts, [np.array(one) for one in model.get_weights()], np.asarray(model(token_ids()))


def assert_untouched(before, model):
    names, weights, outputs = belongings(model)
    assert names == before[0]
    for now, then in zip([*weights, outputs], [*before[1], before[2]], strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("make", [attention_model, subclassed_model, sequential_model])
@pytest.mark.parametrize("method", ["permutation", "kernel"])
def test_the_model_numpy_and_stdout_are_left_alone(make, method, capfd):
    model = make()
    before, state = belongings(model), np.random.get_state()
    AttentionExplainer(model, MASK, method=method)(token_ids(), budget=50)
    assert_untouched(before, model)
    np.testing.assert_equal(np.random.get_state(), state)
    assert capfd.readouterr().out == ""


def broken_target(outputs):
    raise KeyError("the user's own mistake")


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ({"target": broken_target}, {}),
        ({"method": "exact"}, {"budget": 2}),
        ({"method": "kernel"}, {"budget": 2}),
        ({"background": 31}, {}),
        ({"target": C}, {}),
        ({"attention": ["no such call"]}, {}),
    ],
)
def test_they_are_left_alone_by_a_failure_too(options, call, capfd):
    model = attention_model()
    before, state = belongings(model), np.random.get_state()
    with pytest.raises((ArgumentError, KeyError)):
        AttentionExplainer(model, **{"background": MASK, **options})(token_ids(), **call)
    assert_untouched(before, model)
    np.testing.assert_equal(np.random.get_state(), state)
    assert capfd.readouterr().out == ""


def test_a_users_mistake_keeps_its_type(model):
    with pytest.raises(KeyError, match="the user's own mistake"):
        AttentionExplainer(model, MASK, target=broken_target)(token_ids())


def test_rows_and_background_are_not_written_to(explainer, masking):
    ids, background = token_ids(), token_ids(3)
    ids.setflags(write=False)
    background.setflags(write=False)
    explainer(ids)
    AttentionExplainer(masking, background, method="permutation")(ids)


def test_the_same_call_gives_the_same_values(explainer):
    ids = token_ids(3)
    np.testing.assert_array_equal(explainer(ids).attribution.values, explainer(ids).attribution.values)


# how it runs


def test_one_trace_for_all_lengths_and_batches(masking, capfd):
    explainer = AttentionExplainer(masking, MASK, method="permutation", batch_size=11)
    for rows, positions in ((1, 3), (2, 5), (3, 7), (5, 2), (7, 11), (13, 3)):
        explainer(token_ids(rows, positions))
    (function,) = explainer._functions.values()
    for traced in (function._look, function._values):
        assert traced.experimental_get_tracing_count() == 1
    assert "retracing" not in capfd.readouterr().err


@pytest.mark.parametrize("method", ["permutation", "kernel", "partition"])
def test_batch_size_changes_nothing(masking, method):
    ids, background = token_ids(5), token_ids(2, seed=1)
    small, large = (
        AttentionExplainer(masking, background, method=method, batch_size=size)(ids, budget=40) for size in (3, 512)
    )
    np.testing.assert_allclose(small.attribution.values, large.attribution.values, atol=1e-5)
    np.testing.assert_allclose(small.attention[0].weights, large.attention[0].weights, atol=1e-6)
    np.testing.assert_array_equal(small.attribution.evaluations, large.attribution.evaluations)


def test_progress_goes_to_standard_error_or_nowhere(explainer, capfd):
    explainer(token_ids(), progress=True)
    shown = capfd.readouterr()
    assert "SHAP (permutation)" in shown.err
    assert shown.out == ""
    explainer(token_ids(), progress=False)
    assert "SHAP" not in capfd.readouterr().err


def test_a_subclassed_model_that_has_seen_nothing_yet():
    found = AttentionExplainer(Subclassed(), MASK, method="permutation")(token_ids())
    assert found.attribution.relative_gap.max() <= 1e-5
    assert [one.weights.shape for one in found.attention] == [(B, H, S, S)]


def test_a_subclassed_model_takes_rows_of_several_lengths():
    explainer = AttentionExplainer(subclassed_model(), MASK, method="permutation")
    assert [explainer(token_ids(2, s)).attribution.values.shape for s in (3, 5)] == [(2, 3), (2, 5)]


def test_attention_hidden_by_a_tf_function_can_be_left_out():
    import tensorflow as tf

    class Hidden(Subclassed):
        @tf.function
        def call(self, ids):
            return super().call(ids)

    explainer = AttentionExplainer(Hidden(), MASK, method="permutation", attention=None)
    assert explainer(token_ids()).attribution.relative_gap.max() <= 1e-5
