"""What is drawn leaves no trace in the user's random numbers."""

import numpy as np
import pytest

from keras_attn_xai.explain.sampling import seeded_numpy_random


def test_seeded_numpy_random_restores_the_state():
    np.random.seed(1)
    state = np.random.get_state()
    with seeded_numpy_random(7):
        first = np.random.random(3)
    np.testing.assert_equal(np.random.get_state(), state)

    def fail():
        with seeded_numpy_random(7):
            np.testing.assert_array_equal(np.random.random(3), first)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    np.testing.assert_equal(np.random.get_state(), state)
