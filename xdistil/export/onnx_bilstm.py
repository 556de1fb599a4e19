"""The BiLSTM students as ONNX graphs, their recurrence as one fused LSTM."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from xdistil.export.onnx_graph import OnnxGraph
from xdistil.models.bilstm import BiLSTMStudent
from xdistil.models.bilstm_text import BiLSTMTextStudent
from xdistil.models.embedding_student import EmbeddingStudent
from xdistil.models.recurrence import CLOSED_GATE, BidirectionalLSTM
from xdistil.models.siamese_bilstm import SiameseBiLSTMStudent

# Gates in the order of Keras are input, forget, cell, output; in that of ONNX input, output,
# forget, cell.
_GATES = (0, 3, 1, 2)
_BOOL, _FLOAT = onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT


def write_bilstm(graph: OnnxGraph, model: EmbeddingStudent, features: Mapping[str, str]) -> str:
    """Writes a BiLSTM student into a graph.

    Args:
        graph: where it goes.
        model: any of the BiLSTM students.
        features: the graph's `token_ids`, `padding_mask` and, for a siamese one, `segment_ids`,
            int32 `(batch, length)`.

    Returns:
        Its logits.
    """
    boundaries = getattr(model, "boundary_token_ids", ())
    mask, closed = _text_mask(graph, features, boundaries)
    rows = graph.rows_of(features["token_ids"], model.row_of_token)
    # Time comes first in an LSTM of ONNX.
    by_time = graph.add("Transpose", rows, perm=[1, 0])
    inputs = [
        graph.add("Gather", graph.constant(layer.embeddings), by_time)
        for layer in model.embedding_layers
    ]
    if closed is not None:
        column = graph.add("Transpose", closed, perm=[1, 0])
        inputs.append(graph.add("Unsqueeze", column, graph.axes(2)))
    inputs = inputs[0] if len(inputs) == 1 else graph.add("Concat", *inputs, axis=2)
    states = _lstm(graph, model.bilstm, inputs, features["padding_mask"], closed is not None)
    if isinstance(model, BiLSTMStudent):
        return graph.dense(graph.dense(states, model.dense, "gelu_tanh"), model.head)
    summary = _summarize(graph, model, states, mask, features)
    return graph.dense(graph.dense(summary, model.dense, model.activation), model.head)


def _text_mask(
    graph: OnnxGraph, features: Mapping[str, str], boundaries: tuple[int, ...]
) -> tuple[str, str | None]:
    """Where the BiLSTM reads, bool; and where it is emptied, float32, if that is anywhere but in
    the padding. Both `(batch, length)`."""
    mask = graph.add("Cast", features["padding_mask"], to=_BOOL)
    if not boundaries:
        return mask, None
    for token_id in boundaries:
        found = graph.add("Equal", features["token_ids"], graph.constant(token_id, np.int32))
        mask = graph.add("And", mask, graph.add("Not", found))
    return mask, graph.add("Cast", graph.add("Not", mask), to=_FLOAT)


def _lstm(
    graph: OnnxGraph, layer: BidirectionalLSTM, inputs: str, padding_mask: str, closing: bool
) -> str:
    """States `(batch, length, 2 * units)`, zero in the padding.

    Where a text has boundaries the last column of the inputs closes all gates, as it does in
    Keras.
    """
    kernels, recurrent, biases = [], [], []
    for direction in ("forward", "backward"):
        kernel, recurrent_kernel, bias = (
            _reordered(getattr(layer, f"{direction}_{part}").numpy().astype(np.float32))
            for part in ("kernel", "recurrent_kernel", "bias")
        )
        if closing:
            column = np.full((1, kernel.shape[1]), CLOSED_GATE, np.float32)
            kernel = np.concatenate([kernel, column])
        kernels.append(kernel.T)
        recurrent.append(recurrent_kernel.T)
        biases.append(np.concatenate([bias, np.zeros_like(bias)]))
    lengths = graph.add("ReduceSum", padding_mask, graph.axes(1), keepdims=0)
    states = graph.add(
        "LSTM",
        inputs,
        *(graph.constant(np.stack(parts)) for parts in (kernels, recurrent, biases)),
        lengths,
        hidden_size=layer.units,
        direction="bidirectional",
    )
    by_row = graph.add("Transpose", states, perm=[2, 0, 1, 3])
    return graph.add("Reshape", by_row, graph.axes(0, 0, 2 * layer.units), allowzero=0)


def _reordered(weights: np.ndarray) -> np.ndarray:
    gates = np.split(weights, 4, axis=-1)
    return np.concatenate([gates[index] for index in _GATES], axis=-1)


def _summarize(
    graph: OnnxGraph,
    model: BiLSTMTextStudent,
    states: str,
    mask: str,
    features: Mapping[str, str],
) -> str:
    if not isinstance(model, SiameseBiLSTMStudent):
        return _pool(graph, states, mask, model.pooling, model.hidden_dim)
    is_second = graph.add("Cast", features["segment_ids"], to=_BOOL)
    first, second = (
        _pool(graph, states, graph.add("And", mask, side), model.pooling, model.hidden_dim)
        for side in (graph.add("Not", is_second), is_second)
    )
    product = graph.add("Mul", first, second)
    distance = graph.add("Abs", graph.add("Sub", first, second))
    return graph.add("Concat", first, second, product, distance, axis=-1)


def _pool(graph: OnnxGraph, states: str, mask: str, pooling: str, units: int) -> str:
    """One vector a text, as `xdistil.models.pooling.pool` makes it."""
    return _max_pool(graph, states, mask) if pooling == "max" else _last(graph, states, mask, units)


def _max_pool(graph: OnnxGraph, states: str, mask: str) -> str:
    at_states = graph.add("Unsqueeze", mask, graph.axes(2))
    outside = graph.constant(np.finfo(np.float32).min, np.float32)
    inside = graph.add("Where", at_states, states, outside)
    largest = graph.add("ReduceMax", inside, graph.axes(1), keepdims=0)
    # A text without positions is pooled to zeros.
    numbers = graph.add("Cast", mask, to=_FLOAT)
    known = graph.add("ReduceMax", numbers, graph.axes(1), keepdims=1)
    known = graph.add("Cast", known, to=_BOOL)
    return graph.add("Where", known, largest, graph.constant(0, np.float32))


def _last(graph: OnnxGraph, states: str, mask: str, units: int) -> str:
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    length = graph.add("Gather", graph.add("Shape", mask), one, axis=0)
    positions = graph.add("Range", zero, length, one)
    beyond = graph.add("Where", mask, positions, length)
    first = graph.add("ReduceMin", beyond, graph.axes(1), keepdims=1)
    before = graph.add("Where", mask, positions, graph.constant(-1, np.int64))
    last = graph.add("ReduceMax", before, graph.axes(1), keepdims=1)
    parts = []
    for position, begin in ((last, 0), (first, units)):
        chosen = graph.add("Cast", graph.add("Equal", positions, position), to=_FLOAT)
        direction = graph.add(
            "Slice", states, graph.axes(begin), graph.axes(begin + units), graph.axes(2)
        )
        # A product with a row that is 1 at one position.
        state = graph.add("MatMul", graph.add("Unsqueeze", chosen, graph.axes(1)), direction)
        parts.append(graph.add("Squeeze", state, graph.axes(1)))
    return graph.add("Concat", *parts, axis=-1)
