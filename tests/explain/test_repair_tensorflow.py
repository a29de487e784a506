"""shap's DeepExplainer has just failed on a model with attention."""

import warnings

import keras
import numpy as np
import pytest
import shap
import tensorflow as tf
from tensorflow.python.eager import backprop, execute
from tensorflow.python.framework import ops

from keras_attn_xai.explain.repair_tensorflow import repair_tensorflow
from tests.explain.kinds import KINDS


@pytest.fixture
def failed():
    """The model shap has failed on; TensorFlow is whole again afterwards, whatever the test does."""
    case = KINDS["multi_head_attention"]()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(Exception, match="shap_BatchMatMulV2"):
                shap.DeepExplainer(case.model, case.background).shap_values(case.inputs)
        yield case
    finally:
        execute.record_gradient = backprop.record_gradient


def squared_gradient():
    """The gradient of x**2 at 3, in a graph as Keras trains."""

    @tf.function
    def gradient(x):
        """By a tape."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x * x
        return tape.gradient(y, x)

    return float(gradient(tf.constant(3.0)))


def test_gradients_and_fit_work_after_the_repair(failed):
    with pytest.raises(Exception, match="no entry for: shap_Mul"):
        squared_gradient()
    assert "the recording of gradients" in repair_tensorflow()
    assert squared_gradient() == 6
    failed.model.compile("sgd", "mse")
    before = failed.model.get_weights()[0].copy()
    failed.model.fit(failed.inputs, np.ones((len(failed.inputs), 3)), verbose=0)
    assert np.abs(failed.model.get_weights()[0] - before).max() > 0
    assert repair_tensorflow() == ()


def test_gradients_of_shap_are_taken_out_of_the_registry():
    class Explainer:
        """One of shap's."""

        orig_grads: dict = {}

        def custom_grad(self, op, *grads):
            """A gradient."""

    Explainer.__module__ = "shap.explainers._deep.deep_tf"
    registry, explainer = ops._gradient_registry._registry, Explainer()
    before = dict(registry["Tanh"])
    explainer.orig_grads["Tanh"] = before["type"]
    registry["Tanh"]["type"] = explainer.custom_grad
    registry["shap_Tanh"] = {"type": explainer.custom_grad, "location": before["location"]}
    try:
        assert set(repair_tensorflow()) == {"the gradient of Tanh", "the gradient of shap_Tanh"}
        assert registry["Tanh"] == before
        assert "shap_Tanh" not in registry
    finally:
        registry["Tanh"] = before
        registry.pop("shap_Tanh", None)


def test_nothing_is_repaired_where_nothing_is_wrong():
    assert repair_tensorflow() == ()
    assert squared_gradient() == 6


def test_the_private_names_of_tensorflow_are_where_repair_tensorflow_py_looks_for_them():
    where = "keras_attn_xai/explain/repair_tensorflow.py must follow TensorFlow"
    assert callable(backprop.record_gradient), where
    assert execute.record_gradient is backprop.record_gradient, where
    assert {"type", "location"} <= set(ops._gradient_registry._registry["MatMul"]), where
    assert keras.backend.backend() == "tensorflow"
