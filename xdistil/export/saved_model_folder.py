"""The folder of a SavedModel."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from xdistil.data.paths import AnyPath
from xdistil.export.export_folder import write_export
from xdistil.export.graph_module import GraphModule
from xdistil.tasks.task import Task


def write_saved_model(
    make: Callable[[], GraphModule],
    task: Task,
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
    json_files: Mapping[str, Any] | None = None,
) -> AnyPath:
    """Writes a SavedModel with tokenizer.json, labels.tsv and README.md beside it.

    Args:
        make: builds the graph; called once it is known that the folder may be written.
        task: whose tokenizer and labels lie beside the graph.
        folder: the SavedModel's folder.
        overwrite: whether to replace a folder that is there.
        json_files: names and contents of more files beside it.

    Returns:
        The folder.

    Raises:
        InputError: the folder is there already, or the tokenizer cannot be put into a graph.
        StorageError: there is no room; what was there before stays.
    """

    def write(partial: AnyPath) -> str:
        module = make()
        tf.saved_model.save(module, str(partial), signatures=module.signatures())
        return module.card

    return write_export(
        write,
        task,
        folder,
        overwrite=overwrite,
        json_files=json_files,
        storage_errors=(tf.errors.OpError,),
    )
