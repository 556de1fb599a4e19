"""The models as TensorFlow functions that LiteRT's built-in operators can run."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

# The one operator of TensorFlow that becomes LiteRT's DYNAMIC_UPDATE_SLICE.
from tensorflow.compiler.tf2xla.python.xla import dynamic_update_slice

from xdistil.export.student_graph import logits_with
from xdistil.models.embedding_student import EmbeddingStudent
from xdistil.models.recurrence import BidirectionalLSTM


def litert_logits(model: keras.Model, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The logits of a model, of features of any batch and length.

    Args:
        model: any student or teacher.
        features: int32 `(batch, length)`, as the model takes them.
    """
    if not isinstance(model, EmbeddingStudent):
        return model(features, training=False)["logits"]
    return logits_with(functools.partial(run_lstm, model.bilstm), model, features)


def run_lstm(layer: BidirectionalLSTM, inputs: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """What the layer gives, by other operators: LiteRT has no arrays of tensors of any batch size.

    The inputs are projected once, before the loop.

    Args:
        layer: built.
        inputs: `(batch, length, input_dim)`.
        mask: bool `(batch, length)`.

    Returns:
        `(batch, length, 2 * units)`.
    """
    batch, length = tf.shape(inputs)[0], tf.shape(inputs)[1]
    projected, recurrent = zip(
        *(_projected(layer, direction, inputs) for direction in ("forward", "backward")),
        strict=True,
    )
    open_gates = tf.expand_dims(tf.transpose(tf.cast(mask, inputs.dtype)), -1)
    empty = tf.zeros(tf.stack([batch, layer.units]), inputs.dtype)
    outputs = tf.zeros(tf.stack([length, batch, layer.units]), inputs.dtype)

    def step(at: tf.Tensor, *directions: Any) -> tuple[Any, ...]:
        moved = []
        for index, (hidden, cell, states) in enumerate(directions):
            position = at if index == 0 else length - 1 - at
            gates = tf.gather(projected[index], position) + tf.matmul(hidden, recurrent[index])
            is_open = tf.gather(open_gates, position)
            i, f, g, o = tf.split(gates, 4, axis=-1)
            cell = (tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(g)) * is_open
            hidden = tf.sigmoid(o) * tf.tanh(cell) * is_open
            row = tf.expand_dims(hidden, 0)
            states = dynamic_update_slice(states, row, tf.stack([position, 0, 0]))
            moved.append((hidden, cell, states))
        return at + 1, *moved

    shapes = (*[tf.TensorShape([None, layer.units])] * 2, tf.TensorShape([None, None, layer.units]))
    _, forward, backward = tf.while_loop(
        lambda at, *_: at < length,
        step,
        (0, (empty, empty, outputs), (empty, empty, outputs)),
        shape_invariants=(tf.TensorShape([]), shapes, shapes),
    )
    states = tf.transpose(tf.concat([forward[-1], backward[-1]], axis=-1), (1, 0, 2))
    # Where the converter cannot see the width, it cannot multiply by what comes next.
    states = tf.reshape(states, tf.stack([batch, length, 2 * layer.units]))
    return tf.ensure_shape(states, (None, None, 2 * layer.units))


def _projected(
    layer: BidirectionalLSTM, direction: str, inputs: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """What the inputs add to the gates, `(length, batch, 4 * units)`, and the kernel of the
    state."""
    kernel, recurrent_kernel, bias = (
        tf.convert_to_tensor(getattr(layer, f"{direction}_{name}"))
        for name in ("kernel", "recurrent_kernel", "bias")
    )
    rows = tf.reshape(inputs, (-1, inputs.shape[-1]))
    shape = tf.stack([tf.shape(inputs)[0], tf.shape(inputs)[1], 4 * layer.units])
    gates = tf.reshape(tf.matmul(rows, kernel) + bias, shape)
    return tf.transpose(gates, (1, 0, 2)), recurrent_kernel
