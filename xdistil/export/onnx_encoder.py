"""Transformer students and teachers as ONNX graphs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from xdistil.export.onnx_graph import OnnxGraph
from xdistil.models.encoder import Encoder, EncoderConfig
from xdistil.models.encoder_with_head import EncoderWithHead
from xdistil.models.families import FAMILIES
from xdistil.models.text_teacher import TextTeacher

_BOOL = onnx.TensorProto.BOOL
# What a position scores that is not attended to.
_OUTSIDE = -1e9


def write_transformer(graph: OnnxGraph, model: EncoderWithHead, features: Mapping[str, str]) -> str:
    """Writes a transformer with its head into a graph.

    Args:
        graph: where it goes.
        model: a `Teacher`, a `TextTeacher`, or a student that is one.
        features: the graph's `token_ids`, `padding_mask` and, where the model tells two texts
            apart, `segment_ids`, int32 `(batch, length)`.

    Returns:
        Its logits.
    """
    token_ids = features["token_ids"]
    rows = graph.rows_of(token_ids, getattr(model, "row_of_token", None))
    states = _embed(graph, model.encoder, rows, features)
    mask = graph.add("Cast", features["padding_mask"], to=_BOOL)
    mask = graph.add("Unsqueeze", mask, graph.axes(1, 2))
    config = model.encoder_config
    layers = [_Layer(graph, layer, config) for layer in model.encoder.transformer_layers]
    for index in range(config.num_layers):
        states = layers[0 if config.shared_layers else index].write(states, mask)
    if isinstance(model, TextTeacher):
        first = graph.add("Gather", states, graph.constant(0, np.int64), axis=1)
        states = graph.dense(first, model.pooler, FAMILIES[config.family].pooler_activation)
    return graph.dense(states, model.head)


def _embed(graph: OnnxGraph, encoder: Encoder, rows: str, features: Mapping[str, str]) -> str:
    config = encoder.config
    pieces = graph.add("Gather", graph.constant(encoder.token_embedding.embeddings), rows)
    length = graph.add("Shape", rows, start=1, end=2)
    table = encoder.position_embedding.position_embeddings.numpy()[config.position_offset :]
    positions = graph.add(
        "Slice", graph.constant(table, np.float32), graph.axes(0), length, graph.axes(0)
    )
    states = graph.add("Add", pieces, positions)
    if encoder.segment_embedding is not None:
        segments = graph.constant(encoder.segment_embedding.embeddings)
        # A family of one segment has the same one everywhere.
        of_pieces = features.get("segment_ids") if config.num_segments > 1 else None
        of_pieces = of_pieces or graph.constant(0, np.int64)
        states = graph.add("Add", states, graph.add("Gather", segments, of_pieces))
    states = graph.layer_norm(states, encoder.embeddings_layer_norm)
    if encoder.embeddings_projection is not None:
        states = graph.dense(states, encoder.embeddings_projection)
    return states


class _Layer:
    """A transformer layer, its weights in the graph once however often it is written."""

    def __init__(self, graph: OnnxGraph, layer: Any, config: EncoderConfig):
        self._graph = graph
        self._layer = layer
        self._config = config
        attention = layer._self_attention_layer
        width = config.hidden_dim
        self._projections = {
            name: (
                graph.constant(dense.kernel.numpy().reshape(width, width), np.float32),
                graph.constant(dense.bias.numpy().reshape(width), np.float32),
            )
            for name, dense in (
                ("query", attention.query_dense),
                ("key", attention.key_dense),
                ("value", attention.value_dense),
                ("output", attention.output_dense),
            )
        }

    def write(self, states: str, mask: str) -> str:
        """The states after the layer, of states `(batch, length, hidden_dim)`."""
        graph, layer = self._graph, self._layer
        attended = graph.add("Add", self._attend(states, mask), states)
        states = graph.layer_norm(attended, layer._self_attention_layer_norm)
        inner = graph.dense(states, layer._feedforward_intermediate_dense, self._config.activation)
        inner = graph.dense(inner, layer._feedforward_output_dense)
        return graph.layer_norm(graph.add("Add", inner, states), layer._feedforward_layer_norm)

    def _attend(self, states: str, mask: str) -> str:
        graph, config = self._graph, self._config
        query, key, value = (self._heads(states, name) for name in ("query", "key", "value"))
        scale = math.sqrt(config.hidden_dim // config.num_heads)
        turned = graph.add("Transpose", key, perm=[0, 1, 3, 2])
        scores = graph.add("MatMul", query, turned)
        scores = graph.add("Div", scores, graph.constant(scale, np.float32))
        scores = graph.add("Where", mask, scores, graph.constant(_OUTSIDE, np.float32))
        found = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
        by_row = graph.add("Transpose", found, perm=[0, 2, 1, 3])
        together = graph.add("Reshape", by_row, graph.axes(0, 0, config.hidden_dim))
        return self._project(together, "output")

    def _heads(self, states: str, name: str) -> str:
        """`(batch, heads, length, width of a head)`."""
        graph, config = self._graph, self._config
        sizes = graph.axes(0, 0, config.num_heads, config.hidden_dim // config.num_heads)
        split = graph.add("Reshape", self._project(states, name), sizes)
        return graph.add("Transpose", split, perm=[0, 2, 1, 3])

    def _project(self, states: str, name: str) -> str:
        kernel, bias = self._projections[name]
        return self._graph.add("Add", self._graph.add("MatMul", states, kernel), bias)
