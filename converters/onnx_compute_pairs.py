"""Depthwise-separable convolutions, next to the plain convolution that each replaces.

Sister file: onnx_compute.py (asks). A pair is a depthwise Conv (as many groups as input channels)
and the 1x1 Conv that takes its result, through norms and activations. The plain convolution has the
kernel and strides of the first and the output channels of the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from .onnx_compute_shapes import Shape
from .onnx_compute_values import Table
from .onnx_scopes import Node, resolve

_MAX_VISITS = 16
_BETWEEN = frozenset(
    [
        "BatchNormalization",
        "Cast",
        "Clip",
        "DequantizeLinear",
        "Elu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Mish",
        "Mul",
        "PRelu",
        "QuantizeLinear",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Swish",
        "Tanh",
    ]
)


@dataclass(frozen=True)
class Pair:
    """Labels of the two nodes, their MACs, and those of the plain convolution."""

    depthwise: str
    pointwise: str
    depthwise_macs: int
    pointwise_macs: int
    plain_macs: int

    @property
    def macs(self) -> int:
        return self.depthwise_macs + self.pointwise_macs


@dataclass(frozen=True)
class _Conv:
    """Shapes of a Conv: input, kernel, output."""

    data: Shape
    kernel: Shape
    out: Shape

    @property
    def macs(self) -> int:
        return prod(self.kernel) * self.out[0] * prod(self.out[2:])


def pairs_of(table: Table) -> Iterator[Pair]:
    """Yield the pairs of a program in the order of their second nodes."""
    for node in table.program.nodes:
        second = _shapes(table, node)
        if second is None or not _is_pointwise(node, second):
            continue
        for first_node in _before(table, node):
            first = _shapes(table, first_node)
            if first is not None and _is_depthwise(first_node, first):
                yield _pair(first_node, first, node, second)
                break


def _pair(first_node: Node, first: _Conv, node: Node, second: _Conv) -> Pair:
    places = first.out[0] * prod(first.out[2:])
    plain = places * prod(first.kernel[2:]) * first.data[1] * second.out[1]
    return Pair(first_node.label, node.label, first.macs, second.macs, plain)


def _shapes(table: Table, node: Node) -> _Conv | None:
    places = {"Conv": (0, 1), "QLinearConv": (0, 3), "FusedConv": (0, 1)}.get(node.known_op)
    if places is None or id(node) in table.constant:
        return None
    inputs, outputs = table.inputs(node), table.outputs(node)
    if len(inputs) <= places[1] or not outputs:
        return None
    taken = [inputs[p] for p in places]
    shapes = [v.fact.shape if v else None for v in taken] + [outputs[0].fact.shape]
    if any(s is None for s in shapes) or len({len(s or ()) for s in shapes}) != 1:
        return None
    conv = _Conv(*(s or () for s in shapes))
    return conv if len(conv.out) >= 3 else None


def _is_depthwise(node: Node, conv: _Conv) -> bool:
    groups = node.number("group", 1)
    return groups == conv.data[1] > 1 and conv.kernel[1] == 1 and prod(conv.kernel[2:]) > 1


def _is_pointwise(node: Node, conv: _Conv) -> bool:
    whole = conv.data[2:] == conv.out[2:]
    return node.number("group", 1) == 1 and prod(conv.kernel[2:]) == 1 and whole


def _before(table: Table, node: Node) -> Iterator[Node]:
    """Yield the convolutions whose results a node takes, through norms and activations."""
    waiting = [(node.scope, node.inputs[0])] if node.inputs else []
    for _ in range(_MAX_VISITS):
        if not waiting:
            return
        found = resolve(*waiting.pop(0))
        if not isinstance(found, Node) or id(found) in table.constant:
            continue
        if found.known_op in ("Conv", "QLinearConv", "FusedConv"):
            yield found
        elif found.known_op in _BETWEEN:
            waiting += [(found.scope, name) for name in found.inputs[:2] if name]
