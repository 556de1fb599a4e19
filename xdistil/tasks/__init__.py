"""What differs between tasks, and trained models as folders."""

from xdistil.tasks.classification import Classification, PairClassification
from xdistil.tasks.tagging import Tagging
from xdistil.tasks.task import Task
from xdistil.tasks.trained_model import TrainedModel, load

__all__ = ["Classification", "PairClassification", "Tagging", "Task", "TrainedModel", "load"]
