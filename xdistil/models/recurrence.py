"""A bidirectional LSTM that is fast on CPU, alone and under XLA."""

import keras
import tensorflow as tf

# Added nowhere, written in place of the gates' input at padding: sigmoid(-1e4) is exactly 0 in
# every precision, so the cell stays empty there and passes no gradient. It fits in float16.
_CLOSED_GATE = -1e4


@keras.saving.register_keras_serializable(package="xdistil")
class BidirectionalLSTM(keras.layers.Layer):
    """LSTM over a right-padded batch in both directions, outputs side by side.

    Variables and numbers are those of
    `keras.layers.Bidirectional(keras.layers.LSTM(units, return_sequences=True))`, in the same
    order, so `set_weights` takes what the other's `get_weights` gave. What differs is the time it
    takes: the input projection of all time steps is one matrix product a direction outside the
    loop, both directions run in one loop, and the backward pass is written by hand, so that the
    gradient of the recurrent kernel is one matrix product after the loop and not one a step.

    Masks: the state is empty and the output zero at every position where the mask is zero. Only
    right-padded masks are supported (real positions first): that is what makes it possible to
    run backwards over the padding without noticing it.

    Args:
        units: int. Width of the state of one direction.
        **kwargs: passed on to `keras.layers.Layer` (`name`, `dtype`, ...).

    Call arguments:
        inputs: tensor of shape `(batch_size, length, input_dim)`.
        mask: optional tensor of shape `(batch_size, length)`, bool or 0/1, right-padded.

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
        inputs = tf.convert_to_tensor(inputs)
        by_time = tf.transpose(inputs, (1, 0, 2))
        kept = None if mask is None else tf.transpose(tf.cast(mask, "bool"))[:, :, None]
        forward_gates, forward_recurrent = self._project(by_time, kept, "forward")
        backward_gates, backward_recurrent = self._project(by_time, kept, "backward")
        forward, backward = _run_both_directions(
            forward_gates, backward_gates, forward_recurrent, backward_recurrent
        )
        states = tf.concat([forward, backward], axis=-1)
        return tf.cast(tf.transpose(states, (1, 0, 2)), self.compute_dtype)

    def _project(self, by_time, kept, direction: str):
        kernel = tf.convert_to_tensor(getattr(self, f"{direction}_kernel"))
        recurrent = tf.convert_to_tensor(getattr(self, f"{direction}_recurrent_kernel"))
        bias = tf.convert_to_tensor(getattr(self, f"{direction}_bias"))
        gates = tf.matmul(by_time, kernel)
        gates = tf.cast(gates, _state_dtype(gates.dtype)) + tf.cast(bias, _state_dtype(gates.dtype))
        if kept is not None:
            gates = tf.where(kept, gates, tf.constant(_CLOSED_GATE, gates.dtype))
        return gates, recurrent

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor((*inputs.shape[:-1], 2 * self.units), dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * self.units)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


def _state_dtype(dtype: tf.DType) -> tf.DType:
    """States and gates are summed up in float32 when the matrix products are in half precision."""
    return tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype


@tf.custom_gradient
def _run_both_directions(forward_gates, backward_gates, forward_kernel, backward_kernel):
    """Both recurrences in one loop.

    Args:
        forward_gates: `(length, batch_size, 4 * units)`, input projection with bias; gates in the
            order input, forget, cell, output.
        backward_gates: the same of the backward direction, in the order of the text.
        forward_kernel: `(units, 4 * units)`.
        backward_kernel: `(units, 4 * units)`.

    Returns:
        Forward and backward states, each `(length, batch_size, units)`, in the order of the text.
    """
    kernels = (forward_kernel, backward_kernel)
    hiddens, saved = _run_forward((forward_gates, backward_gates), kernels)

    def gradient(*upstreams):
        d_gates = _run_gradient(upstreams, saved, kernels)
        forward, backward = hiddens
        before = (
            tf.concat([tf.zeros_like(forward[:1]), forward[:-1]], axis=0),
            tf.concat([backward[1:], tf.zeros_like(backward[:1])], axis=0),
        )
        d_kernels = map(_kernel_gradient, before, d_gates, kernels)
        return (*d_gates, *d_kernels)

    return hiddens, gradient


def _run_forward(gates, kernels):
    """Returns, each for both directions, the hidden states and what the gradient needs.

    The latter, `(length, batch_size, 5 * units)`, are the four gates after activation and the
    cell before each step. Where nobody takes a gradient, XLA drops them from the loop.
    """
    length = gates[0].shape[0] or tf.shape(gates[0])[0]
    zeros = tf.zeros_like(gates[0][0, :, : kernels[0].shape[0]])
    starts = (0, length - 1)

    def step(t, states, arrays):
        ends, nexts = (t, length - 1 - t), (t + 1, length - 2 - t)
        new_states, new_arrays = [], []
        for direction, (hidden, cell, inputs) in enumerate(states):
            opened = _open_gates(inputs + _matmul(hidden, kernels[direction]))
            hiddens, saved = arrays[direction]
            saved = saved.write(ends[direction], tf.concat([*opened, cell], axis=-1))
            i, f, g, o = opened
            cell = f * cell + i * g
            hidden = o * tf.tanh(cell)
            inputs = _row(gates[direction], nexts[direction], length)
            new_states.append((hidden, cell, inputs))
            new_arrays.append((hiddens.write(ends[direction], hidden), saved))
        return t + 1, tuple(new_states), tuple(new_arrays)

    _, _, arrays = tf.while_loop(
        lambda t, *_: t < length,
        step,
        (
            0,
            tuple((zeros, zeros, rows[start]) for rows, start in zip(gates, starts, strict=True)),
            tuple(tuple(tf.TensorArray(zeros.dtype, length) for _ in range(2)) for _ in starts),
        ),
        maximum_iterations=length,
    )
    hiddens, saved = zip(*arrays, strict=True)
    return tuple(array.stack() for array in hiddens), tuple(array.stack() for array in saved)


def _row(array, at, length):
    """The row that the loop reads next, as a loop variable of its own.

    Read in the step that uses it, the slice is fused by XLA into the arithmetic of the gates,
    which then runs unvectorised, at half the speed.
    """
    return array[tf.clip_by_value(at, 0, length - 1)]


def _open_gates(gates):
    """Activations of the input, forget, cell and output gate."""
    i, f, g, o = tf.split(gates, 4, axis=-1)
    return _sigmoid(i), _sigmoid(f), tf.tanh(g), _sigmoid(o)


def _sigmoid(inputs):
    """The sigmoid by way of tanh, which is faster and compiles faster."""
    return 0.5 * tf.tanh(0.5 * inputs) + 0.5


def _run_gradient(upstreams, saved, kernels):
    """Returns, for each direction, the gradient of the gates' inputs at every step."""
    length = upstreams[0].shape[0] or tf.shape(upstreams[0])[0]
    zeros = tf.zeros_like(upstreams[0][0])
    starts = (length - 1, 0)

    def step(t, states, arrays):
        # From the end of each direction's run back to its start.
        ends, nexts = (length - 1 - t, t), (length - 2 - t, t + 1)
        new_states, new_arrays = [], []
        for direction, (d_hidden, d_cell, upstream, opened) in enumerate(states):
            d_gates, d_cell = _cell_gradient(d_hidden + upstream, d_cell, opened)
            d_hidden = _matmul(d_gates, kernels[direction], transpose=True)
            upstream, opened = (
                _row(rows, nexts[direction], length)
                for rows in (upstreams[direction], saved[direction])
            )
            new_states.append((d_hidden, d_cell, upstream, opened))
            new_arrays.append(arrays[direction].write(ends[direction], d_gates))
        return t + 1, tuple(new_states), tuple(new_arrays)

    _, _, arrays = tf.while_loop(
        lambda t, *_: t < length,
        step,
        (
            0,
            tuple(
                (zeros, zeros, upstream[start], opened[start])
                for upstream, opened, start in zip(upstreams, saved, starts, strict=True)
            ),
            tuple(tf.TensorArray(zeros.dtype, length) for _ in starts),
        ),
        maximum_iterations=length,
    )
    return tuple(array.stack() for array in arrays)


def _cell_gradient(d_hidden, d_cell, saved):
    """Gradient of one step: returns that of the gates' inputs and that of the cell before."""
    i, f, g, o, cell_before = tf.split(saved, 5, axis=-1)
    tanh_cell = tf.tanh(f * cell_before + i * g)
    d_cell = d_cell + d_hidden * o * (1 - tanh_cell * tanh_cell)
    d_gates = (
        d_cell * g * i * (1 - i),
        d_cell * cell_before * f * (1 - f),
        d_cell * i * (1 - g * g),
        d_hidden * tanh_cell * o * (1 - o),
    )
    return tf.concat(d_gates, axis=-1), d_cell * f


def _matmul(states, kernel, transpose: bool = False):
    """A product in the kernel's precision, returned in that of the states."""
    product = tf.matmul(tf.cast(states, kernel.dtype), kernel, transpose_b=transpose)
    return tf.cast(product, states.dtype)


def _kernel_gradient(states_before, d_gates, kernel):
    """One matrix product over all steps."""
    states_before = tf.reshape(states_before, (-1, kernel.shape[0]))
    d_gates = tf.reshape(d_gates, (-1, kernel.shape[1]))
    return tf.matmul(
        tf.cast(states_before, kernel.dtype), tf.cast(d_gates, kernel.dtype), transpose_a=True
    )
