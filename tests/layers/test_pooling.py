"""Attention pooling against the papers, and the contract every attention layer keeps.

Only ``keras.ops`` and ``keras.Model`` here, but for the parts that say otherwise: this file runs on JAX too.
"""

import inspect
import itertools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from keras_attn_xai.errors import ArgumentError, MaskError, ModelError, ShapeError
from keras_attn_xai.layers import AttentionLayer, AttentionPooling, normalizers, weights_regularizers
from tests.layers import pooling_reference as reference
from tests.layers.contract import DTYPES, PROJECTED, array, arrays, same, variables_as_arrays

pytestmark = variables_as_arrays
B, S, V, U, R, H = 2, 7, 13, 3, 5, 11  # every axis its own prime: no wrong transpose can pass
INPUTS = np.random.default_rng(7).normal(size=(B, S, V)).astype("float32")
KEPT = np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]], bool)
LENGTHS = KEPT.sum(axis=1)
EMPTY_ROW = KEPT & [[True], [False]]
MASKS = {"no mask": None, "padded": KEPT, "empty row": EMPTY_ROW}
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="asks TensorFlow itself")


class Case(NamedTuple):
    """One score of the layer."""

    score: str
    scores: Callable  # (layer, inputs) -> scores, from the reference
    rows: tuple  # axes between the batch and the positions
    vectors: tuple  # axes between the batch and the features
    count: int  # weights of the layer
    biases: int  # more of them with use_bias=True

    def make(self, **kwargs):
        return AttentionPooling(self.score, **{"units": U, "hops": R, "num_heads": H, **kwargs})

    def expected(self, layer, mask=None, **options):
        """Context and weights by the reference."""
        read = np.concatenate([INPUTS, np.ones((B, S, 1))], axis=-1) if layer.use_bias else INPUTS
        weights = reference.normalized(self.scores(layer, read), mask, **options)
        if self.score != "query":
            return reference.pooled(weights, INPUTS), weights
        W_o, b_o = array(layer.output_dense.kernel).reshape(H * U, V).T, layer.output_dense.bias
        context = reference.pooled_heads(weights, read, heads(layer.value_dense), W_o)
        return context if b_o is None else context + array(b_o), weights


def kernel(dense):
    """The matrix (U, V) of the papers, its bias as the last column; Dense multiplies from the right."""
    columns = array(dense.kernel).T
    return columns if dense.bias is None else np.column_stack([columns, array(dense.bias)])


def heads(dense):
    """The matrices (H, U, V) of a projection to heads."""
    matrices = np.transpose(array(dense.kernel), (1, 2, 0))
    return matrices if dense.bias is None else np.concatenate([matrices, array(dense.bias).reshape(H, U, 1)], axis=-1)


CASES = [
    Case("location", lambda layer, x: reference.location_scores(x, kernel(layer.score_dense)[0]), (), (), 1, 1),
    Case(
        "feedforward",
        lambda layer, x: reference.feedforward_scores(x, kernel(layer.hidden_dense), kernel(layer.score_dense)[0]),
        (), (), 2, 1,
    ),
    Case(
        "gated",
        lambda layer, x: reference.gated_scores(
            x, kernel(layer.hidden_dense), kernel(layer.gate_dense), kernel(layer.score_dense)[0]
        ), (), (), 3, 2,
    ),
    Case(
        "multi_hop",
        lambda layer, x: reference.multi_hop_scores(x, kernel(layer.hidden_dense), kernel(layer.score_dense)),
        (R,), (R,), 2, 1,
    ),
    Case(
        "query", lambda layer, x: reference.query_scores(x, array(layer.query), heads(layer.key_dense)),
        (H,), (), 4, 3,
    ),
]  # fmt: skip
every_score = pytest.mark.parametrize("case", CASES, ids=lambda case: case.score)
one_weight = pytest.mark.parametrize("case", CASES[:3], ids=lambda case: case.score)


def twin(layer, **changes):
    """A layer with the same weights and another configuration, built on the same inputs."""
    other = AttentionPooling.from_config({**layer.get_config(), **changes})
    other.build(INPUTS.shape)
    other.set_weights(layer.get_weights())
    return other


def model_of(layer):
    """A model of one layer with an unknown number of positions, its outputs in a dict."""
    inputs, kept = keras.Input((None, V), name="inputs"), keras.Input((None,), dtype="bool", name="kept")
    context, weights = layer(inputs, mask=kept)
    return keras.Model({"inputs": inputs, "kept": kept}, {"context": context, "weights": weights})


FED = {"inputs": INPUTS, "kept": EMPTY_ROW}


RANDOM = keras.initializers.RandomNormal(stddev=0.5, seed=5)
EVERY_ARGUMENT = PROJECTED | {  # another value than the default for each
    "score": "gated",
    "units": 17,
    "hops": 3,
    "num_heads": 6,
    "weighted_sequence": True,
}


# The numbers


@every_score
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("fully_masked", ["zero", "uniform"])
def test_weights_and_context_are_those_of_the_papers(case, mask, fully_masked):
    layer = case.make(fully_masked=fully_masked)
    outputs = arrays(layer(INPUTS, mask=mask))
    same(outputs, case.expected(layer, mask, fully_masked=fully_masked), atol=1e-5)


@every_score
def test_biases_stand_where_the_docstring_says(case):
    layer = case.make(use_bias=True, bias_initializer=RANDOM)
    same(arrays(layer(INPUTS, mask=KEPT)), case.expected(layer, KEPT), atol=1e-5)
    assert len(layer.weights) == case.count + case.biases


def test_the_bias_of_a_location_score_moves_a_sigmoid_gate():
    layer = AttentionPooling("location", normalizer="sigmoid", use_bias=True, bias_initializer="ones")
    context, weights = arrays(layer(INPUTS, mask=KEPT))
    scores = np.einsum("biv,v->bi", INPUTS, array(layer.score_dense.kernel)[:, 0]) + 1
    expected = KEPT / (1 + np.exp(-scores))
    same(weights, expected, atol=1e-5)
    same(context, reference.pooled(expected, INPUTS), atol=1e-5)


def test_one_hop_is_feedforward():
    hop, plain = AttentionPooling("multi_hop", units=U, hops=1), AttentionPooling("feedforward", units=U)
    context, weights = arrays(hop(INPUTS, mask=KEPT))
    plain.build(INPUTS.shape)
    plain.set_weights(hop.get_weights())
    same(arrays(plain(INPUTS, mask=KEPT)), [context[:, 0], weights[:, 0]])


def test_a_gate_that_is_open_everywhere_is_feedforward():
    gated, plain = (AttentionPooling(score, units=U, use_bias=True) for score in ("gated", "feedforward"))
    gated.build(INPUTS.shape)
    plain.build(INPUTS.shape)
    gated.gate_dense.bias.assign(np.full(U, 1e3))
    plain.hidden_dense.set_weights(gated.hidden_dense.get_weights())
    plain.score_dense.set_weights(gated.score_dense.get_weights())
    same(arrays(gated(INPUTS)), arrays(plain(INPUTS)), atol=1e-5)


def test_a_learned_query_is_multi_head_attention_with_one_query():
    layer = AttentionPooling("query", units=U, num_heads=H)
    context, weights = arrays(layer(INPUTS, mask=KEPT))
    theirs = keras.layers.MultiHeadAttention(H, U, use_bias=False, output_shape=V)
    seed = np.ones((B, 1, 1), "float32")  # of size 1, so that its projection is the learned query itself
    theirs.build(seed.shape, INPUTS.shape)
    theirs.set_weights(
        [array(layer.query)[None], *(array(dense.kernel) for dense in (layer.key_dense, layer.value_dense)),
         array(layer.output_dense.kernel)]
    )  # fmt: skip
    mask = np.broadcast_to(KEPT[:, None], (B, 1, S))
    expected = theirs(seed, INPUTS, attention_mask=mask, return_attention_scores=True)
    same([context[:, None], weights[:, :, None]], arrays(expected), atol=1e-5)


@every_score
def test_a_bag_has_no_order(case):
    layer = case.make()
    context, weights = arrays(layer(INPUTS, mask=KEPT))
    order = np.array([3, 6, 0, 5, 2, 1, 4])
    shuffled = arrays(layer(INPUTS[:, order], mask=KEPT[:, order]))
    same(shuffled, [context, weights[..., order]], atol=1e-5)


@every_score
def test_a_batch_is_its_rows_one_by_one(case):
    layer = case.make()
    together = arrays(layer(INPUTS, mask=KEPT))
    for row in range(B):
        only = slice(row, row + 1)
        same(arrays(layer(INPUTS[only], mask=KEPT[only])), [part[only] for part in together])


@every_score
def test_weights_kind_chooses_what_comes_out(case):
    layer = case.make(weights_kind="scores", dropout=0.5)
    scores = array(layer(INPUTS, mask=KEPT, training=True)[1])
    same(scores, case.scores(layer, INPUTS), atol=1e-5)
    expected = reference.normalized(scores, KEPT)
    same(array(twin(layer, weights_kind="weights")(INPUTS, mask=KEPT, training=True)[1]), expected, atol=1e-5)
    context, dropped = arrays(twin(layer, weights_kind="dropped")(INPUTS, mask=KEPT, training=True))
    lost = (dropped == 0) & (expected > 0)
    assert 0 < lost.sum() < (expected > 0).sum()
    same(dropped[~lost], 2 * expected[~lost], atol=1e-5)  # those that stay are scaled by 1 / (1 - rate)
    if case.score != "query":
        same(context, reference.pooled(dropped, INPUTS), atol=1e-5)


@every_score
@pytest.mark.parametrize("normalizer", ["sparsemax", "entmax15"])
def test_sparse_weights_are_exactly_zero_and_sum_to_one(case, normalizer):
    layer = case.make(normalizer=normalizers.NAMES[normalizer](temperature=0.02))
    weights = array(layer(INPUTS, mask=KEPT)[1])
    same(weights.sum(-1), np.ones(weights.shape[:-1]), atol=1e-5)
    assert (np.moveaxis(weights, -1, 1)[~KEPT] == 0).all()
    assert (np.moveaxis(weights, -1, 1)[KEPT] == 0).any()


# Outputs and their shapes


@every_score
@pytest.mark.parametrize("positions", [S, None])
@pytest.mark.parametrize("top_k", [None, 2])
def test_the_static_shape_is_the_dynamic_one(case, positions, top_k):
    layer = case.make(top_k=top_k)
    promised, real = layer(keras.Input((positions, V))), layer(INPUTS)
    sizes = [(*case.vectors, V)] + [(*case.rows, top_k or S)] * (1 if top_k is None else 2)
    assert [tuple(part.shape) for part in real] == [(B, *size) for size in sizes]
    assert layer.compute_output_shape((B, S, V)) == tuple((B, *size) for size in sizes)
    unknown = [size if top_k or positions else (*size[:-1], None) for size in sizes[1:]]
    assert [part.shape for part in promised] == [(None, *size) for size in (sizes[0], *unknown)]
    kinds = [[keras.backend.standardize_dtype(part.dtype) for part in parts] for parts in (promised, real)]
    assert kinds[0] == kinds[1]


@every_score
def test_return_weights_false_leaves_the_context_alone(case):
    layer = case.make()
    both = layer(INPUTS, mask=EMPTY_ROW)
    alone = twin(layer, return_weights=False)
    np.testing.assert_array_equal(array(alone(INPUTS, mask=EMPTY_ROW)), array(both[0]))
    assert alone.compute_output_shape((B, S, V)) == alone(keras.Input((S, V), batch_size=B)).shape == both[0].shape


@every_score
def test_top_k_gives_the_largest_weights_and_their_positions(case):
    layer = case.make()
    context, weights = arrays(layer(INPUTS, mask=KEPT))
    of_all, largest, indices = arrays(twin(layer, top_k=3)(INPUTS, mask=KEPT))
    same(of_all, context)
    same(largest, -np.sort(-weights, axis=-1)[..., :3])
    same(np.take_along_axis(weights, indices, axis=-1), largest)


def test_units_are_the_features_by_default_and_shared_out_among_heads():
    for score, shape in {"feedforward": (V, V), "gated": (V, V), "multi_hop": (V, V)}.items():
        layer = AttentionPooling(score)
        layer.build((None, None, V))
        assert layer.hidden_dense.kernel.shape == shape
    for num_heads, size in {4: 3, 17: 1}.items():
        layer = AttentionPooling("query", num_heads=num_heads)
        layer.build((None, None, V))
        assert layer.query.shape == (num_heads, size)


# The weighted sequence


@one_weight
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_weighted_sequence_is_the_sum_not_yet_taken(case, mask):
    layer = case.make(weighted_sequence=True)
    sequence, weights = arrays(layer(INPUTS, mask=mask))
    context, expected = arrays(twin(layer, weighted_sequence=False)(INPUTS, mask=mask))
    same(weights, expected)
    same(sequence, reference.weighted(weights, INPUTS))
    same(sequence.sum(axis=1), context, atol=1e-5)
    assert layer.compute_output_shape((B, None, V)) == ((B, None, V), (B, None))


@pytest.mark.parametrize("return_weights", [True, False])
@pytest.mark.parametrize("attached", [True, False], ids=["attached", "given"])
def test_a_weighted_sequence_keeps_the_mask(return_weights, attached):
    layer = AttentionPooling(weighted_sequence=True, return_weights=return_weights)
    padded = INPUTS * KEPT[..., None]
    outputs = layer(keras.layers.Masking()(padded)) if attached else layer(padded, mask=KEPT)
    sequence = outputs[0] if return_weights else outputs
    mean = array(keras.layers.GlobalAveragePooling1D()(sequence))
    same(mean, array(sequence).sum(axis=1) / LENGTHS[:, None], atol=1e-5)
    mask = layer.compute_mask(INPUTS, KEPT)
    assert mask == (KEPT, None) if return_weights else mask is KEPT


@every_score
def test_a_pooled_vector_has_no_mask(case):
    layer = case.make()
    assert layer.compute_mask(INPUTS, KEPT) == (None, None)
    assert case.make(return_weights=False).compute_mask(INPUTS, KEPT) is None
    context, weights = layer(keras.layers.Masking()(INPUTS * KEPT[..., None]))
    assert getattr(context, "_keras_mask", None) is None
    assert getattr(weights, "_keras_mask", None) is None


# Rows and masks


@every_score
@pytest.mark.parametrize(("fully_masked", "empty"), [("zero", 0), ("uniform", 1)])
def test_rows_sum_to_one_or_as_fully_masked_says(case, fully_masked, empty):
    context, weights = arrays(case.make(fully_masked=fully_masked)(INPUTS, mask=EMPTY_ROW))
    assert (np.moveaxis(weights, -1, 1)[0][~KEPT[0]] == 0).all()
    assert (np.moveaxis(weights, -1, 1)[0][KEPT[0]] > 0).all()
    same(weights[0].sum(-1), np.ones(case.rows))
    same(weights[1], np.full((*case.rows, S), empty / S))
    assert (context[1] == 0).all() == (empty == 0)


@every_score
def test_fully_masked_error_raises_when_a_row_has_no_position(case):
    layer = case.make(fully_masked="error")
    layer(INPUTS, mask=KEPT)
    with pytest.raises(MaskError, match="every key masked and fully_masked='error'"):
        layer(INPUTS, mask=EMPTY_ROW)


@every_score
def test_padding_does_not_change_the_real_part(case):
    layer = case.make()
    context, weights = arrays(layer(INPUTS[:1, :4]))
    padded = INPUTS[:1].copy()
    padded[0, 4:] = 1e4
    again = arrays(layer(padded, mask=KEPT[:1]))
    same([again[0], again[1][..., :4]], [context, weights], atol=1e-5)
    assert (again[1][..., 4:] == 0).all()


@every_score
@pytest.mark.parametrize("fully_masked", ["zero", "uniform"])
def test_padding_may_be_anything_even_nan(case, fully_masked):
    x, layer = INPUTS.copy(), case.make(fully_masked=fully_masked)
    expected = arrays(layer(x, mask=KEPT))
    x[~KEPT] = np.nan
    same(arrays(layer(x, mask=KEPT)), expected)


@every_score
def test_a_mask_is_the_same_in_every_spelling(case):
    padded = INPUTS * KEPT[..., None]  # Masking reads zeros
    layer = case.make()
    expected = arrays(layer(padded, mask=KEPT))
    assert not np.allclose(array(layer(padded)[1]), expected[1])
    for inputs, spelling in [
        (padded, {"mask": KEPT.tolist()}),
        (padded, {"mask": ops.convert_to_tensor(KEPT)}),
        (padded, {"lengths": LENGTHS}),
        (padded, {"lengths": LENGTHS.tolist()}),
        (ops.convert_to_tensor(padded), {"lengths": ops.convert_to_tensor(LENGTHS)}),
        (padded.astype("float64"), {"mask": KEPT}),
        (keras.layers.Masking()(padded), {}),
    ]:
        same(arrays(layer(inputs, **spelling)), expected)
    same(arrays(layer(padded, KEPT)), expected)


def test_a_given_mask_beats_the_one_the_inputs_carry_and_leaves_it_there():
    attached = keras.layers.Masking()(INPUTS * KEPT[..., None])
    layer = AttentionPooling()
    given = ~KEPT
    same(arrays(layer(attached, mask=given)), arrays(layer(array(attached), mask=given)))
    same(arrays(layer(attached, lengths=[1, 1])), arrays(layer(array(attached), lengths=[1, 1])))
    mean = array(keras.layers.GlobalAveragePooling1D()(attached))
    same(mean, array(attached).sum(axis=1) / LENGTHS[:, None], atol=1e-5)


# Dtypes and dropout


@every_score
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fully_masked", ["zero", "uniform"])
def test_every_dtype_is_finite_also_in_an_empty_row(case, dtype, fully_masked):
    layer = case.make(dtype=dtype, fully_masked=fully_masked)
    outputs = layer(10 * INPUTS, mask=EMPTY_ROW)
    assert all(keras.backend.standardize_dtype(part.dtype) == layer.compute_dtype for part in outputs)
    context, weights = arrays(outputs)
    assert np.isfinite(context).all()
    same(weights[0].sum(-1), np.ones(case.rows), atol=0.02)
    assert (weights[0][..., ~KEPT[0]] == 0).all()
    same(weights[1], np.full((*case.rows, S), 1 / S if fully_masked == "uniform" else 0.0), atol=1e-3)
    symbolic = layer(keras.Input((S, V)))
    assert all(part.dtype == layer.compute_dtype for part in symbolic)


@every_score
def test_dropout_drops_in_training_only_and_the_weights_are_from_before_it(case):
    layer = case.make(dropout=0.5, seed=1)
    context, weights = arrays(layer(INPUTS))
    same([context, weights], arrays(twin(layer, dropout=0.0)(INPUTS)))
    trained = arrays(layer(INPUTS, training=True))
    same(trained[1], weights)
    assert np.abs(trained[0] - context).max() > 0.01


# Configuration, saving, training


def test_every_constructor_argument_round_trips():
    named = set()
    for parent in AttentionPooling.__mro__[: AttentionPooling.__mro__.index(AttentionLayer) + 1]:
        named |= set(inspect.signature(parent.__init__).parameters)
    assert set(EVERY_ARGUMENT) == named - {"self", "kwargs"}, "the table must have a value for every argument"
    default = AttentionPooling(name="named", dtype="mixed_float16").get_config()
    for name, given in EVERY_ARGUMENT.items():
        config = AttentionPooling(**{name: given}, name="named", dtype="mixed_float16").get_config()
        again = AttentionPooling.from_config(config)
        assert again.get_config() == config
        assert again.dtype_policy.name == "mixed_float16"
        assert {other for other in config if config[other] != default[other]} == {name}


@every_score
def test_the_arguments_of_dense_reach_every_weight(case):
    names = ("kernel", "bias", "use")
    given = {name: value for name, value in PROJECTED.items() if name.startswith(names)}
    layer = case.make(**given)
    layer(INPUTS)
    biases = [weight for weight in layer.trainable_weights if weight.name == "bias"]
    kernels = [weight for weight in layer.trainable_weights if weight.name != "bias"]
    assert (len(kernels), len(biases)) == (case.count, case.biases)
    assert len(layer.losses) == len(layer.trainable_weights)
    for bias in biases:
        assert (array(bias) == 1).all()
        assert isinstance(bias.constraint, keras.constraints.NonNeg)
    for weight in kernels:
        assert isinstance(weight.constraint, keras.constraints.MaxNorm)
        assert array(weight).std() > 0.1  # HeNormal


@every_score
def test_projections_start_from_different_numbers(case):
    layer = case.make(units=V, num_heads=1)
    layer(INPUTS)
    starts = [array(weight).ravel() for weight in layer.weights]
    for one, other in itertools.combinations([start for start in starts if start.size == V * V], 2):
        assert not np.allclose(one, other)


@every_score
def test_reloaded_from_a_keras_file_the_numbers_are_the_same(case, tmp_path):
    layer = case.make(name="pooling")
    model = model_of(layer)
    expected = model.predict(FED, verbose=0)
    same([expected["context"], expected["weights"]], arrays(layer(INPUTS, mask=EMPTY_ROW)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").predict(FED, verbose=0)
    same([again["context"], again["weights"]], [expected["context"], expected["weights"]])


@every_score
def test_a_normaliser_that_learns_has_its_weights_once_the_layer_is_built(case):
    layer = case.make(normalizer=normalizers.Entmax(1.25, learnable=True))
    layer.build((None, None, V))
    (shift,) = layer.normalizer.weights
    assert shift.shape == ((H,) if case.score == "query" else (1,))
    shift.assign(array(shift) + 1)
    before = arrays(layer(INPUTS))
    assert layer.normalizer.weights == [shift]
    same(arrays(twin(layer)(INPUTS)), before)


@every_score
def test_gradients_reach_every_weight(case):
    # a softmax does not see what shifts all scores of a row alike, as some biases do; a sigmoid does
    layer = case.make(use_bias=True, normalizer="sigmoid")
    inputs = keras.Input((S, V))
    model = keras.Model(inputs, layer(inputs)[0])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    before = [array(weight).copy() for weight in model.trainable_weights]
    model.train_on_batch(INPUTS, np.ones((B, *case.vectors, V), "float32"))
    assert len(before) == case.count + case.biases
    for old, weight in zip(before, model.trainable_weights, strict=True):
        assert np.isfinite(array(weight)).all()
        assert np.abs(array(weight) - old).max() > 0, weight.path


def test_training_finds_the_positions_that_matter():
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(3)
    bags = rng.normal(size=(256, S, V)).astype("float32")
    key = rng.integers(0, S, size=256)
    bags[np.arange(256), key, 0] += 4  # the instance to find
    answer = bags[np.arange(256), key, 1]
    inputs = keras.Input((S, V))
    context, weights = AttentionPooling("gated", units=8)(inputs)
    model = keras.Model(inputs, {"answer": keras.layers.Dense(1)(context), "weights": weights})
    model.compile(keras.optimizers.Adam(0.05), loss={"answer": "mse", "weights": None})
    model.fit(bags, {"answer": answer}, epochs=40, batch_size=32, verbose=0)
    found = model.predict(bags, verbose=0)["weights"].argmax(axis=1)
    assert (found == key).mean() > 0.9


@every_score
@pytest.mark.parametrize("how", ["int8", "LoRA"])
def test_projections_can_be_quantised_and_adapted(case, how):
    layer = case.make()
    context, weights = arrays(layer(INPUTS, mask=KEPT))
    for part in layer._flatten_layers(include_self=False):
        if isinstance(part, (keras.layers.Dense, keras.layers.EinsumDense)):
            part.quantize("int8") if how == "int8" else part.enable_lora(2)
    again = arrays(layer(INPUTS, mask=KEPT))
    same(again, [context, weights], atol=0.1 if how == "int8" else 1e-6)
    assert len(layer.trainable_weights) == (case.score == "query") + how.count("LoRA") * 2 * (
        case.count - (case.score == "query")
    )


@every_score
def test_a_regulariser_is_paid_for_the_weights_of_every_row(case):
    layer = case.make(weights_regularizer=weights_regularizers.Entropy(0.5))
    weights = array(layer(INPUTS, mask=KEPT)[1])
    entropies = -np.sum(weights * np.log(np.where(weights > 0, weights, 1)), axis=-1)
    same(array(sum(layer.losses)), 0.5 * entropies.mean(), atol=1e-5)


def test_hops_pay_for_looking_at_the_same_positions():
    layer = AttentionPooling("multi_hop", hops=R, weights_regularizer=weights_regularizers.Orthogonality(1.0))
    A = array(layer(INPUTS)[1])
    squares = np.square(A @ np.swapaxes(A, 1, 2) - np.eye(R)).sum(axis=(1, 2))  # Lin et al., eq. 8
    same(array(sum(layer.losses)), squares.mean() / R, atol=1e-5)  # a mean over queries, and each hop is one


# Inside other models


@every_score
def test_a_sequential_takes_return_weights_false(case):
    layer = case.make(return_weights=False)
    model = keras.Sequential(
        [keras.Input((None, V)), keras.layers.Masking(), layer, keras.layers.Dense(2, kernel_initializer="ones")]
    )
    padded = INPUTS * KEPT[..., None]
    expected = array(layer(padded, mask=KEPT)).sum(axis=-1, keepdims=True).repeat(2, axis=-1)
    same(model.predict(padded, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("known", [True, False], ids=["with an Input", "built by its first call"])
def test_a_tuple_inside_a_sequential_gets_a_sentence(known):
    layers = [AttentionPooling(), keras.layers.Dense(2)]
    with pytest.raises(ModelError, match="Build it with return_weights=False"):
        keras.Sequential([keras.Input((S, V)), *layers]) if known else keras.Sequential(layers)(INPUTS)


def test_padding_is_left_out_after_a_layer_that_clears_masks(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(17, V, mask_zero=True)(ids)
    cleared = keras.layers.MultiHeadAttention(2, 3)(embedded, embedded)  # clears the masks of its own inputs
    block = keras.layers.LayerNormalization()(keras.layers.Add()([embedded, cleared]))
    model = keras.Model(ids, [AttentionPooling("location")(tensor)[1] for tensor in (embedded, block)])
    model.save(tmp_path / "model.keras")
    numbers = np.where(KEPT, np.arange(1, S + 1), 0)
    for outputs in (model(numbers), keras.saving.load_model(tmp_path / "model.keras").predict(numbers, verbose=0)):
        for weights in arrays(outputs):
            assert (weights[~KEPT] == 0).all()
            same(weights.sum(-1), np.ones(B))


def test_lengths_may_be_an_input_of_the_model():
    inputs, lengths = keras.Input((None, V)), keras.Input((), dtype="int32")
    layer = AttentionPooling()
    model = keras.Model([inputs, lengths], layer(inputs, lengths=lengths))
    same(model.predict([INPUTS, LENGTHS], verbose=0), arrays(layer(INPUTS, mask=KEPT)))


# Graphs, XLA and SavedModels of TensorFlow


@on_tensorflow
@every_score
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
def test_compiled_is_eager(case, jit):
    import tensorflow as tf

    layer = case.make()
    expected = arrays(layer(INPUTS, mask=EMPTY_ROW))
    specs = [tf.TensorSpec((None, None, V)), tf.TensorSpec((None, None), "bool")]
    run = tf.function(lambda x, kept: layer(x, mask=kept), specs, jit_compile=jit, autograph=False)
    same(arrays(run(INPUTS, EMPTY_ROW)), expected)


@on_tensorflow
@every_score
def test_exported_as_a_saved_model_the_numbers_are_the_same(case, tmp_path):
    import tensorflow as tf

    model = model_of(case.make(dropout=0.5))
    expected = model.predict(FED, verbose=0)
    model.export(str(tmp_path), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path))
    got = loaded.serve({name: tf.constant(one) for name, one in FED.items()})
    same([got["context"], got["weights"]], [expected["context"], expected["weights"]])


@on_tensorflow
def test_fully_masked_error_stops_predict():
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match="every key masked"):
        model_of(AttentionPooling(fully_masked="error")).predict(FED, verbose=0)


# Sentences

REFUSED = {
    "a vector": (
        (INPUTS[:, 0],),
        {},
        ShapeError,
        r"inputs must have .*\(batch, positions, features\); received \(2, 13\)",
    ),
    "four axes": ((INPUTS[None],), {}, ShapeError, r"received \(1, 2, 7, 13\) of dtype float32"),
    "a float mask": (
        (INPUTS, KEPT.astype("float32")),
        {},
        MaskError,
        r"mask must be boolean.*received dtype float32 of shape \(2, 7\).*mask\.astype\(bool\)",
    ),
    "a mask of other size": (
        (INPUTS, KEPT[:, 1:]),
        {},
        MaskError,
        r"\(batch, positions\) = \(2, 7\); .*shape \(2, 6\)",
    ),
    "a mask of three axes": ((INPUTS, KEPT[:, None]), {}, MaskError, r"received dtype bool of shape \(2, 1, 7\)"),
    "lengths and a mask": ((INPUTS, KEPT), {"lengths": LENGTHS}, MaskError, "pass one of the two"),
    "one length for all": ((INPUTS,), {"lengths": 3}, ShapeError, r"lengths must have shape \(batch,\) = \(2,\)"),
    "return_attention_scores": (
        (INPUTS,),
        {"return_attention_scores": True},
        ArgumentError,
        "not a call argument.*return_weights=False",
    ),
}


@pytest.mark.parametrize(("args", "kwargs", "error", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_call_that_could_mean_two_things_is_refused(args, kwargs, error, sentence):
    with pytest.raises(error, match=sentence):
        AttentionPooling()(*args, **kwargs)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"score": "dot"},
            "score must be one of 'location', 'feedforward', 'gated', 'multi_hop', 'query'; received 'dot'",
        ),
        ({"units": 0}, "units must be a positive integer; received 0"),
        ({"hops": 2.5}, "hops must be a positive integer; received 2.5"),
        ({"num_heads": True}, "num_heads must be a positive integer; received True"),
        ({"score": "query", "weighted_sequence": True}, "needs one weight a position.*received score='query'"),
        ({"score": "multi_hop", "weighted_sequence": True}, "needs one weight a position.*received score='multi_hop'"),
        ({"weights_kind": "logits"}, "weights_kind must be one of"),
        ({"normalizer": "hardmax"}, "normalizer must be one of"),
    ],
)
def test_a_constructor_argument_out_of_range_is_refused(arguments, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        AttentionPooling(**arguments)


def test_more_top_weights_than_positions_are_refused():
    with pytest.raises(ShapeError, match="top_k=9 of 7 positions"):
        AttentionPooling(top_k=9)(keras.Input((S, V)))


def test_the_input_may_come_alone_in_a_list_or_tuple():
    layer, inputs = AttentionPooling("location"), np.random.default_rng(1).normal(size=(2, 7, 11))
    expected = arrays(layer(inputs))
    same(arrays(layer([inputs])), expected)
    same(arrays(layer((inputs,))), expected)


@pytest.mark.parametrize("score", ["location", "gated", "multi_hop", "query"])
def test_features_that_the_weights_were_not_made_for_are_refused(score):
    layer = AttentionPooling(score)
    layer(np.ones((2, 7, 11)))
    with pytest.raises(ShapeError, match=r"for inputs with 11 features; received \(2, 7, 5\)"):
        layer(np.ones((2, 7, 5)))
