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


def _matmul(states, kernel):
    """A product in the kernel's precision, returned in that of the states."""
    return tf.cast(tf.matmul(tf.cast(states, kernel.dtype), kernel), states.dtype)


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
    runs = _run_forward((forward_gates, backward_gates), (forward_kernel, backward_kernel))
    (forward_states, _, _), (backward_states, _, _) = runs

    def gradient(forward_upstream, backward_upstream):
        gates = _run_gradient(
            runs, (forward_upstream, backward_upstream), (forward_kernel, backward_kernel)
        )
        forward_before = tf.concat([tf.zeros_like(forward_states[:1]), forward_states[:-1]], axis=0)
        backward_after = tf.concat(
            [backward_states[1:], tf.zeros_like(backward_states[:1])], axis=0
        )
        return (
            gates[0],
            gates[1],
            _kernel_gradient(forward_before, gates[0], forward_kernel),
            _kernel_gradient(backward_after, gates[1], backward_kernel),
        )

    return (forward_states, backward_states), gradient


def _run_forward(gates, kernels):
    """Returns, for each direction, the hidden states, the cells and the opened gates."""
    length = gates[0].shape[0] or tf.shape(gates[0])[0]
    zeros = tf.zeros_like(gates[0][0, :, : kernels[0].shape[0]])
    arrays = tuple(_arrays(3, gates[0].dtype, length) for _ in kernels)

    def step(t, states, arrays):
        ends = (t, length - 1 - t)
        new_states, new_arrays = [], []
        for (hidden, cell), (hiddens, cells, opened), inputs, kernel, at in zip(
            states, arrays, gates, kernels, ends, strict=True
        ):
            hidden, cell, open_gates = _cell(inputs[at] + _matmul(hidden, kernel), cell)
            new_states.append((hidden, cell))
            new_arrays.append(
                (hiddens.write(at, hidden), cells.write(at, cell), opened.write(at, open_gates))
            )
        return t + 1, tuple(new_states), tuple(new_arrays)

    _, _, arrays = tf.while_loop(
        lambda t, *_: t < length,
        step,
        (0, ((zeros, zeros), (zeros, zeros)), arrays),
        maximum_iterations=length,
    )
    return tuple(tuple(array.stack() for array in direction) for direction in arrays)


def _arrays(number: int, dtype, length) -> tuple[tf.TensorArray, ...]:
    return tuple(tf.TensorArray(dtype, size=length) for _ in range(number))


def _cell(gates, cell):
    """One step of an LSTM: returns hidden state, cell and the four gates after activation."""
    i, f, g, o = tf.split(gates, 4, axis=-1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    cell = f * cell + i * g
    return o * tf.tanh(cell), cell, tf.concat([i, f, g, o], axis=-1)


def _run_gradient(runs, upstreams, kernels):
    """Returns, for each direction, the gradient of the gates' inputs at every step."""
    hiddens = runs[0][0]
    length = hiddens.shape[0] or tf.shape(hiddens)[0]
    zeros = tf.zeros_like(hiddens[0])
    arrays = _arrays(2, hiddens.dtype, length)

    def step(t, states, arrays):
        # From the end of each direction's run back to its start; `before` is the step that the
        # direction took before `at`, and outside the text the cell was empty.
        ends = ((length - 1 - t, length - 2 - t), (t, t + 1))
        inside = tf.cast(t < length - 1, hiddens.dtype)
        new_states, new_arrays = [], []
        for (d_hidden, d_cell), array, run, upstream, kernel, (at, before) in zip(
            states, arrays, runs, upstreams, kernels, ends, strict=True
        ):
            _, cells, opened = run
            before = tf.clip_by_value(before, 0, length - 1)
            d_gates, d_cell = _cell_gradient(
                d_hidden + upstream[at], d_cell, opened[at], cells[at], cells[before] * inside
            )
            new_states.append((_matmul_transposed(d_gates, kernel), d_cell))
            new_arrays.append(array.write(at, d_gates))
        return t + 1, tuple(new_states), tuple(new_arrays)

    _, _, arrays = tf.while_loop(
        lambda t, *_: t < length,
        step,
        (0, ((zeros, zeros), (zeros, zeros)), arrays),
        maximum_iterations=length,
    )
    return tuple(array.stack() for array in arrays)


def _cell_gradient(d_hidden, d_cell, opened, cell, cell_before):
    """Gradient of one step: returns that of the gates' inputs and that of the cell before."""
    i, f, g, o = tf.split(opened, 4, axis=-1)
    tanh_cell = tf.tanh(cell)
    d_cell = d_cell + d_hidden * o * (1 - tanh_cell * tanh_cell)
    d_gates = tf.concat(
        [
            d_cell * g * i * (1 - i),
            d_cell * cell_before * f * (1 - f),
            d_cell * i * (1 - g * g),
            d_hidden * tanh_cell * o * (1 - o),
        ],
        axis=-1,
    )
    return d_gates, d_cell * f


def _matmul_transposed(gates, kernel):
    return tf.cast(tf.matmul(tf.cast(gates, kernel.dtype), kernel, transpose_b=True), gates.dtype)


def _kernel_gradient(states_before, d_gates, kernel):
    states_before = tf.reshape(states_before, (-1, kernel.shape[0]))
    d_gates = tf.reshape(d_gates, (-1, kernel.shape[1]))
    return tf.matmul(
        tf.cast(states_before, kernel.dtype), tf.cast(d_gates, kernel.dtype), transpose_a=True
    )
