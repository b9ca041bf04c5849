"""Which weights of an ONNX graph are those of depthwise convolutions.

Spec: https://onnx.ai/onnx/operators/onnx__Conv.html.    Sister: c_dense.py, which lays them out
"""

from __future__ import annotations

from typing import Any

from onnx import ModelProto

from dcformat.errors import CorruptError
from dcformat.graph import decode_graph
from dcformat.ids import GraphFormat
from dcformat.model import Graph


def depthwise_weights(graph: Graph | None, tensors: int) -> frozenset[str]:
    """Return names of tensors that a Conv of the main graph takes as weight, a group a channel."""
    if graph is None or graph.format != GraphFormat.ONNX:
        return frozenset()
    _, skeleton = decode_graph(graph.data, tensors)
    try:
        nodes = ModelProto.FromString(skeleton).graph.node
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise CorruptError("the graph is not a ModelProto") from error
    sources = {n.output[0]: n.input[0] for n in nodes if n.op_type == "DequantizeLinear"}
    found = {n.input[1] for n in nodes if n.op_type == "Conv" and _groups(n) > 1}
    return frozenset(sources.get(name, name) for name in found)


def _groups(node: Any) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)
