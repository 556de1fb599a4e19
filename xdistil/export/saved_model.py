"""Any trained model as a TensorFlow SavedModel, whatever its task."""

from __future__ import annotations

import os
from pathlib import Path

from xdistil.export.classifier_saved_model import export_classifier
from xdistil.export.tagger_saved_model import export_tagger
from xdistil.tasks.classification import Classification, PairClassification
from xdistil.tasks.tagging import Tagging
from xdistil.tasks.trained_model import TrainedModel

_EXPORTS = {
    Tagging.name: export_tagger,
    Classification.name: export_classifier,
    PairClassification.name: export_classifier,
}


def export_saved_model(
    trained: TrainedModel,
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
    jit_compile: bool = False,
) -> Path:
    """Writes a SavedModel that takes raw strings; it needs TensorFlow and tensorflow-text alone.

    What goes in and comes out depends on the task: see `export_tagger` and `export_classifier`.

    Args:
        trained: the model.
        folder: the SavedModel's folder. It appears whole or not at all.
        overwrite: whether to replace a folder that is there.
        jit_compile: compile the model, not the tokenizer, by XLA.

    Returns:
        The folder.

    Raises:
        InputError: the folder is there already, or the tokenizer cannot be put into a graph.
        StorageError: there is no room; what was there before stays.

    Example:

    ```python
    export_saved_model(xdistil.load("runs/quickstart"), "saved_model")
    ```
    """
    export = _EXPORTS[trained.task.name]
    return export(trained, folder, overwrite=overwrite, jit_compile=jit_compile)
