"""The dense layer on [CLS] that stands below a classifier of texts: BERT's pooler."""

from typing import Any

import keras

from xdistil.errors import InputError
from xdistil.models.activations import get_activation
from xdistil.models.checkpoints import Checkpoint, check_shape
from xdistil.models.encoder import EncoderConfig
from xdistil.models.families import FAMILIES


def make_pooler(config: EncoderConfig, dtype: Any = None) -> keras.layers.Dense:
    """A built layer of the encoder's width with the activation of its family, random weights."""
    pooler = keras.layers.Dense(
        config.hidden_dim,
        activation=get_activation(FAMILIES[config.family].pooler_activation),
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=config.initializer_range),
        dtype=dtype,
        name="pooler",
    )
    pooler.build((None, config.hidden_dim))
    return pooler


def load_pooler(pooler: keras.layers.Dense, checkpoint: Checkpoint) -> bool:
    """Gives the layer the checkpoint's weights.

    Args:
        pooler: Of `make_pooler`.
        checkpoint: Of an encoder of the same width.

    Returns:
        Whether the checkpoint has them.

    Raises:
        InputError: It has one of two, or some of another shape.
    """
    kernel, bias = f"{checkpoint.pooler}.weight", f"{checkpoint.pooler}.bias"
    if kernel not in checkpoint and bias not in checkpoint:
        return False
    width = pooler.units
    for tensor, shape in ((kernel, (width, width)), (bias, (width,))):
        if tensor not in checkpoint:
            raise InputError(f"{checkpoint.folder}: the weights lack {tensor!r} of {shape}")
        check_shape(checkpoint, tensor, shape, "by config.json")
    pooler.kernel.assign(checkpoint.read(kernel).T)
    pooler.bias.assign(checkpoint.read(bias))
    return True
