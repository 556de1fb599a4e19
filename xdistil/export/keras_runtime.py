"""From a trained model in Keras to its predictor."""

from __future__ import annotations

from typing import Any

from xdistil.export.keras_classifier import KerasClassifier
from xdistil.export.keras_tagger import KerasTagger
from xdistil.export.predictor import Predictor
from xdistil.tasks.classification import Classification, PairClassification
from xdistil.tasks.tagging import Tagging
from xdistil.tasks.trained_model import TrainedModel

_PREDICTORS = {
    Tagging.name: KerasTagger,
    Classification.name: KerasClassifier,
    PairClassification.name: KerasClassifier,
}


def keras_predictor(trained: TrainedModel, batch_size: int = 128) -> Predictor[Any]:
    """The predictor of a trained model, by its task.

    Args:
        trained: the model.
        batch_size: inputs that the model gets at once.
    """
    return _PREDICTORS[trained.task.name](trained, batch_size)
