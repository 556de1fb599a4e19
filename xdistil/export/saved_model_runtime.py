"""From a SavedModel to its predictor: for one that takes text without Keras and the tokenizers
library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizer's ops

from xdistil.data.paths import AnyPath
from xdistil.errors import InputError
from xdistil.export.predictor import Predictor
from xdistil.export.saved_model_classifier import SavedModelClassifier, SavedModelPairClassifier
from xdistil.export.saved_model_ops import refuse_foreign_ops
from xdistil.export.saved_model_tagger import SavedModelTagger

# As `export_ids` names them.
_TOKEN_IDS = {"token_ids", "padding_mask"}
_PREDICTORS = (SavedModelTagger, SavedModelClassifier, SavedModelPairClassifier)


def open_saved_model(folder: AnyPath, batch_size: int = 128) -> Predictor[Any]:
    """The predictor of a SavedModel; what it does is known by the inputs of its signatures.

    Args:
        folder: the SavedModel.
        batch_size: inputs that the model gets at once.

    Raises:
        InputError: the folder holds no SavedModel that xdistil exported, or a damaged one, or one
            that could do more than compute (`refuse_foreign_ops`).
    """
    refuse_foreign_ops(folder)
    try:
        model = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "unreadable"
        raise InputError(
            f"{folder}: not a SavedModel, or a damaged one ({reason}): export it again"
        ) from error
    inputs = _inputs_of(model.signatures)
    for kind in _PREDICTORS:
        if inputs == kind.signatures:
            return kind(model, batch_size)
    if inputs.get("serving_default", set()) >= _TOKEN_IDS:
        # Keras and the tokenizers library come in only where they are needed.
        from xdistil.export.ids_runtime import ids_predictor

        return ids_predictor(model, folder, batch_size)
    found = ", ".join(sorted(inputs)) or "none"
    raise InputError(
        f"{folder}: the SavedModel is no model of ours, by its signatures ({found}): give one that "
        "xdistil exported"
    )


def _inputs_of(signatures: Mapping[str, Any]) -> dict[str, set[str]]:
    return {
        name: set(function.structured_input_signature[1]) for name, function in signatures.items()
    }
