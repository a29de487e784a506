"""Fonts that have the characters of a text, among those installed; a character that none has becomes a box."""

import re
import unicodedata
from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

BOX = "□"
FURTHER = (  # asked in this order for what the font of the picture does not have
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR",
    "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans", "Yu Gothic", "Malgun Gothic",
    "Apple SD Gothic Neo", "WenQuanYi Micro Hei", "SimHei", "Noto Sans Arabic", "Noto Sans Hebrew",
    "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Nirmala UI", "Leelawadee UI",
    "Segoe UI", "Segoe UI Symbol", "Segoe UI Emoji", "Noto Emoji", "Symbola", "Noto Sans", "Noto Sans Symbols",
    "Noto Sans Symbols 2", "Arial Unicode MS", "DejaVu Sans", "STIXGeneral",
)  # fmt: skip
SKIN = re.compile("(?<=.)[\U0001f3fb-\U0001f3ff]")  # a tone of the character before, which only coloured fonts have
UNSEEN = {"Cc", "Cf", "Cs", "Mn"}  # categories of characters that are left out rather than boxed


def legible(texts):
    """Texts that can be written without a warning, and the fonts to write them with.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    tuple
        A list of texts of one line each, and a list of font families: matplotlib's own first, then the installed ones
        that have what it does not have. What none has is a box, or nothing where it would not be seen.

    Examples
    --------
    >>> from keras_attn_xai.plots.fonts import legible
    >>> legible(["a\\nfine", "film"])[0]
    ['a fine', 'film']
    """
    texts = [SKIN.sub("", " ".join(str(text).split())) for text in texts]
    families = list(FontProperties().get_family())
    missing = {character for text in texts for character in text if not character.isascii() or ord(character) < 32}
    for family in (*families, *FURTHER):
        if not missing:
            break
        has = missing & _characters_of(family)
        missing -= has
        if has and family not in families:
            families.append(family)
    instead = {ord(one): "" if unicodedata.category(one) in UNSEEN else BOX for one in missing}
    return [text.translate(instead) for text in texts], families


def right_to_left(texts):
    """Whether most letters are of a script that is written from right to left.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    bool

    Examples
    --------
    >>> from keras_attn_xai.plots.fonts import right_to_left
    >>> right_to_left(["סרט", "טוב"]), right_to_left(["film"])
    (True, False)
    """
    ways = [unicodedata.bidirectional(character) for text in texts for character in text if character.isalpha()]
    return sum(way in ("R", "AL") for way in ways) > len(ways) / 2


def short(text, most=16):
    """A text of at most ``most`` characters.

    Parameters
    ----------
    text : str
    most : int, default 16

    Returns
    -------
    str
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def ending(text, most=24):
    """The end of a text, at most ``most`` characters: where call names differ.

    Parameters
    ----------
    text : str
    most : int, default 24

    Returns
    -------
    str

    Examples
    --------
    >>> from keras_attn_xai.plots.fonts import ending
    >>> ending("encoder/block_11/attention", 12)
    '…1/attention'
    """
    return text if len(text) <= most else "…" + text[1 - most :]


def _characters_of(family):
    """What a family has; nothing of one that is not installed."""
    if family in FURTHER and family not in _installed():
        return frozenset()
    return _characters_in(findfont(FontProperties(family=[family])))


def _installed():
    return {font.name for font in fontManager.ttflist}


@lru_cache(maxsize=64)
def _characters_in(path):
    return frozenset(map(chr, get_font(path).get_charmap()))
