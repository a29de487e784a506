"""Laws of attribution, for every method."""

import numpy as np
import pytest

from keras_attn_xai import AttentionExplainer
from tests.explain.enumeration import coalition_value, shapley_values
from tests.explain.models import (
    MASK,
    S,
    attention_model,
    linear_model,
    pairwise_model,
    token_ids,
)

GRADIENTS = ("deep", "expected_gradients")  # they count gradients
METHODS = ("exact", "permutation", "partition", "kernel", "paired_kernel", "sampling", "first_last", *GRADIENTS)
every_method = pytest.mark.parametrize("method", METHODS)


def closeness(method):
    """The relative gap that a method promises."""
    return 1e-3 if method == "expected_gradients" else 1e-5


@pytest.fixture(scope="module")
def reader():
    """A model of any length that masks id 0, with a softmax."""
    return attention_model(length=None, mask_zero=True, activation="softmax")


@pytest.fixture(scope="module")
def explain(reader):
    """``explain(method)(ids)`` over the reader; each explainer is traced once for the whole file."""
    made = {}

    def of(method):
        if method not in made:
            made[method] = AttentionExplainer(reader, MASK, method=method, target=2, attention=None, seed=3)
        return lambda ids, **options: made[method](ids, **options).attribution

    return of


def log_odds(model, target=2):
    """The log-odds of a class out of the model's plain probabilities, as a function of ids (N, S)."""

    def scalar(ids):
        p = np.asarray(model(ids, training=False), np.float64)[:, target]
        return np.log(p) - np.log1p(-p)

    return scalar


@every_method
def test_base_and_values_add_up_to_the_output(explain, reader, method):
    ids = token_ids()
    found = explain(method)(ids)
    scalar = log_odds(reader)
    np.testing.assert_allclose(found.output, scalar(ids), atol=1e-5)
    np.testing.assert_allclose(found.base, scalar(np.full_like(ids, MASK)), atol=1e-5)
    assert found.relative_gap.max() <= closeness(method)
    np.testing.assert_allclose(found.base + found.values.sum(1) - found.output, found.gap, atol=1e-12)
    assert found.unit == "log-odds"


@every_method
def test_a_token_that_changes_nothing_gets_zero(method):
    model = attention_model()
    ids = token_ids()
    table = model.layers[1].get_weights()[0]
    table[ids[:, 4]] = table[MASK]  # position 4 reads the same, present or absent
    model.layers[1].set_weights([table])
    values = AttentionExplainer(model, MASK, method=method, target=2, attention=None)(ids).attribution.values
    np.testing.assert_allclose(values[:, 4], 0, atol=2e-6)
    assert np.abs(values[:, 0]).min() > 1e-3


@pytest.mark.parametrize("method", [one for one in METHODS if one != "sampling"])  # which draws for each player
def test_tokens_that_do_the_same_get_the_same(method):
    ids = token_ids()
    ids[:, 5] = ids[:, 1]
    values = AttentionExplainer(pairwise_model(), MASK, method=method)(ids).attribution.values
    np.testing.assert_allclose(values[:, 5], values[:, 1], rtol=1e-5)
    assert np.abs(values[:, 1] - values[:, 2]).min() > 1e-3


@pytest.mark.parametrize("method", ["exact", "kernel"])
def test_the_same_word_twice_gets_the_same_through_attention(explain, method):
    ids = token_ids()
    ids[:, 5] = ids[:, 1]
    values = explain(method)(ids).values
    np.testing.assert_allclose(values[:, 5], values[:, 1], atol=1e-5)
    assert np.abs(values[:, 1] - values[:, 2]).min() > 1e-3


def test_permuting_positions_permutes_exact_values(explain):
    ids = token_ids()
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    np.testing.assert_allclose(
        explain("exact")(ids[:, order]).values, explain("exact")(ids).values[:, order], atol=1e-5
    )


@every_method
def test_a_linear_model_has_the_closed_answer(method):
    model, weight, table = linear_model()
    ids, background = token_ids(), token_ids(3, seed=1)
    background[:, 2] = ids[0, 2]  # no player in the first row, one in the second
    found = AttentionExplainer(model, background, method=method)(ids).attribution
    np.testing.assert_allclose(found.values, weight * (table[ids] - table[background].mean(0)), atol=1e-5)
    assert found.values[0, 2] == 0
    assert found.values[1, 2] != 0


@every_method
def test_padding_gets_exactly_zero_and_never_plays(explain, method):
    ids = token_ids()
    ids[0, 3:] = 0
    found = explain(method)(ids)
    assert (found.values[0, 3:] == 0).all()
    assert (found.mask == (ids != 0)).all()
    assert (found.values[found.mask] != 0).all()
    assert method in GRADIENTS or found.evaluations[0] <= 2**3
    assert found.relative_gap.max() <= closeness(method)


@every_method
def test_more_padding_changes_no_value(explain, method):
    ids = token_ids(3)
    ids[1, 4:] = 0
    padded = np.pad(ids, [(0, 0), (0, 6)])
    short, long = explain(method)(ids), explain(method)(padded)
    np.testing.assert_allclose(long.values[:, :S], short.values, atol=1e-6, rtol=1e-6)
    assert (long.values[:, S:] == 0).all()
    np.testing.assert_array_equal(long.evaluations, short.evaluations)


@pytest.mark.parametrize("method", ["exact", "kernel"])
@pytest.mark.parametrize("rows", [1, 3])
def test_values_equal_every_coalition_enumerated(reader, method, rows):
    ids = token_ids(1, 5)
    ids[0, 4] = 0
    background = token_ids(rows, 5, seed=2)
    explainer = AttentionExplainer(reader, background, method=method, target=2, attention=None)
    expected = shapley_values(log_odds(reader), ids[0], background, range(4))
    found = explainer(ids).attribution
    np.testing.assert_allclose(found.values[0], expected, atol=2e-5)
    np.testing.assert_allclose(found.base[0], coalition_value(log_odds(reader), ids[0], background, [4]), atol=1e-5)


def test_partition_gives_the_owen_values_of_the_halves(explain, reader):
    """With four players the tree is ((0 1) (2 3)): a player's turn comes before or after its sibling, and its
    sibling's pair before or after the other pair, one quarter each."""
    ids = token_ids(1, 4)
    background = np.full_like(ids, MASK)
    worth = lambda *present: coalition_value(log_odds(reader), ids[0], background, present)  # noqa: E731
    expected = np.zeros(4)
    for player, sibling, others in ((0, 1, (2, 3)), (1, 0, (2, 3)), (2, 3, (0, 1)), (3, 2, (0, 1))):
        before = [(), (sibling,), others, (sibling, *others)]
        expected[player] = np.mean([worth(player, *some) - worth(*some) for some in before])
    np.testing.assert_allclose(explain("partition")(ids).values[0], expected, atol=2e-5)


@every_method
def test_an_id_and_a_row_of_that_id_are_the_same_background(explain, reader, method):
    ids = token_ids()
    rows = np.full((1, S), MASK)
    values = AttentionExplainer(reader, rows, method=method, target=2, attention=None, seed=3)(ids).attribution.values
    np.testing.assert_allclose(values, explain(method)(ids).values, atol=1e-6)


def test_background_rows_are_averaged(explain, reader):
    """For exact values, the mean over rows comes before or after: Shapley values are linear in the game."""
    ids, background = token_ids(), token_ids(3, seed=1)

    def with_background(rows):
        return AttentionExplainer(reader, rows, method="exact", target=2, attention=None)(ids).attribution

    alone = [with_background(row[None]) for row in background]
    together = with_background(background)
    np.testing.assert_allclose(together.values, np.mean([one.values for one in alone], axis=0), atol=1e-5)
    np.testing.assert_allclose(together.base, np.mean([one.base for one in alone], axis=0), atol=1e-5)


@every_method
def test_a_row_that_is_the_background_has_nothing_to_explain(explain, method):
    ids = token_ids()
    ids[0] = MASK
    ids[1, 2] = MASK
    found = explain(method)(ids)
    assert (found.values[0] == 0).all()
    assert found.base[0] == found.output[0]
    assert method in GRADIENTS or found.evaluations[0] == 1
    assert found.values[1, 2] == 0
    assert found.mask.all()
    assert (found.relative_gap <= closeness(method)).all()
