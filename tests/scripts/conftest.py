"""Takes the small models of `model_fixtures.py`; and the folder itself, for `text_programs.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from model_fixtures import *  # noqa: F403
