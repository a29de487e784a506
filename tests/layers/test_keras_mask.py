"""The private name of Keras that ``layers`` leans on: where a tensor carries its mask."""

import keras
import numpy as np
import pytest

from keras_attn_xai.layers import keras_mask

MOVED = "Keras moved the mask a tensor carries: keras_attn_xai/layers/keras_mask.py must follow"
PADDED = np.array([[[1.0], [2.0], [0.0]]], "float32")
KEPT = [[True, True, False]]


def test_keras_still_keeps_the_mask_where_keras_mask_py_reads_it():
    symbolic, eager = keras.layers.Masking()(keras.Input((3, 1))), keras.layers.Masking()(PADDED)
    assert hasattr(symbolic, "_keras_mask"), MOVED
    assert isinstance(keras_mask.attached_mask(symbolic), keras.KerasTensor), MOVED
    found = keras_mask.attached_mask(eager)
    assert found is not None, MOVED
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), KEPT, err_msg=MOVED)


def test_a_mask_that_keras_mask_py_attaches_is_read_by_keras():
    tensor = keras.ops.convert_to_tensor(PADDED)
    keras_mask.attach_mask(tensor, keras.ops.convert_to_tensor(KEPT))
    mean = keras.layers.GlobalAveragePooling1D()(tensor)
    assert float(mean[0, 0]) == pytest.approx(1.5), MOVED


def test_no_mask_is_none_and_attaching_none_leaves_the_one_there_is():
    assert keras_mask.attached_mask(keras.ops.convert_to_tensor(PADDED)) is None
    assert keras_mask.attached_mask(None) is None
    masked = keras.layers.Masking()(PADDED)
    keras_mask.attach_mask(masked, None)
    assert keras_mask.attached_mask(masked) is not None


def test_masks_come_back_after_the_block_that_goes_without_them():
    masked, plain = keras.layers.Masking()(PADDED), keras.ops.convert_to_tensor(PADDED)
    before = keras_mask.attached_mask(masked)

    def inside():
        with keras_mask.without_masks(masked, plain, masked, None):
            assert keras_mask.attached_mask(masked) is None, MOVED
            keras_mask.attach_mask(plain, before)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        inside()
    assert keras_mask.attached_mask(masked) is before
    assert keras_mask.attached_mask(plain) is before  # made inside, and none of the block's business


def test_a_sequential_still_builds_its_layers_in_a_method_named_build():
    """`refuse_tuple_inside_sequential` looks for that frame."""
    seen = []

    class Probe(keras.layers.Layer):
        def compute_output_spec(self, inputs):
            try:
                keras_mask.refuse_tuple_inside_sequential(self)
            except keras_mask.ModelError as error:
                seen.append(str(error))
            return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    keras.Sequential([keras.Input((3,)), Probe(name="last")])
    assert seen == []
    keras.Sequential([keras.Input((3,)), Probe(name="middle"), keras.layers.Dense(1)])
    assert len(seen) == 1, "Keras builds a Sequential elsewhere: keras_attn_xai/layers/keras_mask.py must follow"
    assert "'middle'" in seen[0]
