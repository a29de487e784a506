"""The normalisers: against their papers' algorithms, their laws, and finite differences."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.layers import BahdanauAttention, MultiHeadAttention, functional, normalizers
from tests import references
from tests.layers.contract import KEEPS_DOUBLE, array, variables_as_arrays

pytestmark = variables_as_arrays
SPARSE = {"sparsemax": references.sparsemax, "entmax15": references.entmax15}
NAMES = list(normalizers.NAMES)
EXACT = 1e-9 if KEEPS_DOUBLE else 1e-5
doubles = pytest.mark.skipif(not KEEPS_DOUBLE, reason="finite differences need float64")
SIMPLEX = [name for name in NAMES if name != "sigmoid"]


def scores(*shape, spread=3.0, seed=0):
    return np.random.default_rng(seed).normal(size=shape) * spread


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("spread", [0.01, 1.0, 5.0, 100.0])
def test_the_closed_forms_of_the_papers(name, spread):
    rows = scores(50, 9, spread=spread)
    weights = array(normalizers.get(name)(rows))
    expected = np.array([SPARSE[name](row) for row in rows])
    np.testing.assert_allclose(weights, expected, atol=EXACT)
    np.testing.assert_array_equal(weights == 0, expected == 0)


def test_ties_and_single_keys():
    np.testing.assert_allclose(array(normalizers.Sparsemax()(np.array([[2.0, 2.0, 0.0]]))), [[0.5, 0.5, 0]])
    for name in SIMPLEX:
        np.testing.assert_allclose(array(normalizers.get(name)(np.zeros((1, 4)))), np.full((1, 4), 0.25), atol=1e-7)
        np.testing.assert_allclose(array(normalizers.get(name)(np.array([[-7.0]]))), [[1.0]])


def test_entmax_goes_from_softmax_to_sparsemax():
    rows = scores(20, 6, spread=1)
    np.testing.assert_allclose(array(normalizers.Entmax(1.001)(rows)), array(normalizers.Softmax()(rows)), atol=2e-3)
    np.testing.assert_allclose(array(normalizers.Entmax(2.0)(rows)), array(normalizers.Sparsemax()(rows)), atol=EXACT)
    np.testing.assert_allclose(array(normalizers.Entmax()(rows)), array(normalizers.Entmax15()(rows)), atol=EXACT)
    kept = [(array(normalizers.Entmax(alpha)(3 * rows)) > 0).sum() for alpha in (1.2, 1.5, 2.0, 4.0)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[-1]


@settings(deadline=None)  # a backend compiles for each new size
@given(
    name=st.sampled_from(SIMPLEX),
    keys=st.integers(1, 40),
    shift=st.floats(-1e3, 1e3),
    spread=st.floats(1e-3, 1e3),
    seed=st.integers(0, 99),
)
def test_on_the_simplex_and_blind_to_a_shift(name, keys, shift, spread, seed):
    rows = scores(2, keys, spread=spread, seed=seed)
    weights = array(normalizers.get(name)(rows))
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1, atol=EXACT)
    np.testing.assert_allclose(array(normalizers.get(name)(rows + shift)), weights, atol=1e-7)
    order = np.argsort(rows, axis=-1)
    assert (np.diff(np.take_along_axis(weights, order, axis=-1), axis=-1) >= -EXACT).all()  # a larger score, no less


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(("fully_masked", "empty"), [("zero", 0), ("uniform", 1 / 8)])
def test_masked_keys_get_nothing_in_every_dtype(name, dtype, fully_masked, empty):
    rows = ops.cast(scores(3, 2, 8, spread=20), dtype)
    mask = np.random.default_rng(1).random((3, 1, 8)) > 0.4
    mask[0] = False
    weights = array(normalizers.get(name)(rows, attention_mask=mask, fully_masked=fully_masked))
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights[0], np.full((2, 8), empty), atol=1e-3)
    assert (np.moveaxis(weights, -1, 1)[1:][~mask[1:, 0]] == 0).all()
    if name != "sigmoid":
        np.testing.assert_allclose(weights[1:].sum(-1), 1, atol=0.02)
    alone = array(normalizers.get(name)(ops.take(rows[1], np.flatnonzero(mask[1, 0]), axis=-1)))
    np.testing.assert_allclose(weights[1][:, mask[1, 0]], alone, atol=1e-2 if "16" in dtype else 1e-6)


def gradient(function, x):
    """The gradient of ``function(tensor) -> scalar`` by the running backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x).numpy()
    import jax

    return np.array(jax.grad(function)(jax.numpy.array(x)))


def differences(function, x, step=1e-6):
    """The same by central differences."""
    result = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        moved = [x.copy(), x.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        result[place] = (float(function(moved[0])) - float(function(moved[1]))) / (2 * step)
    return result


@doubles
@pytest.mark.parametrize("name", [*NAMES, "entmax 1.2", "entmax 3"])
def test_the_gradient_is_that_of_finite_differences(name):
    kind = normalizers.Entmax(float(name.split()[1])) if " " in name else normalizers.get(name)
    mask = np.array([[1, 1, 1, 1, 0, 1], [1, 0, 1, 1, 1, 1]], bool)
    direction = scores(2, 6, seed=5)

    def function(x):
        return ops.sum(kind(ops.convert_to_tensor(x), attention_mask=mask) * direction)

    x = scores(2, 6, spread=0.3, seed=3)
    found = gradient(function, x)
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, differences(function, x), atol=1e-6)
    assert (found[~mask] == 0).all()


@doubles
@pytest.mark.parametrize("alpha", [1.2, 1.5, 1.9])
def test_the_gradient_reaches_alpha(alpha):
    rows, direction = scores(3, 7, spread=1), scores(3, 7, seed=5)

    def function(alpha):
        return ops.sum(functional.entmax(ops.convert_to_tensor(rows), alpha) * direction)

    alpha = np.array(alpha)
    np.testing.assert_allclose(
        gradient(function, alpha), differences(lambda a: function(ops.convert_to_tensor(a)), alpha), atol=1e-5
    )


def test_a_learned_alpha_starts_where_it_is_told_one_for_each_head_and_moves():
    layer = MultiHeadAttention(3, 4, normalizer=normalizers.Entmax(1.3, learnable=True))
    x = scores(2, 5, 8, seed=1).astype("float32")
    _, weights = layer(x)
    (shift,) = [weight for weight in layer.trainable_weights if weight.path.endswith("shift")]
    assert shift.shape == (3,)
    np.testing.assert_allclose(1 + 1 / (1 + np.exp(-array(shift))), 1.3, atol=1e-6)
    fixed = MultiHeadAttention(3, 4, normalizer=normalizers.Entmax(1.3))
    fixed.build(x.shape)
    fixed.set_weights([weight for weight in layer.get_weights() if weight.shape != (3,)])
    np.testing.assert_allclose(array(fixed(x)[1]), array(weights), atol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda **kind: MultiHeadAttention(3, 4, **kind), lambda **kind: BahdanauAttention(3, **kind)]
)
def test_a_learned_alpha_is_there_before_the_first_call_and_moves(make):
    layer = make(normalizer=normalizers.Entmax(1.3, learnable=True))
    inputs = keras.Input((5, 8))
    model = keras.Model(inputs, layer(inputs)[0])
    (shift,) = [weight for weight in model.trainable_weights if weight.path.endswith("shift")]
    before = array(shift).copy()
    model.compile("sgd", "mse")
    model.train_on_batch(scores(2, 5, 8, seed=1), np.ones((2, 5, 8)))
    assert (array(shift) != before).all()


@pytest.mark.parametrize("name", NAMES)
def test_temperature_divides_the_scores(name):
    rows = scores(4, 6)
    kind = normalizers.NAMES[name](temperature=2.5)
    np.testing.assert_allclose(array(kind(rows)), array(normalizers.get(name)(rows / 2.5)), atol=EXACT)


@pytest.mark.parametrize(
    "kind",
    [normalizers.Entmax(1.7, learnable=True, temperature=0.5), normalizers.Sigmoid(temperature=3.0), "sparsemax"],
    ids=["entmax", "sigmoid", "sparsemax"],
)
def test_saved_with_its_layer(kind, tmp_path):
    x = scores(2, 5, 4).astype("float32")
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, BahdanauAttention(3, normalizer=kind)(inputs))
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for one, other in zip(again.predict(x, verbose=0), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: normalizers.get("relu"), "normalizer must be one of 'softmax'.*received 'relu'"),
        (lambda: normalizers.get(ops.softmax), "instance of layers.normalizers.Normalizer"),
        (lambda: normalizers.Softmax(temperature=0), "temperature must be positive; received 0"),
        (lambda: normalizers.Entmax(1.0), "alpha must be above 1; received 1.0"),
        (lambda: normalizers.Entmax(2.0, learnable=True), "above 1 and below 2 to be learned; received 2.0"),
    ],
)
def test_bad_arguments_get_a_sentence(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()
