"""The tokenizer seam: texts in, ids and the user's own words out.

Anything that turns a text into ids will do: a ``keras.layers.TextVectorization``, a Hugging Face
``tokenizers.Tokenizer``, a `Vocabulary`, or a function of one text that returns ids, or ids and pieces.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_attn_xai.errors import ArgumentError, FileFormatError
from keras_attn_xai.records import Labels, pad_labels

WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]", re.UNICODE)
STOPS = (".", "!", "?", "。", "！", "？", "．")
CLOSING = "\"'”’»)]}」』）】"
MARKS = "".join(STOPS) + CLOSING  # a sentence does not begin with them
SPECIAL = re.compile(r"\[\w+\]|</?\w+>|<\|\w+\|>")  # [SEP], </s>, <|endoftext|>
CJK = "\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff20"  # letters and marks written without spaces
NO_SPACE = re.compile(rf" (?=[.,;:!?…)\]}}”’»])|(?<=[(\[{{“‘«]) |(?<=[{CJK}]) (?=[{CJK}])")
PHRASE = 40  # characters


@dataclass(frozen=True, eq=False)
class Tokens:
    """Texts as a model takes them and as a person reads them.

    Parameters
    ----------
    ids : int array (B, S)
    pieces : tuples of strings (B, S)
        Padding is ``""``.
    mask : bool array (B, S)
        True is a real token.
    word_ids : int array (B, S)
        The word a piece belongs to, counted from 0 in each text; -1 is padding.
    """

    ids: np.ndarray
    pieces: Labels
    mask: np.ndarray
    word_ids: np.ndarray


class Vocabulary:
    """A plain word tokenizer: lower case, words and punctuation marks, one id per line of a list.

    Parameters
    ----------
    words : sequence of str
        The word of each id. ``words[0]`` is the padding, ``words[1]`` stands for every unknown word.

    Examples
    --------
    >>> from keras_attn_xai.text import Vocabulary
    >>> vocabulary = Vocabulary(["", "[UNK]", "a", "good", "film", "."])
    >>> vocabulary("A good movie.")
    ([2, 3, 1, 5], ['A', 'good', 'movie', '.'])
    """

    def __init__(self, words):
        self.words = tuple(words)
        if len(self.words) < 3:
            raise ArgumentError(f"A vocabulary needs padding, the unknown word and a word; received {len(self.words)}.")
        self._ids = {word: i for i, word in enumerate(self.words)}

    def __len__(self):
        return len(self.words)

    def __call__(self, text):
        """Ids and pieces of one text; a piece is the word as it was written."""
        pieces = WORD.findall(text)
        return [self._ids.get(piece.lower(), 1) for piece in pieces], pieces

    def id_of(self, word):
        """The id of a word that must be there."""
        if word not in self._ids:
            raise ArgumentError(f"'{word}' is not in the vocabulary of {len(self.words)} words.")
        return self._ids[word]

    @classmethod
    def build(cls, texts, *, size, unknown="[UNK]", special=()):
        """The most frequent words of some texts.

        Parameters
        ----------
        texts : iterable of str
        size : int
            Words to keep, padding, unknown and special ones included.
        unknown : str, default "[UNK]"
        special : sequence of str
            Words to put after the unknown one, such as a mask token.
        """
        counts: dict[str, int] = {}
        for text in texts:
            for word in WORD.findall(text.lower()):
                counts[word] = counts.get(word, 0) + 1
        first = ["", unknown, *special]
        ranked = sorted((word for word in counts if word not in first), key=lambda word: (-counts[word], word))
        return cls(first + ranked[: max(0, size - len(first))])

    @classmethod
    def read(cls, path):
        """From a UTF-8 file with one word a line; line 1 (id 0) is the padding and may be empty."""
        try:
            lines = Path(path).read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise FileFormatError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
        try:
            return cls(lines[:-1] if lines[-1] == "" else lines)
        except ArgumentError as error:
            raise FileFormatError(f"{path}: {error}") from None

    def write(self, path):
        """One word a line, to be read back by `read`."""
        Path(path).write_text("\n".join(self.words) + "\n", encoding="utf-8")


def tokenize(tokenizer, texts, *, length=None, pad_id=0):
    """Texts to ids and labelled pieces, padded to one length.

    Parameters
    ----------
    tokenizer : callable or object
        See the module.
    texts : str or sequence of str
    length : int, optional
        Positions per row; by default the longest text's.
    pad_id : int, default 0

    Returns
    -------
    Tokens

    Raises
    ------
    ArgumentError
        An empty text, a text longer than ``length``, or a tokenizer that returns something else.

    Examples
    --------
    >>> from keras_attn_xai.text import tokenize
    >>> tokens = tokenize(lambda text: [len(word) for word in text.split()], ["so it goes", "well"])
    >>> tokens.ids
    array([[2, 2, 4],
           [4, 0, 0]], dtype=int32)
    >>> tokens.pieces[0]
    ('so', 'it', 'goes')
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    encode = _encoder(tokenizer)
    rows = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ArgumentError(f"Text {number} must be a string; received {type(text).__name__}.")
        ids, pieces, words = encode(text)
        if len(ids) == 0:
            raise ArgumentError(f"Text {number} is empty: the tokenizer found nothing in {text[:40]!r}.")
        if length is not None and len(ids) > length:
            raise ArgumentError(f"Text {number} has {len(ids)} tokens; the model takes {length}. Shorten the text.")
        rows.append((ids, pieces, words))
    if not rows:
        raise ArgumentError("Expected at least one text; received none.")
    width = length or max(len(ids) for ids, _, _ in rows)
    tokens = np.full((len(rows), width), pad_id, np.int32)
    word_ids = np.full((len(rows), width), -1, np.int32)
    for row, (ids, _, words) in enumerate(rows):
        tokens[row, : len(ids)], word_ids[row, : len(ids)] = ids, words
    return Tokens(tokens, pad_labels([pieces for _, pieces, _ in rows], width), word_ids >= 0, word_ids)


def token_id(tokenizer, token):
    """The id a tokenizer has for a token such as ``"[MASK]"``.

    Parameters
    ----------
    tokenizer : `Vocabulary`, TextVectorization or tokenizers.Tokenizer
    token : str

    Returns
    -------
    int

    Raises
    ------
    ArgumentError
        It has none, or it is a plain function, which cannot be asked.

    Examples
    --------
    >>> from keras_attn_xai.text import Vocabulary, token_id
    >>> token_id(Vocabulary(["", "[UNK]", "[MASK]", "film"]), "[MASK]")
    2
    """
    if hasattr(tokenizer, "id_of"):
        return tokenizer.id_of(token)
    if hasattr(tokenizer, "token_to_id"):
        found = tokenizer.token_to_id(token)
    elif hasattr(tokenizer, "get_vocabulary"):
        found = {str(word): i for i, word in enumerate(tokenizer.get_vocabulary())}.get(token)
    else:
        raise ArgumentError(f"This tokenizer cannot be asked for the id of '{token}'; pass the id itself.")
    if found is None:
        raise ArgumentError(f"'{token}' is not in the tokenizer's vocabulary.")
    return int(found)


def joined_words(pieces, word_ids):
    """The words that pieces make.

    Parameters
    ----------
    pieces : tuples of strings (B, S)
    word_ids : int array (B, S)
        Pieces of one word share a number; -1 is padding.

    Returns
    -------
    numbers : int array (B, S)
        The word of each piece, counted from 0 in the order of ``word_ids``; -1 is padding.
    words : lists of strings
        Of each row, as many as it has.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.text import joined_words
    >>> joined_words([["un", "seen", "film", ""]], np.array([[0, 0, 2, -1]]))
    (array([[ 0,  0,  1, -1]]), [['unseen', 'film']])
    """
    found = [np.unique(row, return_inverse=True) for row in word_ids]
    numbers = np.stack([at.reshape(-1) - (first[0] < 0) for first, at in found])  # -1 comes first and stays
    words = []
    for row, own in zip(pieces, numbers.tolist(), strict=True):
        said = [""] * (max(own) + 1)
        for piece, word in zip(row, own, strict=True):
            if word >= 0:
                said[word] += piece
        words.append(said)
    return numbers, words


def sentence_ids(pieces, word_ids):
    """The sentence of each piece.

    A sentence ends with a word that ends in a full stop, an exclamation or a question mark (those of Chinese and
    Japanese too), or in a line's end where the tokenizer keeps it. Marks that follow, as in ``?!``, belong to it, and
    so does what has no words at a text's end, such as ``[SEP]``.

    Parameters
    ----------
    pieces : tuples of strings (B, S)
    word_ids : int array (B, S)
        Pieces of one word share a number, and stay together; -1 is padding.

    Returns
    -------
    int array (B, S)
        Counted from 0 in each row; -1 is padding.

    Notes
    -----
    Marks are all it looks at: ``Dr.`` ends a sentence, and so does the point of ``3.5`` where a tokenizer, such as
    `Vocabulary`, makes a word of it.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.text import sentence_ids
    >>> sentence_ids([["Good", "!", "!", "I", "laughed", ".", ""]], np.array([[0, 1, 2, 3, 4, 5, -1]]))
    array([[ 0,  0,  0,  1,  1,  1, -1]])
    """
    numbers, rows = joined_words(pieces, word_ids)
    sentences = np.full(numbers.shape, -1)
    for row, words in enumerate(rows):
        real = numbers[row] >= 0
        sentences[row, real] = np.array(_sentences(words), int)[numbers[row, real]]
    return sentences


def phrase(words):
    """Words as one writes them, the first ones and ``...`` where they are more than 40 characters.

    Examples
    --------
    >>> from keras_attn_xai.text import phrase
    >>> phrase(["A", "good", "film", "(", "mostly", ")", "."])
    'A good film (mostly).'
    >>> phrase(["so"] + ["very"] * 10 + ["good"])
    'so very very very very very very very...'
    """
    said = NO_SPACE.sub("", " ".join(" ".join(words).split()))
    if len(said) <= PHRASE:
        return said
    start = said[: PHRASE + 1]
    return (start.rsplit(" ", 1)[0] if " " in start else start[:PHRASE]) + "..."


def _sentences(words):
    """The sentence of each word, from 0."""
    found, now, worded, ended, quoted = [], 0, False, False, False
    for word in words:
        bare, plain = word.strip(), word.isalnum()
        marks = not plain and not bare.strip(MARKS) and (bare != '"' or quoted)  # a quotation may begin a sentence
        if worded and not marks and (ended or "\n" in word[: word.find(bare)]):
            now, worded, ended, quoted = now + 1, False, False, False
        found.append(now)
        worded = worded or plain or _has_letters(bare)
        if not plain:
            ended = worded and (ended or "\n" in word[len(word.rstrip()) :] or bare.rstrip(CLOSING).endswith(STOPS))
            quoted ^= word.count('"') % 2 == 1
    last = [word for word, own in zip(words, found, strict=True) if own == now]
    if not _has_letters(SPECIAL.sub("", " ".join(last))):
        found = [min(own, max(now - 1, 0)) for own in found]
    return found


def _has_letters(text):
    """Or digits: whether there is anything to say."""
    return any(map(str.isalnum, text))


def _encoder(tokenizer):
    """A function of one text that returns ids, pieces and word numbers, all of one length."""
    if hasattr(tokenizer, "encode_batch"):
        return lambda text: _from_hugging_face(tokenizer.encode(text), text)
    if hasattr(tokenizer, "get_vocabulary"):
        if tokenizer.get_config().get("output_mode", "int") != "int":
            raise ArgumentError("A TextVectorization must have output_mode='int': one id per token.")
        vocabulary = tokenizer.get_vocabulary()
        return lambda text: _from_words(text, lambda one: _trimmed(tokenizer([one])), vocabulary)
    if callable(tokenizer):
        return lambda text: _from_callable(tokenizer, text)
    raise ArgumentError(
        "A tokenizer is a callable, a keras.layers.TextVectorization or a tokenizers.Tokenizer; received "
        f"{type(tokenizer).__name__}."
    )


def _from_hugging_face(encoding, text):
    """Pieces are cut from the text itself, so they read as the user wrote them; special tokens keep their names."""
    words, last = [], -1
    real = [i for i, kept in enumerate(encoding.attention_mask) if kept]
    for i in real:
        own = encoding.word_ids[i]
        if own is None or i == 0 or own != encoding.word_ids[i - 1]:
            last += 1  # a special token is a word of its own
        words.append(last)
    pieces = [text[slice(*encoding.offsets[i])] or encoding.tokens[i] for i in real]
    return [encoding.ids[i] for i in real], pieces, words


def _from_callable(tokenizer, text):
    result = tokenizer(text)
    if isinstance(result, tuple) and len(result) == 2 and np.ndim(result[0]) > 0:
        ids, pieces = list(result[0]), [str(piece) for piece in result[1]]
        if len(ids) != len(pieces):
            raise ArgumentError(f"The tokenizer returned {len(ids)} ids and {len(pieces)} pieces for {text[:40]!r}.")
        return _integers(ids, text), pieces, list(range(len(ids)))
    return _from_words(text, lambda one: _integers(tokenizer(one), text), None)


def _from_words(text, encode, vocabulary):
    """Ids alone came back: label each with the word it came from, if encoding word by word gives the same ids."""
    ids = encode(text)
    pieces, words = [], []
    by_word = []
    for number, word in enumerate(text.split()):
        own = encode(word)
        by_word += own
        pieces += [word] if len(own) == 1 else [_name(one, vocabulary) for one in own]
        words += [number] * len(own)
    if by_word[: len(ids)] == ids:  # a tokenizer of fixed length cuts the end off
        return ids, pieces[: len(ids)], words[: len(ids)]
    return ids, [_name(one, vocabulary) for one in ids], list(range(len(ids)))


def _name(token, vocabulary):
    return str(token) if vocabulary is None else str(vocabulary[token])


def _trimmed(ids):
    """One row of ids without the padding a fixed-length tokenizer appends."""
    row = np.asarray(ids).reshape(-1)
    real = np.flatnonzero(row)
    return [int(one) for one in row[: real[-1] + 1]] if len(real) else []


def _integers(ids, text):
    array = np.asarray(ids)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        if array.size == 0:
            return []
        raise ArgumentError(
            "The tokenizer must return ids, or ids and pieces; for "
            f"{text[:40]!r} it returned shape {array.shape}, dtype {array.dtype}."
        )
    return [int(one) for one in array]
