"""Records refuse bad data at birth and cannot be changed afterwards."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

from keras_attn_xai import AttentionMap, Attribution, Explanation, Provenance
from keras_attn_xai.errors import ArgumentError, RecordError
from keras_attn_xai.records import field_names, pad_labels
from tests import made

B, H, T, S, D = 3, 2, 5, 7, 11


def words(rows, positions, letter):
    return [[f"{letter}{r}.{s}" for s in range(positions)] for r in range(rows)]


def attention(**changes):
    """A map with a row of padding, altered by ``changes``."""
    weights = np.random.default_rng(0).dirichlet(np.ones(S), size=(B, H, T))
    given = {"weights": weights, "query_labels": words(B, T, "q"), "key_labels": words(B, S, "k")}
    return AttentionMap(**{"name": "encoder/mha", **given, **changes})


def largest(k=3, **changes):
    """The same map with the `k` largest weights of each row, and every optional field."""
    whole, draw = attention(), np.random.default_rng(1)
    indices = np.argsort(-whole.weights, axis=-1)[..., :k]
    given = {
        "weights": np.take_along_axis(whole.weights, indices, -1),
        "indices": indices,
        "values": draw.normal(size=(B, H, S, D)),
        "gradients": draw.normal(size=(B, H, T, S)),
    }
    return attention(**{**given, **changes})


def attribution(**changes):
    """Row r has values r + 1, 2 (r + 1), ... and its last position is padding."""
    values = np.arange(1.0, S + 1) * np.arange(1, B + 1)[:, None]
    mask = np.ones((B, S), bool)
    mask[:, -1] = False
    values[~mask] = 0
    given = {
        "values": values,
        "base": [0.5, 0.25, -1.0],
        "output": [21.5, 42.25, 62.0],
        "target": [0, 1, 2],
        "unit": "log-odds",
        "method": "exact",
        "evaluations": [64, 64, 64],
        "player_labels": words(B, S, "k"),
        "mask": mask,
    }
    return Attribution(**{**given, **changes})


def explanation(**changes):
    numbers = np.tile([0, 0, 1, 2, 3, 4, -1], (B, 1))
    given = {
        "attention": (attention(),),
        "attributions": (attribution(standard_error=np.full((B, S), 0.1)),),
        "labels": words(B, S, "k"),
        "provenance": Provenance("reviews"),
        "word_ids": numbers,
    }
    return Explanation(**{**given, **changes})


# bad data


def spoiled(array, value):
    array = np.array(array, float)
    array.flat[1] = value
    return array


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"weights": np.ones((B, T, S))},
            r"weights must be float of shape \(any, any, any, any\); received .*\(3, 5, 7\)",
        ),
        ({"weights": spoiled(np.ones((B, H, T, S)), np.nan)}, "weights must be finite; received 1 NaN"),
        ({"weights": np.ones((B, H, T, S), complex)}, "weights must be float .* dtype complex128"),
        ({"weights": np.full((B, H, T, S), "a")}, "weights must be float"),
        ({"query_labels": words(B, S, "q")}, "query_labels must be 3 rows of 5 strings; received rows of .7. in 3"),
        ({"key_labels": words(2, S, "k")}, "key_labels must be 3 rows of 7 strings; received rows of .7. in 2"),
        ({"key_labels": ["seven77"] * B}, "key_labels must be 3 rows of 7 strings; received strings without rows"),
        ({"mask": np.ones((B, T), bool)}, r"mask must be bool of shape \(3, 7\); received shape \(3, 5\)"),
        ({"mask": np.ones((B, S), int)}, r"mask must be bool .* dtype int64"),
        ({"query_mask": np.ones((B, S), bool)}, r"query_mask must be bool of shape \(3, 5\)"),
        (
            {"values": np.ones((B, H, T, D))},
            r"values must be float of shape \(3, 2, 7, any\); received .*\(3, 2, 5, 11\)",
        ),
        ({"values": spoiled(np.ones((B, H, S, D)), np.inf)}, "values must be finite"),
        ({"gradients": np.ones((B, H, S, T))}, r"gradients must be float of shape \(3, 2, 5, 7\)"),
        ({"gradients": spoiled(np.ones((B, H, T, S)), np.nan)}, "gradients must be finite"),
    ],
)
def test_attention_map_refuses(changes, match):
    with pytest.raises(RecordError, match=f"encoder/mha: {match}"):
        attention(**changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"indices": np.full((B, H, T, 3), 7)}, "indices must lie between 0 and 6, the last key; received 7 to 7"),
        (
            {"indices": np.tile([0, 1, -1], (B, H, T, 1))},
            "indices must lie between 0 and 6, the last key; received -1 to 1",
        ),
        ({"indices": np.tile([0, 1, 1], (B, H, T, 1))}, "indices must name each key at most once in a row"),
        ({"indices": np.tile([0, 1], (B, H, T, 1))}, r"indices must be int of shape \(3, 2, 5, 3\); received .*5, 2"),
        ({"indices": np.tile([0.0, 1, 2], (B, H, T, 1))}, "indices must be int .* dtype float64"),
        ({"key_labels": words(B, 2, "k")}, "indices must be at most one for each of 2 keys; received 3 of a row"),
        ({"mask": np.ones((B, 3), bool)}, r"mask must be bool of shape \(3, 7\); received shape \(3, 3\)"),
        ({"gradients": np.ones((B, H, T, 3))}, r"gradients must be float of shape \(3, 2, 5, 7\)"),
    ],
)
def test_a_map_of_the_largest_weights_refuses(changes, match):
    changes = {"values": None, "gradients": None, **changes}
    with pytest.raises(RecordError, match=f"encoder/mha: {match}"):
        largest(**changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"values": np.ones(S)}, r"values must be float of shape \(any, any, ...\); received shape \(7,\)"),
        ({"values": [[1.0, 2.0], [3.0]]}, "values must be float of one shape; received rows of different lengths"),
        ({"values": spoiled(np.zeros((B, S)), np.nan)}, "values must be finite; received 1 NaN or infinite"),
        ({"values": spoiled(np.zeros((B, S)), -np.inf)}, "values must be finite; received 1 NaN or infinite"),
        ({"values": np.ones((B, S))}, "values must be exactly 0 where mask is False"),
        ({"mask": np.ones((B, 5), bool)}, r"mask must be bool of shape \(3, 7\)"),
        ({"base": [1.0, 2.0]}, r"base must be float of shape \(3\); received shape \(2,\)"),
        ({"base": [1.0, 2.0, np.nan]}, "base must be finite"),
        ({"output": 1.0}, r"output must be float of shape \(3\); received shape \(\)"),
        ({"target": [0.0, 1.0, 2.0]}, r"target must be int of shape \(3\); received .* dtype float64"),
        ({"evaluations": [1, 2]}, r"evaluations must be int of shape \(3\)"),
        ({"player_labels": words(B, T, "k")}, "player_labels must be 3 rows of 7 strings"),
        ({"player_labels": [["a"], ["b"] * S, ["c"] * S]}, r"received rows of \[1, 7\] in 3 rows"),
        ({"standard_error": np.ones((B, T))}, r"standard_error must be float of shape \(3, 7\)"),
        ({"standard_error": spoiled(np.ones((B, S)), np.inf)}, "standard_error must be finite"),
    ],
)
def test_attribution_refuses(changes, match):
    with pytest.raises(RecordError, match=match):
        attribution(**changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"attention": (attention()[:2],)}, "every record must have 3 rows; received one with 2"),
        ({"attributions": (attribution(), attribution()[:1])}, "every record must have 3 rows; received one with 1"),
        ({"labels": words(2, S, "k")}, "labels must be 3 rows of 7 strings"),
        ({"word_ids": np.zeros((B, T), int)}, r"word_ids must be int of shape \(3, 7\)"),
        ({"word_ids": np.zeros((B, S))}, "word_ids must be int"),
    ],
)
def test_explanation_refuses(changes, match):
    with pytest.raises(RecordError, match=match):
        explanation(**changes)


def test_a_message_never_prints_the_array():
    with pytest.raises(RecordError) as caught:
        attribution(values=np.full((97, 89), np.nan))
    assert len(str(caught.value)) < 200


# frozen

ARRAYS = {
    "attention": ("weights", "query_mask", "mask"),
    "attributions": ("values", "base", "output", "gap", "target", "evaluations", "mask", "standard_error"),
}


@pytest.mark.parametrize(("records", "name"), [(one, name) for one, names in ARRAYS.items() for name in names])
def test_arrays_are_read_only(records, name):
    array = getattr(getattr(explanation(), records)[0], name)
    with pytest.raises(ValueError, match="read-only"):
        array.flat[0] = 1


@pytest.mark.parametrize("name", ["indices", "values", "gradients"])
def test_optional_arrays_are_read_only(name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(largest(), name).flat[0] = 1


@pytest.mark.parametrize("record", [attention(), attribution(), explanation(), Provenance("m")])
def test_fields_cannot_be_set(record):
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, None)


def test_the_callers_arrays_are_copied_and_stay_writable():
    values, mask, weights = np.ones((B, S)), np.ones((B, S), bool), np.ones((B, H, T, S))
    moved, seen = attribution(values=values, mask=mask), attention(weights=weights, mask=mask)
    values[:], mask[:], weights[:] = 7, False, 7
    assert moved.values.max() == moved.mask.min() == seen.weights.max() == seen.mask.min() == 1


def test_an_array_nobody_can_write_to_is_kept():
    weights = np.random.default_rng(0).dirichlet(np.ones(S), size=(B, H, T))
    weights.setflags(write=False)
    assert attention(weights=weights).weights is weights
    rest = np.ones((2, B, H, S, D))
    view = rest[0]
    view.setflags(write=False)  # its owner can still change it
    seen = attention(values=view)
    rest[:] = 7
    assert seen.values.max() == 1
    half = np.ones((B, H, T, S), np.float16)
    half.setflags(write=False)
    assert attention(weights=half).weights.dtype == np.float32


def test_taking_rows_copies_once():
    labels = [[""] * 97] * 31
    whole = AttentionMap("mha", np.ones((31, 11, 97, 97), np.float32), labels, labels)
    tracemalloc.start()
    part = whole[1:]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * part.weights.nbytes


@pytest.mark.parametrize(
    ("given", "kept"), [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64), (int, np.float64)]
)
def test_dtypes(given, kept):
    assert attribution(values=np.zeros((B, S), given)).values.dtype == kept


def test_default_masks_are_all_true():
    seen = attention()
    assert seen.mask.shape == (B, S)
    assert seen.query_mask.shape == (B, T)
    assert seen.mask.all()
    assert seen.query_mask.all()


# rows


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (1, [1]),
        (-1, [2]),
        (np.int64(2), [2]),
        (slice(None, 2), [0, 1]),
        (slice(None, None, -1), [2, 1, 0]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        ([False, True, False], [1]),
        ([], []),
        (slice(0, 0), []),
    ],
)
def test_rows_can_be_taken(index, rows):
    whole, part = explanation(), explanation()[index]
    assert len(part) == len(part.attribution) == len(part.attention[0]) == len(rows)
    assert part.labels == tuple(whole.labels[row] for row in rows)
    np.testing.assert_array_equal(part.word_ids, whole.word_ids[rows])
    for name in ARRAYS["attributions"]:
        np.testing.assert_array_equal(getattr(part.attribution, name), getattr(whole.attribution, name)[rows])
    for name in ARRAYS["attention"]:
        np.testing.assert_array_equal(getattr(part.attention[0], name), getattr(whole.attention[0], name)[rows])
    assert part.attention[0].key_labels == tuple(whole.attention[0].key_labels[row] for row in rows)
    assert part.provenance == whole.provenance


@pytest.mark.parametrize("index", [3, -4])
def test_a_row_out_of_range(index):
    with pytest.raises(IndexError, match=f"row {index} of 3"):
        explanation()[index]
    with pytest.raises(IndexError):
        attribution()[index]


def test_rows_can_be_looped_over():
    assert [row.attribution.base[0] for row in explanation()] == [0.5, 0.25, -1.0]


@pytest.mark.parametrize(("index", "rows"), [(1, [1]), (slice(1, None), [1, 2]), ([], []), ([2, 0], [2, 0])])
def test_rows_of_the_optional_fields(index, rows):
    whole, part = largest(), largest()[index]
    for name in ("weights", "indices", "values", "gradients"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rows])
    assert part.dense().shape == (len(rows), H, T, S)
    assert attention()[index].values is None


# all keys


def test_dense_puts_the_largest_weights_at_their_keys():
    whole, part = attention().weights, largest().dense()
    for place in np.ndindex(B, H, T):
        kept = sorted(range(S), key=lambda s: -whole[place][s])[:3]
        wanted = [whole[place][s] if s in kept else 0 for s in range(S)]
        np.testing.assert_array_equal(part[place], wanted)


def test_dense_of_all_keys_is_the_weights():
    seen = attention()
    assert seen.dense() is seen.weights
    np.testing.assert_array_equal(largest(S).dense(), attention().weights)
    assert largest().dense().dtype == largest().weights.dtype


# the account


def test_gap_is_what_the_values_miss():
    np.testing.assert_allclose(attribution().gap, [0.5 + 21 - 21.5, 0.25 + 42 - 42.25, -1 + 63 - 62])
    np.testing.assert_allclose(attribution(output=[20.5, 42.25, 63]).gap, [1, 0, -1])


def test_relative_gap_is_a_share_of_the_effect():
    moved = attribution(output=[20.5, 42.25, 63.0])
    np.testing.assert_allclose(moved.relative_gap, [1 / 20, 0, 1 / 64])


def test_relative_gap_of_a_row_without_effect_is_a_share_of_the_largest_output():
    """|output - base| is 0 in the second row, so the floor of a thousandth of max|output| = 62 takes its place."""
    values = attribution().values.copy()
    values[1] = [0.031, 0, 0, 0, 0, 0, 0]
    moved = attribution(values=values, base=[0.5, 0.25, -1], output=[21.5, 0.25, 62])
    np.testing.assert_allclose(moved.relative_gap[1], 0.5)
    nothing = attribution(values=np.zeros((B, S)), base=np.zeros(B), output=np.zeros(B))
    np.testing.assert_array_equal(nothing.relative_gap, np.zeros(B))


def test_the_only_attribution():
    with pytest.raises(ArgumentError, match=r"has 2 attributions \(title, text\); take one from \.attributions"):
        _ = explanation(attributions=(attribution(input_name="title"), attribution(input_name="text"))).attribution
    with pytest.raises(ArgumentError, match="has 0 attributions"):
        _ = explanation(attributions=()).attribution


def test_provenance_holds_plain_strings():
    where = Provenance("m", versions=[["keras", 3]], notes=[1])
    assert where.versions == (("keras", "3"),)
    assert where.notes == ("1",)
    assert where == Provenance("m", versions=(("keras", "3"),), notes=("1",))


def test_pad_labels_and_field_names():
    assert pad_labels([], 3) == ()
    assert pad_labels([["a"], []], 2) == (("a", ""), ("", ""))
    assert "gap" not in field_names(attribution())
    assert set(field_names(attention())) == {
        "name", "weights", "query_labels", "key_labels", "query_mask", "mask", "indices", "values", "gradients",
    }  # fmt: skip


def test_a_record_prints_short():
    shown = made.explanation(200, rows=3)
    assert repr(shown.attention[0]) == "AttentionMap('encoder/att', weights (3, 2, 3, 200))"
    assert len(repr(shown)) < 300
    assert repr(largest()) == "AttentionMap('encoder/mha', weights (3, 2, 5, 3), the largest of 7 keys)"
    assert "nothing yet" in repr(Explanation((), (), (("a",),), shown.provenance))
