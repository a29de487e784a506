"""Players taken away in the order an explanation gives: models whose answer is known by hand."""

from itertools import permutations

import keras
import numpy as np
import pytest

from keras_attn_xai import AttentionExplainer
from keras_attn_xai.auditing import faithfulness, leave_one_out, random_order
from keras_attn_xai.auditing.coalition_orders import Questions, counts_of, ranks_of
from keras_attn_xai.auditing.faithfulness_table import MEANINGS, random_subsets
from keras_attn_xai.auditing.search import search_bounds
from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.metrics import aopc
from tests.explain.models import MASK, attention_model, linear_model, pairwise_model, token_ids

B, S = 3, 7


@pytest.fixture(scope="module")
def linear():
    """An explainer, rows, and what each token adds to the output."""
    model, weight, table = linear_model()
    ids = token_ids(B)
    return AttentionExplainer(model, MASK), ids, weight * (table[ids] - table[MASK])


class Counting:
    """Coalitions that remember how many were evaluated."""

    def __init__(self, coalitions):
        self.mask, self._coalitions, self.sizes = coalitions.mask, coalitions, []

    def __call__(self, present, rows=None):
        self.sizes.append(len(present))
        return self._coalitions(present, rows)


def test_measures_of_a_sum_are_known(linear):
    explainer, ids, adds = linear
    table = faithfulness(explainer, ids, {"true": adds, "backwards": -adds}, fractions=[0.25, 0.5], seed=1)
    largest, whole = -np.sort(-adds, axis=1), adds.sum(1)
    top2, top4 = largest[:, :2].sum(1), largest[:, :4].sum(1)  # a quarter of 7 is 2 players, a half is 4
    np.testing.assert_allclose(table.values["true", "comprehensiveness"], (top2 + top4) / 2, rtol=1e-4)
    np.testing.assert_allclose(table.values["true", "sufficiency"], whole - (top2 + top4) / 2, rtol=1e-4, atol=1e-4)
    for measure in ("faithfulness_correlation", "sensitivity_n"):
        np.testing.assert_allclose(table.values["true", measure], 1, atol=1e-4)
        np.testing.assert_allclose(table.values["backwards", measure], -1, atol=1e-4)
    np.testing.assert_allclose(table.values["true", "infidelity"], 0, atol=1e-6)
    np.testing.assert_allclose(table.values["true", "normalized_aopc"], 1, atol=1e-5)
    np.testing.assert_allclose(table.values["backwards", "normalized_aopc"], 0, atol=1e-5)


def test_curves_start_and_end_with_the_row_and_the_background(linear):
    explainer, ids, adds = linear
    table = faithfulness(explainer, ids, {"true": adds}, search=False)
    ends = explainer.coalitions(ids)
    everything, nothing = (ends(np.full((B, S), there)).mean() for there in (True, False))
    deletion, insertion = table.curves
    assert (deletion.kind, insertion.kind) == ("deletion", "insertion")
    np.testing.assert_allclose(deletion.mean[[0, -1]], [everything, nothing], rtol=1e-4)
    np.testing.assert_allclose(insertion.mean[[0, -1]], [nothing, everything], rtol=1e-4)
    area = ends(np.ones((B, S), bool))[:, None] - _steps_of(adds)
    area = ((area[:, 1:] + area[:, :-1]) / 2).mean(1)
    np.testing.assert_allclose(table.values["true", "deletion_area"], area, rtol=1e-4, atol=1e-4)
    for one in table.curves:
        assert (one.low <= one.mean).all()
        assert (one.mean <= one.high).all()
        assert (one.low < one.high).any()


def _steps_of(adds):
    """What the strongest 0, 10, ... 100 % of 7 players add up to."""
    gone = np.round(np.linspace(0, 1, 11) * S).astype(int)
    return np.concatenate([np.zeros((B, 1)), np.cumsum(-np.sort(-adds, axis=1), axis=1)], axis=1)[:, gone]


def test_each_coalition_is_evaluated_once_in_one_batch(linear):
    explainer, ids, adds = linear
    counting = Counting(explainer.coalitions(ids))
    questions = Questions(counting.mask)
    gone = np.zeros((B, 5, S), bool)
    gone[:, 1:, 2] = True
    first, second = questions.ask(gone), questions.ask(gone[:, ::-1])
    answers = questions.answered_by(counting)
    assert counting.sizes == [2 * B]
    np.testing.assert_array_equal(answers(first), answers(second)[:, ::-1])
    np.testing.assert_allclose((answers(first)[:, 0] - answers(first)[:, 1]), adds[:, 2], rtol=1e-3, atol=1e-4)


def test_padding_is_never_taken_away():
    model = attention_model(length=None, mask_zero=True)
    ids = token_ids(2)
    ids[1, 4:] = 0
    orders = {"one": random_order(ids.shape, seed=3)}
    table = faithfulness(AttentionExplainer(model, MASK, target=2), ids, orders)
    alone = faithfulness(AttentionExplainer(model, MASK, target=2), ids[1:, :4], {"one": orders["one"][1:, :4]})
    for measure in ("comprehensiveness", "sufficiency", "deletion_area", "normalized_aopc", "aopc"):
        np.testing.assert_allclose(table.values["one", measure][1], alone.values["one", measure][0], rtol=1e-4)


def test_greedy_bounds_hold_every_order_of_a_sum(linear):
    explainer, ids, _ = linear
    coalitions = explainer.coalitions(ids[:, :])
    counts = np.tile([1, 3], (B, 1))
    highest, lowest = search_bounds(coalitions, counts)
    every = []
    for order in permutations(range(S), 3):
        present = np.ones((2, S), bool)
        present[0, order[0]], present[1, list(order)] = False, False
        scores = coalitions(np.tile(present, (B, 1)), np.repeat(np.arange(B), 2)).reshape(B, 2)
        every.append(aopc(coalitions(np.ones((B, S), bool)), scores))
    np.testing.assert_allclose(highest, np.max(every, axis=0), rtol=1e-4)
    np.testing.assert_allclose(lowest, np.min(every, axis=0), rtol=1e-4)


def test_leave_one_out_of_a_sum_is_what_each_adds(linear):
    explainer, ids, adds = linear
    np.testing.assert_allclose(leave_one_out(explainer.coalitions(ids)), adds, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("count", "expected"), [(30, [1, 3, 15]), (7, [1, 1, 4]), (1, [1, 1, 1])])
def test_shares_are_rounded_up_to_whole_players(count, expected):
    assert counts_of([0.01, 0.1, 0.5], np.ones((1, count), bool)).tolist() == [expected]


def test_ties_are_broken_at_random():
    mask = np.ones((29, S), bool)
    first = ranks_of(np.zeros((29, S)), mask, seed=5).argmin(1)
    assert len(set(first)) == S
    assert (np.sort(ranks_of(np.zeros((29, S)), mask), axis=1) == np.arange(S)).all()


def test_subsets_are_of_players_alone_and_of_one_size():
    mask = np.ones((2, 11), bool)
    mask[1, 5:] = False
    half, fifth = random_subsets(mask, 13, 0)
    assert not (half | fifth)[1, :, 5:].any()
    assert fifth.sum(2).tolist() == [[3] * 13, [1] * 13]
    assert half.any(2).all()
    assert len({tuple(one) for one in half[0]}) > 1


def test_the_same_seed_gives_the_same_table_and_the_table_reads():
    explainer, ids = AttentionExplainer(pairwise_model(), MASK), token_ids(B)
    orders = {"random": random_order(ids.shape), "flat": np.zeros(ids.shape)}
    one, other = (faithfulness(explainer, ids, orders, subsets=5, search=False, seed=2) for _ in range(2))
    assert str(one) == str(other)
    assert len(one.rows) == 2 * len(MEANINGS)
    assert one.row("flat", "infidelity").rows == B
    assert one.row("flat", "sensitivity_n").rows == 0  # nothing to correlate
    assert "comprehensiveness: drop without" in str(one)
    with pytest.raises(ArgumentError, match="no 'sum' of 'flat'; the methods are random, flat"):
        one.row("flat", "sum")


def test_a_table_is_a_frame():
    pandas = pytest.importorskip("pandas")
    explainer, ids = AttentionExplainer(pairwise_model(), MASK), token_ids(B)
    frame = faithfulness(explainer, ids, {"random": random_order(ids.shape)}, search=False).to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["measure"]) == list(MEANINGS)


@pytest.mark.parametrize(
    ("orders", "options", "error", "message"),
    [
        ([1], {}, ArgumentError, "orders must be a dict"),
        ({}, {}, ArgumentError, "at least one"),
        ({"a": np.zeros((B, 2))}, {}, ShapeError, r"'a' must have .* \(3, 7\); received \(3, 2\)"),
        ({"a": np.full((B, S), np.nan)}, {}, ArgumentError, "'a' must be finite"),
        ({"a": np.zeros((B, S))}, {"fractions": [0.0]}, ArgumentError, "fractions must be shares"),
        ({"a": np.zeros((B, S))}, {"subsets": 1}, ArgumentError, "subsets must be an integer"),
    ],
)
def test_what_cannot_be_meant_is_said(linear, orders, options, error, message):
    explainer, ids, _ = linear
    with pytest.raises(error, match=message):
        faithfulness(explainer, ids, orders, **options)


def test_the_model_is_left_as_it_was(linear):
    explainer, ids, adds = linear
    before = keras.ops.convert_to_numpy(explainer.model(ids))
    faithfulness(explainer, ids, {"true": adds}, search=False)
    np.testing.assert_array_equal(explainer.model(ids), before)


def test_a_random_order_has_a_shape_and_is_no_mask():
    with pytest.raises(ArgumentError, match=r"takes a shape, \(rows, players\).*received ndarray"):
        random_order(np.ones((2, 3), bool))
