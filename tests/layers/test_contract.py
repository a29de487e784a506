"""The contract every attention layer keeps, on any Keras backend.

Only ``keras.ops`` and ``keras.Model`` here: this file runs again on JAX.
"""

import inspect
import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_attn_xai.errors import ArgumentError, MaskError, ModelError, ShapeError
from keras_attn_xai.layers import AttentionLayer, BahdanauAttention, LuongAttention, ScaledDotProductAttention
from tests import references
from tests.layers.contract import (
    CASES,
    CONCAT,
    DTYPES,
    KEPT,
    LENGTHS,
    PROJECTED,
    SCALED_DOT,
    B,
    D,
    S,
    T,
    U,
    V,
    array,
    arrays,
    by_key,
    cross_inputs,
    cross_model,
    every_layer,
    same,
    tensors,
    twin,
    variables_as_arrays,
)

pytestmark = variables_as_arrays
EMPTY_ROW = KEPT & np.array([[True], [False]])  # nothing is left of the second row


# Outputs and their shapes


@every_layer
def test_there_are_two_outputs_with_the_shapes_of_the_docstring(case):
    context, weights = case.make()(*tensors(case))
    assert tuple(context.shape) == (B, T, case.features)
    assert tuple(weights.shape) == case.weights_shape(B, T, S)


@every_layer
@pytest.mark.parametrize(("queries", "keys"), [(T, S), (None, None), (None, S), (T, None)])
def test_the_static_shape_is_the_dynamic_one(case, queries, keys):
    layer = case.make()
    symbolic = layer(keras.Input((queries, D)), keras.Input((keys, V)), keras.Input((keys, case.key_size)))
    real = layer(*tensors(case))
    expected = [(None, queries, case.features), case.weights_shape(None, queries, keys)]
    for promised, size, output in zip(symbolic, expected, real, strict=True):
        assert promised.shape == size
        assert keras.backend.standardize_dtype(promised.dtype) == keras.backend.standardize_dtype(output.dtype)
        assert all(known in (None, actual) for known, actual in zip(promised.shape, output.shape, strict=True))


@every_layer
def test_compute_output_shape_takes_shapes_as_arguments_or_in_a_list(case):
    shapes = [(B, T, D), (B, S, V), (B, S, case.key_size)]
    expected = ((B, T, case.features), case.weights_shape(B, T, S))
    assert case.make().compute_output_shape(*shapes) == case.make().compute_output_shape(shapes) == expected
    assert case.make(return_weights=False).compute_output_shape(*shapes) == expected[0]


@every_layer
def test_return_weights_false_leaves_the_context_alone(case):
    layer = case.make()
    both = layer(*tensors(case), value_mask=EMPTY_ROW)
    alone = twin(layer, return_weights=False)(*tensors(case), value_mask=EMPTY_ROW)
    np.testing.assert_array_equal(array(alone), array(both[0]))


@every_layer
def test_self_attention_is_the_query_in_every_place(case):
    query = tensors(case)[0]
    layer = case.make()
    alone = layer(query)
    same(arrays(alone), arrays(layer(query, query, query)))


# The numbers


@every_layer
@pytest.mark.parametrize("mask", [None, KEPT, EMPTY_ROW], ids=["no mask", "padded", "empty row"])
@pytest.mark.parametrize("fully_masked", ["zero", "uniform"])
def test_weights_and_context_are_those_of_the_papers(case, mask, fully_masked):
    query, value, key = tensors(case)
    layer = case.make(fully_masked=fully_masked)
    context, weights = arrays(layer(query, value, key, value_mask=mask))
    expected = case.softmax(case.scores(layer, query, key), mask, fully_masked=fully_masked)
    same(weights, expected, atol=1e-5)
    same(context, case.context(layer, expected, value), atol=1e-4)


def test_bias_is_added_to_scaled_products():
    query, value, key = tensors(SCALED_DOT)
    bias = np.random.default_rng(3).normal(size=(T, S)).astype("float32")
    layer = ScaledDotProductAttention(scale=0.5, weights_kind="scores")
    scores = references.scaled_dot_scores(query, key, bias=bias, scale=0.5)
    same(array(layer(query, value, key, score_bias=bias)[1]), scores, atol=1e-5)
    weights = array(twin(layer, weights_kind="weights")(query, value, key, score_bias=bias)[1])
    same(weights, references.masked_softmax(scores), atol=1e-5)


def test_concat_is_additive_attention_with_the_matrices_side_by_side():
    query, value, key = tensors(CONCAT)
    concat = LuongAttention("concat", units=U, use_bias=True, bias_initializer="ones")
    additive = BahdanauAttention(U, use_bias=True)
    concat(query, value, key)
    additive(query, value, key)
    additive.set_weights(concat.get_weights())
    same(arrays(additive(query, value, key)), arrays(concat(query, value, key)))


@pytest.mark.parametrize("case", CASES[:1] + CASES[3:4], ids=lambda case: case.name)
def test_the_bias_stands_inside_the_tanh(case):
    query, value, key = tensors(case)
    layer = case.make(use_bias=True, bias_initializer=keras.initializers.Constant(0.5), weights_kind="scores")
    scores = array(layer(query, value, key)[1])
    W, U_, v = (array(dense.kernel) for dense in (layer.query_dense, layer.key_dense, layer.score_dense))
    expected = references.scores(query, key, lambda q, k: v[:, 0] @ np.tanh(q @ W + k @ U_ + 0.5))
    same(scores, expected, atol=1e-5)


def test_the_normalised_form_scores_with_a_direction_and_a_length():
    query, value, key = tensors(CASES[0])
    layer = BahdanauAttention(U, normalize=True, weights_kind="scores")
    layer(query, value, key)
    W, U_, v = (array(dense.kernel) for dense in (layer.query_dense, layer.key_dense, layer.score_dense))
    assert array(layer.length) == pytest.approx(U**-0.5)
    layer.length.assign(1.75)
    direction = 1.75 * v[:, 0] / np.sqrt((v**2).sum())
    expected = references.bahdanau_scores(query, key, W.T, U_.T, direction)
    same(array(layer(query, value, key)[1]), expected, atol=1e-5)


@every_layer
def test_weights_kind_chooses_what_comes_out(case):
    query, value, key = tensors(case)
    layer = case.make(weights_kind="scores", dropout=0.5)
    scores = array(layer(query, value, key, value_mask=KEPT, training=True)[1])
    same(scores, case.scores(layer, query, key), atol=1e-5)
    weights = array(twin(layer, weights_kind="weights")(query, value, key, value_mask=KEPT, training=True)[1])
    same(weights, case.softmax(scores, KEPT), atol=1e-5)
    context, dropped = arrays(twin(layer, weights_kind="dropped")(query, value, key, value_mask=KEPT, training=True))
    lost = (dropped == 0) & (weights > 0)
    assert 0 < lost.sum() < (weights > 0).sum()
    same(dropped[~lost], 2 * weights[~lost], atol=1e-5)  # those that stay are scaled by 1 / (1 - rate)
    same(context, case.context(layer, dropped, value), atol=1e-4)


@every_layer
def test_keys_may_be_projected_once_for_all_steps(case):
    query, value, key = tensors(case)
    layer = case.make()
    expected = arrays(layer(query, value, key, value_mask=KEPT))
    keys = layer.project_keys(ops.convert_to_tensor(key))
    steps = [arrays(layer(query[:, t : t + 1], value, projected_keys=keys, value_mask=KEPT)) for t in range(T)]
    same([np.concatenate(one, axis=-2) for one in zip(*steps, strict=True)], expected, atol=1e-5)


@every_layer
def test_keys_projected_by_a_layer_without_weights_get_a_sentence(case):
    layer, key = case.make(name="fresh"), tensors(case)[2]
    if case.name in ("luong_dot", "scaled_dot"):  # nothing to learn
        same(array(layer.project_keys(key)), key)
        return
    with pytest.raises(ArgumentError, match=r"fresh: project_keys.*no weights yet.*build\(query_shape, value_shape"):
        layer.project_keys(key)
    layer.build(*((B, size, features) for size, features in ((T, D), (S, V), (S, case.key_size))))
    assert layer.project_keys(key).shape[:2] == (B, S)


# Blocks of queries

EVERY_PAIR = {
    "attention_mask": np.random.default_rng(5).random((B, T, S)) > 0.2,
    "score_bias": np.random.default_rng(6).normal(size=(T, S)).astype("float32"),
    "use_causal_mask": True,
}


@every_layer
@pytest.mark.parametrize("block", [1, 2, T, None])
def test_blocks_change_nothing(case, block):
    inputs, masks = tensors(case), {"value_mask": KEPT, **EVERY_PAIR}
    layer = case.make()
    expected = layer(*inputs, **masks)
    same(arrays(twin(layer, block_size=block)(*inputs, **masks)), arrays(expected))


@every_layer
@pytest.mark.parametrize("block", [1, 2, None])
@pytest.mark.parametrize("kind", ["weights", "scores"])
def test_top_k_are_the_largest_weights_and_the_context_is_that_of_all(case, block, kind):
    inputs, masks, k = tensors(case), {"value_mask": KEPT, **EVERY_PAIR}, 3
    layer = case.make()
    context, weights = arrays(layer(*inputs, **masks))
    wanted = arrays(twin(layer, weights_kind=kind)(*inputs, **masks))[1]
    got = twin(layer, top_k=k, block_size=block, weights_kind=kind)(*inputs, **masks)
    assert keras.backend.standardize_dtype(got[2].dtype) == "int32"
    got = arrays(got)
    same(got[0], context, atol=1e-5)
    np.testing.assert_allclose(
        np.take_along_axis(weights, got[2], axis=-1), -np.sort(-weights, axis=-1)[..., :k], atol=1e-6
    )
    same(got[1], np.take_along_axis(wanted, got[2], axis=-1), atol=1e-5)


@every_layer
def test_top_k_has_static_shapes_and_the_mask_of_the_query(case):
    layer = case.make(top_k=2)
    inputs = keras.Input((None, D)), keras.Input((None, V)), keras.Input((None, case.key_size))
    pair = case.weights_shape(None, None, 2)
    assert [one.shape for one in layer(*inputs)] == [(None, None, case.features), pair, pair]
    model = keras.Model(inputs, layer(*inputs))
    same([array(one) for one in model(list(tensors(case)))], arrays(layer(*tensors(case))))
    context, *_ = layer(tensors(case)[0], *tensors(case)[1:], query_mask=KEPT[:, :T])
    pooled = array(keras.layers.GlobalAveragePooling1D()(context))
    same(pooled, np.array([array(context)[row][KEPT[row, :T]].mean(axis=0) for row in range(B)]), atol=1e-5)


@every_layer
def test_more_than_all_keys_are_refused(case):
    with pytest.raises(ShapeError, match=f"top_k={S + 1} of {S} keys"):
        case.make(top_k=S + 1)(*tensors(case))
    with pytest.raises(ArgumentError, match=r"top_k=3 needs dropout=0\.0"):
        case.make(top_k=3, dropout=0.5)
    with pytest.raises(ArgumentError, match="block_size must be a positive integer; received 0"):
        case.make(block_size=0)


# Rows and masks


@every_layer
@pytest.mark.parametrize(("fully_masked", "empty"), [("zero", 0), ("uniform", 1)])
def test_rows_sum_to_one_or_as_fully_masked_says(case, fully_masked, empty):
    weights = array(case.make(fully_masked=fully_masked)(*tensors(case), value_mask=EMPTY_ROW)[1])
    assert (weights >= 0).all()
    same(weights[0].sum(-1), np.ones(weights[0].shape[:-1]))
    same(weights[1], np.full(weights[1].shape, empty / S))


@every_layer
@pytest.mark.parametrize("fully_masked", ["zero", "uniform"])
def test_a_padded_key_gets_exactly_nothing(case, fully_masked):
    weights = array(case.make(fully_masked=fully_masked)(*tensors(case), value_mask=KEPT)[1])
    assert (by_key(weights)[~KEPT] == 0).all()
    assert (by_key(weights)[KEPT] > 0).all()


@every_layer
def test_padding_does_not_change_the_real_part(case):
    query, value, key = tensors(case)
    layer = case.make()
    context, weights = arrays(layer(query[:1], value[:1, :4], key[:1, :4]))
    value[0, 4:], key[0, 4:] = 1e4, -1e4
    padded = arrays(layer(query[:1], value[:1], key[:1], value_mask=KEPT[:1]))
    same(padded[0], context)
    same(padded[1][..., :4], weights)


@every_layer
@pytest.mark.parametrize("fully_masked", ["zero", "uniform"])
@pytest.mark.parametrize("masks", ["value_mask", "key_mask", "pairs"])
def test_padding_may_be_anything_even_nan(case, fully_masked, masks):
    query, value, key = tensors(case)
    given = {"key_mask": KEPT} if masks == "key_mask" else {"value_mask": KEPT}
    if masks == "pairs":
        given |= {"attention_mask": EVERY_PAIR["attention_mask"], "use_causal_mask": True}
    layer = case.make(fully_masked=fully_masked)
    expected = arrays(layer(query, value, key, **given))
    value[~KEPT], key[~KEPT] = np.nan, np.inf
    same(arrays(layer(query, value, key, **given)), expected)


@every_layer
def test_a_row_without_keys_still_reads_all_values_where_it_is_uniform(case):
    query, value, key = tensors(case)
    layer = case.make(fully_masked="uniform")
    context, weights = arrays(layer(query, value, key, value_mask=EMPTY_ROW))
    same(context, case.context(layer, weights, value), atol=1e-4)


@every_layer
def test_causal_removes_the_future(case):
    query, value, key = tensors(case)
    layer = case.make()
    context, weights = arrays(layer(query, value, key, use_causal_mask=True))
    assert (weights[..., ~np.tri(T, S, dtype=bool)] == 0).all()
    same(weights.sum(-1), np.ones(weights.shape[:-1]))
    value[:, 3:], key[:, 3:] = 1.0, 2.0
    changed = arrays(layer(query, value, key, use_causal_mask=True))
    same([part[..., :3, :] for part in changed], [context[:, :3], weights[..., :3, :]])
    assert not np.allclose(changed[0][:, 3:], context[:, 3:])


@every_layer
def test_a_batch_is_its_rows_one_by_one(case):
    query, value, key = tensors(case)
    layer = case.make()
    together = arrays(layer(query, value, key, value_mask=KEPT, use_causal_mask=True))
    for row in range(B):
        only = slice(row, row + 1)
        alone = layer(query[only], value[only], key[only], value_mask=KEPT[only], use_causal_mask=True)
        same(arrays(alone), [part[only] for part in together])


@every_layer
def test_call_forms_are_equal(case):
    query, _, memory = tensors(case)
    layer = case.make()
    expected = arrays(layer(query, memory, memory))
    tensor = ops.convert_to_tensor
    for call in [
        (query, memory),
        ([query, memory],),
        ((query, memory),),
        ([query, memory, memory],),
        ((query, memory, memory),),
        (tensor(query), tensor(memory)),
        (query.astype("float64"), memory.astype("float64")),
    ]:
        same(arrays(layer(*call)), expected)
    same(arrays(layer(query=query, value=memory)), expected)
    alone = case.make()
    same(arrays(alone([query])), arrays(alone(query)))


@every_layer
def test_a_value_mask_is_the_same_in_every_spelling(case):
    query, _, memory = tensors(case)
    memory = memory * KEPT[..., None]  # Masking reads zeros
    layer = case.make()
    expected = arrays(layer(query, memory, value_mask=KEPT))
    assert (by_key(expected[1])[~KEPT] == 0).all()
    attached = keras.layers.Masking()(memory)
    bias = np.where(KEPT[:, None], 0, -np.inf).astype("float32")
    spellings = {
        "attached": ((query, attached), {}),
        "attached in a list": (([query, attached],), {}),
        "tensor": ((query, memory), {"value_mask": ops.convert_to_tensor(KEPT)}),
        "list of lists": ((query, memory), {"value_mask": KEPT.tolist()}),
        "of the key": ((query, memory, memory), {"key_mask": KEPT}),
        "of the default key": ((query, memory), {"key_mask": KEPT}),
        "by order": ((query, memory), {"mask": [None, KEPT]}),
        "by order of three": ((query, memory, memory), {"mask": (None, None, KEPT)}),
        "lengths": ((query, memory), {"lengths": LENGTHS}),
        "lengths in a list": ((query, memory), {"lengths": LENGTHS.tolist()}),
        "attention_mask": ((query, memory), {"attention_mask": np.repeat(KEPT[:, None], T, axis=1)}),
        "score_bias": ((query, memory), {"score_bias": np.repeat(bias, T, axis=1)}),
    }
    for name, (args, kwargs) in spellings.items():
        np.testing.assert_allclose(array(layer(*args, **kwargs)[1]), expected[1], atol=1e-6, err_msg=name)
        np.testing.assert_allclose(array(layer(*args, **kwargs)[0]), expected[0], atol=1e-5, err_msg=name)


@every_layer
def test_a_self_attention_mask_is_the_same_in_every_spelling(case):
    kept = KEPT[:, :T]
    query = tensors(case)[0] * kept[..., None]
    layer = case.make()
    expected = arrays(layer(query, value_mask=kept))
    assert (by_key(expected[1])[~kept] == 0).all()
    for args, kwargs in [
        ((query,), {"mask": kept}),
        ((query,), {"mask": kept.tolist()}),
        ((query,), {"mask": [kept]}),
        ((query,), {"query_mask": kept}),
        ((query,), {"lengths": kept.sum(1)}),
        ((keras.layers.Masking()(query),), {}),
        (([keras.layers.Masking()(query)],), {}),
    ]:
        same(arrays(layer(*args, **kwargs)), expected)


@every_layer
def test_a_mask_given_for_the_keys_beats_the_one_the_query_carries(case):
    query = tensors(case)[0]
    query[:, 4:] = 0
    kept = np.array([[True, False, True, True, True], [True, True, False, True, True]])
    layer = case.make()
    expected = array(layer(query, query, value_mask=kept)[1])
    same(array(layer(keras.layers.Masking()(query), value_mask=kept)[1]), expected)
    same(array(layer(query, query_mask=KEPT[:, :T], value_mask=kept)[1]), expected)


@every_layer
def test_masks_of_value_key_and_pairs_are_all_kept(case):
    query, value, key = tensors(case)
    rng = np.random.default_rng(5)
    value_mask, key_mask = rng.random((B, S)) > 0.3, rng.random((B, S)) > 0.3
    pairs = rng.random((B, T, S)) > 0.3
    masks = {"value_mask": value_mask, "key_mask": key_mask, "attention_mask": pairs}
    weights = array(case.make()(query, value, key, use_causal_mask=True, **masks)[1])
    kept = value_mask[:, None] & key_mask[:, None] & pairs & np.tri(T, S, dtype=bool)
    np.testing.assert_array_equal(
        weights > 0, np.broadcast_to(kept if case.heads is None else kept[:, None], weights.shape)
    )


@every_layer
def test_the_query_mask_goes_on_with_the_context_and_leaves_the_weights(case):
    query, value, key = tensors(case)
    kept = KEPT[:, :T]
    layer = case.make(return_weights=False)
    context = layer(query, value, key, query_mask=kept)
    same(array(context), array(layer(query, value, key)))
    pooled = array(keras.layers.GlobalAveragePooling1D()(context))
    expected = [array(context)[row][kept[row]].mean(axis=0) for row in range(B)]
    same(pooled, np.array(expected), atol=1e-5)


@every_layer
def test_fully_masked_error_raises_when_a_row_has_no_key(case):
    layer = case.make(fully_masked="error")
    layer(*tensors(case), value_mask=KEPT)
    with pytest.raises(MaskError, match="every key masked and fully_masked='error'"):
        layer(*tensors(case), value_mask=EMPTY_ROW)


# Dtypes


@every_layer
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fully_masked", ["zero", "uniform"])
def test_every_dtype_is_finite_also_in_an_empty_row(case, dtype, fully_masked):
    query, value, key = tensors(case)
    layer = case.make(dtype=dtype, fully_masked=fully_masked)
    outputs = layer(10 * query, value, 10 * key, value_mask=EMPTY_ROW)
    assert all(keras.backend.standardize_dtype(part.dtype) == layer.compute_dtype for part in outputs)
    context, weights = arrays(outputs)
    assert np.isfinite(context).all()
    same(weights[0].sum(-1), np.ones(weights[0].shape[:-1]), atol=0.02)
    assert (weights[0][..., ~KEPT[0]] == 0).all()
    same(weights[1], np.full(weights[1].shape, 1 / S if fully_masked == "uniform" else 0.0), atol=1e-3)


@every_layer
def test_a_half_precision_context_is_the_same_without_weights(case):
    layer = case.make(dtype="mixed_float16")
    both = layer(*tensors(case), value_mask=EMPTY_ROW)
    alone = twin(layer, return_weights=False)(*tensors(case), value_mask=EMPTY_ROW)
    np.testing.assert_array_equal(array(alone), array(both[0]))


def test_an_additive_float16_mask_may_overflow():
    query, value, key = tensors(SCALED_DOT)
    bias = np.where(KEPT[:, None], 0, -1e9).astype("float32")
    layer = ScaledDotProductAttention(dtype="float16")
    weights = array(layer(query, value, key, score_bias=np.repeat(bias, T, axis=1))[1])
    assert (by_key(weights)[~KEPT] == 0).all()
    same(weights.sum(-1), np.ones(weights.shape[:-1]), atol=0.01)


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("fully_masked", "empty"), [("zero", 0), ("uniform", 1 / S)])
def test_a_bias_that_removes_every_key_empties_the_row(case, dtype, fully_masked, empty):
    bias = np.zeros((B, T, S), "float32")
    bias[0, 3] = -np.inf
    context, weights = arrays(case.make(dtype=dtype, fully_masked=fully_masked)(*tensors(case), score_bias=bias))
    assert np.isfinite(context).all()
    same(weights[0][..., 3, :], np.full(weights[0][..., 3, :].shape, empty), atol=1e-3)
    same(weights[1].sum(-1), np.ones(weights[1].shape[:-1]), atol=0.01)


# Dropout


@every_layer
def test_dropout_drops_in_training_only_and_the_weights_are_from_before_it(case):
    inputs = tensors(case)
    layer = case.make(dropout=0.5, seed=1)
    context, weights = arrays(layer(*inputs))
    same([context, weights], arrays(twin(layer, dropout=0.0)(*inputs)))
    trained = arrays(layer(*inputs, training=True))
    same(trained[1], weights)
    assert np.abs(trained[0] - context).max() > 0.01


# Configuration and saving


@every_layer
def test_every_constructor_argument_round_trips(case):
    named = set()
    for parent in case.cls.__mro__[: case.cls.__mro__.index(AttentionLayer) + 1]:
        named |= set(inspect.signature(parent.__init__).parameters)
    assert set(case.others) == named - {"self", "kwargs"}, "the table must have a value for every argument"
    default = case.make(name="named", dtype="mixed_float16").get_config()
    for name, given in case.others.items():
        needed = {"window": "monotonic"} if name == "return_positions" else {}
        layer = case.make(**{name: given}, **needed, name="named", dtype="mixed_float16")
        config = layer.get_config()
        again = case.cls.from_config(config)
        assert again.get_config() == config
        assert (again.name, again.dtype_policy.name) == ("named", "mixed_float16")
        assert {other for other in config if config[other] != default[other]} == {name, *needed}
        if isinstance(given, (bool, int, float, str)) and not name.endswith("initializer"):
            assert config[name] == given
        elif not isinstance(given, str):
            assert config[name]["class_name"] == type(given).__name__


@pytest.mark.parametrize("case", CASES[:1] + CASES[2:4], ids=lambda case: case.name)
def test_the_arguments_of_dense_reach_the_projections(case):
    layer = case.make(**{name: PROJECTED[name] for name in PROJECTED if name.startswith(("kernel", "bias", "use"))})
    layer(*tensors(case))
    dense = [part for part in layer._flatten_layers(include_self=False) if isinstance(part, keras.layers.Dense)]
    assert dense
    for part in dense:
        assert isinstance(part.kernel_initializer, keras.initializers.HeNormal)
        assert part.kernel_regularizer.l2 == 0.5
        assert part.kernel_constraint.max_value == 2.0
    biases = [weight for weight in layer.trainable_weights if weight.name == "bias"]
    assert len(biases) == (case.name != "luong_general")
    assert all((array(bias) == 1).all() for bias in biases)
    assert len(layer.losses) == len(layer.trainable_weights)


@every_layer
def test_reloaded_from_a_keras_file_the_numbers_are_the_same(case, tmp_path):
    model = cross_model(case.make(name="attention"), case)
    expected = model.predict(cross_inputs(case), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    got = again.predict(cross_inputs(case), verbose=0)
    same([got["context"], got["weights"]], [expected["context"], expected["weights"]])


@every_layer
def test_predict_is_the_eager_call(case):
    layer = case.make()
    inputs = cross_inputs(case)
    expected = layer(inputs["query"], inputs["value"], inputs["key"], value_mask=inputs["kept"])
    got = cross_model(layer, case).predict(inputs, verbose=0)
    same([got["context"], got["weights"]], arrays(expected))


@every_layer
def test_gradients_reach_every_weight(case):
    names = {
        "bahdanau": 4,
        "luong_dot": 0,
        "luong_general": 1,
        "luong_concat": 4,
        "scaled_dot": 0,
        "multi_head": 8,
        "grouped_query": 8,
    }
    layer = case.make(**{"use_bias": True} if case.name in ("bahdanau", "luong_concat") else {})
    sizes = (T, D), (S, V), (S, case.key_size)
    inputs = [keras.Input(size) for size in sizes]
    projected = [keras.layers.Dense(size[1])(one) for one, size in zip(inputs, sizes, strict=True)]
    model = keras.Model(inputs, layer(*projected)[0])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    before = [array(weight).copy() for weight in model.trainable_weights]
    model.train_on_batch(list(tensors(case)), np.ones((B, T, case.features), "float32"))
    assert len(layer.trainable_weights) == names[case.name]
    for old, weight in zip(before, model.trainable_weights, strict=True):
        assert np.isfinite(array(weight)).all()
        # a bias on the keys shifts all products of a query alike, and a softmax does not see that
        if weight.name == "kernel" or any(weight is own for own in layer.trainable_weights):
            assert np.abs(array(weight) - old).max() > 0, weight.path


# Inside other models


@every_layer
def test_the_middle_of_a_sequential_takes_return_weights_false(case):
    query = tensors(case)[0] * KEPT[:, :T, None]
    layer = case.make(return_weights=False)
    model = keras.Sequential(
        [keras.Input((None, D)), keras.layers.Masking(), layer, keras.layers.GlobalAveragePooling1D()]
    )
    context = array(layer(query, mask=KEPT[:, :T]))
    expected = [context[row][KEPT[row, :T]].mean(axis=0) for row in range(B)]
    same(model.predict(query, verbose=0), np.array(expected), atol=1e-5)


@every_layer
@pytest.mark.parametrize("known", [True, False], ids=["with an Input", "built by its first call"])
def test_a_tuple_inside_a_sequential_gets_a_sentence(case, known):
    layers = [case.make(), keras.layers.Dense(2)]
    with pytest.raises(ModelError, match="Build it with return_weights=False"):
        keras.Sequential([keras.Input((T, D)), *layers]) if known else keras.Sequential(layers)(tensors(case)[0])


@every_layer
def test_a_tuple_at_the_end_of_a_sequential_is_welcome(case):
    model = keras.Sequential([keras.Input((T, D)), keras.layers.Dense(D), case.make()])
    features = D if case.heads is None else case.features
    expected = [(B, T, features), case.weights_shape(B, T, T)]
    assert [tuple(output.shape) for output in model(tensors(case)[0])] == expected


def padded_memory():
    """A decoder's query, and a memory of embedded ids whose last ones are padding."""
    ids, query = keras.Input((None,), dtype="int32"), keras.Input((None, D))
    return ids, query, keras.layers.Embedding(17, D, mask_zero=True)(ids)


IDS = np.where(KEPT, np.arange(1, S + 1), 0)
CLEARS = ["nothing between", "keras MultiHeadAttention between"]


@every_layer
@pytest.mark.parametrize("clearing", [False, True], ids=CLEARS)
def test_every_cross_attention_over_one_memory_keeps_its_mask(case, clearing, tmp_path):
    ids, query, memory = padded_memory()
    context, first = case.make()(query, memory)
    if clearing:  # it clears the masks of its own inputs
        context = keras.layers.MultiHeadAttention(2, 3)(context, memory)
    context, second = case.make()(context, memory)
    model = keras.Model([ids, query], [context, first, second])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [IDS, tensors(case)[0]]
    for outputs in (model(inputs), again.predict(inputs, verbose=0)):
        for weights in arrays(outputs[1:]):
            assert (by_key(weights)[~KEPT] == 0).all()
            same(weights.sum(-1), np.ones(weights.shape[:-1]))


@every_layer
def test_the_memory_keeps_its_mask_for_the_layers_after_ours(case):
    memory = keras.layers.Masking()(tensors(case)[2] * KEPT[..., None])
    expected = array(keras.layers.GlobalAveragePooling1D()(memory))
    case.make()(tensors(case)[0], memory)
    same(array(keras.layers.GlobalAveragePooling1D()(memory)), expected)
    assert not np.allclose(expected, array(memory).mean(1))


# Sentences

QUERY, VALUE = np.zeros((B, T, D), "float32"), np.zeros((B, S, D), "float32")
REFUSED = {
    "return_attention_scores": (
        ((QUERY,), {"return_attention_scores": True}),
        ArgumentError,
        r"return_attention_scores is not a call argument.*return_weights=False",
    ),
    "a state without positions": (((QUERY[:, 0], VALUE), {}), ShapeError, r"\(2, 11\).*query\[:, None, :\]"),
    "four axes": (((QUERY[None],), {}), ShapeError, r"query must have shape \(batch, positions, features\)"),
    "two batch sizes": (((QUERY, VALUE[:1]), {}), ShapeError, "query and value must have the same batch size"),
    "keys without values": (((QUERY,), {"key": VALUE}), ArgumentError, "a key needs a value"),
    "more keys than values": (((QUERY, VALUE, QUERY), {}), ShapeError, "key and value must have the same number"),
    "a list and more": ((([QUERY, VALUE], VALUE), {}), ArgumentError, "a list of 2 and a second argument"),
    "a list of four": ((([QUERY] * 4,), {}), ArgumentError, r"expected \[query\].*a list of 4"),
    "a float mask": (((QUERY, VALUE), {"value_mask": KEPT.astype("float32")}), MaskError, r"boolean.*score_bias="),
    "an int mask": (((QUERY, VALUE), {"value_mask": KEPT.astype("int32")}), MaskError, r"mask\.astype\(bool\)"),
    "a mask of other size": (((QUERY, VALUE), {"value_mask": KEPT[:, 1:]}), MaskError, r"\(2, 7\); received \(2, 6\)"),
    "a self mask of other size": (((QUERY,), {"value_mask": KEPT}), MaskError, r"value_mask must.*\(2, 5\)"),
    "a key mask of other size": (((QUERY,), {"key_mask": KEPT}), MaskError, r"key_mask must.*\(2, 5\)"),
    "one mask for two": (((QUERY, VALUE), {"mask": KEPT}), MaskError, r"mask=\[query_mask, value_mask\]"),
    "four masks": (((QUERY, VALUE), {"mask": [None] * 4}), MaskError, "up to three masks; received 4"),
    "an attention mask of two axes": (
        ((QUERY, VALUE), {"attention_mask": np.ones((T, S), bool)}),
        MaskError,
        r"could be \(batch, keys\) or \(queries, keys\)",
    ),
    "an attention mask of other size": (
        ((QUERY, VALUE), {"attention_mask": np.ones((B, S, T), bool)}),
        MaskError,
        r"must have shape \(B, T, S\) = \(2, 5, 7\); received \(2, 7, 5\)",
    ),
    "a float attention mask": (((QUERY, VALUE), {"attention_mask": np.ones((B, T, S))}), MaskError, "must be boolean"),
    "a bias of other size": (
        ((QUERY, VALUE), {"score_bias": np.zeros((S, T))}),
        ShapeError,
        "score_bias must broadcast",
    ),
    "projected keys of other size": (
        ((QUERY, VALUE), {"projected_keys": QUERY}),
        ShapeError,
        r"projected_keys must have shape.*\(2, 7\); received \(2, 5, 11\).*project_keys",
    ),
    "one length for all": (
        ((QUERY, VALUE), {"lengths": 3}),
        ShapeError,
        r"lengths must have shape \(batch,\) = \(2,\)",
    ),
    "lengths of two axes": (((QUERY, VALUE), {"lengths": [[3], [4]]}), ShapeError, r"received \(2, 1\)"),
    "lengths and a mask": (((QUERY, VALUE), {"lengths": [3, 4], "value_mask": KEPT}), MaskError, "one of the two"),
}


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_call_that_could_mean_two_things_is_refused(call, error, sentence):
    args, kwargs = call
    with pytest.raises(error, match=sentence):
        ScaledDotProductAttention()(*args, **kwargs)


@every_layer
@pytest.mark.parametrize(
    ("argument", "given", "sentence"),
    [
        ("weights_kind", "logits", "weights_kind must be one of 'weights', 'scores', 'dropped'; received 'logits'"),
        ("fully_masked", "nan", "fully_masked must be one of 'zero', 'uniform', 'error'; received 'nan'"),
        ("dropout", 1.0, r"dropout must be in \[0, 1\); received 1.0"),
        ("dropout", -0.1, r"dropout must be in \[0, 1\); received -0.1"),
    ],
)
def test_a_constructor_argument_out_of_range_is_refused(case, argument, given, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        case.make(**{argument: given})


@pytest.mark.parametrize("units", [0, -1, 2.0, True, "3"])
def test_units_must_be_a_positive_integer(units):
    for make in (BahdanauAttention, lambda units: LuongAttention("concat", units=units)):
        with pytest.raises(ArgumentError, match="units must be a positive integer; received"):
            make(units)


def test_an_unknown_score_is_refused():
    with pytest.raises(ArgumentError, match="score must be one of 'dot', 'general', 'concat'; received 'bilinear'"):
        LuongAttention("bilinear")


@pytest.mark.parametrize("layer", [LuongAttention("dot"), ScaledDotProductAttention()], ids=["dot", "scaled"])
def test_a_product_of_two_sizes_is_refused(layer):
    with pytest.raises(ShapeError, match=r"query and key .*one size; received \(2, 5, 11\) and \(2, 7, 13\)"):
        layer(QUERY, np.zeros((B, S, V), "float32"))


def test_a_layer_without_a_score_says_what_is_missing():
    with pytest.raises(NotImplementedError, match=r"must define score\(query, keys\)"):
        AttentionLayer()(QUERY)


def test_projections_start_from_different_numbers():
    layer = BahdanauAttention(D)
    layer(QUERY)
    kernels = [array(dense.kernel) for dense in (layer.query_dense, layer.key_dense)]
    for one, other in itertools.combinations(kernels, 2):
        assert not np.allclose(one, other)


@every_layer
def test_features_that_the_weights_were_not_made_for_are_refused(case):
    layer = case.make()
    query, value, key = tensors(case)
    layer(query, value, key)
    with pytest.raises(ShapeError, match=r"received \(2, 7, \d+\)|one size; received"):
        layer(query, value, key[..., :-1])
    layer(query, value, projected_keys=layer.project_keys(key))  # here the value is not what the keys are made of


@every_layer
def test_a_mask_of_pairs_and_a_bias_may_be_lists(case):
    layer, (query, value, key) = case.make(), tensors(case)
    mask, bias = np.tril(np.ones((B, T, S), bool)), np.arange(T * S, dtype="float32").reshape(T, S) / 9
    expected = layer(query, value, key, attention_mask=mask, score_bias=bias)
    same(arrays(layer(query, value, key, attention_mask=mask.tolist(), score_bias=bias.tolist())), arrays(expected))


@every_layer
def test_integers_are_taken_as_numbers(case):
    query, value, key = (np.round(3 * tensor) for tensor in tensors(case))
    layer = case.make()
    expected = layer(query, value, key)
    same(arrays(layer(*(ops.cast(tensor, "int32") for tensor in (query, value, key)))), arrays(expected))


@every_layer
@pytest.mark.parametrize("normalizer", ["softmax", "sparsemax", "entmax15"])
def test_a_batch_may_be_empty(case, normalizer):
    context, weights = case.make(normalizer=normalizer)(*tensors(case, batch=0), lengths=np.zeros(0, "int32"))
    assert tuple(context.shape) == (0, T, case.features)
    assert tuple(weights.shape) == case.weights_shape(0, T, S)


@every_layer
@pytest.mark.parametrize("normalizer", ["softmax", "sparsemax", "sigmoid"])
def test_a_product_too_large_for_float16_leaves_numbers(case, normalizer):
    large = [300 * tensor for tensor in tensors(case)]
    for part in arrays(case.make(dtype="float16", normalizer=normalizer)(*large, value_mask=KEPT)):
        assert np.isfinite(part).all()


@every_layer
def test_what_fills_the_last_block_is_no_row_without_a_key(case):
    layer = case.make(top_k=2, block_size=2, fully_masked="error")  # T is odd
    assert np.isfinite(array(layer(*tensors(case), attention_mask=np.ones((B, T, S), bool))[1])).all()
