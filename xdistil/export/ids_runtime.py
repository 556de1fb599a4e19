"""The predictor of a SavedModel that takes token ids: the tokenizer beside it makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from xdistil.data.atomic_files import read_json
from xdistil.data.encoding import TextEncoder
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.export.ids_saved_model import IDS_SIGNATURE, LABELS_SIGNATURE, TASK_FILE, TASK_FORMAT
from xdistil.export.keras_runtime import keras_predictor
from xdistil.export.predictor import Predictor
from xdistil.tasks.task import Task
from xdistil.tasks.trained_model import TASKS, TrainedModel


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


def ids_predictor(model: Any, folder: Path, batch_size: int = 128) -> Predictor[Any]:
    """The predictor of a SavedModel that `export_ids` wrote.

    Args:
        model: the SavedModel, loaded.
        folder: where it lies, with tokenizer.json, labels.tsv and task.json.
        batch_size: inputs that the model gets at once.

    Raises:
        InputError: a file beside the SavedModel is missing or damaged, or belongs to another.
    """
    task = _read_task(folder)
    names = tuple(
        name.decode("utf-8") for name in model.signatures[LABELS_SIGNATURE]()["labels"].numpy()
    )
    if task.class_names != names:
        raise InputError(
            f"{folder / 'labels.tsv'}: names {', '.join(task.class_names)}; the SavedModel's are "
            f"{', '.join(names)}; put the file of its export back"
        )
    return keras_predictor(TrainedModel(_ServedModel(model), task), batch_size)


def _read_task(folder: Path) -> Task:
    settings = read_json(folder / TASK_FILE)
    if not isinstance(settings, dict) or settings.get("format") != TASK_FORMAT:
        raise InputError(
            f"{folder / TASK_FILE}: missing, or not of the format {TASK_FORMAT!r}; put the file of "
            "the export back"
        )
    if settings.get("name") not in TASKS or not isinstance(settings.get("seq_len"), int):
        raise InputError(
            f"{folder / TASK_FILE}: its task is {settings.get('name')!r}, its seq_len "
            f"{settings.get('seq_len')!r}; expected one of {', '.join(TASKS)} and an integer"
        )
    encoder = TextEncoder.from_folder(folder, settings["seq_len"])
    labels = Labels.from_file(folder / "labels.tsv")
    return TASKS[settings["name"]].from_config(settings, labels, encoder)
