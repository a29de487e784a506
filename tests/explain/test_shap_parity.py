"""Our values are shap's own: its explainers over ``model.predict``, same seed, same budget."""

import keras
import numpy as np
import pytest
import shap

from keras_attn_xai import AttentionExplainer
from keras_attn_xai.explain.shap_bridge import halving_tree
from tests.explain.models import MASK, S, attention_model, sequential_model, subclassed_model, token_ids

SEED, TARGET, ROWS = 2, 3, 3
MODELS = {"functional": attention_model, "sequential": sequential_model, "subclassed": subclassed_model}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    """One model of each kind."""
    keras.utils.set_random_seed(2015)
    return MODELS[request.param]()


def shap_values(kind, scalar, ids, background, budget):
    """The values (B, S) a user of shap alone would get, from a fresh explainer."""
    if kind == "kernel":
        np.random.seed(SEED)
        return shap.KernelExplainer(scalar, background).shap_values(ids, nsamples=budget, l1_reg=False, silent=True)
    masker = shap.maskers.Independent(background)
    if kind == "exact":
        return shap.ExactExplainer(scalar, masker)(ids, silent=True).values
    if kind == "permutation":
        return shap.PermutationExplainer(scalar, masker, seed=SEED)(ids, max_evals=budget, silent=True).values
    masker = shap.maskers.Partition(background, clustering=halving_tree(S))
    return shap.PartitionExplainer(scalar, masker)(ids, max_evals=budget, silent=True).values


METHODS = [("exact", None), ("permutation", 3 * (2 * S + 1)), ("kernel", 60), ("kernel", 1000), ("partition", 30)]


@pytest.mark.parametrize(("method", "budget"), METHODS)
def test_equal_to_shap_over_predict(model, method, budget):
    def scalar(rows):
        return model.predict(np.asarray(rows, int), verbose=0)[:, TARGET]

    ids, background = token_ids(ROWS), np.full((1, S), MASK)
    explainer = AttentionExplainer(model, MASK, method=method, target=TARGET, attention=None, seed=SEED)
    ours = explainer(ids, budget=budget).attribution
    np.testing.assert_allclose(ours.values, shap_values(method, scalar, ids, background, budget), atol=1e-5)
    assert np.abs(ours.values).max() > 0.1


@pytest.mark.parametrize(("method", "budget"), [("permutation", 2 * S + 1), ("kernel", 40)])
def test_another_seed_draws_other_coalitions(model, method, budget):
    """Else the test above would hold for any seed."""
    ids = token_ids(ROWS)
    one, two = (
        AttentionExplainer(model, MASK, method=method, target=TARGET, attention=None, seed=seed)(ids, budget=budget)
        for seed in (SEED, SEED + 1)
    )
    assert np.abs(one.attribution.values - two.attribution.values).max() > 1e-4


@pytest.mark.parametrize("method", ["permutation", "kernel"])
def test_equal_to_shap_with_rows_as_background_and_log_odds(method):
    model = attention_model(activation="softmax")

    def scalar(rows):
        p = model.predict(np.asarray(rows, int), verbose=0)[:, TARGET].astype(np.float64)
        return np.log(p) - np.log1p(-p)

    ids, background = token_ids(ROWS), token_ids(5, seed=1)
    explainer = AttentionExplainer(model, background, method=method, target=TARGET, attention=None, seed=SEED)
    ours = explainer(ids, budget=60).attribution.values
    np.testing.assert_allclose(ours, shap_values(method, scalar, ids, background, 60), atol=1e-5)
