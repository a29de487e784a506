"""Every test starts from the same seed, and TensorFlow keeps its start-up lines to itself."""

import gc
import importlib
import importlib.metadata
import os
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True, scope="module")
def small_heap():
    """What is imported and cached stays: Keras collects garbage for every weight it drops, and TensorFlow is large."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed():
    """Seed Python, NumPy and the backend, but only where a test has imported Keras."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(2015)


@pytest.fixture(scope="module")
def minilm():
    """The module ``examples/minilm.py``, where the model it loads is installed."""
    install = "run `make pretrained`, which installs it: {} is not here"
    pytest.importorskip("safetensors", reason=install.format("safetensors"))
    module = importlib.import_module("examples.minilm")
    try:
        importlib.metadata.distribution(module.PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(install.format(module.PACKAGE))
    return module
