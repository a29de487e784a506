"""Every test starts from the same seed, and TensorFlow keeps its start-up lines to itself."""

import os
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True)
def seed():
    """Seed Python, NumPy and the backend, but only where a test has imported Keras."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(2015)
