"""A distiller whose steps are taken in parts, for batches that no device holds at once."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from xdistil.data.masked_steps import LABEL_WIDTH, LENGTH
from xdistil.distillation.distiller import Batch, Distiller


class AccumulatingDistiller(Distiller):
    """`Distiller` over steps of several micro-batches, with exact means over the whole step.

    Before the first micro-batch is computed, the weights of all positions are summed over the step
    (and over all replicas); each micro-batch's gradients are divided by these sums and added up.
    The result is the gradient of the whole batch at once, however it was cut up and padded.
    (`gradient_accumulation_steps` of Keras' optimizers takes the mean of means instead, in which a
    position of a short micro-batch weighs more.)

    Args:
        *args, **kwargs: Those of `Distiller`.

    Call arguments:
        features: as `xdistil.data.masked_steps` gives them: int32 `(micro_batches,
            micro_batch_size, length)`, with `widths`. Under a strategy each replica takes its share
            of the micro-batches.

    Reference:
        [Sanh et al., 2019](https://arxiv.org/abs/1910.01108), section 3, for batches of 4K examples
        by accumulation
    """

    def train_step(self, data: Batch) -> dict[str, tf.Tensor]:
        features, targets = data
        widths = features["widths"]
        features = {name: value for name, value in features.items() if name != "widths"}
        weights, totals = self._weigh(_joined(features), _joined(targets))
        count = tf.shape(widths)[0]

        def body(index, sums, gradients):
            part = _cut(features, targets, index, widths[index])
            own = [loss.position_weights(*part) for loss in self.distillation_losses]
            more_sums, more_gradients = self._gradient_function(*part, own, totals)
            return (
                index + 1,
                [old + new for old, new in zip(sums, more_sums, strict=True)],
                [old + new for old, new in zip(gradients, more_gradients, strict=True)],
            )

        nothing_yet = (
            tf.constant(0),
            [tf.zeros(()) for _ in weights],
            [tf.zeros(v.shape, v.dtype) for v in self.learnt_variables],
        )
        # One after the other: the point is not to hold two of them at once.
        _, sums, gradients = tf.while_loop(
            lambda index, *_: index < count, body, nothing_yet, parallel_iterations=1
        )
        self._update_function(gradients)
        return self._update_metrics(sums, weights, totals)


def _joined(values: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """All micro-batches as one batch."""
    return {
        name: tf.reshape(value, tf.concat([[-1], tf.shape(value)[2:]], 0))
        for name, value in values.items()
    }


def _cut(
    features: Mapping[str, Any], targets: Mapping[str, Any], index: tf.Tensor, widths: tf.Tensor
) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """One micro-batch of a step, at its own width."""
    return (
        {
            name: value[index, :, : widths[LABEL_WIDTH if name == "masked_positions" else LENGTH]]
            for name, value in features.items()
        },
        {name: value[index, :, : widths[LABEL_WIDTH]] for name, value in targets.items()},
    )
