"""Adam, AdamW and AdaDelta whose update is one operation a variable."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class _Fused:
    """What comes before the update of each variable."""

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Nothing for all variables ahead, as Keras has it: each decays in its own update."""

    def _rate_after_decay(self, variable: tf.Variable, learning_rate: Any) -> tf.Tensor:
        rate = tf.cast(learning_rate, variable.dtype)
        if self.weight_decay is not None and self._use_weight_decay(variable):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle,
                alpha=rate * tf.cast(self.weight_decay, variable.dtype),
                delta=variable.read_value(),
            )
        return rate


def _dense(gradient: Any, dtype: tf.DType) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(gradient), dtype)


class _FusedAdam(_Fused, keras.optimizers.Adam):
    def update_step(self, gradient, variable, learning_rate):
        rate = self._rate_after_decay(variable, learning_rate)
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        dtype = variable.dtype
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
            grad=_dense(gradient, dtype),
        )


@keras.saving.register_keras_serializable(package="xdistil")
class FusedAdam(_FusedAdam):
    """`keras.optimizers.Adam` whose update is one operation a variable.

    Arguments, variables and their names are those of Keras, and so are the numbers in float32 but
    for rounding. What differs is the time, where XLA compiles nothing: Keras passes eleven times
    over moments and weights. A gradient of some rows alone is taken as the whole matrix. With
    `amsgrad=True` the update is Keras' own.

    Example:

    ```python
    distiller.compile(optimizer=xdistil.FusedAdam(3e-3))
    ```

    Reference:
        [Kingma and Ba, 2015](https://arxiv.org/abs/1412.6980), the formulation at the end of
        section 2: epsilon is added before the bias is corrected.
    """


@keras.saving.register_keras_serializable(package="xdistil")
class FusedAdamW(_FusedAdam, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, weight decay and all, in two operations a variable.

    See `FusedAdam`.

    Reference:
        [Loshchilov and Hutter, 2019](https://arxiv.org/abs/1711.05101), Algorithm 2
    """


@keras.saving.register_keras_serializable(package="xdistil")
class FusedAdadelta(_Fused, keras.optimizers.Adadelta):
    """`keras.optimizers.Adadelta` whose update is one operation a variable.

    See `FusedAdam`.

    Reference:
        [Zeiler, 2012](https://arxiv.org/abs/1212.5701), Algorithm 1
    """

    def update_step(self, gradient, variable, learning_rate):
        rate = self._rate_after_decay(variable, learning_rate)
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdadelta(
            var=variable.handle,
            accum=self._accumulated_grads[index].value.handle,
            accum_update=self._accumulated_delta_vars[index].value.handle,
            lr=rate,
            rho=tf.constant(self.rho, variable.dtype),
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=_dense(gradient, variable.dtype),
        )
