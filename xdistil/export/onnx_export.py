"""A trained model as an ONNX file that takes token ids, with its tokenizer beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from xdistil.data.paths import AnyPath
from xdistil.export.model_card import ONNX
from xdistil.export.session import missing_package
from xdistil.export.session_export import export_session
from xdistil.tasks.trained_model import TrainedModel

if TYPE_CHECKING:
    from xdistil.export.onnx_session import OnnxSession

# Embeddings, matrix products and the recurrence: all that has weights worth the trouble.
_QUANTIZED = ["Gather", "MatMul", "LSTM"]


def export_onnx(
    trained: TrainedModel,
    folder: str | os.PathLike,
    *,
    precision: str = "float32",
    overwrite: bool = False,
) -> AnyPath:
    """Writes a model as ONNX: one file that ONNX Runtime serves without Python.

    What goes in and comes out is that of `export_ids`: token ids, logits and probabilities; the
    batch may be of any size in each call and of any length, in a transformer up to the number of
    its positions. `load_predictor` serves the folder as any other and takes text, with the
    tokenizer.json beside the model. The names of the classes are in the file's metadata, `labels`,
    tabs between.

    What was written is run and compared with the model in Keras before the folder appears.

    Args:
        trained: any student or teacher, in every task.
        folder: it appears whole or not at all.
        precision: `"float32"`: logits equal to 1e-4 of the largest. `"int8"`: weights of matrix
            products, LSTM and embeddings as 8-bit integers, activations quantized as they come, by
            their range in the batch: answers depend a little on what else is in it, and on the
            chip. About a quarter of the size, for ONNX Runtime alone. Score it before you serve it:
            `scripts/evaluate.py --model=FOLDER`. The LSTM of students whose texts have boundaries
            (all of pairs) stays in float32.
        overwrite: whether to replace a folder that is there.

    Returns:
        The folder.

    Raises:
        ValueError: `precision` is neither.
        InputError: the folder is there already; the packages onnx or onnxruntime are missing; the
            model is larger than 2 GB; the file does not compute what the model does.
        StorageError: there is no room; what was there before stays.

    Example:

    ```python
    export_onnx(xdistil.load("runs/quickstart"), "tagger")
    for result in xdistil.load_predictor("tagger").predict(["Ada lives in Turin"]):
        print(result.tags)
    ```
    """
    return export_session(
        trained, folder, "onnx", ONNX, _write, precision=precision, overwrite=overwrite
    )


def _write(trained: TrainedModel, path: AnyPath, precision: str) -> OnnxSession:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise missing_package("onnx", "onnx") from error
    from xdistil.export.onnx_model import onnx_model
    from xdistil.export.onnx_session import OnnxSession

    model = onnx_model(trained)
    if precision == "float32":
        path.write_bytes(model.SerializeToString())
        return OnnxSession(path, on_cpu=True)
    from onnxruntime.quantization import quantize_dynamic

    # Without this it advises to simplify the graph first, in which there is nothing to simplify.
    facts = {entry.key: entry.value for entry in model.metadata_props}
    facts["onnx.quant.pre_process"] = "onnxruntime.quant"
    onnx.helper.set_model_props(model, facts)
    quantized = list(_QUANTIZED)
    if getattr(trained.model, "boundary_token_ids", ()):
        # The weights that empty its state are so large that all others would be rounded to zero.
        quantized.remove("LSTM")
    quantize_dynamic(model, path, op_types_to_quantize=quantized)
    return OnnxSession(path, on_cpu=True)
