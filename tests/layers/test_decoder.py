"""The recurrent decoder, on any Keras backend: ``keras.ops`` and ``keras.Model`` only."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_attn_xai.errors import ArgumentError, MaskError, ShapeError
from keras_attn_xai.layers import (
    AttentionDecoder,
    BahdanauAttention,
    LuongAttention,
    MultiHeadAttention,
    ScaledDotProductAttention,
    alignment_state,
    normalizers,
    weights_regularizers,
)
from tests import references
from tests.layers import decoder_reference
from tests.layers.contract import array, arrays, same, variables_as_arrays

pytestmark = variables_as_arrays
B, T, S, E, V, U, UNITS, VECTOR = 2, 5, 7, 11, 13, 3, 17, 19
MASK = np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], bool)  # (B, T)
KEPT = np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]], bool)  # (B, S)
VARIANTS = {
    "previous": {},
    "current": {"order": "current"},
    "fed": {"order": "current", "input_feeding": True, "attentional_vector": VECTOR},
    "previous fed": {"input_feeding": True},
    "previous vector": {"input_feeding": True, "attentional_vector": VECTOR},
    "coverage": {"coverage": True, "coverage_loss": 0.5},
    "location": {"location_filters": 2, "location_kernel_size": 3},
    "monotonic": {"monotonic": True},
    "all": {"order": "current", "coverage": True, "location_filters": 2, "monotonic": True, "input_feeding": True},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)
CELLS = {
    "simple": lambda **kwargs: keras.layers.SimpleRNNCell(UNITS, **kwargs),
    "gru": lambda **kwargs: keras.layers.GRUCell(UNITS, **kwargs),
    "lstm": lambda **kwargs: keras.layers.LSTMCell(UNITS, **kwargs),
    "stack": lambda **kwargs: [keras.layers.LSTMCell(UNITS, **kwargs), keras.layers.GRUCell(5, **kwargs)],
    "stack of one": lambda **kwargs: [keras.layers.LSTMCell(UNITS, **kwargs)],
}
every_cell = pytest.mark.parametrize("cell", CELLS)
every_one = pytest.mark.parametrize(
    ("variant", "cell"), [*((variant, "gru") for variant in VARIANTS), *(("fed", cell) for cell in CELLS)]
)


def tensors():
    """Inputs (B, T, E), memory (B, S, V) and a first state (B, UNITS)."""
    rng = np.random.default_rng(11)
    return tuple(rng.normal(size=shape).astype("float32") for shape in ((B, T, E), (B, S, V), (B, UNITS)))


def make(variant="previous", *, cell="gru", cell_options=None, attention=None, **kwargs):
    options = {"bias_initializer": "glorot_uniform", **(cell_options or {})}
    return AttentionDecoder(
        CELLS[cell](**options), attention or BahdanauAttention(U), **{**VARIANTS[variant], **kwargs}
    )


def masks():
    return {"mask": MASK, "memory_mask": KEPT}


def papers_weights(decoder):
    """The decoder's weights under the papers' names."""
    attention, cell = decoder.attention, decoder.cell
    named = {
        "W": array(attention.query_dense.kernel),
        "U": array(attention.key_dense.kernel),
        "v": array(attention.score_dense.kernel)[:, 0],
        "gru": [array(cell.kernel), array(cell.recurrent_kernel), array(cell.bias)],
    }
    if decoder.vector_units:
        named["W_c"] = array(decoder.vector_dense.kernel)
    if decoder.coverage:
        named["w_c"] = array(decoder.alignment_features.coverage_kernel)
    if decoder.location_filters:
        named["F"] = array(decoder.alignment_features.filter_conv.kernel)[:, 0]
        named["V"] = array(decoder.alignment_features.projection.kernel)[0]
    if decoder.monotonic:
        named["r"] = float(array(decoder.stop_bias))
    return named


# Shapes and numbers


@every_variant
@pytest.mark.parametrize("masked", [False, True], ids=["no mask", "masked"])
def test_outputs_and_weights_are_those_of_the_papers(variant, masked):
    inputs, memory, initial = tensors()
    decoder = make(variant)
    outputs, weights = arrays(decoder(inputs, memory, initial, **masks() if masked else {}))
    expected = decoder_reference.decode(
        papers_weights(decoder),
        inputs,
        memory,
        initial,
        MASK if masked else np.ones_like(MASK),
        KEPT if masked else np.ones_like(KEPT),
        order=decoder.order,
        input_feeding=decoder.input_feeding,
        monotonic=decoder.monotonic,
    )
    same(weights, expected[1], atol=1e-5)
    same(outputs, expected[0], atol=1e-5)


@every_one
@pytest.mark.parametrize(("steps", "positions"), [(T, S), (None, None)])
def test_the_static_shape_is_the_dynamic_one(variant, cell, steps, positions):
    decoder = make(variant, cell=cell, return_state=True)
    promised = decoder(keras.Input((steps, E)), keras.Input((positions, V)))
    real = decoder(*tensors()[:2])
    sizes = {"simple": [UNITS], "gru": [UNITS], "stack": [UNITS, UNITS, 5]}.get(cell, [UNITS, UNITS])
    units = decoder.attentional_vector or sizes[-1]
    expected = [(None, steps, units), (None, steps, positions), *((None, size) for size in sizes)]
    assert [one.shape for one in promised] == expected
    assert [tuple(one.shape) for one in real] == [(B, T, units), (B, T, S), *((B, size) for size in sizes)]
    dtypes = [{keras.backend.standardize_dtype(one.dtype) for one in outputs} for outputs in (promised, real)]
    assert dtypes == [{"float32"}] * 2


def test_what_comes_out_is_fixed_at_construction():
    inputs, memory, _ = tensors()
    outputs, weights, state = make(return_state=True)(inputs, memory)
    assert [tuple(one.shape) for one in (outputs, weights, state)] == [(B, T, UNITS), (B, T, S), (B, UNITS)]
    assert len(make(return_state=True, return_weights=False)(inputs, memory)) == 2
    assert tuple(make(return_weights=False)(inputs, memory).shape) == (B, T, UNITS)
    assert make(return_weights=False)(keras.Input((T, E)), keras.Input((S, V))).shape == (None, T, UNITS)


def test_two_tensors_may_come_in_one_list():
    inputs, memory, _ = tensors()
    decoder = make()
    same(arrays(decoder([inputs, memory])), arrays(decoder(inputs, memory)))


@pytest.mark.parametrize(
    "attention",
    [
        BahdanauAttention(U),
        LuongAttention("general"),
        LuongAttention("concat", units=U),
        ScaledDotProductAttention(),
        BahdanauAttention(U, normalizer="sparsemax"),
        BahdanauAttention(U, normalizer=normalizers.Entmax(learnable=True)),
    ],
    ids=["bahdanau", "general", "concat", "scaled dot", "sparsemax", "learned entmax"],
)
@pytest.mark.parametrize("order", ["previous", "current"])
def test_any_attention_with_one_head_will_do(attention, order):
    inputs, memory, _ = tensors()
    attention = type(attention).from_config(attention.get_config())
    memory = np.concatenate([memory, memory[..., : UNITS - V]], axis=-1)  # as many features as the query
    _, weights = make(order=order, attention=attention)(inputs, memory, memory_mask=KEPT)
    same(array(weights).sum(-1), np.ones((B, T)), atol=1e-5)
    assert (np.moveaxis(array(weights), 1, 2)[~KEPT] == 0).all()


def test_a_position_bias_counts_the_steps():
    inputs, memory, _ = tensors()
    memory = np.zeros((B, S, UNITS), "float32")  # equal scores: the bias alone decides
    decoder = make(attention=ScaledDotProductAttention(position_bias="alibi"))
    _, weights = arrays(decoder(inputs, memory, mask=MASK))
    steps = np.where(MASK, MASK.cumsum(axis=1) - 1, S)
    assert (weights.argmax(axis=-1)[MASK] == steps[MASK]).all()


def test_the_first_state_is_the_cells_own_or_the_given_one():
    inputs, memory, initial = tensors()
    decoder = make(cell="lstm", return_state=True)
    zeros = np.zeros((B, UNITS), "float32")
    same(arrays(decoder(inputs, memory)), arrays(decoder(inputs, memory, [zeros, zeros])))
    _, _, *states = decoder(inputs[:, :2], memory)
    again = decoder(inputs[:, 2:], memory, states)
    same(array(again[0]), array(decoder(inputs, memory)[0])[:, 2:], atol=1e-5)
    assert np.abs(array(decoder(inputs, memory, [initial, zeros])[0]) - array(decoder(inputs, memory)[0])).max() > 1e-2


def test_the_states_of_a_stack_come_out_as_they_go_in():
    inputs, memory, _ = tensors()
    decoder = make(cell="stack", return_state=True)
    whole = arrays(decoder(inputs, memory))
    _, _, *states = decoder(inputs[:, :2], memory)
    same(arrays(decoder(inputs[:, 2:], memory, states))[2:], whole[2:], atol=1e-5)
    nested = [states[:2], states[2:]]
    same(arrays(decoder(inputs[:, 2:], memory, nested))[2:], whole[2:], atol=1e-5)


# One step at a time


@every_one
def test_steps_are_the_call(variant, cell):
    inputs, memory, _ = tensors()
    decoder = make(variant, cell=cell, return_state=True)
    outputs, weights, *states = arrays(decoder(inputs, memory, memory_mask=KEPT))
    state = decoder.begin(memory, KEPT)
    for t in range(T):
        output, row, state = decoder.step(inputs[:, t], state)
        same(array(output), outputs[:, t], atol=1e-5)
        same(array(row), weights[:, t], atol=1e-5)
    same([array(one) for one in keras.tree.flatten(state.carried.cell)], states, atol=1e-5)
    same(array(state.carried.coverage), weights.sum(axis=1), atol=1e-5)


@every_variant
def test_what_a_step_attended_to_can_be_asked_for(variant):
    """`attend_step` is the name by which capture changes the weights of a step."""
    _, memory, query = tensors()
    decoder = make(variant)
    decoder(*tensors()[:2], memory_mask=KEPT)
    attended = decoder.attend_step(query, decoder.begin(memory, KEPT))
    context, weights = array(attended.context), array(attended.weights)
    assert (weights[~KEPT] == 0).all()
    same(context, np.einsum("bs,bsv->bv", weights, memory), atol=1e-5)
    assert weights.shape == array(attended.scores).shape == array(attended.dropped).shape == (B, S)


def test_a_decoder_without_weights_says_how_it_gets_them():
    decoder = make(name="fresh")
    with pytest.raises(ArgumentError, match=r"fresh: begin.*no weights yet.*build\(inputs_shape, memory_shape\)"):
        decoder.begin(tensors()[1])


def test_keys_are_projected_once(monkeypatch):
    inputs, memory, _ = tensors()
    decoder = make()
    decoder(inputs, memory)
    projected = []
    original = decoder.attention.project_keys
    monkeypatch.setattr(type(decoder.attention), "project_keys", lambda self, key: projected.append(1) or original(key))
    decoder(inputs, memory)
    assert len(projected) == 1


# Masks


@every_variant
def test_a_masked_step_leaves_everything_as_it_was(variant):
    inputs, memory, _ = tensors()
    decoder = make(variant, return_state=True)
    outputs, weights, *states = arrays(decoder(inputs, memory, mask=MASK))
    kept = inputs[:1][:, MASK[0]]
    alone = arrays(decoder(kept, memory[:1]))
    same(outputs[:1][:, MASK[0]], alone[0])
    same(weights[:1][:, MASK[0]], alone[1])
    same([state[:1] for state in states], alone[2:])
    assert (weights[~MASK] == 0).all()
    same(outputs[0, 2], outputs[0, 1])


@every_variant
def test_padding_does_not_change_the_real_part(variant):
    inputs, memory, _ = tensors()
    decoder = make(variant)
    outputs, weights = arrays(decoder(inputs[:1], memory[:1, :4]))
    memory[0, 4:] = 1e4
    padded = arrays(decoder(inputs[:1], memory[:1], memory_mask=KEPT[:1]))
    same(padded[0], outputs)
    same(padded[1][..., :4], weights)
    assert (padded[1][..., 4:] == 0).all()


@every_variant
def test_padding_of_the_memory_may_be_anything_even_nan(variant):
    inputs, memory, _ = tensors()
    decoder = make(variant)
    expected = arrays(decoder(inputs, memory, memory_mask=KEPT))
    memory[~KEPT] = np.nan
    same(arrays(decoder(inputs, memory, memory_mask=KEPT)), expected)


@pytest.mark.parametrize(("fully_masked", "empty"), [("zero", 0), ("uniform", 1)])
def test_a_memory_without_a_position_is_what_the_attention_says(fully_masked, empty):
    inputs, memory, _ = tensors()
    decoder = make(attention=BahdanauAttention(U, fully_masked=fully_masked))
    outputs, weights = arrays(decoder(inputs, memory, memory_mask=KEPT & [[True], [False]]))
    same(weights.sum(-1), np.array([[1.0] * T, [empty] * T]))
    assert np.isfinite(outputs).all()


def test_masks_are_read_off_the_tensors_and_survive_a_layer_that_deletes_them():
    ids = np.array([[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]])
    embedding = keras.layers.Embedding(7, UNITS, mask_zero=True)
    decoder = make()
    embedded = embedding(ids)
    expected = arrays(decoder(embedded, embedded, mask=ids != 0, memory_mask=ids != 0))
    same(arrays(decoder(embedding(ids), embedding(ids))), expected)

    symbolic = keras.Input((None,), dtype="int32")
    memory = embedding(symbolic)
    first = decoder(embedding(symbolic), memory)
    keras.layers.MultiHeadAttention(1, 2)(memory, memory)  # deletes the mask of its inputs
    model = keras.Model(symbolic, {"outputs": first[0], "weights": first[1]})
    found = model.predict(ids, verbose=0)
    same([found["outputs"], found["weights"]], expected)


def test_the_mask_of_the_steps_goes_on():
    ids = keras.Input((T,), dtype="int32")
    embedded = keras.layers.Embedding(5, E, mask_zero=True)(ids)
    outputs, _ = make()(embedded, keras.Input((S, V)))
    assert getattr(outputs, "_keras_mask", None) is not None
    real, _ = make()(*tensors()[:2], mask=MASK)
    assert (array(real._keras_mask) == MASK).all()
    assert make(return_state=True, cell="lstm").compute_mask([None, None], [MASK, KEPT]) == (MASK, None, None, None)
    assert make(return_weights=False).compute_mask(None, MASK) is MASK


# Training


@every_variant
def test_gradients_reach_every_weight(variant):
    inputs, memory, initial = tensors()
    decoder = make(variant)
    decoder(inputs, memory, initial)
    before = [array(weight) for weight in decoder.trainable_weights]
    head = keras.layers.Dense(1)
    step_inputs = keras.Input((T, E)), keras.Input((S, V)), keras.Input((UNITS,))
    decoded, alignment = decoder(*step_inputs)
    model = keras.Model(step_inputs, [head(decoded), alignment])
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    target = np.eye(S, dtype="float32")[np.zeros((B, T), int)]
    model.fit([inputs, memory, initial], [np.ones((B, T, 1)), target], epochs=1, verbose=0)
    for weight, old in zip(decoder.trainable_weights, before, strict=True):
        assert np.isfinite(array(weight)).all(), weight.path
        assert np.abs(array(weight) - old).max() > 0, weight.path


def test_it_learns_to_copy():
    rng = np.random.default_rng(3)
    ids = rng.integers(1, 7, (64, 4))
    shifted = np.pad(ids[:, :-1], ((0, 0), (1, 0)))
    source, late = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    memory = keras.layers.Embedding(7, 16)(source) + keras.layers.Embedding(4, 16)(
        ops.cumsum(ops.ones_like(source), axis=1) - 1
    )
    outputs, _ = AttentionDecoder(keras.layers.GRUCell(32), BahdanauAttention(16))(
        keras.layers.Embedding(7, 8)(late), memory
    )
    logits = keras.layers.Dense(7)(outputs)
    model = keras.Model([source, late], logits)
    model.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit([ids, shifted], ids, epochs=30, batch_size=32, verbose=0).history["loss"]
    assert history[-1] < 0.3 * history[0]


@every_cell
@pytest.mark.parametrize("rates", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}], ids=["dropout", "recurrent"])
def test_dropout_of_the_cell_is_drawn_once_a_call_and_forgotten(cell, rates):
    inputs, memory, _ = tensors()
    decoder = make(cell=cell, cell_options={**rates, "seed": 1})
    off = array(decoder(inputs, memory)[0])
    first, second = (array(decoder(inputs, memory, training=True)[0]) for _ in range(2))
    assert np.abs(first - off).max() > 1e-3
    assert np.abs(first - second).max() > 1e-3
    same(array(decoder(inputs, memory)[0]), off)


def test_one_dropout_mask_holds_for_all_steps():
    inputs, memory, _ = tensors()
    inputs = np.repeat(inputs[:, :1], T, axis=1)
    cell = keras.layers.SimpleRNNCell(UNITS, dropout=0.5, recurrent_initializer="zeros")
    outputs, _ = AttentionDecoder(cell, BahdanauAttention(U, kernel_initializer="zeros"))(inputs, memory, training=True)
    same(array(outputs), np.repeat(array(outputs)[:, :1], T, axis=1))


def test_dropout_of_the_attention_changes_the_context_and_not_the_weights():
    inputs, memory, _ = tensors()
    decoder = make(order="current", attention=BahdanauAttention(U, dropout=0.5, seed=1))
    outputs, weights = arrays(decoder(inputs, memory))
    dropped = arrays(decoder(inputs, memory, training=True))
    same(dropped[1], weights)  # without input feeding the states never meet the context
    assert (np.abs(dropped[0] - outputs).max(axis=-1) > 1e-3).any(axis=0).all()


def test_the_coverage_loss_is_that_of_the_paper():
    inputs, memory, _ = tensors()
    decoder = make(coverage_loss=0.5, attention=BahdanauAttention(U, kernel_initializer="he_normal"))
    _, weights = decoder(inputs, memory, **masks())
    expected = 0.5 * decoder_reference.coverage_loss(array(weights), MASK)
    assert float(array(decoder.losses[-1])) == pytest.approx(expected, rel=1e-5)


def test_a_model_adds_the_coverage_loss_to_its_own():
    inputs, memory, _ = tensors()
    symbolic = keras.Input((T, E)), keras.Input((S, V))
    losses = []
    for weight in (0.0, 1.0):
        decoder = make(coverage_loss=weight, cell_options={"kernel_initializer": "ones"})
        model = keras.Model(symbolic, decoder(*symbolic))
        model.compile(loss=["mse", None], jit_compile=False)
        model.set_weights([np.full(one.shape, 0.1, "float32") for one in model.get_weights()])
        losses.append(model.evaluate([inputs, memory], np.zeros((B, T, UNITS)), verbose=0))
    rows = array(decoder(inputs, memory)[1])
    extra = decoder_reference.coverage_loss(rows, np.ones_like(MASK))
    assert np.ravel(losses[1])[0] - np.ravel(losses[0])[0] == pytest.approx(extra, rel=1e-4)


# Alignments that know the past


@pytest.mark.parametrize("scores", [0.0, 3.0, 30.0, -30.0])
def test_a_monotonic_alignment_is_the_sum_over_all_walks(scores):
    rng = np.random.default_rng(5)
    energies = (rng.normal(size=(B, S)) * 3 + scores).astype("float32")
    previous = rng.dirichlet(np.ones(S), B).astype("float32")
    found = array(alignment_state.monotonic_alignment(energies, previous, KEPT))
    expected = [decoder_reference.monotonic_row(*row) for row in zip(energies, previous, KEPT, strict=True)]
    same(found, np.array(expected))


def test_a_monotonic_alignment_keeps_the_weight_behind_a_sure_stop():
    previous = np.array([[0.0, 0.0, 1.0, 0.0]], "float32")  # it stands on the third position
    found = array(alignment_state.monotonic_alignment(np.array([[50.0, 50.0, 0.0, 50.0]], "float32"), previous))
    same(found, np.array([[0.0, 0.0, 0.5, 0.5]]))  # and what it would do before it does not matter


def test_a_monotonic_decoder_never_moves_back():
    inputs, memory, _ = tensors()
    weights = array(make("monotonic")(inputs, memory)[1])
    beyond = 1 - weights.cumsum(axis=-1)  # the chance to stand after each position, or past the end
    assert (np.diff(beyond, axis=1) >= -1e-6).all()


# Precision and configuration


@pytest.mark.parametrize("variant", ["previous", "fed", "all"])
@pytest.mark.parametrize("dtype", ["float16", "mixed_float16", "bfloat16", "mixed_bfloat16", "float64"])
def test_other_floats_give_finite_weights(variant, dtype):
    if dtype == "float64" and keras.backend.standardize_dtype(ops.ones((), dtype="float64").dtype) != "float64":
        pytest.skip("JAX without JAX_ENABLE_X64")
    inputs, memory, _ = tensors()
    cell = keras.layers.GRUCell(UNITS, dtype=dtype, recurrent_initializer="glorot_uniform")  # no QR in bfloat16
    decoder = AttentionDecoder(
        cell, BahdanauAttention(U, dtype=dtype), dtype=dtype, return_state=True, **VARIANTS[variant]
    )
    results = decoder(inputs, memory * 10, **masks())
    assert {keras.backend.standardize_dtype(one.dtype) for one in results} == {decoder.compute_dtype}
    assert all(np.isfinite(one).all() for one in arrays(results))
    sums = arrays(results)[1].sum(-1)
    if not decoder.monotonic:
        same(sums, MASK, atol=0.02)


def test_a_cell_may_compute_in_another_float_than_the_decoder():
    inputs, memory, _ = tensors()
    decoder = AttentionDecoder(keras.layers.LSTMCell(UNITS, dtype="float32"), BahdanauAttention(U), dtype="float16")
    outputs, weights = decoder(inputs, memory)
    assert {keras.backend.standardize_dtype(one.dtype) for one in (outputs, weights)} == {"float16"}


@every_variant
def test_the_configuration_comes_back_whole(variant):
    decoder = make(variant, cell="stack", return_state=True, return_weights=False, name="named", dtype="mixed_float16")
    config = decoder.get_config()
    again = AttentionDecoder.from_config(config)
    assert again.get_config() == config
    assert config["name"] == "named"
    for name, given in VARIANTS[variant].items():
        assert getattr(again, name) == given


OF_ATTENTION = {  # every argument that the decoder hands on to its attention, and another value for it
    "normalizer": "sparsemax",
    "fully_masked": "uniform",
    "weights_kind": "scores",
    "top_k": 2,
    "weights_regularizer": weights_regularizers.Entropy(0.5),
    "dropout": 0.5,
    "seed": 3,
}


@pytest.mark.parametrize(("name", "given"), OF_ATTENTION.items(), ids=OF_ATTENTION)
def test_the_arguments_of_every_attention_layer_are_taken_by_the_decoder(name, given, tmp_path):
    attention = BahdanauAttention(U, name="score")
    decoder = make(attention=attention, **{name: given})
    twin = make(attention=BahdanauAttention(U, name="score", **{name: given}))
    assert decoder.attention.get_config() == twin.attention.get_config() != attention.get_config()
    config = decoder.get_config()
    default = make(attention=BahdanauAttention(U, name="score")).get_config()
    assert {other for other in config if config[other] != default[other]} == {"name", "attention", "cell", name}
    inputs, memory = keras.Input((None, E)), keras.Input((None, V))
    model = keras.Model([inputs, memory], decoder(inputs, memory))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    same(arrays(again(tensors()[:2])), arrays(model(tensors()[:2])))
    reloaded = again.layers[-1]
    for own in OF_ATTENTION:
        configs = [json.dumps(layer.get_config()[own]) for layer in (reloaded.attention, decoder.attention)]
        assert configs[0] == configs[1]
        assert (reloaded.get_config()[own] is None) == (own != name)
    twin(*tensors()[:2])
    twin.set_weights(decoder.get_weights())
    same(arrays(twin(*tensors()[:2], **masks())), arrays(decoder(*tensors()[:2], **masks())))


def test_an_attention_with_weights_is_not_made_again():
    built = BahdanauAttention(U, normalizer="sparsemax")
    built(tensors()[1])
    assert make(attention=built, normalizer="sparsemax").attention is built  # nothing to change
    with pytest.raises(ArgumentError, match=r"top_k cannot be changed.*already.*weights.*BahdanauAttention\(.*top_k=2"):
        make(attention=built, top_k=2)
    for name, given in (("normalizer", "sparsemax"), ("fully_masked", "uniform")):
        with pytest.raises(ArgumentError, match=f"{name}.*monotonic=True"):
            make("monotonic", **{name: given})


@pytest.mark.parametrize(("variant", "cell"), [("previous", "gru"), ("all", "stack")])
def test_a_saved_model_predicts_the_same(variant, cell, tmp_path):
    inputs, memory, _ = tensors()
    symbolic = keras.Input((None, E), name="inputs"), keras.Input((None, V), name="memory")
    attention = BahdanauAttention(U, normalizer=normalizers.Entmax(learnable=True))
    outputs, weights = make(variant, cell=cell, attention=attention)(*symbolic)
    model = keras.Model(symbolic, {"outputs": outputs, "weights": weights})
    for weight in model.weights:
        weight.assign(weight.value + 0.1)
    expected = model.predict([inputs, memory], verbose=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    same(reloaded.predict([inputs, memory], verbose=0), expected)
    shorter = [inputs[:, :3], memory[:, :5]]
    same(reloaded.predict(shorter, verbose=0)["outputs"], model.predict(shorter, verbose=0)["outputs"])
    model.save_weights(tmp_path / "model.weights.h5")
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    model.load_weights(tmp_path / "model.weights.h5")
    same(model.predict([inputs, memory], verbose=0), expected)


def test_a_first_state_is_an_edge_of_the_graph_also_after_a_reload(tmp_path):
    inputs, memory, initial = tensors()
    symbolic = keras.Input((None, E)), keras.Input((None, V)), keras.Input((UNITS,))
    states = [keras.layers.Dense(UNITS)(symbolic[2]), symbolic[2]]
    model = keras.Model(symbolic, make(cell="lstm", return_weights=False)(*symbolic[:2], initial_state=states))
    expected = model.predict([inputs, memory, initial], verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    same(again.predict([inputs, memory, initial], verbose=0), expected)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "next"}, r"order must be one of 'previous', 'current'; received 'next'"),
        ({"attentional_vector": -1}, r"attentional_vector must be a positive integer; received -1"),
        ({"location_filters": 2.5}, r"location_filters must be a positive integer; received 2.5"),
        ({"coverage_loss": -1.0}, r"coverage_loss must not be negative; received -1.0"),
        (
            {"coverage": True, "attention": LuongAttention("dot")},
            r"coverage .* additive.*received LuongAttention\('dot'",
        ),
        ({"location_filters": 1, "attention": ScaledDotProductAttention()}, r"location_filters .* additive"),
        ({"attention": MultiHeadAttention(2, 3)}, r"one head.*received MultiHeadAttention"),
        ({"attention": keras.layers.Attention()}, r"attention layer of this package.*received Attention"),
        ({"cell": keras.layers.GRU(3)}, r"RNN cell.*received GRU\. Pass its cell"),
        ({"cell": keras.layers.Dense(3)}, r"RNN cell.*received Dense"),
    ],
)
def test_a_wrong_argument_gets_a_sentence(arguments, message):
    given = {"cell": keras.layers.GRUCell(3), "attention": BahdanauAttention(U), **arguments}
    with pytest.raises(ArgumentError, match=message):
        AttentionDecoder(**given)


def test_wrong_tensors_get_a_sentence():
    inputs, memory, initial = tensors()
    decoder = make(cell="lstm")
    with pytest.raises(ShapeError, match=r"inputs must have shape \(batch, positions, features\); received \(2, 11\)"):
        decoder(inputs[:, 0], memory)
    with pytest.raises(ShapeError, match=r"same batch size; received \(1, 5, 11\) and \(2, 7, 13\)"):
        decoder(inputs[:1], memory)
    with pytest.raises(ArgumentError, match=r"decoder\(inputs, memory\); received one"):
        decoder(inputs)
    with pytest.raises(ShapeError, match=r"initial_state must be 2 tensor\(s\) .*received \(2, 17\)\."):
        decoder(inputs, memory, initial)
    with pytest.raises(ShapeError, match=r"\(batch, 17\), \(batch, 17\).*received \(2, 17\), \(2, 3\)"):
        decoder(inputs, memory, [initial, initial[:, :3]])
    with pytest.raises(ArgumentError, match=r"return_attention_scores is not a call argument.*return_weights=False"):
        decoder(inputs, memory, return_attention_scores=True)
    with pytest.raises(MaskError, match=r"memory_mask must be boolean"):
        decoder(inputs, memory, memory_mask=KEPT.astype("float32"))
    with pytest.raises(MaskError, match=r"mask must have shape \(batch, positions\) = \(2, 5\); received \(2, 7\)"):
        decoder(inputs, memory, mask=KEPT)


# What the attention of a decoder brings along


def test_a_window_moves_with_the_steps():
    """Luong's local attention inside his decoder: step t looks around position t, the padding left out."""
    attention = LuongAttention("general", window="monotonic", window_width=1)
    decoder = make("current", attention=attention)
    weights = array(decoder(*tensors()[:2], memory_mask=KEPT)[1])
    near = np.abs(np.arange(T)[:, None] - np.arange(S)) <= 1
    np.testing.assert_array_equal(weights > 0, near & KEPT[:, None])


def test_the_regulariser_of_the_attention_is_paid_for_the_whole_history():
    attention = BahdanauAttention(3, weights_regularizer="coverage")
    decoder = make(attention=attention)
    weights = decoder(*tensors()[:2])[1]
    (loss,) = decoder.losses
    same(array(loss), array(attention.weights_regularizer(weights)))


def test_an_attentional_vector_belongs_to_the_decoder():
    with pytest.raises(ArgumentError, match=r"AttentionDecoder\(\.\.\., attentional_vector=6\)"):
        make(attention=LuongAttention("general", attentional_vector=6))


@pytest.mark.parametrize("variant", ["previous", "current", "monotonic"])
def test_scores_are_what_the_weights_came_from(variant):
    decoder = make(variant)
    outputs, weights = decoder(*tensors()[:2], **masks())
    shown = make(variant, attention=BahdanauAttention(U, weights_kind="scores"))
    shown.build((B, T, E), (B, S, V))
    shown.set_weights(decoder.get_weights())
    got, scores = shown(*tensors()[:2], **masks())
    same(array(got), array(outputs))
    if variant == "monotonic":
        first = 1 / (1 + np.exp(-array(scores)[:, 0, 0]))  # the chance to stop at the first position
        same(array(weights)[:, 0, 0], first, atol=1e-5)
        return
    expected = references.masked_softmax(array(scores), np.broadcast_to(KEPT[:, None], scores.shape))
    same(array(weights)[MASK], expected[MASK], atol=1e-5)


def test_dropped_weights_are_those_that_met_the_memory():
    decoder = make(attention=BahdanauAttention(U, weights_kind="dropped", dropout=0.5, seed=1))
    dropped = array(decoder(*tensors()[:2], training=True)[1])
    assert 0 < (dropped == 0).sum() < dropped.size
    decoded = decoder.attend_all(*(ops.convert_to_tensor(one) for one in tensors()[:2]), training=True)
    expected = np.einsum("bts,bsv->btv", array(decoded.shown), tensors()[1])
    same(array(decoded.contexts), expected, atol=1e-4)
    same(array(decoded.weights).sum(-1), np.ones((B, T)), atol=1e-5)


def test_the_largest_weights_of_each_step(tmp_path):
    decoder = make(return_state=True)
    whole = arrays(decoder(*tensors()[:2], **masks()))
    largest = make(attention=BahdanauAttention(U, top_k=3), return_state=True)
    inputs = keras.Input((None, E)), keras.Input((None, V))
    model = keras.Model(inputs, largest(*inputs))
    assert [one.shape for one in model.outputs] == [(None, None, UNITS), *[(None, None, 3)] * 2, (None, UNITS)]
    largest.set_weights(decoder.get_weights())
    outputs, weights, indices, state = largest(*tensors()[:2], **masks())
    assert keras.backend.standardize_dtype(indices.dtype) == "int32"
    same([array(outputs), array(state)], [whole[0], whole[2]])
    same(array(weights), -np.sort(-whole[1], axis=-1)[..., :3])
    same(array(weights)[MASK], np.take_along_axis(whole[1], array(indices), axis=-1)[MASK])
    with pytest.raises(ShapeError, match="top_k=8 of 7 keys"):
        make(attention=BahdanauAttention(U, top_k=8))(*tensors()[:2])


def test_lengths_are_a_mask_of_the_memory():
    decoder = AttentionDecoder(keras.layers.GRUCell(UNITS), BahdanauAttention(U))
    inputs, memory = np.ones((B, T, E), "float32"), np.random.default_rng(1).normal(size=(B, S, V))
    expected = decoder(inputs, memory, memory_mask=KEPT)
    same(arrays(decoder(inputs, memory, lengths=KEPT.sum(axis=1))), arrays(expected))
    with pytest.raises(MaskError, match="lengths= is short for a memory_mask="):
        decoder(inputs, memory, memory_mask=KEPT, lengths=KEPT.sum(axis=1))


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [((E + 1, V), r"for inputs with 11 features; received \(2, 5, 12\)"), ((E, 3), r"for memory with 13 features")],
)
def test_features_that_the_weights_were_not_made_for_are_refused(sizes, sentence):
    decoder = AttentionDecoder(keras.layers.GRUCell(UNITS), BahdanauAttention(U))
    decoder(np.ones((B, T, E)), np.ones((B, S, V)))
    with pytest.raises(ShapeError, match=sentence):
        decoder(np.ones((B, T, sizes[0])), np.ones((B, S, sizes[1])))
