"""Dropout: as many zeros as asked for, the same under XLA, and a mean that stays."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from xdistil.models.dropout import Dropout

INPUTS = tf.ones((6, 50, 7))


def masks(layer, jit_compile: bool, inputs=INPUTS):
    function = tf.function(lambda: layer(inputs, training=True), jit_compile=jit_compile)
    return [function().numpy() for _ in range(2)]


@pytest.mark.parametrize("shape", [(6, 50, 7), (3, 5), (1,)])
def test_masks_are_the_same_under_xla(shape):
    inputs = tf.ones(shape)
    expected = masks(Dropout(0.3, seed=5), jit_compile=False, inputs=inputs)
    found = masks(Dropout(0.3, seed=5), jit_compile=True, inputs=inputs)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1e-4])
def test_the_share_is_the_rate_and_the_mean_stays(rate):
    found = Dropout(rate, seed=1)(tf.ones((1000, 3000)), training=True).numpy()
    dropped = np.mean(found == 0)
    assert dropped == pytest.approx(rate, abs=5 * np.sqrt(rate / found.size) + 1e-5)
    assert np.mean(found) == pytest.approx(1, abs=5 * np.sqrt(rate / found.size) + 1e-6)
    # Values beside each other come from one number of the generator.
    both = np.mean((found[:, ::2] == 0) & (found[:, 1::2] == 0))
    assert both == pytest.approx(rate**2, abs=5 * np.sqrt(rate**2 / found.size) + 1e-5)


def test_what_is_dropped_is_gone_whatever_it_was():
    inputs = tf.fill((4, 50), np.float32(np.inf))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = Dropout(0.3, seed=5)(inputs, training=True)
    slopes = tape.gradient(outputs, inputs, output_gradients=inputs)
    kept = Dropout(0.3, seed=5)(tf.ones((4, 50)), training=True).numpy() > 0
    for found in (outputs, slopes):
        np.testing.assert_array_equal(found, np.where(kept, np.inf, 0))


def test_gradients_are_dropped_where_values_are():
    inputs = tf.ones((4, 50))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = Dropout(0.3, seed=5)(inputs, training=True)
    np.testing.assert_array_equal(tape.gradient(outputs, inputs), outputs)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_each_call_drops_another_share_of_the_rate(jit_compile):
    found = masks(Dropout(0.3, seed=5), jit_compile)
    assert not np.array_equal(*found)
    assert np.unique(found).tolist() == pytest.approx([0, 1 / 0.7], rel=1e-4)
    assert 0.25 < np.mean(np.equal(found, 0)) < 0.35
    np.testing.assert_array_equal(masks(Dropout(0.3, seed=5), jit_compile), found)


@pytest.mark.parametrize("rate, training", [(0.0, True), (0.3, False)])
def test_nothing_is_dropped_where_nothing_is_to_be(rate, training):
    np.testing.assert_array_equal(Dropout(rate)(INPUTS, training=training), INPUTS)


def test_it_is_found_again_in_a_saved_model():
    layer = Dropout(0.25, name="drop")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is Dropout and (again.rate, again.name) == (0.25, "drop")
