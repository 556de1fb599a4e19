"""A classifier of texts or pairs as a TensorFlow SavedModel: strings in, labels out."""

from __future__ import annotations

import os

import tensorflow as tf

from xdistil.data.paths import AnyPath
from xdistil.export.model_card import CLASSIFIER_USE, PAIR_CLASSIFIER_USE
from xdistil.export.saved_model_folder import write_saved_model
from xdistil.export.text_module import (
    PAIR_INPUT,
    TEXT_INPUT,
    TEXT_SIGNATURE,
    Signatures,
    TextModule,
    at_least_one_row,
)
from xdistil.tasks.classification import PairClassification
from xdistil.tasks.trained_model import TrainedModel

LABELS_SIGNATURE = "labels"


def export_classifier(
    trained: TrainedModel,
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
    jit_compile: bool = False,
) -> AnyPath:
    """Writes a SavedModel that takes raw strings; it needs TensorFlow and tensorflow-text alone.

    The signature `serving_default` takes `text`, string `(batch,)`, UTF-8; of a classifier of
    pairs also `text_pair`, the same of the second texts. White space, as for `str.split()`,
    separates words. Batches may be of any size, none included. It gives a dict, each of whose
    values has a row for each text, as TensorFlow Serving wants them:

    | key | type and shape |
    |---|---|
    | `label` | string `(batch,)`, the most probable label |
    | `score` | float32 `(batch,)`, its probability |
    | `probabilities` | float32 `(batch, classes)`, in the order of the labels |
    | `unseen_words` | int32 `(batch,)`, words that were truncated, or are invisible |

    The signature `labels` takes nothing and gives `labels`, string `(classes,)`: their names in
    this order.

    A blank text is answered too: the model sees `[CLS] [SEP]`. Of what is longer than `seq_len`
    pieces the end is not read; of a pair, the end of the longer text. Invalid UTF-8 is read as
    U+FFFD.

    Beside the SavedModel lie tokenizer.json, labels.tsv and README.md, for people.

    Args:
        trained: a classifier of texts or of pairs.
        folder: the SavedModel's folder. It appears whole or not at all.
        overwrite: whether to replace a folder that is there.
        jit_compile: compile the model, not the tokenizer, by XLA. Quicker on inputs of the same
            shape again and again; each new shape costs a compilation, so this is off by default.

    Returns:
        The folder.

    Raises:
        InputError: the folder is there already, or the tokenizer cannot be put into a graph.
        StorageError: there is no room; what was there before stays.

    Example:

    ```python
    export_classifier(xdistil.load("runs/news"), "classifier")

    import tensorflow as tf
    import tensorflow_text  # registers its ops
    classify = tf.saved_model.load("classifier").signatures["serving_default"]
    print(classify(text=tf.constant(["Shares fell sharply on Monday"]))["label"])
    ```
    """
    pairs = isinstance(trained.task, PairClassification)
    kind = PairClassifierModule if pairs else ClassifierModule
    return write_saved_model(
        lambda: kind(trained, jit_compile=jit_compile), trained.task, folder, overwrite=overwrite
    )


class ClassifierModule(TextModule):
    """A trained classifier with its tokenizer as one graph, see `export_classifier`.

    Args:
        trained: the classifier.
        jit_compile: whether XLA compiles the model.
    """

    use = CLASSIFIER_USE
    inputs: tuple[str, ...] = (TEXT_INPUT,)

    def __init__(self, trained: TrainedModel, *, jit_compile: bool = False):
        super().__init__(trained, jit_compile=jit_compile)
        self._labels = tf.constant(list(trained.task.class_names))

    def signatures(self) -> Signatures:
        @tf.function(autograph=False)
        def serving_default(**texts: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.classify(*(texts[name] for name in self.inputs))

        @tf.function(autograph=False)
        def labels() -> dict[str, tf.Tensor]:
            return {"labels": tf.identity(self._labels)}

        specs = {name: tf.TensorSpec([None], tf.string, name) for name in self.inputs}
        return {
            TEXT_SIGNATURE: serving_default.get_concrete_function(**specs),
            LABELS_SIGNATURE: labels.get_concrete_function(),
        }

    def classify(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies strings `(batch,)`, as many of them as there are inputs."""
        rows = tf.shape(texts[0])[0]
        for text in texts[1:]:
            # One row would be taken for a match of any number.
            message = "each text needs a second one: the inputs differ in length"
            tf.debugging.assert_equal(tf.shape(text)[0], rows, message)
        words = [self._tokenizer.split(text).normalized for text in texts]
        features, positions = self._encode(*map(at_least_one_row, words))
        probabilities = self._probabilities(features)[:rows]
        unseen = tf.reduce_sum(tf.cast(positions < 0, tf.int32), axis=1)[:rows]
        classes = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        return {
            "label": tf.gather(self._labels, classes),
            "score": tf.reduce_max(probabilities, axis=-1),
            "probabilities": probabilities,
            "unseen_words": unseen,
        }

    def _encode(self, *words: tf.RaggedTensor) -> tuple[dict[str, tf.Tensor], tf.RaggedTensor]:
        return self._tokenizer.encode(*words)


class PairClassifierModule(ClassifierModule):
    """The same of two texts."""

    use = PAIR_CLASSIFIER_USE
    inputs = (TEXT_INPUT, PAIR_INPUT)

    def _encode(self, *words: tf.RaggedTensor) -> tuple[dict[str, tf.Tensor], tf.RaggedTensor]:
        return self._tokenizer.encode_pairs(*words)
