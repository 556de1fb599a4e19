"""From the states of a BiLSTM at every position to one vector a text."""

import tensorflow as tf

POOLINGS = ("max", "last")


def pool(states, mask, pooling: str):
    """One vector a text, of the positions that its mask names and of no others.

    Args:
        states: `(batch_size, length, width)`, forward states beside backward states, as
            `BidirectionalLSTM` gives them.
        mask: bool `(batch_size, length)`, the positions of the text. Padding and other texts are
            outside.
        pooling: `"max"`: the largest value of each feature. `"last"`: the forward state at the
            last position and the backward state at the first, where each has read the whole text.

    Returns:
        Tensor `(batch_size, width)`; zeros for a text without positions.
    """
    states, mask = tf.convert_to_tensor(states), tf.convert_to_tensor(mask)
    return _max_pool(states, mask) if pooling == "max" else _last_states(states, mask)


def _max_pool(states, mask):
    outside = tf.constant(states.dtype.min, states.dtype)
    largest = tf.reduce_max(tf.where(tf.expand_dims(mask, -1), states, outside), axis=1)
    return tf.where(tf.reduce_any(mask, axis=1, keepdims=True), largest, tf.zeros_like(largest))


def _last_states(states, mask):
    forward, backward = tf.split(states, 2, axis=-1)
    length = tf.shape(mask)[1]
    positions = tf.range(length)
    first = tf.reduce_min(tf.where(mask, positions, length), axis=1, keepdims=True)
    last = tf.reduce_max(tf.where(mask, positions, -1), axis=1, keepdims=True)
    return tf.concat([_at(forward, positions == last), _at(backward, positions == first)], axis=-1)


def _at(states, chosen):
    # A sum over the one position: unlike a gather, the same few operations in every runtime.
    return tf.reduce_sum(
        tf.where(tf.expand_dims(chosen, -1), states, tf.zeros_like(states)), axis=1
    )
