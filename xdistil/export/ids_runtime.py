"""The predictor of a SavedModel that takes token ids: the tokenizer beside it makes them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from xdistil.data.paths import AnyPath
from xdistil.export.ids_saved_model import IDS_SIGNATURE, LABELS_SIGNATURE
from xdistil.export.keras_runtime import keras_predictor
from xdistil.export.predictor import Predictor
from xdistil.export.task_file import read_task
from xdistil.tasks.trained_model import TrainedModel


class _ServedModel:
    """A SavedModel, called as a model in Keras is."""

    def __init__(self, model: Any):
        self._model = model  # its variables live as long as it does
        self._function = model.signatures[IDS_SIGNATURE]
        self._inputs = set(self._function.structured_input_signature[1])

    def __call__(
        self, features: dict[str, tf.Tensor], training: bool = False
    ) -> dict[str, tf.Tensor]:
        return self._function(**{name: features[name] for name in self._inputs})


def ids_predictor(model: Any, folder: AnyPath, batch_size: int = 128) -> Predictor[Any]:
    """The predictor of a SavedModel that `export_ids` wrote.

    Args:
        model: the SavedModel, loaded.
        folder: where it lies, with tokenizer.json, labels.tsv and task.json.
        batch_size: inputs that the model gets at once.

    Raises:
        InputError: a file beside the SavedModel is missing or damaged, or belongs to another.
    """
    names = model.signatures[LABELS_SIGNATURE]()["labels"].numpy()
    task = read_task(folder, tuple(name.decode("utf-8") for name in names))
    return keras_predictor(TrainedModel(_ServedModel(model), task), batch_size)
