"""Any trained model as a TensorFlow SavedModel, whatever its task."""

from __future__ import annotations

import logging
import os

from xdistil.data.paths import AnyPath
from xdistil.export.classifier_saved_model import export_classifier
from xdistil.export.graph_tokenizer import why_not_in_graph
from xdistil.export.ids_saved_model import export_ids
from xdistil.export.tagger_saved_model import export_tagger
from xdistil.tasks.classification import Classification, PairClassification
from xdistil.tasks.tagging import Tagging
from xdistil.tasks.trained_model import TrainedModel

logger = logging.getLogger("xdistil")
#: What a SavedModel can take.
INPUTS = ("text", "ids")
_EXPORTS = {
    Tagging.name: export_tagger,
    Classification.name: export_classifier,
    PairClassification.name: export_classifier,
}


def export_saved_model(
    trained: TrainedModel,
    folder: str | os.PathLike,
    *,
    inputs: str | None = None,
    overwrite: bool = False,
    jit_compile: bool = False,
) -> AnyPath:
    """Writes a SavedModel, of raw strings where the tokenizer can be put into the graph.

    What goes in and comes out depends on the task: see `export_tagger` and `export_classifier`;
    of token ids, see `export_ids`. `load_predictor` reads all of them.

    Args:
        trained: the model.
        folder: the SavedModel's folder. It appears whole or not at all.
        inputs: `"text"`: raw strings, for WordPiece tokenizers as BERT's. `"ids"`: token ids, for
            every tokenizer, which lies beside it. None: text where that is possible, else ids and
            a warning.
        overwrite: whether to replace a folder that is there.
        jit_compile: compile the model, not the tokenizer, by XLA.

    Returns:
        The folder.

    Raises:
        ValueError: `inputs` is none of these.
        InputError: the folder is there already, or `inputs` is `"text"` and the tokenizer cannot
            be put into a graph.
        StorageError: there is no room; what was there before stays.

    Example:

    ```python
    export_saved_model(xdistil.load("runs/quickstart"), "saved_model")
    ```
    """
    if inputs not in (None, *INPUTS):
        raise ValueError(f"`inputs` must be one of {INPUTS} or None, received {inputs!r}.")
    if inputs is None:
        inputs = _possible_inputs(trained)
    export = export_ids if inputs == "ids" else _EXPORTS[trained.task.name]
    return export(trained, folder, overwrite=overwrite, jit_compile=jit_compile)


def _possible_inputs(trained: TrainedModel) -> str:
    reason = why_not_in_graph(trained.task.encoder)
    if reason is None:
        return "text"
    logger.warning(
        "export: %s: this one takes token ids; xdistil.load_predictor and scripts/predict.py make "
        "them with the tokenizer.json beside it, see its README.md for others",
        reason,
    )
    return "ids"
