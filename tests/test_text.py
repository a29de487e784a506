"""The tokenizer seam: ids for the model, the user's own words for the reader."""

import keras
import numpy as np
import pytest
import tokenizers

from keras_attn_xai.errors import ArgumentError, FileFormatError
from keras_attn_xai.text import Tokens, Vocabulary, token_id, tokenize

# Vocabulary


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("A good movie.", ["A", "good", "movie", "."]),
        ("don't, it’s well-made!", ["don't", ",", "it’s", "well-made", "!"]),
        ("'quoted' rock-", ["'", "quoted", "'", "rock", "-"]),
        ("Größe ÉTÉ 東京 привет", ["Größe", "ÉTÉ", "東京", "привет"]),
        ("so good 😀🎬", ["so", "good", "😀", "🎬"]),
        ("10/10 for $3.50", ["10", "/", "10", "for", "$", "3", ".", "50"]),
        (" \t\n\u00a0", []),
    ],
)
def test_words_of_a_text(text, pieces):
    assert Vocabulary(["", "[UNK]", "a"])(text) == ([2 if piece == "A" else 1 for piece in pieces], pieces)


def test_ids_ignore_case_and_pieces_keep_it():
    vocabulary = Vocabulary(["", "[UNK]", "größe", "été"])
    assert vocabulary("GRÖSSE Größe ÉTÉ") == ([1, 2, 3], ["GRÖSSE", "Größe", "ÉTÉ"])


def test_building_keeps_the_most_frequent_words():
    vocabulary = Vocabulary.build(["b b b a a c", "a a c."], size=6, special=["[MASK]"])
    assert vocabulary.words == ("", "[UNK]", "[MASK]", "a", "b", "c")
    assert Vocabulary.build(["b a"], size=9).words == ("", "[UNK]", "a", "b")  # equal counts: by name
    assert len(vocabulary) == 6
    assert vocabulary.id_of("[MASK]") == 2


def test_a_word_that_must_be_there():
    with pytest.raises(ArgumentError, match="'film' is not in the vocabulary of 3 words"):
        Vocabulary(["", "[UNK]", "a"]).id_of("film")


@pytest.mark.parametrize("words", [[], ["", "[UNK]"]])
def test_a_vocabulary_has_a_least_size(words):
    with pytest.raises(ArgumentError, match=f"A vocabulary needs .*; received {len(words)}"):
        Vocabulary(words)


@pytest.mark.parametrize("words", [["", "[UNK]", "good"], ["[PAD]", "[UNK]", "größe", "😀", "it’s", "東京"]])
def test_a_file_there_and_back(words, tmp_path):
    Vocabulary(words).write(tmp_path / "words.txt")
    assert Vocabulary.read(tmp_path / "words.txt").words == tuple(words)
    assert (tmp_path / "words.txt").read_bytes() == ("\n".join(words) + "\n").encode()


def test_a_file_without_a_last_newline_or_from_windows(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(b"\n[UNK]\ngood")
    assert Vocabulary.read(path).words == ("", "[UNK]", "good")
    path.write_bytes(b"\r\n[UNK]\r\ngood\r\n")
    assert Vocabulary.read(path).words == ("", "[UNK]", "good")


def test_files_that_are_none(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("\n[UNK]\ngröße\n".encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"words\.txt is not UTF-8 text: invalid start byte at byte 9"):
        Vocabulary.read(path)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"words\.txt: A vocabulary needs"):
        Vocabulary.read(path)
    with pytest.raises(FileNotFoundError):
        Vocabulary.read(tmp_path / "no such file")


# tokenize


def split(text):
    return [len(word) for word in text.split()]


def test_tokens_are_padded_to_the_longest():
    tokens = tokenize(split, ["so it goes", "well"])
    assert isinstance(tokens, Tokens)
    np.testing.assert_array_equal(tokens.ids, [[2, 2, 4], [4, 0, 0]])
    assert tokens.ids.dtype == np.int32
    assert tokens.pieces == (("so", "it", "goes"), ("well", "", ""))
    np.testing.assert_array_equal(tokens.mask, [[True, True, True], [True, False, False]])
    np.testing.assert_array_equal(tokens.word_ids, [[0, 1, 2], [0, -1, -1]])


def test_tokens_are_padded_to_a_length_with_an_id():
    tokens = tokenize(split, "so it", length=5, pad_id=9)
    np.testing.assert_array_equal(tokens.ids, [[2, 2, 9, 9, 9]])
    assert tokens.pieces == (("so", "it", "", "", ""),)
    assert tokens.mask.sum() == 2


@pytest.mark.parametrize("texts", [("so it", "goes"), np.array(["so it", "goes"]), np.array(["so it", "goes"], object)])
def test_texts_in_any_sequence(texts):
    assert tokenize(split, texts).pieces == (("so", "it"), ("goes", ""))


def test_a_vocabulary_is_a_tokenizer():
    vocabulary = Vocabulary(["", "[UNK]", "good"])
    tokens = tokenize(vocabulary, ["Good film!", "good"])
    np.testing.assert_array_equal(tokens.ids, [[2, 1, 1], [2, 0, 0]])
    assert tokens.pieces == (("Good", "film", "!"), ("good", "", ""))


def test_pieces_from_the_function_itself():
    tokens = tokenize(lambda text: ([5, 6], ["good", "##ness"]), "goodness")
    assert tokens.pieces == (("good", "##ness"),)
    assert tokenize(lambda text: (np.array([5, 6]), np.array(["a", "b"])), "ab").pieces == (("a", "b"),)


def test_several_ids_for_a_word_go_by_number_and_share_the_word():
    tokens = tokenize(lambda text: [ord(one) for word in text.split() for one in word], "so I")
    assert tokens.pieces == (("115", "111", "I"),)
    np.testing.assert_array_equal(tokens.word_ids, [[0, 0, 1]])


def test_ids_that_depend_on_the_neighbours_go_by_number():
    tokens = tokenize(lambda text: [len(text) + i for i in range(2)], "so it goes")
    assert tokens.pieces == (("10", "11"),)
    np.testing.assert_array_equal(tokens.word_ids, [[0, 1]])


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_two_ids_are_no_pair_of_ids_and_pieces(kind):
    assert tokenize(lambda text: kind([len(word) for word in text.split()]), "so well").pieces == (("so", "well"),)


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (None, "must return ids, or ids and pieces; for 'a text' it returned shape"),
        ([0.5, 1.5], "it returned shape .2,., dtype float64"),
        (["a", "text"], "must return ids"),
        ([[1, 2]], r"it returned shape \(1, 2\)"),
        (([1, 2], ["a"]), "returned 2 ids and 1 pieces for 'a text'"),
        (([0.5, 2], ["a", "b"]), "must return ids"),
        ((np.array([[1, 2]]), ["a"]), r"it returned shape \(1, 2\)"),
        ({"input_ids": [1]}, "must return ids"),
        (7, r"it returned shape \(\)"),
    ],
)
def test_what_a_function_must_not_return(result, match):
    with pytest.raises(ArgumentError, match=match):
        tokenize(lambda text: result, "a text")


@pytest.mark.parametrize(
    ("texts", "options", "match"),
    [
        ("", {}, "Text 0 is empty: the tokenizer found nothing in ''"),
        (["well", "  "], {}, "Text 1 is empty: the tokenizer found nothing in '  '"),
        ([], {}, "Expected at least one text; received none"),
        (["well", 3], {}, "Text 1 must be a string; received int"),
        (["so it goes"], {"length": 2}, "Text 0 has 3 tokens; the model takes 2. Shorten the text"),
    ],
)
def test_texts_that_cannot_be(texts, options, match):
    with pytest.raises(ArgumentError, match=match):
        tokenize(split, texts, **options)


def test_a_message_quotes_no_more_than_forty_letters():
    with pytest.raises(ArgumentError) as caught:
        tokenize(lambda text: [], "long " * 1000)
    assert len(str(caught.value)) < 120


def test_something_that_is_no_tokenizer():
    with pytest.raises(ArgumentError, match=r"A tokenizer is a callable.*; received dict"):
        tokenize({}, "a text")


# Hugging Face tokenizers, built here


@pytest.fixture(scope="module")
def wordpiece():
    """WordPiece with sub-words, lower case, and special tokens around each text."""
    tokenizers = pytest.importorskip("tokenizers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##believ", "##able", "good", "film", "!"]
    built = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    built.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    built.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    built.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return built


def test_pieces_read_as_the_user_wrote_them(wordpiece):
    tokens = tokenize(wordpiece, "UNbelievable   Film! Zebra")
    np.testing.assert_array_equal(tokens.ids, [[2, 4, 5, 6, 8, 9, 1, 3]])
    assert tokens.pieces == (("[CLS]", "UN", "believ", "able", "Film", "!", "Zebra", "[SEP]"),)
    np.testing.assert_array_equal(tokens.word_ids, [[0, 1, 1, 1, 2, 3, 4, 5]])


def test_words_merge_in_an_alignment(wordpiece):
    from keras_attn_xai import AttentionMap, Attribution, Explanation, Provenance, align

    tokens = tokenize(wordpiece, "unbelievable film")
    positions = tokens.ids.shape[1]
    attribution = Attribution(
        values=[np.arange(positions)],
        base=[0],
        output=[15],
        target=[0],
        unit="output",
        method="exact",
        evaluations=[1],
        player_labels=tokens.pieces,
    )
    seen = AttentionMap("map", np.full((1, 1, 1, positions), 1 / positions), [["q"]], tokens.pieces)
    whole = Explanation((seen,), (attribution,), tokens.pieces, Provenance("m"), word_ids=tokens.word_ids)
    aligned = align(whole, merge="words")
    assert aligned.labels == (("[CLS]", "unbelievable", "film", "[SEP]"),)
    np.testing.assert_array_equal(aligned.attribution, [[0, 1 + 2 + 3, 4, 5]])
    np.testing.assert_allclose(aligned.attention, [[1 / 6, 3 / 6, 1 / 6, 1 / 6]])


@pytest.mark.parametrize("direction", ["left", "right"])
def test_their_padding_gives_way_to_ours(wordpiece, direction):
    wordpiece.enable_padding(length=7, direction=direction, pad_id=0)
    try:
        tokens = tokenize(wordpiece, ["good film", "good"], pad_id=0)
    finally:
        wordpiece.no_padding()
    np.testing.assert_array_equal(tokens.ids, [[2, 7, 8, 3], [2, 7, 3, 0]])
    assert tokens.pieces[1] == ("[CLS]", "good", "[SEP]", "")
    np.testing.assert_array_equal(tokens.word_ids[1], [0, 1, 2, -1])


def test_their_truncation_holds(wordpiece):
    wordpiece.enable_truncation(3)
    try:
        tokens = tokenize(wordpiece, "good film good film")
    finally:
        wordpiece.no_truncation()
    assert tokens.pieces == (("[CLS]", "good", "[SEP]"),)


def test_byte_pieces_are_cut_from_the_text(wordpiece):
    tokenizers = pytest.importorskip("tokenizers")
    letters = {letter: i for i, letter in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}
    built = tokenizers.Tokenizer(tokenizers.models.BPE(letters, []))
    built.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens = tokenize(built, "so it")
    assert "".join(tokens.pieces[0]) == "so it"
    np.testing.assert_array_equal(tokens.word_ids, [[0, 0, 1, 1, 1]])


# keras.layers.TextVectorization


@pytest.fixture(scope="module")
def vectorization():
    """A function of its constructor's options, with the words a, film, good, is and it."""
    keras = pytest.importorskip("keras")

    def adapted(**options):
        layer = keras.layers.TextVectorization(**options)
        layer.adapt(["a good film is a good film", "it is"])
        return layer

    return adapted


def test_a_text_vectorization_is_labelled_with_the_users_words(vectorization):
    layer = vectorization()
    tokens = tokenize(layer, ["It is Good, a ZEBRA!", "film"])
    np.testing.assert_array_equal(tokens.ids, np.asarray(layer(["It is Good, a ZEBRA!", "film"])))
    assert tokens.pieces == (("It", "is", "Good,", "a", "ZEBRA!"), ("film", "", "", "", ""))
    np.testing.assert_array_equal(tokens.mask[1], [True, False, False, False, False])


def test_a_text_vectorization_of_fixed_length(vectorization):
    layer = vectorization(output_sequence_length=3)
    tokens = tokenize(layer, ["Good Zebra", "It is a good film"], length=3)
    assert tokens.pieces == (("Good", "Zebra", ""), ("It", "is", "a"))
    np.testing.assert_array_equal(tokens.word_ids, [[0, 1, -1], [0, 1, 2]])


def test_a_text_vectorization_of_letters(vectorization):
    tokens = tokenize(vectorization(split="character"), "Is")
    assert tokens.pieces == (("i", "s"),)
    np.testing.assert_array_equal(tokens.word_ids, [[0, 0]])


def test_a_text_vectorization_of_pairs_goes_by_its_own_words(vectorization):
    assert tokenize(vectorization(ngrams=2), "Good film").pieces == (("good", "film", "good film"),)


def test_a_text_vectorization_finds_nothing(vectorization):
    with pytest.raises(ArgumentError, match=r"Text 1 is empty: the tokenizer found nothing in '\.\.\.'"):
        tokenize(vectorization(), ["good", "..."])


@pytest.mark.parametrize("mode", ["multi_hot", "count"])
def test_a_text_vectorization_that_counts_is_refused(vectorization, mode):
    with pytest.raises(ArgumentError, match="must have output_mode='int'"):
        tokenize(vectorization(output_mode=mode), "good")


def test_a_token_has_an_id_in_every_tokenizer_that_can_be_asked():
    words = ["", "[UNK]", "[MASK]", "film"]
    layer = keras.layers.TextVectorization(vocabulary=["[MASK]", "film"])
    hugging = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    for tokenizer in (Vocabulary(words), layer, hugging):
        assert token_id(tokenizer, "[MASK]") == 2
        with pytest.raises(ArgumentError, match="'nobody' is not in the"):
            token_id(tokenizer, "nobody")
    with pytest.raises(ArgumentError, match="cannot be asked for the id of"):
        token_id(str.split, "[MASK]")
