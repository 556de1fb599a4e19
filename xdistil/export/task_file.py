"""What lies beside a model that takes token ids, so that its predictor knows the task."""

from __future__ import annotations

from typing import Any

from xdistil.data.atomic_files import read_json
from xdistil.data.encoding import TextEncoder
from xdistil.data.labels import Labels
from xdistil.data.paths import AnyPath
from xdistil.errors import InputError
from xdistil.tasks.task import Task
from xdistil.tasks.trained_model import TASKS

TASK_FILE = "task.json"
TASK_FORMAT = "xdistil ids 1"


def task_settings(task: Task) -> dict[str, Any]:
    """The content of task.json."""
    return {
        "format": TASK_FORMAT,
        **task.to_config(),
        "seq_len": task.encoder.seq_len,
        "class_names": list(task.class_names),
    }


def read_task(folder: AnyPath, class_names: tuple[str, ...] | None) -> Task:
    """The task of an exported model, out of task.json, tokenizer.json and labels.tsv.

    Args:
        folder: where they lie.
        class_names: what the model itself says of its classes, or None where it says nothing.

    Raises:
        InputError: a file is missing or damaged, or belongs to another model.
    """
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
    task = TASKS[settings["name"]].from_config(settings, labels, encoder)
    # What wrote exports before version 0.2 left them out.
    held = settings.get("class_names", task.class_names)
    for names in (held, task.class_names if class_names is None else class_names):
        if task.class_names != tuple(names):
            raise InputError(
                f"{folder / 'labels.tsv'}: names {', '.join(task.class_names)}; the model's are "
                f"{', '.join(names)}; put the file of its export back"
            )
    return task
