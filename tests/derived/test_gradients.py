"""Attention times gradient, of one layer and carried through all: the paper's equations, laws, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from keras_attn_xai.derived import attention_times_gradient, generic_attention
from keras_attn_xai.errors import ArgumentError, ShapeError
from tests.derived import references
from tests.derived.made import B, H, S, T, attention, layers

ENCODER, DECODER, CROSS = ("encoder", "encoder"), ("decoder", "decoder"), ("decoder", "encoder")


def raised(one, row):
    return references.a_bar(one.weights[row], one.gradients[row])


# one layer


def test_one_map_is_equation_5():
    seen = attention(keys=S)
    found = attention_times_gradient(seen)
    assert (found.name, found.weights.shape) == ("attention_times_gradient/mha", (B, 1, T, S))
    for row in range(B):
        np.testing.assert_allclose(found.weights[row, 0], raised(seen, row), atol=1e-15)


def test_what_speaks_against_the_target_is_cut_off_in_each_head():
    weights, gradients = np.full((1, 2, 1, 1), 0.5), np.array([[[[4.0]], [[-6.0]]]])
    seen = attention(queries=1, keys=1, rows=1, weights=weights, gradients=gradients, values=None)
    assert attention_times_gradient(seen).weights == 1  # the mean of 2 and 0, not of 2 and -3


def test_one_map_keeps_labels_masks_and_takes_the_largest_weights():
    seen = attention(padding=2)
    found = attention_times_gradient(seen)
    assert not found.weights[..., -2:].any()
    assert (found.query_labels, found.key_labels) == (seen.query_labels, seen.key_labels)
    np.testing.assert_array_equal(found.mask, seen.mask)
    keys = np.argsort(-seen.weights, axis=-1)
    part = replace(seen, weights=np.take_along_axis(seen.weights, keys, -1), indices=keys)
    np.testing.assert_allclose(attention_times_gradient(part).weights, found.weights, atol=1e-15)
    np.testing.assert_allclose(generic_attention([part]).weights, generic_attention([seen]).weights, atol=1e-15)
    with pytest.raises(
        ArgumentError, match=r"gradients of a target, which capture_gradients brings\. Without them: 'mha'"
    ):
        attention_times_gradient(replace(seen, gradients=None))


# one stream


def test_self_attention_alone():
    maps = layers(3)
    found = generic_attention(maps)
    for row in range(B):
        state = references.TwoStreams(T, T)
        for one in maps:
            state.self_s(raised(one, row))
        np.testing.assert_allclose(found.weights[row, 0], state.ss, atol=1e-13)
    assert (found.name, found.weights.shape) == ("generic_attention", (B, 1, T, T))
    assert (found.query_labels, found.key_labels) == (maps[-1].query_labels, maps[-1].key_labels)


def test_one_layer_is_the_identity_and_its_attention_times_gradient():
    seen = attention()
    wanted = np.eye(T) + attention_times_gradient(seen).weights
    np.testing.assert_array_equal(generic_attention([seen]).weights, wanted)


def test_a_layer_without_gradient_changes_nothing():
    maps = layers(2)
    still = replace(maps[0], gradients=np.zeros((B, H, T, T)))
    for order in ([still, maps[1]], [maps[1], still]):
        np.testing.assert_allclose(generic_attention(order).weights, generic_attention(maps[1:]).weights)


def test_gradients_far_below_1_are_not_lost_beside_the_identity():
    """R - I scales with the gradients as long as they are small; then its normalised form does not change at all."""
    streams = [ENCODER, DECODER, CROSS]
    maps = [attention("e", S, S, seed=1), attention("d", seed=2), attention("x", keys=S, seed=3)]
    large, small = (
        generic_attention([replace(one, gradients=one.gradients * scale) for one in maps], streams=streams).weights
        for scale in (1, 1e-20)
    )
    np.testing.assert_allclose(small, large * 1e-20, rtol=1e-9)


# several streams


def test_encoder_decoder():
    maps = [
        *(attention(f"e{i}", S, S, seed=i) for i in range(2)),
        *(one for i in range(2) for one in (attention(f"d{i}", seed=10 + i), attention(f"x{i}", keys=S, seed=20 + i))),
    ]
    found = generic_attention(maps, streams=[ENCODER, ENCODER, DECODER, CROSS, DECODER, CROSS])
    own = generic_attention(maps, streams=[ENCODER, ENCODER, DECODER, CROSS, DECODER, CROSS], source="decoder")
    for row in range(B):
        state = references.TwoStreams(T, S)  # s decodes, q encodes
        for one in maps[:2]:
            state.self_q(raised(one, row))
        for itself, cross in (maps[2:4], maps[4:6]):
            state.self_s(raised(itself, row))
            state.cross_s(raised(cross, row))
        np.testing.assert_allclose(found.weights[row, 0], state.sq, atol=1e-13)
        np.testing.assert_allclose(own.weights[row, 0], state.ss, atol=1e-13)
    assert (found.query_labels, found.key_labels) == (maps[-1].query_labels, maps[-1].key_labels)
    assert own.key_labels == maps[-1].query_labels


@pytest.mark.parametrize("source", ["text", "image"])
def test_co_attention_reads_the_state_before_either_direction(source):
    """Two layers of co-attention with self-attention between, as in LXMERT; text has T positions, images S."""
    text, image = ("text", "text"), ("image", "image")
    alone = [attention("t0", seed=1), attention("i0", S, S, seed=2)]
    both = [(attention(f"ti{n}", keys=S, seed=n), attention(f"it{n}", S, T, seed=n + 1)) for n in (3, 5)]
    after = [attention("t1", seed=7), attention("i1", S, S, seed=8)]
    end = [attention("t2", seed=9)]
    streams = [text, image, text[:1] + image[:1], image[:1] + text[:1], text, image]
    streams += [text[:1] + image[:1], image[:1] + text[:1], text]
    found = generic_attention([*alone, both[0], *after, both[1], *end], streams=streams, source=source)
    for row in range(B):
        state = references.TwoStreams(T, S)
        state.self_s(raised(alone[0], row))
        state.self_q(raised(alone[1], row))
        state.cross_both(*(raised(one, row) for one in both[0]))
        state.self_s(raised(after[0], row))
        state.self_q(raised(after[1], row))
        state.cross_both(*(raised(one, row) for one in both[1]))
        state.self_s(raised(end[0], row))
        wanted = {"text": state.ss, "image": state.sq}[source]
        np.testing.assert_allclose(found.weights[row, 0], wanted, atol=1e-12)
    one_after_the_other = generic_attention([*alone, *both[0], *after, *both[1], *end], streams=streams, source=source)
    differs = np.abs(one_after_the_other.weights - found.weights).max() > 1e-3
    assert differs == (source == "image")  # text reads before image writes, in either order
    if source == "image":  # the last stream that text attended to
        np.testing.assert_array_equal(
            generic_attention([*alone, both[0], *after, both[1], *end], streams=streams).weights, found.weights
        )


def test_cross_attention_before_any_self_attention_is_its_own_attention_times_gradient():
    """R is the identity on both sides, where the published division is 0/0."""
    seen = attention(keys=S)
    found = generic_attention([seen], streams=[CROSS])
    np.testing.assert_allclose(found.weights, attention_times_gradient(seen).weights, atol=1e-15)


def test_what_one_stream_took_from_a_third_is_handed_on():
    first, second = attention("ba", T, S, seed=1), attention("cb", 2, T, seed=2)
    found = generic_attention([first, second], streams=[("b", "a"), ("c", "b")], source="a")
    for row in range(B):
        np.testing.assert_allclose(found.weights[row, 0], raised(second, row) @ raised(first, row), atol=1e-15)
    assert found.key_labels == first.key_labels
    assert found.query_labels == second.query_labels


def test_padding_stays_0():
    maps = [attention("e", S, S, padding=3, seed=1), attention("d", padding=2, seed=2)]
    mask = maps[0].mask
    cross = attention("x", keys=S, seed=3)
    weights = cross.weights * mask[:, None, None]
    maps.append(replace(cross, weights=weights, mask=mask, query_mask=maps[1].mask))
    streams = [ENCODER, DECODER, CROSS]
    found = generic_attention(maps, streams=streams)
    assert not found.weights[..., -3:].any()
    assert not found.weights[:, :, -2:].any()
    own = generic_attention(maps, streams=streams, source="decoder")
    assert not own.weights[..., -2:].any()
    np.testing.assert_array_equal(own.mask, maps[1].mask)


# refused


@pytest.mark.parametrize(
    ("maps", "options", "error", "match"),
    [
        ([], {}, ArgumentError, "generic_attention needs at least one attention map"),
        (attention(), {}, ArgumentError, "takes a sequence of maps"),
        ([(attention(), 3)], {}, ArgumentError, "takes a sequence of AttentionMap; received int"),
        ([attention(), attention("b", rows=3)], {}, ShapeError, "different numbers of rows: 'mha' 2, 'b' 3"),
        (
            [attention("a", gradients=None), attention("b"), attention("c", gradients=None)],
            {},
            ArgumentError,
            r"gradients of a target, which capture_gradients brings\. Without them: 'a', 'c'",
        ),
        (
            [attention("e", S, S), attention("x", T, S)],
            {},
            ShapeError,
            r"name the query stream and the key stream of each, .* 'e' \(7, 7\), 'x' \(5, 7\)",
        ),
        (
            [attention()],
            {"streams": [ENCODER] * 2},
            ArgumentError,
            r"one pair .* for each of 1 maps; received \[\('enc",
        ),
        ([attention()], {"streams": ["encoder"]}, ArgumentError, r"one pair .* received \[\('encoder',\)\]"),
        (
            [attention("e", S, S), attention("x")],
            {"streams": [ENCODER, CROSS]},
            ShapeError,
            r"'encoder' has 7 positions and 5 as well, in 'x' \(T, S\) = \(5, 5\) with streams",
        ),
        (
            [attention("x", T, S)],
            {"streams": [ENCODER]},
            ShapeError,
            "'encoder' has 5 positions and 7 as well, in 'x'",
        ),
        (
            [attention("e", S, S), attention("d")],
            {"streams": [ENCODER, DECODER], "source": "encoder"},
            ArgumentError,
            r"No position of 'decoder' rests on 'encoder'; the streams are 'encoder' \(7\), 'decoder' \(5\)",
        ),
        ([attention()], {"source": "image"}, ArgumentError, r"rests on 'image'; the streams are 'input' \(5\)"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(maps, options, error, match):
    with pytest.raises(error, match=match):
        generic_attention(maps, **options)
