"""What a SavedModel would do when it is loaded and called, told from its graph before that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from xdistil.data.paths import AnyPath
from xdistil.errors import InputError

# What the graphs that xdistil exports are made of, and their like. None reaches outside the model.
# (That an operation has no state does not say so: some read files all the same.)
_ALLOWED = frozenset(
    [
        "Abs",
        "Add",
        "AddN",
        "AddV2",
        "All",
        "Any",
        "ArgMax",
        "Assert",
        "AssignVariableOp",
        "BatchMatMul",
        "BatchMatMulV2",
        "BatchMatMulV3",
        "BiasAdd",
        "BlockLSTMV2",
        "BroadcastArgs",
        "BroadcastTo",
        "Bucketize",
        "Cast",
        "Ceil",
        "CheckNumerics",
        "ClipByValue",
        "Concat",
        "ConcatV2",
        "Const",
        "Cumsum",
        "DenseBincount",
        "DisableCopyOnRead",
        "DivNoNan",
        "Einsum",
        "EnsureShape",
        "Equal",
        "Erf",
        "Erfc",
        "Exp",
        "ExpandDims",
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "Fill",
        "Floor",
        "FloorDiv",
        "FloorMod",
        "Gather",
        "GatherNd",
        "GatherV2",
        "Greater",
        "GreaterEqual",
        "Identity",
        "IdentityN",
        "If",
        "InvertPermutation",
        "IsFinite",
        "IsInf",
        "IsNan",
        "Less",
        "LessEqual",
        "Log",
        "Log1p",
        "LogSoftmax",
        "LogicalAnd",
        "LogicalNot",
        "LogicalOr",
        "MatMul",
        "Max",
        "Maximum",
        "Mean",
        "Min",
        "Minimum",
        "Mul",
        "Neg",
        "NoOp",
        "NormalizeUTF8",
        "NormalizeUTF8WithOffsetsMap",
        "NotEqual",
        "OneHot",
        "OnesLike",
        "Pack",
        "Pad",
        "PadV2",
        "PartitionedCall",
        "Placeholder",
        "PlaceholderWithDefault",
        "Pow",
        "PreventGradient",
        "Prod",
        "RaggedGather",
        "RaggedRange",
        "RaggedTensorToTensor",
        "Range",
        "Rank",
        "ReadVariableOp",
        "RealDiv",
        "ReduceJoin",
        "Relu",
        "Relu6",
        "Reshape",
        "ResourceGather",
        "ResourceGatherNd",
        "ReverseSequence",
        "ReverseV2",
        "Round",
        "Rsqrt",
        "ScatterNd",
        "SearchSorted",
        "SegmentMean",
        "SegmentSum",
        "Select",
        "SelectV2",
        "Shape",
        "ShapeN",
        "ShardedFilename",
        "Sigmoid",
        "Sign",
        "Silu",
        "Size",
        "Slice",
        "Softmax",
        "Softplus",
        "Split",
        "SplitV",
        "Sqrt",
        "Square",
        "SquaredDifference",
        "Squeeze",
        "StatefulPartitionedCall",
        "StatelessCase",
        "StatelessIf",
        "StatelessWhile",
        "StaticRegexFullMatch",
        "StaticRegexReplace",
        "StopGradient",
        "StridedSlice",
        "StringFormat",
        "StringJoin",
        "StringLength",
        "StringLower",
        "StringNGrams",
        "StringSplitV2",
        "StringStrip",
        "StringUpper",
        "Sub",
        "Substr",
        "Sum",
        "Tanh",
        "TensorListConcatV2",
        "TensorListElementShape",
        "TensorListFromTensor",
        "TensorListGather",
        "TensorListGetItem",
        "TensorListLength",
        "TensorListReserve",
        "TensorListSetItem",
        "TensorListSplit",
        "TensorListStack",
        "TensorScatterUpdate",
        "Tile",
        "TopKV2",
        "Transpose",
        "UnicodeDecode",
        "UnicodeDecodeWithOffsets",
        "UnicodeEncode",
        "UnicodeScript",
        "UnicodeTranscode",
        "Unique",
        "UniqueV2",
        "Unpack",
        "UnsortedSegmentJoin",
        "UnsortedSegmentMax",
        "UnsortedSegmentSum",
        "VarHandleOp",
        "Where",
        "While",
        "Xdivy",
        "Xlogy",
        "ZerosLike",
    ]
)
# What reads and writes the variables' files: only in the functions that a saver has for it, which
# neither loading nor a signature calls.
_OF_SAVER = frozenset(("SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"))
_SAVERS = re.compile(r"__inference__traced_(save|restore)_\d+")


def refuse_foreign_ops(folder: AnyPath) -> None:
    """Refuses a SavedModel that can do more than compute.

    A SavedModel is a program: its graph may read and write files, open connections, call Python.
    Those that xdistil exports never do: what is let through are the operations that they are made
    of, which compute and nothing else.

    Args:
        folder: The SavedModel.

    Raises:
        InputError: It cannot be read, or holds an operation that no export of xdistil has.
    """
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}): export it again") from error
    graphs = model.meta_graphs
    if len(graphs) != 1 or not graphs[0].object_graph_def.nodes:
        # TensorFlow would run the main graph of such a one while it loads it.
        raise InputError(f"{path}: is no SavedModel of TensorFlow 2, as xdistil exports them")
    for function, node in _nodes(graphs[0].graph_def):
        _check(path, function, node)
    for name in _reached(graphs[0].object_graph_def):
        if _SAVERS.fullmatch(name):
            raise _refusal(path, name, "calls what writes or reads the model's files")


def _nodes(graph: Any) -> Iterator[tuple[str | None, Any]]:
    """Each node, and the function that it is in; `None` = the main graph."""
    yield from ((None, node) for node in graph.node)
    for function in graph.library.function:
        yield from ((function.signature.name, node) for node in function.node_def)


def _reached(objects: Any) -> Iterator[str]:
    """Functions that the objects of a SavedModel may call, while it is loaded or after."""
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _check(path: AnyPath, function: str | None, node: Any) -> None:
    saver = bool(function and _SAVERS.fullmatch(function))
    if saver and node.op in _OF_SAVER:
        return
    # The main graph, which nobody runs here, is TensorFlow 1's way to the saver.
    if function is not None and any(_SAVERS.fullmatch(name) for name in _called(node)):
        raise _refusal(path, node.op, "calls what writes or reads the model's files")
    if node.op not in _ALLOWED:
        raise _refusal(path, node.op, "may reach outside the model")


def _called(node: Any) -> Iterable[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _refusal(path: AnyPath, op: str, why: str) -> InputError:
    return InputError(
        f"{path}: its operation {op} {why}, which no export of xdistil has; it is not loaded. If "
        "you trust whoever made it, load it with tf.saved_model.load"
    )
