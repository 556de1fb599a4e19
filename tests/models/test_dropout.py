"""Dropout: Keras' masks, and as many zeros under XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from xdistil.models.dropout import Dropout

INPUTS = tf.ones((6, 50, 7))


def masks(layer, jit_compile: bool):
    function = tf.function(lambda: layer(INPUTS, training=True), jit_compile=jit_compile)
    return [function().numpy() for _ in range(2)]


def test_masks_are_those_of_keras():
    expected = masks(keras.layers.Dropout(0.3, seed=5), jit_compile=False)
    np.testing.assert_array_equal(masks(Dropout(0.3, seed=5), jit_compile=False), expected)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_each_call_drops_another_share_of_the_rate(jit_compile):
    found = masks(Dropout(0.3, seed=5), jit_compile)
    assert not np.array_equal(*found)
    assert np.unique(found).tolist() == pytest.approx([0, 1 / 0.7])
    assert 0.25 < np.mean(np.equal(found, 0)) < 0.35
    np.testing.assert_array_equal(masks(Dropout(0.3, seed=5), jit_compile), found)


@pytest.mark.parametrize("rate, training", [(0.0, True), (0.3, False)])
def test_nothing_is_dropped_where_nothing_is_to_be(rate, training):
    np.testing.assert_array_equal(Dropout(rate)(INPUTS, training=training), INPUTS)


def test_it_is_found_again_in_a_saved_model():
    layer = Dropout(0.25, name="drop")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is Dropout and (again.rate, again.name) == (0.25, "drop")
