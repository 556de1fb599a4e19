"""`TextModule`: a trained model with its tokenizer as one graph."""

from __future__ import annotations

import tensorflow as tf

from xdistil.export.graph_module import GraphModule, Signatures
from xdistil.export.graph_tokenizer import GraphTokenizer
from xdistil.tasks.trained_model import TrainedModel

#: The signature that takes raw strings, and its inputs.
TEXT_SIGNATURE = "serving_default"
TEXT_INPUT = "text"
PAIR_INPUT = "text_pair"

__all__ = [
    "PAIR_INPUT",
    "TEXT_INPUT",
    "TEXT_SIGNATURE",
    "Signatures",
    "TextModule",
    "at_least_one_row",
]


class TextModule(GraphModule):
    """What SavedModels that take text have in common; a subclass says what goes in and comes out.

    Args:
        trained: the model.
        jit_compile: whether XLA compiles the model.

    Raises:
        InputError: the tokenizer cannot be put into a graph.
    """

    def __init__(self, trained: TrainedModel, *, jit_compile: bool = False):
        super().__init__(trained, jit_compile=jit_compile)
        self._tokenizer = GraphTokenizer(trained.task.encoder)

    def _probabilities(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        """The probability of each class, float32; of at least one row."""
        return tf.nn.softmax(tf.cast(self._logits(features), tf.float32), axis=-1)


def at_least_one_row(normalized: tf.RaggedTensor) -> tf.RaggedTensor:
    """Words `(batch, words)`, with an empty row where there is none.

    The model's loop fails on no row at all. What it says of the row that was filled in is never
    read.
    """
    missing = tf.maximum(1 - normalized.nrows(), 0)
    filling = tf.RaggedTensor.from_row_lengths(
        tf.constant([], tf.string), tf.zeros([missing], tf.int64)
    )
    return tf.concat([normalized, filling], axis=0)
