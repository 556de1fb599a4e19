"""Dropout that is quick on CPUs, with and without XLA."""

import keras
import tensorflow as tf

_LEVELS = 1 << 16


@keras.saving.register_keras_serializable(package="xdistil")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` of half the random bits, the same with XLA and without.

    A random number of 16 bits decides on a value, two of them out of one that TensorFlow draws, by
    the Philox generator: Keras draws 32 bits a value, and leaves the choice to TensorFlow, which
    takes another, slower generator under XLA on a CPU. `rate` is met to 1/65,536, and what remains
    is divided by the share that is really kept. The blocks of a transformer, which are
    keras-hub's, keep Keras' own.

    Args:
        rate: Share of the values that is set to 0; the others are divided by `1 - rate`.
        **kwargs: Of `keras.layers.Dropout` (`seed`, `name`, `dtype`).

    Call arguments:
        inputs: Tensor of any shape.
        training: Whether anything is dropped.

    Returns:
        A tensor of the shape of `inputs`.

    Reference:
        - [Srivastava et al., 2014](https://jmlr.org/papers/v15/srivastava14a.html)
        - [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405): Philox
    """

    def call(self, inputs, training=False):
        dropped = round(self.rate * _LEVELS)
        if not training or not 0 < dropped < _LEVELS or self.noise_shape is not None:
            return super().call(inputs, training=training)
        # As Keras brings its seeds to 32 bits.
        seed = tf.math.floormod(self.seed_generator.next(), tf.int32.max - 1)
        numbers = _random_uint16(tf.shape(inputs), tf.cast(seed, tf.int32))
        kept = numbers >= tf.constant(dropped, tf.uint16)
        scale = tf.cast(_LEVELS / (_LEVELS - dropped), inputs.dtype)
        return tf.where(kept, inputs * scale, tf.zeros([], inputs.dtype))


def _random_uint16(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    count = tf.reduce_prod(shape)
    pairs = tf.random.stateless_uniform(
        [(count + 1) // 2], seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    return tf.reshape(tf.reshape(tf.bitcast(pairs, tf.uint16), [-1])[:count], shape)
