"""Takes the small models of `model_fixtures.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from model_fixtures import *  # noqa: F403
