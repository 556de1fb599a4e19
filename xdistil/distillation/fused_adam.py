"""Adam and AdamW whose update is one operation a variable."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class _OneOperation(keras.optimizers.Adam):
    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        if self.amsgrad:
            super()._apply_weight_decay(variables)

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        dtype = variable.dtype
        rate = tf.cast(learning_rate, dtype)
        if self.weight_decay is not None and self._use_weight_decay(variable):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle,
                alpha=rate * tf.cast(self.weight_decay, dtype),
                delta=variable.read_value(),
            )
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = (tf.constant(beta, dtype) for beta in (self.beta_1, self.beta_2))
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )


@keras.saving.register_keras_serializable(package="xdistil")
class FusedAdam(_OneOperation):
    """`keras.optimizers.Adam` whose update is one operation a variable.

    Arguments, variables and their names are those of Keras, and so are the numbers but for
    rounding. What differs is the time: Keras passes eleven times over moments and weights. With
    `amsgrad=True` the update is Keras' own.

    Reference:
        [Kingma and Ba, 2015](https://arxiv.org/abs/1412.6980), the formulation at the end of
        section 2: epsilon is added before the bias is corrected.
    """


@keras.saving.register_keras_serializable(package="xdistil")
class FusedAdamW(_OneOperation, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, weight decay and all, in two operations a variable.

    See `FusedAdam`.

    Reference:
        [Loshchilov and Hutter, 2019](https://arxiv.org/abs/1711.05101), Algorithm 2
    """
