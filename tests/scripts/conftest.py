"""The small tagger of `tagger_fixtures.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tagger_fixtures import encoders, make_trained, saved_model, sentences, trained

__all__ = ["encoders", "make_trained", "saved_model", "sentences", "trained"]
