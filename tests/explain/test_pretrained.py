"""A real pretrained model with a small head, explained by deep and by coalitions."""

import keras
import numpy as np
import pytest

from keras_attn_xai import AttentionExplainer

# Keras 3.15 reads its variables with np.array, and TensorFlow 2.21 has not brought their __array__ to NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TEXTS = ["A man is eating food.", "Prices fell on the market."]


@pytest.fixture(scope="module")
def explain(minilm):
    """``explain(method)``: values of two sentences for the class "about food", by nearness to two anchors."""
    tokenizer, model = minilm.load_tokenizer(), minilm.load()
    anchors, _ = minilm.encode(tokenizer, ["food and eating", "business and money"])
    head = keras.layers.Dense(2, activation="softmax")
    answer = head(model.output["sentence"])
    head.set_weights([10 * np.asarray(model(anchors)["sentence"]).T, np.zeros(2)])
    classifier = keras.Model(model.input, answer)
    rows, _ = minilm.encode(tokenizer, TEXTS)
    background = {"ids": tokenizer.token_to_id("[MASK]"), "mask": 1}

    def of(method, **options):
        explainer = AttentionExplainer(
            classifier, background, players={"ids": "tokens"}, method=method, target=0, attention=None
        )
        return explainer(rows, **options).attribution

    return of


@pytest.fixture(scope="module")
def exact(explain):
    """Values of every coalition."""
    return explain("exact")


@pytest.mark.parametrize(
    ("method", "budget", "correlation"), [("paired_kernel", 120, 0.98), ("kernel", 200, 0.98), ("deep", None, 0.9)]
)
def test_values_add_up_and_are_near_those_of_every_coalition(explain, exact, method, budget, correlation):
    found = explain(method, budget=budget)
    assert found.method == method
    assert found.relative_gap.max() <= 1e-4
    np.testing.assert_allclose(found.output, exact.output, atol=1e-4)
    assert np.corrcoef(found.values.ravel(), exact.values.ravel())[0, 1] > correlation
    assert set(np.argsort(found.values[0])[-2:]) == {4, 5}  # eating, food
