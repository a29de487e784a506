"""Words, sentences, segments and whole inputs as players: positions that come and go together."""

import time

import numpy as np
import pytest

from keras_attn_xai import AttentionExplainer, align, load_explanation, plots, save_explanation, write_report
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.explain.players import Side, players_of
from keras_attn_xai.text import phrase, sentence_ids, tokenize
from tests.explain.enumeration import coalition_value
from tests.explain.models import MASK, attention_model, linear_model, token_ids

TEXTS = ["un|know|able film", "a good film in|deed"]


class Pieces:
    """Cuts words at bars, as a sub-word tokenizer would."""

    ids = {"un": 2, "know": 3, "able": 4, "film": 5, "a": 6, "good": 7, "in": 8, "deed": 9, "[MASK]": MASK}

    def get_vocabulary(self):
        return ["", *sorted(self.ids, key=self.ids.get)]

    def get_config(self):
        return {"output_mode": "int"}

    def __call__(self, texts):
        return np.array([[self.ids[piece] for word in text.split() for piece in word.split("|")] for text in texts])


@pytest.fixture(scope="module")
def explanation():
    model = attention_model(length=None, mask_zero=True)
    explainer = AttentionExplainer(model, "[MASK]", players="words", tokenizer=Pieces(), target=2, method="exact")
    return model, explainer(TEXTS)


def test_a_word_is_one_player(explanation):
    model, found = explanation
    words = found.attribution
    assert words.players == "words"
    assert words.player_labels == (("unknowable", "film", "", ""), ("a", "good", "film", "indeed"))
    np.testing.assert_array_equal(words.mask, [[True, True, False, False], [True] * 4])
    np.testing.assert_array_equal(words.evaluations, [4, 16])
    assert (words.values[0, 2:] == 0).all()
    row, background = np.array([2, 3, 4, 5, 0]), np.array([[MASK] * 4 + [0]])
    worth = lambda *some: coalition_value(lambda x: np.asarray(model(x))[:, 2], row, background, some)  # noqa: E731
    nothing, first, second, both = worth(), worth(0, 1, 2), worth(3), worth(0, 1, 2, 3)
    expected = [first - nothing + both - second, second - nothing + both - first]
    np.testing.assert_allclose(words.values[0, :2], np.array(expected) / 2, atol=2e-5)


def test_attention_is_added_up_beside_words(explanation, tmp_path):
    _, found = explanation
    both = align(found)
    assert both.labels == found.attribution.player_labels
    pieces = found.attention[0].weights.mean(1)
    expected = pieces[1].mean(0)
    np.testing.assert_allclose(both.attention[1], [*expected[:3], expected[3:].sum()], rtol=1e-5)
    np.testing.assert_allclose(both.attention.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(both.attribution, found.attribution.values)
    np.testing.assert_array_equal(align(found, merge="words").attention, both.attention)
    one = align(found[0])
    np.testing.assert_allclose(one.attention, both.attention[:1])
    figure = plots.plot_side_by_side(found[0])
    assert len(figure.axes[1].patches) == 2
    page = write_report(found, tmp_path / "page.html").read_text()
    assert "unknowable" in page
    again = load_explanation(save_explanation(found, tmp_path / "bundle"))
    np.testing.assert_array_equal(align(again).attention, both.attention)


def test_words_of_one_piece_are_tokens():
    model = attention_model()
    explain = [
        AttentionExplainer(model, MASK, players=players, method="permutation", attention=None)
        for players in ("words", "tokens")
    ]
    words, tokens = (one(token_ids()).attribution for one in explain)
    np.testing.assert_array_equal(words.values, tokens.values)


def test_a_word_of_a_linear_model_is_the_sum_of_its_pieces():
    model, weight, table = linear_model()
    texts = ["un|know|able a good in|deed"]
    found = AttentionExplainer(model, MASK, players="words", tokenizer=Pieces())(texts).attribution
    ids = Pieces()(texts)[0]
    alone = weight * (table[ids] - table[MASK])
    np.testing.assert_allclose(found.values[0], [alone[:3].sum(), alone[3], alone[4], alone[5:].sum()], atol=1e-5)


def test_a_tokenizer_that_finds_nothing():
    explainer = AttentionExplainer(attention_model(), MASK, players="words", tokenizer=lambda text: [])
    with pytest.raises(ArgumentError, match="Text 0 is empty: the tokenizer found nothing in 'a film'"):
        explainer(["a film"])


@pytest.mark.parametrize(
    ("kind", "groups"),
    [("sentences", [[0, 1, 2], [3, 4, 5, 6]]), ("segments", [[i] for i in range(7)]), ("inputs", [range(7)])],
)
def test_a_group_of_a_linear_model_is_the_sum_of_its_positions(kind, groups):
    model, weight, table = linear_model()
    row, text = np.array([[5, 6, 7, 8, 9, 10, 11]]), "a b end. c d e f"
    explainer = AttentionExplainer(
        model, MASK, players=kind, tokenizer=lambda text: (row[0], text.split()), method="exact"
    )
    found = explainer([text]).attribution
    alone = weight * (table[row[0]] - table[MASK])
    np.testing.assert_allclose(found.values[0], [alone[list(own)].sum() for own in groups], atol=1e-5)
    assert found.players == kind
    assert "input" in found.player_labels[0][0] or found.player_labels[0][0].startswith("a")


@pytest.mark.parametrize(
    ("pieces", "sentences"),
    [
        (["[CLS]", "a", "film", ".", "[SEP]"], [0, 0, 0, 0, 0]),
        (["a", ".", "[SEP]", "b", ".", "[SEP]"], [0, 0, 1, 1, 1, 1]),
        (["a", ".", "b", ".", "</s>"], [0, 0, 1, 1, 1]),
        (["Hello", "\n\n", "World", "\n"], [0, 0, 1, 1]),
        (["Hello", "\nWorld", " of.\n", "\n", "End"], [0, 1, 1, 1, 2]),
        (["\nHello", "\nWorld"], [0, 1]),
        (["...", "and", "so", "on"], [0, 0, 0, 0]),
        (["\n", "Hello", ".", "\n", "World"], [0, 0, 0, 0, 1]),
        (['He said "good."', "(Yes.)", "No"], [0, 1, 2]),
        (["“", "good", ".", "”", "Yes"], [0, 0, 0, 0, 1]),
        (["He", "left", ".", '"', "Bad", '"', "."], [0, 0, 0, 1, 1, 1, 1]),
        (['"', "Good", ".", '"', "He", "left"], [0, 0, 0, 0, 1, 1]),
        (["東京", "。", "広い", "！", "本当", "？", "」", "はい"], [0, 0, 1, 1, 2, 2, 2, 3]),
        (["Dr.", "Who"], [0, 1]),  # abbreviations are not known
        (["10.5", "a"], [0, 0]),
    ],
)
def test_where_sentences_end(pieces, sentences):
    padded = [[*pieces, ""], ["", *pieces]]
    words = [[*range(len(pieces)), -1], [-1, *range(len(pieces))]]
    np.testing.assert_array_equal(sentence_ids(padded, np.array(words)), [[*sentences, -1], [-1, *sentences]])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["A", "film", "(", "good", ")", ",", "mostly", "!"], "A film (good), mostly!"),
        (["東京", "は", "広い", "。"], "東京は広い。"),
        ([" so", "\n", "good "], "so good"),
        (["a" * 20, "b" * 19], "a" * 20 + " " + "b" * 19),
        (["a" * 20, "b" * 20], "a" * 20 + "..."),
        (["a" * 20, "b" * 19, "c"], "a" * 20 + " " + "b" * 19 + "..."),
        (["京" * 50], "京" * 40 + "..."),
    ],
)
def test_words_as_one_writes_them(words, said):
    assert phrase(words) == said


@pytest.mark.parametrize("kind", ["tokens", "words", "sentences", "segments", "steps", "inputs"])
def test_players_of_long_texts_take_no_time(kind):
    text = " ".join(["film", "good", "well-made", "end.", "why?"] * 120)
    tokens = tokenize(lambda one: ([2] * 600, one.split()), [text] * 64)
    side = Side("ids", tokens.ids, tokens.mask, tokens.pieces, tokens.word_ids)

    def seconds():
        start = time.process_time()
        players_of(side, kind)
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 1  # the loops that this replaced took several; alone it is < 0.2
