"""The folder of an export: it appears whole or not at all, with what people want beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from xdistil.data.atomic_files import (
    make_folder,
    partial_path,
    replace_folder,
    storage_error,
    write_json,
)
from xdistil.data.checksums import files_below, write_checksums
from xdistil.data.labels import Labels
from xdistil.data.paths import AnyPath, as_path, remove_tree, written_locally
from xdistil.errors import InputError
from xdistil.tasks.task import Task


def write_export(
    write: Callable[[AnyPath], str],
    task: Task,
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
    json_files: Mapping[str, Any] | None = None,
    storage_errors: tuple[type[Exception], ...] = (),
) -> AnyPath:
    """Writes a model with tokenizer.json, labels.tsv and README.md beside it.

    Args:
        write: puts the model into a folder, which it may make, and returns its model card; called
            once it is known that the folder may be written.
        task: whose tokenizer and labels lie beside the model.
        folder: where all of it goes.
        overwrite: whether to replace a folder that is there.
        json_files: names and contents of more files beside it.
        storage_errors: what `write` raises where there is no room, beside `OSError`.

    Returns:
        The folder.

    Raises:
        InputError: the folder is there already, or the model cannot be written so.
        StorageError: there is no room; what was there before stays.
    """
    folder = as_path(folder)
    if folder.exists() and not overwrite:
        raise InputError(f"{folder}: is there already: give another folder, or allow to overwrite")
    make_folder(folder.parent)
    partial = partial_path(folder)
    try:
        remove_tree(partial, ignore_errors=True)
        with written_locally(partial) as local:
            card = write(local)
            task.encoder.save(local)
            Labels(task.labels).save(local / "labels.tsv")
            (local / "README.md").write_text(card, encoding="utf-8")
            for name, content in (json_files or {}).items():
                write_json(local / name, content)
            write_checksums(
                local, (path for path in files_below(local) if path.name != "README.md")
            )
        replace_folder(partial, folder)
    except (OSError, *storage_errors) as error:
        raise storage_error(folder, error) from error
    finally:
        remove_tree(partial, ignore_errors=True)
    return folder
