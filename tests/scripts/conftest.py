"""Takes the small models of `model_fixtures.py`; finds `text_programs.py` and the benchmarks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[2] / "scripts"))
from model_fixtures import *  # noqa: F403
