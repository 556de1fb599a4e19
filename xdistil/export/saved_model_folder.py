"""The folder of a SavedModel: it appears whole or not at all, with what people want beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from xdistil.data.atomic_files import (
    make_folder,
    partial_path,
    replace_folder,
    storage_error,
    write_json,
)
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.export.graph_module import GraphModule
from xdistil.tasks.task import Task


def write_saved_model(
    make: Callable[[], GraphModule],
    task: Task,
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
    json_files: Mapping[str, Any] | None = None,
) -> Path:
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
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise InputError(f"{folder}: is there already: give another folder, or allow to overwrite")
    make_folder(folder.parent)
    partial = partial_path(folder)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        module = make()
        tf.saved_model.save(module, str(partial), signatures=module.signatures())
        task.encoder.save(partial)
        Labels(task.labels).save(partial / "labels.tsv")
        (partial / "README.md").write_text(module.card, encoding="utf-8")
        for name, content in (json_files or {}).items():
            write_json(partial / name, content)
        replace_folder(partial, folder)
    except (OSError, tf.errors.OpError) as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
