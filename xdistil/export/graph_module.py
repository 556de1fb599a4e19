"""`GraphModule`: a trained model as one graph."""

from __future__ import annotations

import abc

import tensorflow as tf

from xdistil.export.model_card import Use, model_card
from xdistil.tasks.trained_model import TrainedModel

Signatures = dict[str, tf.types.experimental.ConcreteFunction]


class GraphModule(tf.Module, abc.ABC):
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
        self.card = model_card(trained, self.use)

        def logits(features: dict[str, tf.Tensor]) -> tf.Tensor:
            return trained.model(features, training=False)["logits"]

        self._logits = tf.function(logits, jit_compile=True) if jit_compile else logits

    @abc.abstractmethod
    def signatures(self) -> Signatures:
        """The functions that the SavedModel offers, by name."""
