"""The small models of `tagger_fixtures.py` and `classifier_fixtures.py`, for a conftest to take."""

from classifier_fixtures import (
    classifier,
    classifier_folder,
    pair_classifier,
    pair_classifier_folder,
    pairs,
)
from tagger_fixtures import encoders, make_trained, saved_model, sentences, trained

__all__ = [
    "classifier",
    "classifier_folder",
    "encoders",
    "make_trained",
    "pair_classifier",
    "pair_classifier_folder",
    "pairs",
    "saved_model",
    "sentences",
    "trained",
]
