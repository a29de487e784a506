"""Made tasks whose answer lies at planted positions, and readers of installed data; nothing is downloaded."""

from keras_attn_xai.datasets.copies import planted_copy, planted_reverse
from keras_attn_xai.datasets.history import planted_recommender
from keras_attn_xai.datasets.image import planted_image
from keras_attn_xai.datasets.planted_task import PlantedTask
from keras_attn_xai.datasets.reviews import Reviews, movie_reviews
from keras_attn_xai.datasets.series import planted_series
from keras_attn_xai.datasets.text import planted_text
from keras_attn_xai.datasets.written_dates import dates

__all__ = [
    "PlantedTask",
    "Reviews",
    "dates",
    "movie_reviews",
    "planted_copy",
    "planted_image",
    "planted_recommender",
    "planted_reverse",
    "planted_series",
    "planted_text",
]
