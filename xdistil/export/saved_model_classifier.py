"""The SavedModel runtime of classifiers: without Keras, without the tokenizers library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow as tf

from xdistil.data.labels import Labels
from xdistil.export.classifier import Classes, Classifier, Texts

# As `export_classifier` names them; importing that would import Keras.
_TEXT_SIGNATURE = "serving_default"
_LABELS_SIGNATURE = "labels"


class SavedModelClassifier(Classifier):
    """Classifies texts with a SavedModel that `export_classifier` wrote.

    Args:
        model: the SavedModel, loaded; it offers what `signatures` names.
        batch_size: texts that the model gets at once.
    """

    #: The signatures by which a SavedModel is known as a classifier, and the inputs of each.
    signatures: ClassVar = {
        _TEXT_SIGNATURE: {"text"},
        _LABELS_SIGNATURE: set(),
    }

    def __init__(self, model: Any, batch_size: int = 128):
        self._model = model
        names = model.signatures[_LABELS_SIGNATURE]()["labels"].numpy()
        labels = Labels(name.decode("utf-8") for name in names)
        super().__init__(labels, "text_pair" in self.signatures[_TEXT_SIGNATURE], batch_size)

    def _classify(self, batch: Sequence[Texts]) -> Classes:
        found = self._model.signatures[_TEXT_SIGNATURE](**self._inputs(batch))
        return Classes(found["probabilities"].numpy(), found["unseen_words"].numpy())

    def _inputs(self, batch: Sequence[Texts]) -> dict[str, tf.Tensor]:
        return {"text": tf.constant(batch)}


class SavedModelPairClassifier(SavedModelClassifier):
    """The same of pairs of texts."""

    signatures: ClassVar = {
        **SavedModelClassifier.signatures,
        _TEXT_SIGNATURE: {"text", "text_pair"},
    }

    def _inputs(self, batch: Sequence[Texts]) -> dict[str, tf.Tensor]:
        first, second = zip(*batch, strict=True)
        return {"text": tf.constant(first), "text_pair": tf.constant(second)}
