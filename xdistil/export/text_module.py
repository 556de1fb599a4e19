"""`TextModule`: a trained model with its tokenizer as one graph."""

from __future__ import annotations

import abc

import tensorflow as tf

from xdistil.export.graph_tokenizer import GraphTokenizer
from xdistil.export.model_card import Use, saved_model_card
from xdistil.tasks.trained_model import TrainedModel

#: The signature that takes raw strings, and its inputs.
TEXT_SIGNATURE = "serving_default"
TEXT_INPUT = "text"
PAIR_INPUT = "text_pair"

Signatures = dict[str, tf.types.experimental.ConcreteFunction]


class TextModule(tf.Module, abc.ABC):
    """What every SavedModel of ours is made of; a subclass says what goes in and comes out.

    Args:
        trained: the model.
        jit_compile: whether XLA compiles the model.
    """

    #: What its model card tells of inputs and outputs.
    use: Use

    def __init__(self, trained: TrainedModel, *, jit_compile: bool = False):
        super().__init__()
        # Only the weights belong to the SavedModel: Keras' own layers would need Keras to load.
        self._weights = [variable.value for variable in trained.model.variables]
        self._tokenizer = GraphTokenizer(trained.task.encoder)
        self.card = saved_model_card(trained, self.use)

        def logits(features: dict[str, tf.Tensor]) -> tf.Tensor:
            return trained.model(features, training=False)["logits"]

        self._logits = tf.function(logits, jit_compile=True) if jit_compile else logits

    @abc.abstractmethod
    def signatures(self) -> Signatures:
        """The functions that the SavedModel offers, by name."""

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
