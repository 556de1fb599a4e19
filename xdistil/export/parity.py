"""Whether an exported model computes what it was made of."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from xdistil.errors import InputError
from xdistil.metrics.speedup import random_features, random_pair_features
from xdistil.tasks.classification import PairClassification
from xdistil.tasks.trained_model import TrainedModel

logger = logging.getLogger("xdistil")
#: What an export may be computed in.
PRECISIONS = ("float32", "int8")
# Of the largest logit, or of 1 where that is smaller.
_TOLERANCE = 1e-4
_ROWS, _LENGTH = 5, 16


def check_parity(
    session: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
    trained: TrainedModel,
    precision: str,
) -> None:
    """Runs an exported model and the model itself on the same padded features.

    Args:
        session: the exported model: from features to `logits`.
        trained: the model.
        precision: of the export; in int8 the logits must be finite, and how far they are from the
            model's is logged.

    Raises:
        InputError: the logits differ by more than 1e-4 of the largest (float32), or are not finite.
    """
    features = _some_features(trained)
    expected = np.asarray(trained.model(features, training=False)["logits"], np.float32)
    found = session(features)["logits"]
    if expected.ndim == 3:
        real = features["padding_mask"].astype(bool)
        expected, found = expected[real], found[real]
    scale = max(1.0, np.abs(expected).max())
    difference = np.abs(found - expected).max() / scale
    if not np.isfinite(difference):
        raise InputError("export: the exported model gives logits that are no numbers")
    if precision == "float32" and difference > _TOLERANCE:
        raise InputError(
            f"export: the exported model's logits are {difference:.1e} of the largest away from "
            f"the model's, more than {_TOLERANCE:.0e}"
        )
    logger.info("export: %s, logits within %.1e of the model's", precision, difference)


def _some_features(trained: TrainedModel) -> dict[str, np.ndarray]:
    encoder = trained.task.encoder
    size = {"batch_size": _ROWS, "sequence_length": min(_LENGTH, encoder.seq_len)}
    if isinstance(trained.task, PairClassification):
        boundary = (encoder.cls_id, encoder.sep_id)
        features = random_pair_features(
            encoder.vocabulary_size, boundary_token_ids=boundary, **size
        )
    else:
        features = random_features(encoder.vocabulary_size, **size)
    for row in range(1, _ROWS):
        features["padding_mask"][row, -row:] = 0
    return features
