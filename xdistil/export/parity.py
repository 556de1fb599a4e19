"""Whether an exported model computes what it was made of."""

from __future__ import annotations

import logging

import numpy as np
import tensorflow as tf

from xdistil.data.paths import AnyPath
from xdistil.errors import InputError
from xdistil.export.ids_inputs import input_names
from xdistil.export.session import Session
from xdistil.metrics.speedup import random_features, random_pair_features
from xdistil.tasks.classification import PairClassification
from xdistil.tasks.trained_model import TrainedModel

logger = logging.getLogger("xdistil")
# In float32, of the largest logit, or of 1 where that is smaller.
_TOLERANCE = 1e-4
# In int8, of how much logits differ between inputs: beyond it, answers have little to do with what
# was given.
_COARSE_TOLERANCE = 0.5
# Rows and length: many, one long text alone (whose recurrence may run in another form), one word.
_SHAPES = ((16, 16), (1, 128), (1, 5))


def check_parity(session: Session, trained: TrainedModel, precision: str, folder: AnyPath) -> None:
    """Runs an exported model and the model itself on the same features of several shapes, padded
    where there are several rows, on the CPU.

    Args:
        session: the exported model.
        trained: the model, in float32.
        precision: of the export.
        folder: what errors name.

    Raises:
        InputError: the logits differ: in float32 by more than 1e-4 of the largest, in int8 by more
            than half of what logits differ by from input to input (root mean squares of both); or
            they are no numbers.
    """
    largest = 0.0
    for rows, length in _SHAPES:
        features = _some_features(trained, rows, min(length, trained.task.encoder.seq_len))
        largest = max(largest, _distance(session, trained, precision, folder, features))
    logger.info("export: %s: %s, logits within %.1e of the largest", folder, precision, largest)


def _distance(
    session: Session,
    trained: TrainedModel,
    precision: str,
    folder: AnyPath,
    features: dict[str, np.ndarray],
) -> float:
    # A GPU would compute matrix products in fewer bits.
    with tf.device("CPU:0"):
        expected = np.asarray(trained.model(features, training=False)["logits"], np.float32)
    found = session(features)["logits"]
    if expected.ndim == 3:
        real = features["padding_mask"].astype(bool)
        expected, found = expected[real], found[real]
    if not np.isfinite(expected).all():
        raise InputError(f"{folder}: the model gives logits that are no numbers; not exported")
    if not np.isfinite(found).all():
        raise InputError(f"{folder}: the export gives logits that are no numbers; not written")
    largest = np.abs(found - expected).max() / max(1.0, np.abs(expected).max())
    spread = _root_mean_square(expected - expected.mean(axis=0))
    coarse = _root_mean_square(found - expected) / max(spread, 1e-6)
    if precision == "float32" and largest > _TOLERANCE:
        raise InputError(
            f"{folder}: the export's logits are {largest:.1e} of the largest away from the "
            f"model's, more than {_TOLERANCE:.0e}; not written: please report it, with the model's "
            "config.json"
        )
    # Logits that hardly differ anyhow (a model that learnt nothing) say nothing; nor does one row.
    several = len(features["token_ids"]) > 1
    too_coarse = several and coarse > _COARSE_TOLERANCE and largest > _TOLERANCE
    if precision != "float32" and too_coarse:
        raise InputError(
            f"{folder}: {precision} changes the logits by {coarse:.0%} of what they differ by from "
            "input to input; not written: take float32"
        )
    return float(largest)


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _some_features(trained: TrainedModel, rows: int, length: int) -> dict[str, np.ndarray]:
    encoder = trained.task.encoder
    size = {"batch_size": rows, "sequence_length": length}
    if isinstance(trained.task, PairClassification):
        boundary = (encoder.cls_id, encoder.sep_id)
        features = random_pair_features(
            encoder.vocabulary_size, boundary_token_ids=boundary, **size
        )
    else:
        features = random_features(encoder.vocabulary_size, **size)
    if "segment_ids" not in input_names(trained.task):
        features["segment_ids"][:] = 0
    for row in range(rows):
        padding = row % (length // 2 + 1)
        features["padding_mask"][row, length - padding :] = 0
    return features
