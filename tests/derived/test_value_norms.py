"""Value-norm-weighted attention: equal to the paper's definition, laws, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from keras_attn_xai.derived import value_norm_weighted, value_norms
from keras_attn_xai.errors import ArgumentError
from tests.derived import references
from tests.derived.made import B, D, H, S, T, attention


def test_each_head_is_the_papers():
    seen = attention(keys=S)
    found = value_norm_weighted(seen)
    assert (found.name, found.weights.shape) == ("value_norm_weighted/mha", (B, H, T, S))
    for row in range(B):
        np.testing.assert_allclose(found.weights[row], references.value_norms(seen.weights[row], seen.values[row]))


@pytest.mark.parametrize("block", [1, 2 * S * D, 2**22])
def test_the_sum_of_heads_is_the_papers_in_blocks_of_any_size(block, monkeypatch):
    monkeypatch.setattr(value_norms, "BLOCK", block)
    seen = attention(keys=S)
    found = value_norm_weighted(seen, heads="sum").weights
    assert found.shape == (B, 1, T, S)
    for row in range(B):
        np.testing.assert_allclose(found[row, 0], references.norms_of_sums(seen.weights[row], seen.values[row]))


def test_vectors_of_one_length_give_back_the_weights():
    seen = attention(keys=S)
    ones = seen.values / np.linalg.norm(seen.values, axis=-1, keepdims=True)
    np.testing.assert_allclose(value_norm_weighted(replace(seen, values=ones)).weights, seen.weights)


def test_a_sum_is_at_most_as_long_as_its_parts_and_heads_can_cancel():
    seen = attention(keys=S)
    together, apart = (value_norm_weighted(seen, heads=heads).weights for heads in ("sum", "each"))
    assert (together[:, 0] <= apart.sum(1) + 1e-12).all()
    opposite = replace(
        seen, weights=np.ones((B, 2, T, S)), values=np.stack([seen.values[:, 0], -seen.values[:, 0]], 1), gradients=None
    )
    assert not value_norm_weighted(opposite, heads="sum").weights.any()


@pytest.mark.parametrize("heads", ["each", "sum"])
def test_padding_labels_and_kinds_of_arrays(heads):
    seen = attention(padding=2)
    found = value_norm_weighted(seen, heads=heads)
    assert not found.weights[..., -2:].any()
    assert not found.weights[:, :, -2:].any()
    assert (found.query_labels, found.key_labels) == (seen.query_labels, seen.key_labels)
    np.testing.assert_array_equal(found.mask, seen.mask)
    np.testing.assert_array_equal(found.query_mask, seen.query_mask)
    keys = np.argsort(-seen.weights, axis=-1)
    single = np.take_along_axis(seen.weights, keys, -1).astype(np.float32)
    part = replace(seen, weights=single, indices=keys, values=seen.values.astype(np.float32))
    sparse = value_norm_weighted(part, heads=heads).weights
    assert sparse.dtype == np.float32
    np.testing.assert_allclose(sparse, found.weights, rtol=1e-5, atol=1e-6)
    assert len(value_norm_weighted(seen[:0], heads=heads)) == 0


def test_what_cannot_be_done_is_one_sentence():
    with pytest.raises(ArgumentError, match=r"'mha' has no value vectors; capture_attention\(..., values=True\)"):
        value_norm_weighted(attention(values=None))
    with pytest.raises(ArgumentError, match="heads must be 'each' or 'sum'; received 'mean'"):
        value_norm_weighted(attention(), heads="mean")
