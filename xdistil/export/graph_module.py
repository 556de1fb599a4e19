"""`GraphModule`: a trained model as one graph."""

from __future__ import annotations

import abc
from collections.abc import Callable

import keras
import tensorflow as tf

from xdistil.export.fused_bilstm import FusedBiLSTM
from xdistil.export.model_card import Use, model_card
from xdistil.export.student_graph import logits_with
from xdistil.models.embedding_student import EmbeddingStudent
from xdistil.tasks.trained_model import TrainedModel

Logits = Callable[[dict[str, tf.Tensor]], tf.Tensor]
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
        self.card = model_card(trained, self.use)
        self._logits = self._logits_function(trained.model, jit_compile)

    def _logits_function(self, model: keras.Model, jit_compile: bool) -> Logits:
        # Only the weights belong to the SavedModel: Keras' own layers would need Keras to load.
        if jit_compile or not isinstance(model, EmbeddingStudent):
            self._weights = [variable.value for variable in model.variables]

            def logits(features: dict[str, tf.Tensor]) -> tf.Tensor:
                return model(features, training=False)["logits"]

            return tf.function(logits, jit_compile=True) if jit_compile else logits
        self._bilstm = FusedBiLSTM(model.bilstm)
        copied = {id(variable) for variable in model.bilstm.variables}
        self._weights = [v.value for v in model.variables if id(v) not in copied]
        return lambda features: logits_with(self._bilstm, model, features)

    @abc.abstractmethod
    def signatures(self) -> Signatures:
        """The functions that the SavedModel offers, by name."""
