"""Dropout that is quick under XLA too."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="xdistil")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` by the Philox generator, under XLA too.

    Keras leaves the choice to TensorFlow, which takes another generator under XLA on a CPU: there a
    mask that no gradient needs, such as below frozen layers, costs many times as much as one by
    Philox. Without XLA the masks are those of Keras; under XLA they are others, of the same share.
    The blocks of a transformer, which are keras-hub's, keep Keras' own.

    Args:
        rate: Share of the values that is set to 0; the others are divided by `1 - rate`.
        **kwargs: Of `keras.layers.Dropout` (`seed`, `name`, `dtype`).

    Call arguments:
        inputs: Tensor of any shape.
        training: Whether anything is dropped.

    Returns:
        A tensor of the shape of `inputs`.

    Reference:
        [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405): Philox.
    """

    def call(self, inputs, training=False):
        if not training or not 0 < self.rate < 1 or self.noise_shape is not None:
            return super().call(inputs, training=training)
        seed = self.seed_generator.next()
        return tf.nn.experimental.stateless_dropout(
            inputs,
            rate=self.rate,
            # As Keras brings its seeds to 32 bits.
            seed=tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32),
            rng_alg="philox",
        )
