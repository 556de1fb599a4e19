"""A trained model as an ONNX file that takes token ids, with its tokenizer beside it."""

from __future__ import annotations

import os
from pathlib import Path

from xdistil.export.export_folder import write_export
from xdistil.export.find_model import EXPORTS
from xdistil.export.ids_inputs import input_names
from xdistil.export.model_card import ONNX, ids_use, model_card
from xdistil.export.onnx_graph import onnx
from xdistil.export.onnx_model import onnx_model
from xdistil.export.onnx_session import OnnxSession
from xdistil.export.parity import PRECISIONS, check_parity
from xdistil.export.task_file import TASK_FILE, task_settings
from xdistil.tasks.trained_model import TrainedModel

# Embeddings, matrix products and the recurrence: all that has weights worth the trouble.
_QUANTIZED = ["Gather", "MatMul", "LSTM"]


def export_onnx(
    trained: TrainedModel,
    folder: str | os.PathLike,
    *,
    precision: str = "float32",
    overwrite: bool = False,
) -> Path:
    """Writes a model as ONNX: one file that ONNX Runtime serves without Python.

    What goes in and comes out is that of `export_ids`: token ids, logits and probabilities; batch
    and length may be of any size in each call. `load_predictor` serves the folder as any other and
    takes text, with the tokenizer.json beside the model. The names of the classes are in the file's
    metadata, `labels`, tabs between.

    What was written is run and compared with the model in Keras before the folder appears.

    Args:
        trained: any student or teacher, in every task.
        folder: it appears whole or not at all.
        precision: `"float32"`: logits equal to 1e-4 of the largest. `"int8"`: weights of matrix
            products, LSTM and embeddings as 8-bit integers, activations quantized as they come; a
            quarter of the size, and faster where the chip has instructions for it. Score it before
            you serve it: `scripts/evaluate.py --model=FOLDER`.
        overwrite: whether to replace a folder that is there.

    Returns:
        The folder.

    Raises:
        ValueError: `precision` is neither.
        InputError: the folder is there already; the packages onnx or onnxruntime are missing; the
            file does not compute what the model does.
        StorageError: there is no room; what was there before stays.

    Example:

    ```python
    export_onnx(xdistil.load("runs/quickstart"), "tagger")
    for result in xdistil.load_predictor("tagger").predict(["Ada lives in Turin"]):
        print(result.tags)
    ```
    """
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {PRECISIONS}, received {precision!r}.")

    task = trained.task

    def write(partial: Path) -> str:
        partial.mkdir()
        path = partial / EXPORTS["onnx"].file
        model = onnx_model(trained)
        if precision == "int8":
            _write_int8(model, path)
        else:
            path.write_bytes(model.SerializeToString())
        check_parity(OnnxSession(path), trained, precision)
        return model_card(trained, ids_use(task, input_names(task), ONNX), precision)

    files = {TASK_FILE: task_settings(task)}
    return write_export(write, task, folder, overwrite=overwrite, json_files=files)


def _write_int8(model: onnx.ModelProto, path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    # Without this it advises to simplify the graph first, in which there is nothing to simplify.
    onnx.helper.set_model_props(
        model,
        {
            **{entry.key: entry.value for entry in model.metadata_props},
            "onnx.quant.pre_process": "onnxruntime.quant",
        },
    )
    quantize_dynamic(model, path, op_types_to_quantize=_QUANTIZED)
