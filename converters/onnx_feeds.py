"""Which layer of an ONNX model feeds which, through nothing that would notice a factor.

Multiplying an output channel by s > 0 and dividing what meets it in the next layer by s leaves
the network as it is, if only ReLUs and the like are between (Nagel et al. 2019, "Data-Free
Quantization Through Weight Equalization and Bias Correction", section 4.1).
Spec: https://onnx.ai/onnx/operators. Sister files: onnx_roles.py, dcformat/model.py (Feed).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dcformat.model import Feed, Tensor

from .onnx_scopes import Node, Program, Site, text
from .onnx_wire import Path

#: f(s * x) = s * f(x) for s > 0, and no two channels meet.
_HOMOGENEOUS = frozenset(
    {"Relu", "LeakyRelu", "Identity", "MaxPool", "AveragePool", "GlobalAveragePool",
     "GlobalMaxPool"}
)  # fmt: skip
_MOST_BETWEEN = 8


@dataclass(frozen=True)
class _Layer:
    """A convolution or dense layer: its weight, its bias and the axes of channels."""

    weight: str
    bias: str | None
    out_axis: int
    in_axis: int
    output: str


def feeds_of(model: Any, program: Program, tensors: Mapping[Path, Tensor]) -> tuple[Feed, ...]:
    """Return the feeds of the main graph, in the order of their first layers.

    `tensors` are those that left the graph, by path. A parameter that is used twice, or that
    callers may replace, belongs to no feed.
    """
    used = Counter(_names(model.graph))
    main = [node for node in program.nodes if node.scope.depth == 0]
    readers = {name: node for node in main for name in node.inputs}
    layers = {node.index: _layer(node, used, tensors) for node in main}
    found = []
    for node in main:
        first = layers[node.index]
        reader = _next_layer(first.output, readers, used) if first else None
        second = layers[reader.index] if reader else None
        if first and second:
            pair = first.weight, first.bias, second.weight
            found.append(Feed(*pair, first.out_axis, second.in_axis))
    return tuple(found)


def _names(graph: Any) -> Iterator[str]:
    """Yield a name each time it is read, in a graph and in those inside of it."""
    yield from (text(value.name) for value in graph.output)
    for node in graph.node:
        yield from (text(name) for name in node.input)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _names(inner)


def _next_layer(name: str, readers: Mapping[str, Node], used: Counter[str]) -> Node | None:
    """Return the node that takes `name` as its data, through what keeps factors."""
    for _ in range(_MOST_BETWEEN):
        if used[name] != 1 or name not in readers:
            return None
        node = readers[name]
        if node.known_op not in _HOMOGENEOUS:
            return node if node.inputs[0] == name else None
        if len([output for output in node.proto.output if output]) != 1:
            return None
        name = text(node.proto.output[0])
    return None


def _layer(node: Node, used: Counter[str], tensors: Mapping[Path, Tensor]) -> _Layer | None:
    """Return the layer that a node is, if its parameters are its own."""
    if node.domain not in ("", "ai.onnx") or node.known_op not in ("Conv", "Gemm", "MatMul"):
        return None
    if not node.proto.output:  # no such operator, but such a file
        return None
    own = [_own(node, i, used, tensors) for i in range(1, len(node.inputs))]
    if not own or own[0] is None or (len(own) > 1 and node.inputs[2] and own[1] is None):
        return None
    weight = own[0]
    bias = own[1] if len(own) > 1 else None
    axes = _axes(node, weight)
    if axes is None or (bias is not None and bias.shape != (weight.shape[axes[0]],)):
        return None
    name = bias.name if bias is not None else None
    return _Layer(weight.name, name, *axes, text(node.proto.output[0]))


def _own(
    node: Node, index: int, used: Counter[str], tensors: Mapping[Path, Tensor]
) -> Tensor | None:
    """Return the tensor that is the input `index` of this node only."""
    name = node.inputs[index]
    site = node.scope.sites.get(name)
    if not isinstance(site, Site) or used[name] != 1 or name in node.scope.inputs:
        return None
    return tensors.get(site.path)


def _axes(node: Node, weight: Tensor) -> tuple[int, int] | None:
    """Return the axes of output and input channels; of a depthwise convolution they are one."""
    rank = len(weight.shape)
    if node.known_op == "Conv" and rank > 2:
        groups = node.number("group", 1)
        if groups == 1:
            return 0, 1
        return (0, 0) if groups == weight.shape[0] and weight.shape[1] == 1 else None
    if rank != 2 or node.number("transA"):
        return None
    return (0, 1) if node.number("transB") else (1, 0)
