"""What differs between tasks, and trained models as folders."""

from xdistil.tasks.tagging import Tagging
from xdistil.tasks.trained_model import TrainedModel, load

__all__ = ["Tagging", "TrainedModel", "load"]
