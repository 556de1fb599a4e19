"""How well a masked language model names what is hidden in held-out text."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Batches = Iterable[tuple[Mapping[str, np.ndarray], np.ndarray]]


class MaskedLMScorer:
    """Perplexity and accuracy of a model over the same masks each time.

    Args:
        model: A `MaskedLM`.
        batches: Gives the held-out batches, see `xdistil.data.masked_steps.held_out_batches`.
        jit_compile: Compiles by XLA, once per shape of batch.
    """

    def __init__(
        self, model: keras.Model, batches: Callable[[], Batches], jit_compile: bool = False
    ):
        self.batches = batches

        @tf.function(jit_compile=jit_compile, autograph=False, reduce_retracing=True)
        def sums(features: Mapping[str, Any], labels: tf.Tensor) -> tf.Tensor:
            logits = model(features, training=False)["logits"]
            weights = tf.cast(labels >= 0, tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), logits)
            hits = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)
            return tf.stack([tf.reduce_sum(x * weights) for x in (losses, hits, weights)])

        self._sums = sums

    def scores(self) -> dict[str, float]:
        """Of all masked positions of the held-out text.

        Returns:
            `mlm`: mean cross-entropy in nats; `perplexity`: its exponential, infinite above what a
            float holds; `accuracy`: share of pieces that the model holds for the likeliest.
        """
        loss = hits = count = 0.0
        for features, labels in self.batches():
            tensors = {name: tf.constant(value) for name, value in features.items()}
            # Summed up in float64 here: a float32 counts only to 2^24.
            values = self._sums(tensors, tf.constant(labels)).numpy().astype(np.float64)
            loss, hits, count = loss + values[0], hits + values[1], count + values[2]
        mean = loss / max(count, 1.0)
        return {
            "mlm": float(mean),
            "perplexity": math.exp(mean) if mean < 700 else math.inf,
            "accuracy": float(hits / max(count, 1.0)),
        }
