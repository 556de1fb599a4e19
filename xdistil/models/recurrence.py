"""A bidirectional LSTM that is fast on CPU, alone and under XLA."""

import keras
import tensorflow as tf

#: Added to the input of all gates at padding: sigmoid(-1e4) is exactly 0 in every precision, so the
#: cell stays empty there and passes no gradient. It fits in float16.
CLOSED_GATE = -1e4


@keras.saving.register_keras_serializable(package="xdistil")
class BidirectionalLSTM(keras.layers.Layer):
    """LSTM over a right-padded batch in both directions, outputs side by side.

    Variables and numbers are those of
    `keras.layers.Bidirectional(keras.layers.LSTM(units, return_sequences=True))`, in the same
    order, so `set_weights` takes what the other's `get_weights` gave. What differs is the time it
    takes: both directions run in one loop, with one matrix product a direction and step for
    state, input, bias and mask together, and the backward pass is written by hand, so that the
    gradients of all kernels are one matrix product after the loop and not several a step.
    (Projecting all inputs before the loop was measured too: faster at batch 1, slower from batch
    32 on, for what it saves in arithmetic it spends on memory.)

    Masks: the state is empty and the output zero at every position where the mask is zero. That is
    what makes it possible to run backwards over the padding without noticing it, and why only
    right-padded masks (real positions first) give the numbers of Keras, whose state outlives a
    masked position. A position masked out inside parts a row: what stands before it and what stands
    after it are read as if each were alone.

    Args:
        units: int. Width of the state of one direction.
        **kwargs: passed on to `keras.layers.Layer` (`name`, `dtype`, ...).

    Call arguments:
        inputs: tensor of shape `(batch_size, length, input_dim)`.
        mask: optional tensor of shape `(batch_size, length)`, bool or 0/1.

    Returns:
        Tensor of shape `(batch_size, length, 2 * units)`: forward states, then backward states.

    Example:

    ```python
    layer = BidirectionalLSTM(200)
    outputs = layer(tf.random.normal((32, 24, 50)), mask=tf.ones((32, 24), "bool"))
    outputs.shape  # (32, 24, 400)
    ```

    Reference:
        - [Hochreiter and Schmidhuber, 1997](https://doi.org/10.1162/neco.1997.9.8.1735)
    """

    def __init__(self, units: int, **kwargs) -> None:
        super().__init__(**kwargs)
        if not isinstance(units, int) or units < 1:
            raise ValueError(f"`units` must be an integer above 0, received `{units!r}`.")
        self.units = units
        self.supports_masking = True

    def build(self, input_shape) -> None:
        for direction in ("forward", "backward"):
            self._add_direction(direction, input_shape[-1])
        self.built = True

    def _add_direction(self, direction: str, input_dim: int) -> None:
        kernel = self.add_weight(
            name=f"{direction}_kernel",
            shape=(input_dim, 4 * self.units),
            initializer="glorot_uniform",
        )
        recurrent_kernel = self.add_weight(
            name=f"{direction}_recurrent_kernel",
            shape=(self.units, 4 * self.units),
            initializer="orthogonal",
        )
        bias = self.add_weight(
            name=f"{direction}_bias", shape=(4 * self.units,), initializer=self._unit_forget_bias
        )
        setattr(self, f"{direction}_kernel", kernel)
        setattr(self, f"{direction}_recurrent_kernel", recurrent_kernel)
        setattr(self, f"{direction}_bias", bias)

    def _unit_forget_bias(self, shape, dtype=None):
        ones = keras.ops.ones((self.units,), dtype)
        zeros = keras.ops.zeros((self.units,), dtype)
        return keras.ops.concatenate([zeros, ones, zeros, zeros])

    def call(self, inputs, mask=None):
        inputs = tf.transpose(tf.convert_to_tensor(inputs), (1, 0, 2))
        ones = tf.ones_like(inputs[..., :1])
        padding = tf.zeros_like(ones)
        if mask is not None:
            padding = ones - tf.transpose(tf.cast(mask, inputs.dtype))[..., None]
        forward, backward = _run_both_directions(
            tf.concat([inputs, ones, padding], axis=-1),
            self._whole_kernel("forward"),
            self._whole_kernel("backward"),
        )
        states = tf.transpose(tf.concat([forward, backward], axis=-1), (1, 0, 2))
        return tf.cast(states, self.compute_dtype)

    def _whole_kernel(self, direction: str):
        """All that is multiplied in a step: by state, input, one, and whether it is padding."""
        recurrent_kernel, kernel, bias = (
            tf.convert_to_tensor(getattr(self, f"{direction}_{name}"))
            for name in ("recurrent_kernel", "kernel", "bias")
        )
        closed = tf.fill((1, 4 * self.units), tf.constant(CLOSED_GATE, kernel.dtype))
        return tf.concat([recurrent_kernel, kernel, bias[None], closed], axis=0)

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor((*inputs.shape[:-1], 2 * self.units), dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * self.units)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


@tf.custom_gradient
def _run_both_directions(inputs, forward_kernel, backward_kernel):
    """Both recurrences in one loop.

    Args:
        inputs: `(length, batch_size, width)`.
        forward_kernel: `(units + width, 4 * units)`, for the state and the input side by side;
            gates in the order input, forget, cell, output.
        backward_kernel: the same of the backward direction.

    Returns:
        Forward and backward states, each `(length, batch_size, units)`, in the order of the text.
    """
    kernels = (forward_kernel, backward_kernel)
    units = forward_kernel.shape[1] // 4
    hiddens, saved = _run_forward(inputs, kernels)

    def gradient(*upstreams):
        d_gates = _run_gradient(upstreams, saved, [kernel[:units] for kernel in kernels])
        d_inputs = sum(
            _matmul(rows, kernel[units:], transpose=True)
            for rows, kernel in zip(d_gates, kernels, strict=True)
        )
        # The state before the first step is empty: it takes no part.
        (forward, backward), (forward_rows, backward_rows) = hiddens, d_gates
        d_kernels = (
            _kernel_gradient(forward[:-1], forward_rows[1:], inputs, forward_rows),
            _kernel_gradient(backward[1:], backward_rows[:-1], inputs, backward_rows),
        )
        return tf.cast(d_inputs, inputs.dtype), *d_kernels

    return hiddens, gradient


def _run_forward(inputs, kernels):
    """Returns, each for both directions, the hidden states and what the gradient needs.

    The latter have a row a step: the four gates after activation, the cell before the step, and
    the squashed cell after it.
    """
    length = inputs.shape[0] or tf.shape(inputs)[0]
    units = kernels[0].shape[1] // 4
    zeros = tf.zeros((tf.shape(inputs)[1], units), _state_dtype(inputs.dtype))
    zeros = tf.ensure_shape(zeros, (inputs.shape[1], units))

    def step(t, states, arrays):
        ends = (t, length - 1 - t)
        new_states, new_arrays = [], []
        for direction, (hidden, cell) in enumerate(states):
            operand = _beside(hidden, inputs[ends[direction]])
            gates = tf.cast(tf.matmul(operand, kernels[direction]), cell.dtype)
            i, f, g, o = tf.split(gates, 4, axis=-1)
            i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
            new_cell = f * cell + i * g
            squashed = tf.tanh(new_cell)
            hidden = o * squashed
            new_states.append((hidden, new_cell))
            rows = zip(arrays[direction], (hidden, i, f, g, o, cell, squashed), strict=True)
            new_arrays.append(tuple(array.write(ends[direction], row) for array, row in rows))
        return t + 1, tuple(new_states), tuple(new_arrays)

    arrays = tuple(tuple(tf.TensorArray(zeros.dtype, length) for _ in range(7)) for _ in kernels)
    _, _, arrays = tf.while_loop(
        lambda t, *_: t < length,
        step,
        (0, ((zeros, zeros), (zeros, zeros)), arrays),
        maximum_iterations=length,
    )
    # Arrays themselves could be read once, and not outside of a function compiled by XLA.
    stacked = tuple(tuple(array.stack() for array in of_direction) for of_direction in arrays)
    return tuple(rows[0] for rows in stacked), tuple(rows[1:] for rows in stacked)


def _state_dtype(dtype: tf.DType) -> tf.DType:
    """States and gates are kept in float32 when the matrix products are in half precision."""
    return tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype


def _beside(states, inputs):
    """State and input as one operand of one matrix product."""
    return tf.concat([tf.cast(states, inputs.dtype), inputs], axis=-1)


def _run_gradient(upstreams, saved, kernels):
    """Returns, for each direction, the gradient of the gates' inputs at every step."""
    length = upstreams[0].shape[0] or tf.shape(upstreams[0])[0]
    zeros = tf.zeros_like(upstreams[0][0])

    def step(t, states, arrays):
        # From the end of each direction's run back to its start.
        ends = (length - 1 - t, t)
        new_states, new_arrays = [], []
        for direction, (d_hidden, d_cell) in enumerate(states):
            i, f, g, o, cell, squashed = (rows[ends[direction]] for rows in saved[direction])
            d_output = (d_hidden + upstreams[direction][ends[direction]]) * o
            d_cell = d_cell + d_output * (1 - squashed * squashed)
            d_new, d_kept = d_cell * i, d_cell * f
            d_gates = tf.concat(
                [
                    d_new * (g * (1 - i)),
                    d_kept * (cell * (1 - f)),
                    d_new * (1 - g * g),
                    d_output * (squashed * (1 - o)),
                ],
                axis=-1,
            )
            new_arrays.append(arrays[direction].write(ends[direction], d_gates))
            d_hidden = _matmul(d_gates, kernels[direction], transpose=True)
            new_states.append((d_hidden, d_kept))
        return t + 1, tuple(new_states), tuple(new_arrays)

    arrays = tuple(tf.TensorArray(zeros.dtype, length) for _ in kernels)
    _, _, arrays = tf.while_loop(
        lambda t, *_: t < length,
        step,
        (0, ((zeros, zeros), (zeros, zeros)), arrays),
        maximum_iterations=length,
    )
    return tuple(array.stack() for array in arrays)


def _matmul(states, kernel, transpose: bool = False):
    """A product in the kernel's precision, returned in that of the states."""
    product = tf.matmul(tf.cast(states, kernel.dtype), kernel, transpose_b=transpose)
    return tf.cast(product, states.dtype)


def _kernel_gradient(states, d_gates_of_states, inputs, d_gates):
    """Two matrix products over all steps: rows that meet the state, rows that meet the input."""

    def product(operands, d_gates):
        operands = tf.reshape(operands, (-1, operands.shape[-1]))
        d_gates = tf.reshape(tf.cast(d_gates, inputs.dtype), (-1, d_gates.shape[-1]))
        return tf.matmul(tf.cast(operands, inputs.dtype), d_gates, transpose_a=True)

    return tf.concat([product(states, d_gates_of_states), product(inputs, d_gates)], axis=0)
