"""Runs a model over encoded examples in buckets of length, never padded to a fixed one."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xdistil.models.bucketed_inference import FEATURES, TOKENS_PER_BATCH, BucketedInference


class BatchedInference(BucketedInference):
    """A model's outputs for encoded examples, in their order, at real positions only.

    Examples are sorted by length within a chunk. With `jit_compile` they are padded to their
    bucket's length, and every bucket has one static shape, filled by empty rows, so that XLA
    compiles once a bucket; without, a batch is as long as its longest example.

    Args:
        model: Called on a features dict, see `xdistil.data`.
        lengths: The buckets' lengths, ascending, see `xdistil.data.bucket_lengths`.
        select: From the model's outputs to a dict of tensors to keep: `(batch_size, length, width)`
            of positions, or `(batch_size, width)` of whole texts. Outputs that it does not name are
            not computed. Defaults to the logits.
        tokens_per_batch: Positions a batch, padding included.
        jit_compile: Compiles by XLA.
        pad_to_bucket: Pads to the bucket's length also without XLA.

    Example:
        ```python
        run = BatchedInference(model, lengths=bucket_lengths(128))
        for outputs in run(encoder.encode(sentences)):
            print(outputs["logits"].shape)  # (length, num_classes)
        ```
    """

    def __init__(
        self,
        model: keras.Model,
        lengths: Sequence[int],
        select: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        tokens_per_batch: int = TOKENS_PER_BATCH,
        jit_compile: bool = False,
        pad_to_bucket: bool = False,
    ):
        super().__init__(
            lengths, tokens_per_batch, fixed_shapes=jit_compile, pad_to_bucket=pad_to_bucket
        )
        self.model = model
        select = select or (lambda outputs: {"logits": outputs["logits"]})
        # Without XLA one trace serves every bucket; XLA wants to know each shape.
        spec = {name: tf.TensorSpec((None, None), tf.int32) for name in FEATURES}
        self._function = tf.function(
            lambda features: select(model(features, training=False)),
            input_signature=None if jit_compile else [spec],
            jit_compile=jit_compile,
            autograph=False,
        )

    def compute(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(values) for name, values in features.items()}
        return {name: value.numpy() for name, value in self._function(tensors).items()}
