"""Pooling of the states of a BiLSTM: real positions only, exactly."""

import numpy as np
import pytest
import tensorflow as tf

from xdistil.models.pooling import POOLINGS, pool

STATES = np.random.default_rng(0).uniform(-1, 1, (3, 6, 4)).astype("float32")


def mask_of(*runs):
    """A row for each `(begin, end)`."""
    return np.array([[begin <= i < end for i in range(6)] for begin, end in runs])


def test_max_pool_takes_the_largest_of_the_positions_of_the_text():
    # All states are below 0: a masked position that counted as 0 would win.
    states = STATES - 2
    pooled = pool(states, mask_of((0, 6), (0, 2), (3, 4)), "max")
    expected = [states[0].max(axis=0), states[1, :2].max(axis=0), states[2, 3]]
    np.testing.assert_array_equal(pooled, expected)


def test_last_states_are_the_forward_end_and_the_backward_beginning():
    pooled = pool(STATES, mask_of((0, 6), (0, 2), (3, 5)), "last")
    expected = [
        [*STATES[0, 5, :2], *STATES[0, 0, 2:]],
        [*STATES[1, 1, :2], *STATES[1, 0, 2:]],
        [*STATES[2, 4, :2], *STATES[2, 3, 2:]],
    ]
    np.testing.assert_array_equal(pooled, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_without_positions_gives_zeros_and_a_finite_gradient(pooling, dtype):
    states = tf.constant(STATES, dtype)
    with tf.GradientTape() as tape:
        tape.watch(states)
        pooled = pool(states, mask_of((0, 6), (0, 0), (0, 3)), pooling)
    gradient = tape.gradient(pooled, states)
    assert pooled.dtype == dtype
    assert not np.any(pooled[1])
    assert not np.any(gradient[1])
    assert not np.any(gradient[2, 3:])
    assert np.isfinite(gradient).all()
    assert np.count_nonzero(gradient[0]) == 4


@pytest.mark.parametrize("pooling", POOLINGS)
def test_xla_and_a_graph_of_unknown_length_pool_alike(pooling):
    mask = mask_of((0, 6), (0, 0), (2, 5))
    expected = pool(STATES, mask, pooling)
    signature = [tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None), "bool")]
    for settings in ({"jit_compile": True}, {"input_signature": signature}):
        call = tf.function(lambda states, mask: pool(states, mask, pooling), **settings)
        np.testing.assert_array_equal(call(tf.constant(STATES), tf.constant(mask)), expected)
