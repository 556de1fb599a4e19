"""The small models of `tagger_fixtures.py` and `classifier_fixtures.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
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
