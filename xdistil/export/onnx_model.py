"""Any trained model as an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from xdistil.export.ids_inputs import input_names
from xdistil.export.onnx_bilstm import write_bilstm
from xdistil.export.onnx_encoder import write_transformer
from xdistil.export.onnx_graph import OnnxGraph
from xdistil.models.embedding_student import EmbeddingStudent
from xdistil.models.encoder_with_head import EncoderWithHead
from xdistil.tasks.trained_model import TrainedModel


def onnx_model(trained: TrainedModel) -> onnx.ModelProto:
    """A trained model as an ONNX graph of opset 20, in float32.

    It takes int32 `(batch, length)`, padded at the right: `token_ids`; `padding_mask`, 1 = real;
    of pairs, where the tokenizer tells both texts apart, `segment_ids`. Batch and length may be of
    any size in each call, the length of a transformer's up to its positions. It gives `logits` and
    `probabilities`, float32: of a tagger `(batch, length, classes)`, of a classifier
    `(batch, classes)`. A BiLSTM is one `LSTM` node.

    Args:
        trained: any student or teacher.

    Returns:
        The graph, checked.

    Raises:
        InputError: the package onnx is missing.
        TypeError: a model of another kind.
    """
    model, task = trained.model, trained.task
    graph = OnnxGraph()
    inputs = [graph.input(name, np.int32, ("batch", "length")) for name in input_names(task)]
    shape = graph.add("Shape", inputs[0])
    features = _filled(graph, inputs, shape)
    if isinstance(model, EmbeddingStudent):
        logits = write_bilstm(graph, model, features)
    elif isinstance(model, EncoderWithHead):
        logits = write_transformer(graph, model, features)
    else:
        raise TypeError(f"`trained` must hold a model of xdistil, received {type(model)}.")
    per_position = ("length",) if task.logits_positions != "texts" else ()
    axes = ("batch", *per_position, model.num_classes)
    # Back to the shape that was given.
    cut = [graph.axes(*values) for values in ([0] * (len(axes) - 1), range(len(axes) - 1))]
    ends = shape if per_position else graph.add("Shape", inputs[0], start=0, end=1)
    logits = graph.add("Slice", logits, cut[0], ends, cut[1])
    graph.output("logits", logits, np.float32, axes)
    graph.output("probabilities", graph.add("Softmax", logits, axis=-1), np.float32, axes)
    return graph.model(type(model).__name__, {"labels": "\t".join(task.class_names)})


def _filled(graph: OnnxGraph, inputs: Sequence[str], shape: str) -> dict[str, str]:
    """The inputs, with a row of padding where there is none at all, and a position likewise: ONNX
    Runtime crashes in an LSTM of nothing."""
    missing = graph.add("Sub", graph.constant(1, np.int64), shape)
    missing = graph.add("Max", missing, graph.constant(0, np.int64))
    pads = graph.add("Concat", graph.axes(0, 0), missing, axis=0)
    return {name: graph.add("Pad", name, pads) for name in inputs}
