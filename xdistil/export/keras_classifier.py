"""The Keras runtime of classifiers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xdistil.export.classifier import Classes, Classifier, Texts
from xdistil.tasks.classification import PairClassification
from xdistil.tasks.trained_model import TrainedModel


class KerasClassifier(Classifier):
    """Classifies with a teacher or student in Keras.

    Args:
        trained: the classifier, of texts or of pairs.
        batch_size: texts that the model gets at once.
    """

    def __init__(self, trained: TrainedModel, batch_size: int = 128):
        pairs = isinstance(trained.task, PairClassification)
        super().__init__(trained.task.labels, pairs, batch_size)
        self._trained = trained

    def _classify(self, batch: Sequence[Texts]) -> Classes:
        task = self._trained.task
        examples = list(task.encode(task.unlabeled(batch)))
        unseen = [np.count_nonzero(example.word_positions < 0) for example in examples]
        return Classes(task.probabilities(self._trained.inference, examples), np.array(unseen))
