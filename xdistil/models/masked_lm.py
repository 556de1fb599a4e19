"""The masked language model: an encoder with a head that names the piece behind a mask."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from xdistil.models.activations import get_activation
from xdistil.models.encoder import Encoder, EncoderConfig


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
        config = self.encoder_config
        self.activation = get_activation(config.activation)
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
            shape=(config.vocabulary_size,), initializer="zeros", dtype="float32", name="mlm_bias"
        )
        self.built = True

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
        """The parts of the head by the names of `write_checkpoint`; the last is a variable."""
        return {
            "mlm_dense": self.mlm_dense,
            "mlm_norm": self.mlm_norm,
            "mlm_bias": self.mlm_bias,
        }

    @property
    def layer_groups(self) -> dict[str, list[keras.layers.Layer]]:
        """The layers that learn, by name, from the input up."""
        layers = {layer.name: [layer] for layer in self.encoder.transformer_layers}
        return {
            "embedding": self.encoder.embedding_layers,
            **layers,
            "head": [self.mlm_dense, self.mlm_norm],
        }

    def call(self, features, training=False):
        hidden_states = self.encoder(features, training=training)
        x = hidden_states[-1]
        positions = features.get("masked_positions")
        if positions is not None:
            x = ops.take_along_axis(x, ops.expand_dims(positions, -1), axis=1)
        x = self.mlm_norm(self.activation(self.mlm_dense(ops.cast(x, "float32"))))
        table = ops.cast(self.encoder.token_embedding.embeddings, "float32")
        logits = ops.matmul(x, ops.transpose(table)) + self.mlm_bias
        return {
            "logits": logits,
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
