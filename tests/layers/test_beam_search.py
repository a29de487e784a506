"""Greedy and beam decoding of the recurrent decoder, on any Keras backend."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.layers import AttentionDecoder, BahdanauAttention, beam_search, greedy_decode
from tests.layers.contract import array, same, variables_as_arrays

pytestmark = variables_as_arrays
B, S, E, V, UNITS, SYMBOLS, STEPS = 3, 7, 11, 13, 17, 5, 4
START, STOP = 0, 1
KEPT = np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0], [1] * 7], bool)
VARIANTS = {
    "previous": {},
    "fed": {"order": "current", "input_feeding": True},
    "all": {"coverage": True, "location_filters": 2, "location_kernel_size": 3, "monotonic": True},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


class Writer:
    """A decoder with an embedding and a head, of random weights large enough to have preferences."""

    def __init__(self, variant="previous", *, seed=1, cell=None):
        keras.utils.set_random_seed(seed)
        self.decoder = AttentionDecoder(cell or keras.layers.LSTMCell(UNITS), BahdanauAttention(3), **VARIANTS[variant])
        self.decoder.build((None, None, E), (None, None, V))
        self.embed = keras.layers.Embedding(SYMBOLS, E, embeddings_initializer=keras.initializers.RandomNormal(0, 2))
        self.to_logits = keras.layers.Dense(SYMBOLS, kernel_initializer=keras.initializers.RandomNormal(0, 3))
        self.embed.build(())
        self.to_logits.build((None, self.decoder.units))
        self.memory = np.random.default_rng(seed).normal(size=(B, S, V)).astype("float32")

    def options(self, **more):
        return {
            "embed": self.embed,
            "to_logits": self.to_logits,
            "start": START,
            "stop": STOP,
            "max_steps": STEPS,
            "memory_mask": KEPT,
            **more,
        }

    def forced(self, ids):
        """Log probabilities (B,) and alignment (B, N, S) of given ids (B, N), all steps in one call."""
        fed = np.concatenate([np.full((len(ids), 1), START), ids[:, :-1]], axis=1)
        outputs, weights = self.decoder(self.embed(fed), self.memory, memory_mask=KEPT)
        steps = array(ops.log_softmax(self.to_logits(outputs), axis=-1))
        chosen = np.take_along_axis(steps, ids[..., None], axis=-1)[..., 0]
        written = np.cumsum(np.pad(ids[:, :-1] == STOP, ((0, 0), (1, 0))), axis=1) == 0
        return (chosen * written).sum(axis=1), array(weights) * written[..., None], written.sum(axis=1)


@every_variant
@pytest.mark.parametrize("beams", [1, 3])
def test_the_alignment_moves_with_the_beams(variant, beams):
    writer = Writer(variant)
    found = beam_search(writer.decoder, writer.memory, beams=beams, **writer.options())
    assert tuple(found.alignment.shape) == (B, beams, STEPS, S)
    for beam in range(beams):
        score, alignment, lengths = writer.forced(array(found.ids)[:, beam])
        same(array(found.log_probabilities)[:, beam], score, atol=1e-4)
        same(array(found.alignment)[:, beam], alignment, atol=1e-5)
        assert (array(found.lengths)[:, beam] == lengths).all()


@every_variant
def test_greedy_takes_the_likeliest_symbol_of_every_step(variant):
    writer = Writer(variant)
    found = greedy_decode(writer.decoder, writer.memory, **writer.options())
    ids = array(found.ids)
    score, alignment, lengths = writer.forced(ids)
    same(array(found.log_probabilities), score, atol=1e-4)
    same(array(found.alignment), alignment, atol=1e-5)
    assert (array(found.lengths) == lengths).all()
    fed = np.concatenate([np.full((B, 1), START), ids[:, :-1]], axis=1)
    outputs, _ = writer.decoder(writer.embed(fed), writer.memory, memory_mask=KEPT)
    likeliest = array(writer.to_logits(outputs)).argmax(axis=-1)
    written = np.arange(STEPS) < lengths[:, None]
    assert (likeliest[written] == ids[written]).all()


@every_variant
@pytest.mark.parametrize("seed", range(3))
def test_one_beam_is_greedy(variant, seed):
    writer = Writer(variant, seed=seed)
    greedy = greedy_decode(writer.decoder, writer.memory, **writer.options())
    one = beam_search(writer.decoder, writer.memory, beams=1, length_penalty=0.7, **writer.options())
    for name in greedy._fields:
        same(array(getattr(one, name))[:, 0], array(getattr(greedy, name)), atol=1e-5)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(2))
def test_beams_for_every_hypothesis_search_all_of_them(length_penalty, seed):
    writer = Writer(seed=seed)
    steps = 2
    options = writer.options(max_steps=steps)
    found = beam_search(writer.decoder, writer.memory, beams=SYMBOLS**steps, length_penalty=length_penalty, **options)
    every = {_stopped(ids) for ids in itertools.product(range(SYMBOLS), repeat=steps)}
    scored = []
    for ids in every:
        score, _, lengths = writer.forced(np.array([ids] * B))
        scored.append((ids, score, score / ((5 + lengths) / 6) ** length_penalty))
    for row in range(B):
        best = sorted(scored, key=lambda one: -one[2][row])
        count = len(every)
        same(array(found.log_probabilities)[row, :count], np.array([one[1][row] for one in best]), atol=1e-4)
        assert {tuple(ids) for ids in array(found.ids)[row, :count].tolist()} == every
        assert tuple(array(found.ids)[row, 0]) == best[0][0]
        assert (array(found.log_probabilities)[row, count:] == -np.inf).all()  # no hypothesis is left for these


def _stopped(ids):
    """The ids with nothing but stop after the first stop."""
    end = ids.index(STOP) if STOP in ids else len(ids)
    return ids[:end] + (STOP,) * (len(ids) - end)


def test_more_beams_find_likelier_hypotheses():
    better = []
    for seed in range(6):
        writer = Writer(seed=seed)
        greedy = array(greedy_decode(writer.decoder, writer.memory, **writer.options()).log_probabilities)
        wide = array(beam_search(writer.decoder, writer.memory, beams=8, **writer.options()).log_probabilities)
        assert (np.diff(wide, axis=1) <= 1e-6).all()  # the best one first
        better.append(wide[:, 0] - greedy)
    assert np.min(better) > -1e-5
    assert np.max(better) > 1e-2


def test_a_stopped_beam_stays_as_it_is():
    writer = Writer()
    writer.to_logits.bias.assign([-20.0, 5.0, 0.0, 0.0, 0.0])
    short = beam_search(writer.decoder, writer.memory, beams=3, **writer.options(max_steps=3))
    long = beam_search(writer.decoder, writer.memory, beams=3, **writer.options(max_steps=30))
    stopped = array(short.lengths)[:, 0] < 3
    assert stopped.any()
    same(array(long.log_probabilities)[:, 0][stopped], array(short.log_probabilities)[:, 0][stopped], atol=1e-5)
    assert (array(long.ids)[:, 0, 3:][stopped] == STOP).all()
    assert (array(long.alignment)[:, 0, 3:][stopped] == 0).all()


def test_a_long_length_penalty_prefers_long_hypotheses():
    lengths = []
    for penalty in (0.0, 5.0):
        lengths.append(0)
        for seed in range(3):
            writer = Writer(seed=seed)
            writer.to_logits.bias.assign([0.0, 3.0, 0.0, 0.0, 0.0])
            found = beam_search(writer.decoder, writer.memory, beams=8, length_penalty=penalty, **writer.options())
            lengths[-1] += array(found.lengths)[:, 0].sum()
    assert lengths[1] > lengths[0]


def test_rows_do_not_meet():
    writer = Writer()
    together = beam_search(writer.decoder, writer.memory, beams=3, **writer.options())
    for row in range(B):
        options = writer.options(memory_mask=KEPT[row : row + 1])
        alone = beam_search(writer.decoder, writer.memory[row : row + 1], beams=3, **options)
        for one, all_rows in zip(alone, together, strict=True):
            same(array(one)[0], array(all_rows)[row], atol=1e-4)


def test_a_first_state_is_taken():
    writer = Writer(cell=keras.layers.GRUCell(UNITS))
    initial = np.random.default_rng(0).normal(size=(B, UNITS)).astype("float32") * 3
    with_state, without = (
        beam_search(writer.decoder, writer.memory, **writer.options(initial_state=state)) for state in (initial, None)
    )
    assert np.abs(array(with_state.log_probabilities) - array(without.log_probabilities)).max() > 1e-2


@keras.saving.register_keras_serializable(package="tests")
class Search(keras.Model):
    """The whole search as a model, which compiles it."""

    def __init__(self, writer, **kwargs):
        super().__init__(**kwargs)
        self.decoder, self.embed, self.to_logits = writer.decoder, writer.embed, writer.to_logits

    def call(self, inputs):
        options = {"embed": self.embed, "to_logits": self.to_logits, "start": START, "stop": STOP, "max_steps": STEPS}
        memory, kept = inputs["memory"], ops.cast(inputs["kept"], "bool")  # export makes a float of it
        return beam_search(self.decoder, memory, beams=3, memory_mask=kept, **options)._asdict()


@every_variant
def test_inside_a_model_the_search_is_compiled(variant):
    writer = Writer(variant)
    expected = beam_search(writer.decoder, writer.memory, beams=3, **writer.options())
    found = Search(writer).predict({"memory": writer.memory, "kept": KEPT}, batch_size=2, verbose=0)
    for name, one in expected._asdict().items():
        same(found[name], array(one), atol=1e-4)


def test_what_cannot_be_decoded_gets_a_sentence():
    writer = Writer()
    with pytest.raises(ArgumentError, match=r"beams must be a positive integer; received 0"):
        beam_search(writer.decoder, writer.memory, beams=0, **writer.options())
    with pytest.raises(ArgumentError, match=r"max_steps must be a positive integer; received 1\.5"):
        greedy_decode(writer.decoder, writer.memory, **writer.options(max_steps=1.5))
    with pytest.raises(ShapeError, match=r"memory must have shape \(batch, positions, features\); received \(3, 13\)"):
        greedy_decode(writer.decoder, writer.memory[:, 0], **writer.options())
    fresh = AttentionDecoder(keras.layers.GRUCell(3), BahdanauAttention(3), name="fresh")
    with pytest.raises(ArgumentError, match="fresh has no weights yet"):
        greedy_decode(fresh, writer.memory, **writer.options())


def test_the_mask_that_the_memory_carries_counts():
    decoder = AttentionDecoder(keras.layers.GRUCell(UNITS), BahdanauAttention(3))
    decoder.build((None, None, E), (None, None, V))
    memory = keras.layers.Masking()(np.ones((B, S, V), "float32") * KEPT[..., None])
    found = greedy_decode(
        decoder, memory, embed=keras.layers.Embedding(SYMBOLS, E), to_logits=keras.layers.Dense(SYMBOLS),
        start=START, stop=STOP, max_steps=STEPS,
    )  # fmt: skip
    alignment = array(found.alignment)[:, 0]
    np.testing.assert_array_equal(alignment > 0, KEPT)
