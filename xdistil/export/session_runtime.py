"""From a model that is open in ONNX Runtime or LiteRT to its predictor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xdistil.data.batching import bucket_lengths
from xdistil.data.paths import AnyPath
from xdistil.errors import InputError
from xdistil.export.find_model import EXPORTS
from xdistil.export.keras_runtime import keras_predictor
from xdistil.export.predictor import Predictor
from xdistil.export.session import Session
from xdistil.export.task_file import read_task
from xdistil.models.bucketed_inference import BucketedInference
from xdistil.tasks.task import Task


class SessionInference(BucketedInference):
    """Runs a session over encoded examples.

    Args:
        session: the exported model.
        seq_len: the longest input in pieces.
    """

    def __init__(self, session: Session, seq_len: int):
        super().__init__(bucket_lengths(seq_len))
        self._session = session

    def compute(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._session(features)


@dataclass(frozen=True)
class _Served:
    """What a predictor wants of a trained model."""

    task: Task
    inference: BucketedInference


def open_session(folder: AnyPath) -> Session | None:
    """Opens what `export_onnx` or `export_litert` wrote; None where the folder holds neither.

    Args:
        folder: theirs.

    Raises:
        InputError: the model is damaged, or the package that runs it is missing.
    """
    # Each package comes in only where it is wanted.
    if (folder / EXPORTS["onnx"].file).is_file():
        from xdistil.export.onnx_session import OnnxSession

        return OnnxSession(folder / EXPORTS["onnx"].file)
    if (folder / EXPORTS["litert"].file).is_file():
        from xdistil.export.litert_session import LiteRtSession

        return LiteRtSession(folder / EXPORTS["litert"].file)
    return None


def session_predictor(session: Session, folder: AnyPath, batch_size: int = 128) -> Predictor[Any]:
    """The predictor of an exported model.

    Args:
        session: the model, open.
        folder: where it lies, with tokenizer.json, labels.tsv and task.json.
        batch_size: inputs that the model gets at once.

    Raises:
        InputError: a file beside the model is missing or damaged, or belongs to another.
    """
    task = read_task(folder, session.class_names)
    if task.num_classes != session.num_classes:
        raise InputError(
            f"{folder / 'labels.tsv'}: {task.num_classes} classes, the model has "
            f"{session.num_classes}; put the file of its export back"
        )
    inference = SessionInference(session, task.encoder.seq_len)
    return keras_predictor(_Served(task, inference), batch_size)
