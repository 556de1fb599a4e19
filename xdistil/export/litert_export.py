"""A trained model as a LiteRT file that takes token ids, with its tokenizer beside it."""

from __future__ import annotations

import os

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from xdistil.data.paths import AnyPath
from xdistil.export.ids_inputs import input_names
from xdistil.export.litert_graph import litert_logits
from xdistil.export.litert_session import LiteRtSession
from xdistil.export.model_card import LITERT
from xdistil.export.session_export import export_session
from xdistil.tasks.trained_model import TrainedModel


def export_litert(
    trained: TrainedModel,
    folder: str | os.PathLike,
    *,
    precision: str = "float32",
    overwrite: bool = False,
) -> AnyPath:
    """Writes a model as LiteRT (TensorFlow Lite): one file for phones and small machines.

    What goes in and comes out is that of `export_ids`, under the signature `serving_default`:
    token ids, logits and probabilities; the batch may be of any size in each call, but not empty,
    and of any length, in a transformer up to the number of its positions. It needs built-in
    operators alone. `load_predictor` serves the folder as any other and takes text, with the
    tokenizer.json beside the model.

    What was written is run and compared with the model in Keras before the folder appears.

    Args:
        trained: any student or teacher, in every task.
        folder: it appears whole or not at all.
        precision: `"float32"`: logits equal to 1e-4 of the largest. `"int8"`: weights as 8-bit
            integers, activations quantized as they come; about a quarter of the size. Score it
            before you serve it: `scripts/evaluate.py --model=FOLDER`.
        overwrite: whether to replace a folder that is there.

    Returns:
        The folder.

    Raises:
        ValueError: `precision` is neither.
        InputError: the folder is there already; the package ai-edge-litert is missing; the model is
            larger than 2 GB; the file does not compute what the model does.
        StorageError: there is no room; what was there before stays.

    Example:

    ```python
    export_litert(xdistil.load("runs/quickstart"), "tagger", precision="int8")
    for result in xdistil.load_predictor("tagger").predict(["Ada lives in Turin"]):
        print(result.tags)
    ```
    """
    return export_session(
        trained, folder, "litert", LITERT, _write, precision=precision, overwrite=overwrite
    )


def _write(trained: TrainedModel, path: AnyPath, precision: str) -> LiteRtSession:
    path.write_bytes(_litert_bytes(trained, precision))
    return LiteRtSession(path)


def _litert_bytes(trained: TrainedModel, precision: str) -> bytes:
    names = input_names(trained.task)
    specs = {name: tf.TensorSpec([None, None], tf.int32, name) for name in names}

    @tf.function(autograph=False)
    def outputs(**features: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.cast(litert_logits(trained.model, features), tf.float32)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits, axis=-1)}

    concrete = outputs.get_concrete_function(**specs)
    # Loops stay loops. With variables in it the converter's file would give NaN.
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    order = [tensor.name.partition(":")[0] for tensor in frozen.inputs]

    @tf.function(autograph=False)
    def serving_default(**features: tf.Tensor) -> dict[str, tf.Tensor]:
        found = frozen(*(features[name] for name in order))
        return dict(zip(sorted(concrete.structured_outputs), found, strict=True))

    # The converter takes the names of inputs and outputs from a module's signature.
    module = tf.Module()
    module.serving_default = serving_default
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [serving_default.get_concrete_function(**specs)], module
    )
    if precision == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()
