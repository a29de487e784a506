"""Attention over documents against Yang et al., sentence by sentence, and the contract every attention layer keeps.

Only ``keras.ops`` and ``keras.Model`` here, but for the parts that say otherwise: this file runs on JAX too.
"""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_attn_xai.errors import ArgumentError, MaskError, ModelError, ShapeError
from keras_attn_xai.layers import (
    AttentionPooling,
    HierarchicalAttention,
    LuongAttention,
    normalizers,
    weights_regularizers,
)
from tests.layers import pooling_reference as reference
from tests.layers.contract import DTYPES, array, arrays, same, variables_as_arrays

pytestmark = variables_as_arrays
B, N, W, D, U = 2, 3, 5, 7, 11  # documents, sentences, words, features, hidden units: each its own prime
RNG = np.random.default_rng(11)
WORDS = RNG.normal(size=(B, N, W, D)).astype("float32")
LENGTHS = np.array([[5, 3, 0], [2, 4, 1]])
KEPT = np.arange(W) < LENGTHS[..., None]  # the first document's last sentence is padding
EMPTY = KEPT & np.array([True, False])[:, None, None]  # the second document is padding
IDS = np.where(KEPT, RNG.integers(1, 17, size=(B, N, W)), 0)
MASKS = {"no mask": None, "padded": KEPT, "an empty document": EMPTY}
SCORES = ["feedforward", "location", "gated"]
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="asks TensorFlow itself")


def gru(units):
    return keras.layers.Bidirectional(keras.layers.GRU(units, return_sequences=True))


def han(**kwargs):
    """The network of the paper: ids, embedded and encoded, and sentences encoded."""
    words = keras.Sequential(
        [keras.Input((None,), dtype="int32"), keras.layers.Embedding(17, D, mask_zero=True), gru(2)], name="words"
    )
    return HierarchicalAttention(units=U, word_encoder=words, sentence_encoder=gru(3), name="han", **kwargs)


def model_of(layer):
    """A model of ids, of unknown numbers of sentences and words, its outputs in a dict."""
    ids = keras.Input((None, None), dtype="int32", name="ids")
    vector, words, sentences = layer(ids)
    return keras.Model(ids, {"vector": vector, "words": words, "sentences": sentences})


def twin(layer, **changes):
    """A layer with the same weights and another configuration, built on the same inputs."""
    other = HierarchicalAttention.from_config({**layer.get_config(), **changes})
    other.build_from_config(layer.get_build_config())
    other.set_weights(layer.get_weights())
    return other


def scores_of(pooling):
    """The reference's scores of a pooling layer with biases: (1, S, V) to (1, S)."""

    def matrix(dense):
        columns = array(dense.kernel).T
        return columns if dense.bias is None else np.column_stack([columns, array(dense.bias)])

    def scores(inputs):
        read = np.concatenate([inputs, np.ones((*inputs.shape[:2], 1))], axis=-1)
        last = matrix(pooling.score_dense)[0]
        if pooling.score_kind == "location":
            return reference.location_scores(read, last)
        if pooling.score_kind == "feedforward":
            return reference.feedforward_scores(read, matrix(pooling.hidden_dense), last)
        return reference.gated_scores(read, matrix(pooling.hidden_dense), matrix(pooling.gate_dense), last)

    return scores


def expected(layer, words, mask, **options):
    """What the reference makes of encoded words, document by document."""
    scores = scores_of(layer.word_pooling), scores_of(layer.sentence_pooling)
    documents = [
        reference.document(one, None if mask is None else mask[b], *scores, **options) for b, one in enumerate(words)
    ]
    return [np.stack(part) for part in zip(*documents, strict=True)]


def give_biases(layer):
    """Biases start at zero, where they could stand anywhere."""
    for weight in layer.weights:
        if weight.name == "bias":
            weight.assign(np.linspace(-1, 1, weight.shape[0]))


# The numbers


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("score", SCORES)
def test_without_encoders_the_numbers_are_those_of_the_paper(score, mask):
    layer = HierarchicalAttention(score, score, units=U)
    layer.build(WORDS.shape)
    give_biases(layer)
    same(arrays(layer(WORDS, mask=mask)), expected(layer, WORDS, mask), atol=1e-5)


def test_with_encoders_each_sentence_is_encoded_by_itself():
    layer = han()
    layer.build(IDS.shape)
    give_biases(layer.word_pooling)
    give_biases(layer.sentence_pooling)
    outputs = arrays(layer(IDS))
    words = [[array(layer.word_encoder(IDS[b, n : n + 1]))[0] for n in range(N)] for b in range(B)]

    def sentence_encoder(sentences, kept):
        return array(layer.sentence_encoder(ops.convert_to_tensor(sentences.astype("float32")), mask=kept))

    same(outputs, expected(layer, np.array(words), KEPT, sentence_encoder=sentence_encoder), atol=1e-5)


def test_words_are_pooled_as_attention_pooling_pools_a_sentence():
    layer = HierarchicalAttention("gated", units=U)
    _, words, _ = arrays(layer(WORDS, mask=KEPT))
    for n in range(N):
        same(words[:, n], array(layer.word_pooling(WORDS[:, n], mask=KEPT[:, n])[1]))


def test_each_level_may_be_a_layer_with_arguments_of_its_own():
    poolings = AttentionPooling("location", normalizer="sigmoid"), AttentionPooling("gated", units=2)
    layer = HierarchicalAttention(*poolings)
    vector, words, sentences = arrays(layer(WORDS, mask=KEPT))
    assert (layer.word_pooling, layer.sentence_pooling) == poolings
    gates = 1 / (1 + np.exp(-WORDS @ array(poolings[0].score_dense.kernel)[:, 0])) * KEPT
    same(words, gates, atol=1e-5)
    pooled = np.einsum("bnw,bnwd->bnd", gates, WORDS).astype("float32")
    same([vector, sentences], arrays(poolings[1](pooled, mask=KEPT.any(-1))), atol=1e-5)


def test_weights_kind_chooses_what_comes_out_at_both_levels():
    layer = HierarchicalAttention(units=U, weights_kind="scores", dropout=0.5, seed=1)
    _, words, sentences = arrays(layer(WORDS, mask=KEPT))
    same(words, np.stack([scores_of(layer.word_pooling)(WORDS[b]) for b in range(B)]), atol=1e-5)
    weights = arrays(twin(layer, weights_kind="weights")(WORDS, mask=KEPT))
    same(weights[2], reference.normalized(sentences, KEPT.any(-1)), atol=1e-5)
    vector, dropped_words, dropped = arrays(twin(layer, weights_kind="dropped")(WORDS, mask=KEPT, training=True))
    lost = (dropped_words == 0) & KEPT
    assert 0 < lost.sum() < KEPT.sum()
    same(dropped_words[~lost], 2 * weights[1][~lost], atol=1e-5)
    pooled = np.einsum("bnw,bnwd->bnd", dropped_words, WORDS)
    same(vector, np.einsum("bn,bnd->bd", dropped, pooled), atol=1e-5)


def test_dropout_is_off_at_inference():
    layer = HierarchicalAttention(units=U, dropout=0.5)
    outputs = arrays(layer(WORDS))
    same(outputs, arrays(twin(layer, dropout=0.0)(WORDS)))
    trained = arrays(layer(WORDS, training=True))
    assert np.abs(trained[0] - outputs[0]).max() > 0.01
    same(trained[1], outputs[1])


@pytest.mark.parametrize("normalizer", ["sparsemax", "entmax15"])
def test_sparse_weights_are_exactly_zero_at_both_levels(normalizer):
    layer = HierarchicalAttention("location", "location", normalizer=normalizers.NAMES[normalizer](temperature=0.01))
    _, words, sentences = arrays(layer(WORDS, mask=KEPT))
    same(words.sum(-1), KEPT.any(-1), atol=1e-5)
    same(sentences.sum(-1), np.ones(B), atol=1e-5)
    assert (words[KEPT] == 0).any()
    assert (sentences[KEPT.any(-1)] == 0).any()


def test_a_normaliser_that_learns_learns_at_each_level():
    layer = HierarchicalAttention(normalizer=normalizers.Entmax(1.5, learnable=True))
    layer.build(WORDS.shape)
    words, sentences = layer.word_pooling.normalizer, layer.sentence_pooling.normalizer
    assert words is not sentences
    assert len(layer.trainable_weights) == 2 * (3 + 1)


# Outputs and their shapes


@pytest.mark.parametrize("sizes", [(N, W), (None, None), (N, None), (None, W)])
def test_the_static_shape_is_the_dynamic_one(sizes):
    layer = han()
    promised, real = layer(keras.Input(sizes, dtype="int32")), layer(IDS)
    assert [part.shape for part in promised] == [(None, 6), (None, *sizes), (None, sizes[0])]
    assert [tuple(part.shape) for part in real] == [(B, 6), (B, N, W), (B, N)]
    assert layer.compute_output_shape((B, N, W)) == ((B, 6), (B, N, W), (B, N))
    assert twin(layer, return_weights=False).compute_output_shape((B, N, W)) == (B, 6)


def test_return_weights_false_leaves_the_vector_alone():
    layer = han()
    vector = array(layer(IDS)[0])
    np.testing.assert_array_equal(array(twin(layer, return_weights=False)(IDS)), vector)


def test_outputs_have_no_mask():
    layer = HierarchicalAttention()
    outputs = layer(keras.layers.Masking()(WORDS * KEPT[..., None]))
    assert [getattr(part, "_keras_mask", None) for part in outputs] == [None] * 3
    assert layer.compute_mask(WORDS, KEPT) == (None, None, None)
    assert HierarchicalAttention(return_weights=False).compute_mask(WORDS, KEPT) is None


# Masks


def test_a_sentence_without_words_is_masked_at_both_levels():
    _, words, sentences = arrays(HierarchicalAttention()(WORDS, mask=KEPT))
    assert (words[~KEPT] == 0).all()
    assert (words[KEPT] > 0).all()
    assert sentences[0, 2] == 0
    assert (sentences[KEPT.any(-1)] > 0).all()
    same(words.sum(-1), KEPT.any(-1))
    same(sentences.sum(-1), np.ones(B))


@pytest.mark.parametrize(("fully_masked", "empty"), [("zero", 0.0), ("uniform", 1 / N)])
def test_a_document_without_words_is_what_fully_masked_says(fully_masked, empty):
    vector, words, sentences = arrays(HierarchicalAttention(fully_masked=fully_masked)(WORDS, mask=EMPTY))
    same(sentences[1], np.full(N, empty))
    assert (words[1] == 0).all()
    assert (vector[1] == 0).all()
    same(sentences[0].sum(), 1.0)
    assert (words[0, 2] == 0).all()


def test_fully_masked_error_raises_for_a_document_not_for_a_sentence():
    layer = HierarchicalAttention(fully_masked="error")
    layer(WORDS, mask=KEPT)
    with pytest.raises(MaskError, match="every key masked and fully_masked='error'"):
        layer(WORDS, mask=EMPTY)


def padded(array, sentences, words, fill):
    """The array with more sentences and words, all of them ``fill``."""
    widths = [(0, 0), (0, sentences), (0, words)] + [(0, 0)] * (array.ndim - 3)
    return np.pad(array, widths, constant_values=fill)


@pytest.mark.parametrize("encoded", [True, False], ids=["encoded ids", "words as they are"])
@pytest.mark.parametrize(("sentences", "words"), [(2, 0), (0, 3), (2, 3)])
def test_more_padding_changes_nothing(encoded, sentences, words):
    layer = han() if encoded else HierarchicalAttention(units=U)
    given = IDS if encoded else WORDS
    before = arrays(layer(given, mask=KEPT))
    more = padded(given, sentences, words, 0 if encoded else 1e3)
    after = arrays(layer(more, mask=padded(KEPT, sentences, words, False)))
    same([after[0], after[1][:, :N, :W], after[2][:, :N]], before, atol=1e-5)
    assert after[1].sum() == pytest.approx(before[1].sum(), abs=1e-4)
    assert after[2].sum() == pytest.approx(before[2].sum(), abs=1e-4)


def test_a_batch_is_its_documents_one_by_one():
    layer = han()
    together = arrays(layer(IDS))
    for row in range(B):
        same(arrays(layer(IDS[row : row + 1])), [part[row : row + 1] for part in together])


def test_a_mask_is_the_same_in_every_spelling():
    words = WORDS * KEPT[..., None]  # Masking reads zeros
    layer = HierarchicalAttention(units=U)
    before = arrays(layer(words, mask=KEPT))
    assert not np.allclose(array(layer(words)[0]), before[0])
    for inputs, spelling in [
        (words, {"mask": KEPT.tolist()}),
        (words, {"lengths": LENGTHS}),
        (words.astype("float64"), {"lengths": LENGTHS.tolist()}),
        (ops.convert_to_tensor(words), {"mask": ops.convert_to_tensor(KEPT)}),
        (keras.layers.Masking()(words), {}),
    ]:
        same(arrays(layer(inputs, **spelling)), before)


def test_a_given_mask_and_that_of_the_word_encoder_are_both_kept():
    layer = han()
    fewer = KEPT.copy()
    fewer[1, 1, 0] = False
    assert (array(layer(IDS, mask=fewer)[1]) > 0).tolist() == fewer.tolist()
    everything = np.ones_like(KEPT)
    same(arrays(layer(IDS, mask=everything)), arrays(layer(IDS)))
    same(arrays(layer(IDS, lengths=LENGTHS)), arrays(layer(IDS)))


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(keras.layers.Layer):
    """Adds all positions it may read to each; does not hand the mask on, and says nothing of its output."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)

    def call(self, inputs, mask=None):
        kept = 1 if mask is None else ops.cast(ops.expand_dims(mask, -1), inputs.dtype)
        return self.dense(inputs + ops.sum(inputs * kept, axis=1, keepdims=True))


def test_encoders_see_the_mask_and_may_lose_it():
    layer = HierarchicalAttention(word_encoder=Forgetful(), sentence_encoder=Forgetful())
    _, words, sentences = arrays(layer(WORDS, mask=KEPT))
    assert ((words > 0) == KEPT).all()
    assert ((sentences > 0) == KEPT.any(-1)).all()
    changed = array(layer(np.where(KEPT[..., None], WORDS, 1e3), mask=KEPT)[0])
    same(changed, array(layer(WORDS, mask=KEPT)[0]))


# Dtypes


@pytest.mark.parametrize(
    ("dtype", "encoded"), [*((dtype, False) for dtype in DTYPES), ("mixed_float16", True), (DTYPES[-1], True)]
)
def test_every_dtype_is_finite_also_in_an_empty_document(dtype, encoded):
    layer = han(dtype=dtype) if encoded else HierarchicalAttention(dtype=dtype)
    outputs = layer(IDS * EMPTY if encoded else WORDS, mask=EMPTY)
    symbolic = layer(keras.Input(IDS.shape[1:], dtype="int32") if encoded else keras.Input(WORDS.shape[1:]))
    for part, promised in zip(outputs, symbolic, strict=True):
        assert keras.backend.standardize_dtype(part.dtype) == promised.dtype == layer.compute_dtype
    vector, words, sentences = arrays(outputs)
    assert np.isfinite(vector).all()
    same(words.sum(-1), EMPTY.any(-1), atol=0.02)
    same(sentences.sum(-1), EMPTY.any((1, 2)), atol=0.02)


# Configuration, saving, training

OTHERS = {
    "word_pooling": AttentionPooling("location", name="own"),
    "sentence_pooling": "gated",
    "units": 17,
    "word_encoder": keras.layers.Dense(3),
    "sentence_encoder": keras.layers.GRU(3, return_sequences=True),
    "normalizer": normalizers.Entmax(1.25, temperature=2.0),
    "return_weights": False,
    "weights_kind": "dropped",
    "fully_masked": "uniform",
    "dropout": 0.25,
    "seed": 3,
    "top_k": 2,
    "use_bias": False,
    "kernel_initializer": keras.initializers.HeNormal(seed=1),
    "bias_initializer": "ones",
    "kernel_regularizer": keras.regularizers.L2(0.5),
    "bias_regularizer": keras.regularizers.L1(0.25),
    "kernel_constraint": keras.constraints.MaxNorm(2.0),
    "bias_constraint": keras.constraints.NonNeg(),
    "weights_regularizer": weights_regularizers.GuidedAlignment(0.5, width=0.75),
}


def test_every_constructor_argument_round_trips():
    named = set(inspect.signature(HierarchicalAttention.__init__).parameters) - {"self", "kwargs"}
    assert set(OTHERS) == named, "the table must have a value for every argument"
    default = HierarchicalAttention(name="named", dtype="mixed_float16").get_config()
    for name, given in OTHERS.items():
        config = HierarchicalAttention(**{name: given}, name="named", dtype="mixed_float16").get_config()
        again = HierarchicalAttention.from_config(config)
        assert again.get_config() == config
        assert again.dtype_policy.name == "mixed_float16"
        assert {other for other in config if config[other] != default[other]} == {name}


def test_the_arguments_reach_both_levels():
    layer = HierarchicalAttention(
        units=17, normalizer="sparsemax", dropout=0.25, seed=3, fully_masked="uniform", dtype="mixed_float16"
    )
    for pooling, empty in ((layer.word_pooling, "zero"), (layer.sentence_pooling, "uniform")):
        assert isinstance(pooling.normalizer, normalizers.Sparsemax)
        assert (pooling.units, pooling.dropout, pooling.seed, pooling.use_bias) == (17, 0.25, 3, True)
        assert (pooling.fully_masked, pooling.dtype_policy.name) == (empty, "mixed_float16")


POOLED = {name: OTHERS[name] for name in OTHERS if name.startswith(("kernel", "bias", "weights_regularizer"))}


def test_the_arguments_of_dense_reach_both_levels_and_the_regulariser_both_weights():
    layer = HierarchicalAttention(units=17, **POOLED)
    layer(WORDS)
    kernels = []
    for pooling in (layer.word_pooling, layer.sentence_pooling):
        kernels.append(array(pooling.hidden_dense.kernel))
        assert (array(pooling.hidden_dense.bias) == 1).all()
        assert pooling.hidden_dense.kernel_regularizer.l2 == 0.5
        assert pooling.score_dense.kernel_constraint.max_value == 2.0
        assert isinstance(pooling.hidden_dense.bias_constraint, keras.constraints.NonNeg)
        assert pooling.weights_regularizer.width == 0.75
    own = HierarchicalAttention(kernel_initializer=keras.initializers.HeNormal())
    own(WORDS)
    first, second = (array(pooling.hidden_dense.kernel) for pooling in (own.word_pooling, own.sentence_pooling))
    assert not np.allclose(first, second)  # an initialiser without a seed gives each level numbers of its own
    assert len(layer.losses) == 8  # two kernels and a bias at each level, and the weights of each
    assert HierarchicalAttention(use_bias=False).word_pooling.use_bias is False


def test_poolings_given_as_layers_come_back_beside_a_file_that_shares_objects(tmp_path):
    """Keras marks, while it loads a file, each configuration it meets twice; that is no argument."""
    inputs = keras.Input((N, W, D))
    vectors = [HierarchicalAttention(AttentionPooling(), AttentionPooling())(inputs)[0] for _ in range(5)]
    model = keras.Model(inputs, keras.layers.Add()(vectors))
    for _ in range(3):  # what is marked depends on where objects lie in memory
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("name", [*POOLED, "use_bias"])
@pytest.mark.parametrize("poolings", [("feedforward", AttentionPooling()), (AttentionPooling(), AttentionPooling())])
def test_what_a_ready_pooling_would_not_take_gets_a_sentence(name, poolings):
    with pytest.raises(ArgumentError, match=rf"{name}.*AttentionPooling\(\.\.\., {name}="):
        HierarchicalAttention(*poolings, **{name: OTHERS[name]})


@pytest.mark.parametrize("poolings", [(), ("gated", AttentionPooling("location"))], ids=["by name", "a layer"])
def test_reloaded_from_a_keras_file_the_numbers_are_the_same(poolings, tmp_path):
    model = model_of(han() if not poolings else HierarchicalAttention(*poolings, word_encoder=han().word_encoder))
    before = model.predict(IDS, verbose=0)
    model.save(tmp_path / "model.keras")
    after = keras.saving.load_model(tmp_path / "model.keras").predict(IDS, verbose=0)
    same([after[name] for name in before], list(before.values()))


def test_predict_is_the_eager_call():
    layer = han()
    predicted = model_of(layer).predict(IDS, verbose=0)
    same([predicted[name] for name in ("vector", "words", "sentences")], arrays(layer(IDS)))


def test_gradients_reach_every_weight():
    model = keras.Sequential([keras.Input((N, W), dtype="int32"), han(return_weights=False), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    before = [array(weight).copy() for weight in model.trainable_weights]
    model.train_on_batch(IDS, np.ones((B, 1), "float32"))
    assert len(before) == 2 * 3 + 1 + 2 * 6 + 2  # two scores, an embedding, two bidirectional GRUs, a Dense
    for old, weight in zip(before, model.trainable_weights, strict=True):
        assert np.isfinite(array(weight)).all()
        assert np.abs(array(weight) - old).max() > 0, weight.path


def test_training_finds_the_word_and_the_sentence_that_matter():
    rng = np.random.default_rng(3)
    ids = rng.integers(2, 9, size=(256, N, W))
    sentence, word = rng.integers(0, N, size=256), rng.integers(0, W, size=256)
    answer = rng.integers(0, 2, size=256)
    ids[np.arange(256), sentence, word] = np.where(answer == 1, 9, 10)  # the one word that tells
    inputs = keras.Input((N, W), dtype="int32")
    layer = HierarchicalAttention(units=8, word_encoder=keras.layers.Embedding(11, 8))
    vector, words, sentences = layer(inputs)
    output = keras.layers.Dense(1, activation="sigmoid")(vector)
    model = keras.Model(inputs, {"answer": output, "words": words, "sentences": sentences})
    losses = {"answer": "binary_crossentropy", "words": None, "sentences": None}
    model.compile(keras.optimizers.Adam(0.05), loss=losses)
    model.fit(ids, {"answer": answer}, epochs=15, batch_size=32, verbose=0)
    found = model.predict(ids, verbose=0)
    assert (found["sentences"].argmax(-1) == sentence).mean() > 0.9
    assert (found["words"][np.arange(256), sentence].argmax(-1) == word).mean() > 0.9


def test_each_level_may_have_a_regulariser():
    poolings = [AttentionPooling(weights_regularizer=weights_regularizers.Entropy(part)) for part in (1.0, 10.0)]
    layer = HierarchicalAttention(*poolings)
    _, words, sentences = arrays(layer(WORDS, mask=KEPT))

    def entropies(weights):
        return -np.sum(weights * np.log(np.where(weights > 0, weights, 1)), axis=-1)

    paid = entropies(words)[KEPT.any(-1)].mean() + 10 * entropies(sentences).mean()
    same(array(sum(layer.losses)), paid, atol=1e-4)


# Inside other models


def test_a_sequential_takes_return_weights_false():
    layer = han(return_weights=False)
    model = keras.Sequential([keras.Input((None, None), dtype="int32"), layer])
    same(model.predict(IDS, verbose=0), array(layer(IDS)), atol=1e-5)


def test_a_tuple_inside_a_sequential_gets_a_sentence():
    with pytest.raises(ModelError, match="Build it with return_weights=False"):
        keras.Sequential([keras.Input((N, W), dtype="int32"), han(), keras.layers.Dense(2)])


def test_an_embedding_before_the_layer_masks_it():
    ids = keras.Input((None, None), dtype="int32")
    embedded = keras.layers.Embedding(17, D, mask_zero=True)(ids)
    _, words, sentences = HierarchicalAttention(word_encoder=gru(2))(embedded)
    words, sentences = keras.Model(ids, [words, sentences]).predict(IDS, verbose=0)
    assert ((words > 0) == KEPT).all()
    assert ((sentences > 0) == KEPT.any(-1)).all()


def test_lengths_may_be_an_input_of_the_model():
    words, lengths = keras.Input((None, None, D)), keras.Input((None,), dtype="int32")
    layer = HierarchicalAttention()
    model = keras.Model([words, lengths], layer(words, lengths=lengths))
    same(model.predict([WORDS, LENGTHS], verbose=0), arrays(layer(WORDS, mask=KEPT)))


# Graphs, XLA and SavedModels of TensorFlow


@on_tensorflow
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
def test_compiled_is_eager(jit):
    import tensorflow as tf

    encoder = keras.Sequential([keras.layers.Embedding(17, D, mask_zero=True), keras.layers.Dense(3)])
    layer = HierarchicalAttention(word_encoder=encoder, sentence_encoder=keras.layers.Dense(2))
    before = arrays(layer(IDS))
    specs = [tf.TensorSpec((None, None, None), "int64")]
    same(arrays(tf.function(lambda ids: layer(ids), specs, jit_compile=jit, autograph=False)(IDS)), before)


@on_tensorflow
def test_exported_as_a_saved_model_the_numbers_are_the_same(tmp_path):
    import tensorflow as tf

    model = model_of(han(dropout=0.5))
    before = model.predict(IDS, verbose=0)
    model.export(str(tmp_path), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path))
    after = loaded.serve(tf.constant(IDS, "int32"))
    same([after[name] for name in before], list(before.values()))


# Sentences

REFUSED = {
    "ids without an encoder": (
        {},
        (IDS,),
        {},
        ShapeError,
        r"received \(2, 3, 5\) of dtype int64\. Ids .* need a word_encoder",
    ),
    "a sequence": ({}, (IDS[0],), {}, ShapeError, r"\(batch, sentences, words, features\); received \(3, 5\)"),
    "a float mask": (
        {},
        (WORDS, KEPT.astype("float32")),
        {},
        MaskError,
        r"\(batch, sentences, words\) = \(2, 3, 5\); received dtype float32 of shape \(2, 3, 5\).*astype\(bool\)",
    ),
    "a mask of sentences": ({}, (WORDS, KEPT.any(-1)), {}, MaskError, r"received dtype bool of shape \(2, 3\)"),
    "lengths of documents": (
        {},
        (WORDS,),
        {"lengths": [3, 2]},
        ShapeError,
        r"lengths must have shape \(batch, sentences\) = \(2, 3\), one number a sentence; received \(2,\)",
    ),
    "lengths and a mask": ({}, (WORDS, KEPT), {"lengths": LENGTHS}, MaskError, "pass one of the two"),
    "return_attention_scores": (
        {},
        (WORDS,),
        {"return_attention_scores": True},
        ArgumentError,
        "not a call argument.*return_weights=False",
    ),
    "an encoder that sums sentences up": (
        {"word_encoder": keras.layers.GRU(2, name="gru")},
        (WORDS,),
        {},
        ShapeError,
        r"word_encoder 'gru' must return one tensor.*makes \(None, 2\) of \(None, 5, 7\).*return_sequences=True",
    ),
    "an encoder that drops sentences": (
        {"sentence_encoder": keras.layers.Conv1D(4, 2)},
        (WORDS,),
        {},
        ShapeError,
        r"sentence_encoder .* makes \(2, 2, 4\) of \(2, 3, 7\)",
    ),
    "an encoder of two outputs": (
        {"sentence_encoder": LuongAttention()},
        (WORDS,),
        {},
        ShapeError,
        "sentence_encoder .* must return one tensor.*return_weights=False",
    ),
}


@pytest.mark.parametrize(("arguments", "args", "kwargs", "error", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_call_that_cannot_be_right_is_refused(arguments, args, kwargs, error, sentence):
    with pytest.raises(error, match=sentence):
        HierarchicalAttention(**arguments)(*args, **kwargs)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"word_pooling": "query"}, "word_pooling must be one of 'location', 'feedforward', 'gated'; received 'query'"),
        (
            {"sentence_pooling": AttentionPooling("multi_hop")},
            "sentence_pooling must give one vector and one weight a position.*received score='multi_hop'",
        ),
        ({"word_pooling": AttentionPooling(weighted_sequence=True)}, "word_pooling must.*weighted_sequence=True"),
        ({"word_pooling": AttentionPooling(top_k=2)}, "word_pooling must.*top_k=2"),
        ({"word_encoder": np.tanh}, "word_encoder must be a Keras layer or None; received <ufunc 'tanh'>"),
        ({"units": 0}, "units must be a positive integer; received 0"),
        ({"weights_kind": "logits"}, "weights_kind must be one of"),
        ({"fully_masked": "nan"}, "fully_masked must be one of"),
        ({"normalizer": "hardmax"}, "normalizer must be one of"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_a_constructor_argument_out_of_range_is_refused(arguments, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        HierarchicalAttention(**arguments)


def test_the_largest_weights_of_both_levels():
    layer = HierarchicalAttention(units=U)
    vector, words, sentences = layer(WORDS, mask=KEPT)
    got = twin(layer, top_k=2)(WORDS, mask=KEPT)
    symbolic = twin(layer, top_k=2)(keras.Input((None, None, D)))
    assert [one.shape for one in symbolic] == [(None, D), (None, None, 2), (None, 2), (None, None, 2), (None, 2)]
    assert [keras.backend.standardize_dtype(one.dtype) for one in got] == ["float32"] * 3 + ["int32"] * 2
    same(array(got[0]), array(vector))
    for whole, largest, indices in ((words, got[1], got[3]), (sentences, got[2], got[4])):
        same(array(largest), -np.sort(-array(whole), axis=-1)[..., :2])
        same(np.take_along_axis(array(whole), array(indices), axis=-1), array(largest))
    with pytest.raises(ShapeError, match="top_k=4 of 3 keys"):
        HierarchicalAttention(top_k=4)(WORDS)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`:UserWarning")
def test_projections_can_be_quantised():
    inputs = keras.Input((N, W, D))
    model = keras.Model(inputs, HierarchicalAttention(units=U)(inputs))
    before = arrays(model(WORDS))
    model.quantize("int8")
    for one, other in zip(arrays(model(WORDS)), before, strict=True):
        assert np.abs(one - other).max() < 0.1 * np.abs(other).max()


def test_the_input_may_come_alone_in_a_list_and_keeps_its_size():
    layer, inputs = HierarchicalAttention(), np.random.default_rng(1).normal(size=(2, 3, 5, 7))
    same(arrays(layer([inputs])), arrays(layer(inputs)))
    with pytest.raises(ShapeError, match=r"for inputs with 7 features; received \(2, 3, 5, 4\)"):
        layer(inputs[..., :4])
