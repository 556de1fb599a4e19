"""Our bidirectional LSTM against the one of Keras: same variables, same numbers, same gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from xdistil.models.recurrence import BidirectionalLSTM

UNITS, INPUT_DIM = 7, 6


def pair(dtype="float64", units=UNITS):
    """The layer of Keras and ours, with the same random weights."""
    theirs = keras.layers.Bidirectional(
        keras.layers.LSTM(units, return_sequences=True, dtype=dtype), dtype=dtype
    )
    ours = BidirectionalLSTM(units, dtype=dtype)
    for layer in (theirs, ours):
        layer.build((None, None, INPUT_DIM))
    generator = np.random.default_rng(0)
    weights = [generator.normal(scale=0.5, size=w.shape) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    return theirs, ours


def batch(lengths, length, dtype="float64"):
    generator = np.random.default_rng(1)
    inputs = tf.constant(generator.normal(size=(len(lengths), length, INPUT_DIM)), dtype)
    upstream = tf.constant(generator.normal(size=(len(lengths), length, 2 * UNITS)), dtype)
    mask = tf.constant(np.arange(length) < np.array(lengths)[:, None])
    return inputs, upstream, mask


def outputs_and_gradients(layer, inputs, upstream, mask):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, mask=mask)
        loss = tf.reduce_sum(outputs * upstream)
    return [outputs, *tape.gradient(loss, [inputs, *(w.value for w in layer.trainable_weights)])]


def assert_same(expected, received, tolerance):
    for left, right in zip(expected, received, strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize("masked", [True, False])
def test_outputs_and_gradients_equal_those_of_keras(jit_compile, masked):
    theirs, ours = pair()
    inputs, upstream, mask = batch([9, 1, 4, 8], length=9)
    mask = mask if masked else None
    call = outputs_and_gradients
    if jit_compile is not None:
        call = tf.function(call, jit_compile=jit_compile)
    expected = outputs_and_gradients(theirs, inputs, upstream, mask)
    assert_same(expected, call(ours, inputs, upstream, mask), 1e-12)


def test_outputs_in_float32_equal_those_of_keras_to_1e_6():
    theirs, ours = pair("float32")
    inputs, _, mask = batch([5, 2, 3], length=5, dtype="float32")
    np.testing.assert_allclose(theirs(inputs, mask=mask), ours(inputs, mask=mask), atol=1e-6)


def test_variables_have_the_shapes_order_and_start_values_of_keras():
    theirs = keras.layers.Bidirectional(keras.layers.LSTM(UNITS, return_sequences=True))
    ours = BidirectionalLSTM(UNITS)
    for layer in (theirs, ours):
        layer.build((None, None, INPUT_DIM))
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    assert ours.count_params() == 8 * UNITS * (INPUT_DIM + UNITS + 1)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        if mine.ndim == 1:
            np.testing.assert_array_equal(mine, other)
    recurrent = ours.forward_recurrent_kernel.numpy()
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(UNITS), atol=1e-5)
    limit = np.sqrt(6 / (INPUT_DIM + 4 * UNITS))
    assert 0.8 * limit < np.abs(ours.forward_kernel.numpy()).max() <= limit


def test_a_text_of_one_piece_works_in_a_graph_of_unknown_length():
    theirs, ours = pair()
    signature = [tf.TensorSpec((None, None, INPUT_DIM), "float64")]
    call = tf.function(lambda inputs: ours(inputs), input_signature=signature)
    for length in (1, 3):
        inputs, _, _ = batch([length] * 2, length=length)
        np.testing.assert_allclose(call(inputs), theirs(inputs), atol=1e-12)


@pytest.mark.parametrize("jit_compile", [None, False])
def test_a_gradient_may_be_taken_twice(jit_compile):
    _, layer = pair()
    inputs, _, mask = batch([4, 2], 4)
    function = layer if jit_compile is None else tf.function(layer, jit_compile=jit_compile)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        states = function(inputs, mask=mask)
        parts = [tf.reduce_sum(states[..., :UNITS]), tf.reduce_sum(states[..., UNITS:])]
        whole = tf.reduce_sum(states)
    first, second, both = (tape.gradient(y, inputs) for y in (*parts, whole))
    assert np.abs(first).max() > 0
    np.testing.assert_allclose(first + second, both, atol=1e-12)


def test_the_tape_may_be_outside_of_what_xla_compiles():
    _, layer = pair()
    inputs, upstream, mask = batch([4, 2], 4)
    slopes = []
    for function in (layer, tf.function(layer, jit_compile=True)):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(function(inputs, mask=mask) * upstream)
        slopes.append(tape.gradient(loss, inputs))
    np.testing.assert_allclose(*slopes, atol=1e-12)


def test_rows_of_padding_give_zeros_and_take_no_gradient():
    _, ours = pair("float32")
    inputs, upstream, mask = batch([4, 0, 0], length=4, dtype="float32")
    for jit_compile in (False, True):
        call = tf.function(outputs_and_gradients, jit_compile=jit_compile)
        outputs, d_inputs, *d_weights = call(ours, inputs, upstream, mask)
        assert np.all(outputs[0] != 0)
        assert not np.any(outputs[1:])
        assert not np.any(d_inputs[1:])
        alone = outputs_and_gradients(ours, inputs[:1], upstream[:1], mask[:1])
        assert_same(alone[2:], d_weights, 1e-5)


def test_padding_has_no_say_however_much_there_is():
    _, ours = pair("float32")
    inputs, _, mask = batch([5, 2], length=5, dtype="float32")
    wider = tf.concat([inputs, 100 * tf.ones((2, 4, INPUT_DIM))], axis=1)
    wider_mask = tf.pad(mask, [[0, 0], [0, 4]])
    outputs = ours(wider, mask=wider_mask)
    np.testing.assert_allclose(outputs[:, :5], ours(inputs, mask=mask), atol=1e-6)
    assert not np.any(outputs[:, 5:])


def test_what_a_masked_position_parts_is_read_as_if_alone():
    _, ours = pair()
    inputs, upstream, _ = batch([7], length=7)
    parted = tf.constant([[0, 1, 1, 0, 1, 1, 1]])
    outputs, d_inputs, *_ = outputs_and_gradients(ours, inputs, upstream, parted)
    assert not np.any(outputs[0, 3])
    assert not np.any(d_inputs[0, 3])
    for run in (slice(1, 3), slice(4, 7)):
        alone, d_alone, *_ = outputs_and_gradients(ours, inputs[:, run], upstream[:, run], None)
        np.testing.assert_allclose(outputs[:, run], alone, atol=1e-12)
        np.testing.assert_allclose(d_inputs[:, run], d_alone, atol=1e-12)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_half_precision_stays_near_float32(policy, jit_compile):
    _, full = pair("float32")
    half = BidirectionalLSTM(UNITS, dtype=policy)
    half.build((None, None, INPUT_DIM))
    half.set_weights(full.get_weights())
    inputs, upstream, mask = batch([5, 2, 0], length=5, dtype="float32")
    expected = outputs_and_gradients(full, inputs, upstream, mask)
    call = tf.function(
        lambda: outputs_and_gradients(half, inputs, tf.cast(upstream, half.compute_dtype), mask),
        jit_compile=jit_compile,
    )
    received = call()
    assert received[0].dtype == half.compute_dtype
    assert all(w.dtype == "float32" for w in half.weights)
    for left, right in zip(expected, received, strict=True):
        tolerance = 0.03 * max(1.0, np.abs(left).max())
        np.testing.assert_allclose(tf.cast(right, "float32"), left, rtol=0, atol=tolerance)


def test_layer_comes_back_from_its_config():
    layer = BidirectionalLSTM.from_config(BidirectionalLSTM(3, name="both").get_config())
    assert (layer.units, layer.name) == (3, "both")
    assert layer.compute_output_shape((2, 5, 4)) == (2, 5, 6)
    assert layer(keras.KerasTensor((2, 5, 4))).shape == (2, 5, 6)


def test_units_that_are_no_number_are_refused():
    with pytest.raises(ValueError, match="`units` must be an integer above 0, received `0`"):
        BidirectionalLSTM(0)
