"""How a model becomes one file that takes token ids, whatever its format."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import keras

from xdistil.data.paths import AnyPath, as_path
from xdistil.errors import InputError
from xdistil.export.export_folder import write_export
from xdistil.export.find_model import EXPORTS, PRECISIONS
from xdistil.export.ids_inputs import input_names
from xdistil.export.model_card import IdsFormat, ids_use, model_card
from xdistil.export.parity import check_parity
from xdistil.export.session import Session
from xdistil.export.task_file import TASK_FILE, task_settings
from xdistil.tasks.trained_model import TrainedModel

# What a protocol buffer may be long, with room for what is no weight.
_MOST_BYTES = 2**31 - 2**24


def export_session(
    trained: TrainedModel,
    folder: str | os.PathLike,
    runtime: str,
    form: IdsFormat,
    make: Callable[[TrainedModel, AnyPath, str], Session],
    *,
    precision: str,
    overwrite: bool,
) -> AnyPath:
    """Writes the folder of an export, once it computes what the model does.

    Args:
        trained: the model; one of mixed precision is exported in float32.
        folder: it appears whole or not at all.
        runtime: `"onnx"` or `"litert"`.
        form: what the model card tells.
        make: writes the model, in float32, to a path in a precision, and opens it.
        precision: `"float32"` or `"int8"`.
        overwrite: whether to replace a folder that is there.

    Returns:
        The folder.

    Raises:
        ValueError: an unknown `precision`.
        InputError: the folder is there already; the model is too large for one file, or the export
            does not compute what it does.
        StorageError: there is no room; what was there before stays.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {PRECISIONS}, received {precision!r}.")
    task = trained.task

    def write(partial: AnyPath) -> str:
        _check_size(trained, as_path(folder), EXPORTS[runtime].noun)
        single = in_float32(trained)
        partial.mkdir()
        session = make(single, partial / EXPORTS[runtime].file, precision)
        check_parity(session, single, precision, as_path(folder))
        return model_card(trained, ids_use(task, input_names(task), form), precision)

    files = {TASK_FILE: task_settings(task)}
    return write_export(write, task, folder, overwrite=overwrite, json_files=files)


def in_float32(trained: TrainedModel) -> TrainedModel:
    """The model itself where it computes in float32, else its twin that does."""
    model = trained.model
    if model.dtype_policy.name == "float32":
        return trained
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        twin = type(model).from_config({**model.get_config(), "dtype": "float32"})
    finally:
        keras.config.set_dtype_policy(policy)
    for mine, theirs in zip(twin.weights, model.weights, strict=True):
        mine.assign(keras.ops.cast(theirs, "float32"))
    return TrainedModel(twin, trained.task)


def _check_size(trained: TrainedModel, folder: AnyPath, noun: str) -> None:
    size = sum(4 * math.prod(weight.shape) for weight in trained.model.weights)
    if size > _MOST_BYTES:
        raise InputError(
            f"{folder}: a model of {size / 1e9:.1f} GB is too large for one {noun} (2 GB); export "
            "a smaller student, or a SavedModel"
        )
