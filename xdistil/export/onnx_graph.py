"""`OnnxGraph`: an ONNX graph as it is written, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import onnx

#: GELU is an operator since 20, layer normalization since 17.
OPSET = 20
# The oldest that knows the opset: what reads it reads all later ones.
_IR_VERSION = 9
_ACTIVATIONS = {
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}


class OnnxGraph:
    """Nodes and constants of a graph; values go by their names.

    Example:

    ```python
    graph = OnnxGraph()
    ids = graph.input("token_ids", np.int32, ("batch", "length"))
    rows = graph.add("Gather", graph.constant(embeddings), ids)
    graph.output("embedded", rows, np.float32, ("batch", "length", 50))
    onnx.save(graph.model("embedding"), "embedding.onnx")
    ```
    """

    def __init__(self):
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._shared: dict[tuple[Any, ...], str] = {}
        self._variables: dict[int, str] = {}

    def input(self, name: str, dtype: type, axes: Sequence[str | int]) -> str:
        """Declares an input; an axis is a size or, where it may be any, a name."""
        self._inputs.append(_value_info(name, dtype, axes))
        return name

    def output(self, name: str, value: str, dtype: type, axes: Sequence[str | int]) -> None:
        """Declares a value as an output of that name."""
        self._nodes.append(onnx.helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(_value_info(name, dtype, axes))

    def constant(self, value: Any, dtype: type | None = None) -> str:
        """A number, an array, or a variable of Keras as float32; the same one is held once."""
        if isinstance(value, keras.Variable):
            if id(value) not in self._variables:
                self._variables[id(value)] = self.constant(value.numpy(), np.float32)
            return self._variables[id(value)]
        array = np.asarray(value, dtype)
        # Equal numbers and shapes are written once; weights are not worth comparing.
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 8 else None
        if key in self._shared:
            return self._shared[key]
        name = f"constant_{len(self._constants)}"
        self._constants.append(onnx.numpy_helper.from_array(np.array(array, order="C"), name))
        if key is not None:
            self._shared[key] = name
        return name

    def axes(self, *values: int) -> str:
        """A constant list of axes, sizes or positions, as ONNX wants it."""
        return self.constant(np.array(values, np.int64))

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output, and returns that."""
        name = f"{op_type}_{len(self._nodes)}"
        self._nodes.append(
            onnx.helper.make_node(op_type, list(inputs), [name], name=name, **attributes)
        )
        return name

    def rows_of(self, token_ids: str, row_of_token: np.ndarray | None) -> str:
        """The embedding rows of token ids, where a vocabulary was pruned (see `KeptPieces`)."""
        if row_of_token is None:
            return token_ids
        last = row_of_token.size - 1
        bounds = (self.constant(0, np.int32), self.constant(last, np.int32))
        return self.add("Gather", self.constant(row_of_token), self.add("Clip", token_ids, *bounds))

    def dense(self, value: str, layer: keras.layers.Dense, activation: str | None = None) -> str:
        """A dense layer over the last axis, and an activation by its name in `xdistil`."""
        product = self.add("MatMul", value, self.constant(layer.kernel))
        value = self.add("Add", product, self.constant(layer.bias))
        return value if activation is None else self.activation(value, activation)

    def activation(self, value: str, name: str) -> str:
        """An activation by its name in `xdistil.models.activations`."""
        if name == "silu":
            return self.add("Mul", value, self.add("Sigmoid", value))
        op_type, attributes = _ACTIVATIONS[name]
        return self.add(op_type, value, **attributes)

    def layer_norm(self, value: str, layer: keras.layers.LayerNormalization) -> str:
        """A layer normalization over the last axis."""
        parts = (self.constant(layer.gamma), self.constant(layer.beta))
        return self.add("LayerNormalization", value, *parts, axis=-1, epsilon=float(layer.epsilon))

    def model(self, name: str, facts: dict[str, str] | None = None) -> onnx.ModelProto:
        """The whole graph, checked.

        Args:
            name: of the graph.
            facts: what its metadata tell.
        """
        graph = onnx.helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, self._constants
        )
        model = onnx.helper.make_model(
            graph,
            producer_name="xdistil",
            ir_version=_IR_VERSION,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        )
        onnx.helper.set_model_props(model, facts or {})
        onnx.checker.check_model(model)
        return model


def _value_info(name: str, dtype: type, axes: Sequence[str | int]) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_tensor_value_info(name, kind, list(axes))
