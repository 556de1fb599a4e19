"""The masked language model: an encoder with a head that names the piece behind a mask."""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import Any, Self

import keras
from keras import ops

from xdistil.models.activations import get_activation
from xdistil.models.checkpoints import Checkpoint, load_encoder_weights
from xdistil.models.encoder import Encoder, EncoderConfig
from xdistil.models.masked_lm_head import (
    load_masked_lm_head,
    masked_lm_activation,
    require_masked_lm_head,
)
from xdistil.models.pooler import load_pooler, make_pooler
from xdistil.models.presets import find_checkpoint

logger = logging.getLogger("xdistil")


class _MaskedLMHead(keras.layers.Layer):
    """Dense, activation, layer normalization, product with the token embedding, bias."""

    def __init__(self, encoder: Encoder, **kwargs):
        # A layer of its own: inside it the embedding is read in float32 under every precision.
        super().__init__(dtype="float32", **kwargs)
        config = encoder.config
        # By a function: the head reads the embedding, the encoder owns it.
        self._table = lambda: encoder.token_embedding.embeddings
        self.activation = get_activation(masked_lm_activation(config))
        self.mlm_dense = keras.layers.Dense(
            config.embedding_dim,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=config.initializer_range),
            dtype="float32",
            name="mlm_dense",
        )
        self.mlm_dense.build((None, None, config.hidden_dim))
        self.mlm_norm = keras.layers.LayerNormalization(
            epsilon=config.layer_norm_epsilon, dtype="float32", name="mlm_layer_norm"
        )
        self.mlm_norm.build((None, None, config.embedding_dim))
        self.mlm_bias = self.add_weight(
            shape=(config.vocabulary_size,), initializer="zeros", name="mlm_bias"
        )
        self.built = True

    def call(self, hidden_state):
        x = self.mlm_norm(self.activation(self.mlm_dense(hidden_state)))
        return ops.matmul(x, ops.transpose(self._table())) + self.mlm_bias


@keras.saving.register_keras_serializable(package="xdistil")
class MaskedLM(keras.Model):
    """A BERT-like encoder with a masked-LM head: teacher or student in pre-training.

    The head is that of BERT, DistilBERT and RoBERTa: dense, activation, layer normalization, then
    the product with the token embedding (tied: one variable for both) and a bias a piece. The
    product with a whole vocabulary is the larger part of a small model's work; where the features
    list `masked_positions`, it is computed there alone.

    All variables exist as soon as the model does. Padding never changes real positions; the head
    and its logits are float32 under every precision.

    Args:
        encoder: An `EncoderConfig`, or its `to_dict()`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Call arguments:
        features: dict of int tensors `(batch_size, sequence_length)`: `token_ids`, and optionally
            `padding_mask` (1 = real) and `segment_ids`; optionally `masked_positions`,
            `(batch_size, width)`. Other keys are ignored.
        training: whether dropout is active.

    Returns:
        dict: `logits`, float32 `(batch_size, sequence_length, vocabulary_size)`, or `(batch_size,
        width, vocabulary_size)` at the masked positions; `hidden_states`, a tuple of `num_layers +
        1` tensors `(batch_size, sequence_length, hidden_dim)`, index 0 = embeddings;
        `representation`, the last of these.

    Attributes:
        has_fresh_head: whether the checkpoint that it was made of had no head, so that its logits
            say nothing before it is trained.

    Raises:
        InputError: settings that make no encoder.

    Example:

    ```python
    model = MaskedLM(EncoderConfig(vocabulary_size=100, hidden_dim=16, num_layers=2, num_heads=2))
    outputs = model({
        "token_ids": np.array([[2, 17, 4, 3]], "int32"),
        "masked_positions": np.array([[2]], "int32"),
    })
    print(outputs["logits"].shape)  # (1, 1, 100)
    ```

    Reference:
        [Devlin et al., 2019](https://arxiv.org/abs/1810.04805), section 3.1
    """

    def __init__(self, encoder: EncoderConfig | dict[str, Any], **kwargs):
        super().__init__(**kwargs)
        self.encoder = Encoder(encoder, dtype=self.dtype_policy, name="encoder")
        self.head = _MaskedLMHead(self.encoder, name="head")
        self.has_fresh_head = False
        # By a function, so that it is no layer of this model: it neither computes nor learns here.
        self._pooler = lambda: None
        self.built = True

    @classmethod
    def from_preset(
        cls,
        preset: str | os.PathLike[str],
        *,
        dropout: float | None = None,
        need_head: bool = False,
        **kwargs,
    ) -> Self:
        """A masked language model with the weights of a checkpoint in the hub's format.

        A checkpoint that has a masked-LM head brings it along; any other gets a fresh one, which
        the log says. An encoder's pooler is kept as it is, for whoever writes the model again.

        Args:
            preset: A folder with config.json and safetensors, or a name of the hub.
            dropout: For every place that has one. None: what config.json says.
            need_head: Refuses a checkpoint without a head.
            **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

        Raises:
            InputError: a checkpoint that cannot be used, see `Checkpoint`, `load_encoder_weights`
                and `load_masked_lm_head`; one without a head where `need_head`.
        """
        checkpoint = Checkpoint(find_checkpoint(preset))
        config = checkpoint.encoder_config
        if dropout is not None:
            config = dataclasses.replace(config, dropout=dropout, attention_dropout=dropout)
        head = (require_masked_lm_head if need_head else load_masked_lm_head)(checkpoint)
        model = cls(config, **kwargs)
        load_encoder_weights(model.encoder, checkpoint)
        if checkpoint.family.pooler_in_encoder:
            pooler = make_pooler(config, "float32")
            if load_pooler(pooler, checkpoint):
                model._pooler = lambda: pooler
        model.has_fresh_head = head is None
        if head is None:
            logger.warning(
                "%s: has no masked-LM head, it gets a fresh one of random weights",
                checkpoint.folder,
            )
        else:
            model.head.mlm_dense.set_weights([head["mlm_dense.kernel"], head["mlm_dense.bias"]])
            model.head.mlm_norm.set_weights([head["mlm_norm.scale"], head["mlm_norm.bias"]])
            model.head.mlm_bias.assign(head["mlm_bias"])
        return model

    @property
    def encoder_config(self) -> EncoderConfig:
        """What the encoder is made of."""
        return self.encoder.config

    @property
    def num_layers(self) -> int:
        """Transformer layers; there is one hidden state more."""
        return self.encoder_config.num_layers

    @property
    def head_layers(self) -> dict[str, Any]:
        """What `write_checkpoint` wants: the parts of the head, of which `mlm_bias` is a variable,
        and the `pooler` of the checkpoint that it was made of, where that had one."""
        layers = {
            "mlm_dense": self.head.mlm_dense,
            "mlm_norm": self.head.mlm_norm,
            "mlm_bias": self.head.mlm_bias,
        }
        pooler = self._pooler()
        return layers if pooler is None else {**layers, "pooler": pooler}

    @property
    def layer_groups(self) -> dict[str, list[keras.layers.Layer]]:
        """The layers that learn, by name, from the input up."""
        layers = {layer.name: [layer] for layer in self.encoder.transformer_layers}
        return {
            "embedding": self.encoder.embedding_layers,
            **layers,
            "head": [self.head],
        }

    def call(self, features, training=False):
        hidden_states = self.encoder(features, training=training)
        x = hidden_states[-1]
        positions = features.get("masked_positions")
        if positions is not None:
            x = ops.take_along_axis(x, ops.expand_dims(positions, -1), axis=1)
        return {
            "logits": self.head(x),
            "hidden_states": hidden_states,
            "representation": hidden_states[-1],
        }

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "encoder": self.encoder_config.to_dict(),
        }
