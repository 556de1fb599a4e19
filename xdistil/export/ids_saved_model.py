"""A trained model as a TensorFlow SavedModel that takes token ids: for every tokenizer."""

from __future__ import annotations

import os

import tensorflow as tf

from xdistil.data.paths import AnyPath
from xdistil.export.graph_module import GraphModule, Signatures
from xdistil.export.ids_inputs import input_names
from xdistil.export.model_card import ids_use
from xdistil.export.saved_model_folder import write_saved_model
from xdistil.export.task_file import TASK_FILE, task_settings
from xdistil.tasks.trained_model import TrainedModel

IDS_SIGNATURE = "serving_default"
LABELS_SIGNATURE = "labels"


def export_ids(
    trained: TrainedModel,
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
    jit_compile: bool = False,
) -> AnyPath:
    """Writes a SavedModel that takes token ids; it needs TensorFlow alone.

    For models whose tokenizer cannot be put into a graph (RoBERTa, XLM-R, ALBERT), and for those
    who tokenize elsewhere. `load_predictor` serves it as any other, with the tokenizer.json beside
    it.

    The signature `serving_default` takes int32 `(batch, length)`, padded at the right: `token_ids`;
    `padding_mask`, 1 = real; of pairs, where the tokenizer tells both texts apart, `segment_ids`.
    It gives `logits` and `probabilities`, float32: of a tagger `(batch, length, classes)`, where a
    word's tag is that of its first piece; of a classifier `(batch, classes)`. The signature
    `labels` takes nothing and gives `labels`, string `(classes,)`, the names of the classes.
    Batches may be of any size, none included.

    Beside the SavedModel lie tokenizer.json, labels.tsv, task.json and README.md.

    Args:
        trained: the model.
        folder: the SavedModel's folder. It appears whole or not at all.
        overwrite: whether to replace a folder that is there.
        jit_compile: compile the model by XLA. Each new shape costs a compilation.

    Returns:
        The folder.

    Raises:
        InputError: the folder is there already.
        StorageError: there is no room; what was there before stays.

    Example:

    ```python
    export_ids(xdistil.load("runs/quickstart"), "tagger")
    for result in xdistil.load_predictor("tagger").predict(["Ada lives in Turin"]):
        print(result.tags)
    ```
    """
    task = trained.task
    return write_saved_model(
        lambda: IdsModule(trained, jit_compile=jit_compile),
        task,
        folder,
        overwrite=overwrite,
        json_files={TASK_FILE: task_settings(task)},
    )


class IdsModule(GraphModule):
    """A trained model as one graph, see `export_ids`.

    Args:
        trained: the model.
        jit_compile: whether XLA compiles the model.
    """

    def __init__(self, trained: TrainedModel, *, jit_compile: bool = False):
        self._input_names = input_names(trained.task)
        self.use = ids_use(trained.task, self._input_names)
        super().__init__(trained, jit_compile=jit_compile)
        self._labels = tf.constant(list(trained.task.class_names))

    def signatures(self) -> Signatures:
        @tf.function(autograph=False)
        def serving_default(**features: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.call(features)

        @tf.function(autograph=False)
        def labels() -> dict[str, tf.Tensor]:
            return {"labels": tf.identity(self._labels)}

        specs = {name: tf.TensorSpec([None, None], tf.int32, name) for name in self._input_names}
        return {
            IDS_SIGNATURE: serving_default.get_concrete_function(**specs),
            LABELS_SIGNATURE: labels.get_concrete_function(),
        }

    def call(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Logits and probabilities of features `(batch, length)`."""
        shape = tf.shape(features["token_ids"])
        # The model fails on no row, and on no position, at all.
        missing = tf.maximum(1 - shape, 0)
        padding = tf.stack([tf.zeros_like(missing), missing], axis=1)
        features = {name: tf.pad(values, padding) for name, values in features.items()}
        features.setdefault("segment_ids", tf.zeros_like(features["token_ids"]))
        logits = tf.cast(self._logits(features), tf.float32)[: shape[0]]
        if logits.shape.rank == 3:
            logits = logits[:, : shape[1]]
        return {"logits": logits, "probabilities": tf.nn.softmax(logits, axis=-1)}
