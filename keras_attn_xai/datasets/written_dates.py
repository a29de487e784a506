"""Dates as languages write them, to be written as ISO: it is known which characters hold the year, month and day."""

from datetime import date, timedelta

import numpy as np

from keras_attn_xai.datasets.planted_task import PADDING, PlantedTask, require_count
from keras_attn_xai.errors import ArgumentError, MissingExtraError

LANGUAGES, FORMATS = ("en", "fr", "de", "es"), ("medium", "long")
FIRST, DAYS = date(1950, 1, 1), 36525  # a century
FIELDS = {"year": (0, 1, 2, 3), "month": (5, 6), "day": (8, 9)}  # characters of 2015-11-21
KINDS = {"y": "year", "M": "month", "L": "month", "d": "day"}  # letters of a pattern
ISO = "0123456789-"  # the classes of an answer


def dates(rows, *, seed=0, languages=LANGUAGES, formats=FORMATS):
    """Dates in several languages, to be written as ISO.

    Parameters
    ----------
    rows : int
        At most 36,525: no day comes twice, so that rows held out are days never seen.
    seed : int, default 0
    languages : sequence of str, default ("en", "fr", "de", "es")
        As babel names them.
    formats : sequence of str, default ("medium", "long")
        Of "short", "medium", "long" and "full". A full date has its weekday, which tells a little of the day; a short
        one may leave out the century.

    Returns
    -------
    PlantedTask
        ``x`` (B, S) ids of lower-case characters, 0 is padding at the end; ``y`` (B, 10), the place in "0123456789-" of
        each character of "2015-11-21"; ``truth`` (B, 10, S), True at all characters of the year for the first four
        answers, of the month for two, of the day for two, and none for the two hyphens.

    Raises
    ------
    MissingExtraError
        babel is not installed.
    ArgumentError
        More rows than days, or languages or formats that babel does not have.

    Notes
    -----
    The characters of a field decide its answers together: of "november" any of several letters would do. Ids depend on
    the characters that were drawn; make training and test of one call.

    Examples
    --------
    >>> from keras_attn_xai.datasets import dates
    >>> task = dates(3)  # doctest: +SKIP
    >>> "".join("0123456789-"[i] for i in task.y[0])  # doctest: +SKIP
    '2015-11-21'
    """
    rows = require_count("rows", rows)
    if rows > DAYS:
        raise ArgumentError(f"rows must be at most {DAYS}, the days there are; received {rows}.")
    draw = np.random.default_rng(seed)
    days = [FIRST + timedelta(days=int(one)) for one in draw.choice(DAYS, rows, replace=False)]
    styles = zip(draw.choice(languages, rows).tolist(), draw.choice(formats, rows).tolist(), strict=True)
    written = [written_date(day, *style) for day, style in zip(days, styles, strict=True)]
    texts = [text.lower() for text, _ in written]
    alphabet = {character: 1 + i for i, character in enumerate(sorted(set("".join(texts))))}
    x = np.full((rows, max(map(len, texts))), PADDING)
    truth = np.zeros((rows, len("2015-11-21"), x.shape[1]), bool)
    for row, text in enumerate(texts):
        x[row, : len(text)] = [alphabet[character] for character in text]
        for name, (start, stop) in written[row][1].items():
            truth[row, FIELDS[name], start:stop] = True
    y = np.array([[ISO.index(character) for character in day.isoformat()] for day in days])
    rule = "A date in one of several languages; write it as ISO."
    return PlantedTask(x, y, truth, rule, x != PADDING, len(ISO), 1 + len(alphabet))


def written_date(day, language, style):
    """A date as a language writes it, put together field by field.

    Parameters
    ----------
    day : datetime.date
    language : str
    style : {"short", "medium", "long", "full"}

    Returns
    -------
    text : str
    spans : dict of str to (int, int)
        Of "year", "month" and "day", where it starts and where it has ended.

    Raises
    ------
    MissingExtraError
        babel is not installed.
    ArgumentError
        A language or style that babel does not have.

    Examples
    --------
    >>> import datetime
    >>> from keras_attn_xai.datasets.written_dates import written_date
    >>> written_date(datetime.date(2015, 11, 21), "en", "medium")  # doctest: +SKIP
    ('Nov 21, 2015', {'month': (0, 3), 'day': (4, 6), 'year': (8, 12)})
    """
    try:
        from babel import Locale, UnknownLocaleError
        from babel.dates import DateTimeFormat, tokenize_pattern
    except ImportError:
        raise MissingExtraError("Dates in several languages need babel: pip install babel.") from None
    try:
        pattern = Locale.parse(language).date_formats[style].pattern
    except (UnknownLocaleError, KeyError, ValueError):
        raise ArgumentError(f"babel writes no date of language {language!r} and style {style!r}.") from None
    fields, text, spans = DateTimeFormat(day, language), "", {}
    for token in (found for _, found in tokenize_pattern(pattern)):
        if isinstance(token, str):  # characters between the fields
            text += token
            continue
        letter, count = token
        part = fields[letter * count]
        if letter in KINDS:
            spans[KINDS[letter]] = (len(text), len(text) + len(part))
        text += part
    return text, spans
