"""Put scales of channels behind DEQUANTIZE: TFLite Micro multiplies by the first one alone.

LiteRT's DEQUANTIZE takes a scale for each channel; TFLite Micro's (tensorflow/lite/micro/kernels/
dequantize_common.cc) takes the tensor's one, and does not say that there are more. So here it gets
the scale 1, and a MUL by the scales follows: each number is rounded once in both. Sisters:
write_tflm.py, tflm_tree.py.
"""

from __future__ import annotations

import copy

import numpy as np

from dcformat.errors import ConvertError

from .tflite_schema import Quantization, Subgraph, TfOperator, TfTensor, parse
from .tflm_tree import Node, Vector, bytes_of, tree_of

_DEQUANTIZE, _MUL = "Dequantize", 18
_MUL_OPTIONS = 21


def for_micro(plain: bytes) -> bytes:
    """Return a model that TFLite Micro understands as LiteRT understands `plain`.

    Raises ConvertError where zero points of channels, or other operators, stand in the way.
    """
    model = parse(plain)
    wanted = [_tensors(graph) for graph in model.subgraphs]
    if not any(wanted):
        return plain
    root = tree_of(plain)
    code = _code(root)
    for graph, node, tensors in zip(model.subgraphs, root.nodes(2), wanted, strict=True):
        _multiply(root, node, graph, tensors, code)
    return bytes_of(root)


def _tensors(graph: Subgraph) -> set[int]:
    """Return the tensors with scales of channels that a DEQUANTIZE takes."""
    taken = {_input(one) for one in graph.operators if one.op == _DEQUANTIZE}
    found = {index for index in taken if _channels(graph.tensors[index]) > 1}
    for one in graph.operators:
        shared = found.intersection(one.inputs) if one.op != _DEQUANTIZE else ()
        if shared:
            name = graph.tensors[min(shared)].name
            raise ConvertError(f"tensor {name!r} goes into Dequantize and into {one.op}")
    return found


def _input(operator: TfOperator) -> int:
    """Return the tensor that a DEQUANTIZE takes."""
    if len(operator.inputs) != 1 or len(operator.outputs) != 1 or min(operator.inputs) < 0:
        taken = f"{len(operator.inputs)} inputs and {len(operator.outputs)} outputs"
        raise ConvertError(f"{operator.label} has {taken}")
    return operator.inputs[0]


def _channels(tensor: TfTensor) -> int:
    found = tensor.quantization
    if found is None or found.scale.size < 2:
        return 1
    if found.zero_point.any():
        raise ConvertError(f"tensor {tensor.name!r} has zero points by channel")
    if tensor.shape[found.axis : found.axis + 1] != (found.scale.size,):
        raise ConvertError(f"tensor {tensor.name!r}: scales of another axis than it has")
    return found.scale.size


def _code(root: Node) -> int:
    """Return the index of MUL among the codes of operators, a new one."""
    node = Node()
    node.put(0, "b", _MUL)
    node.put(3, "i", _MUL)
    root.nodes(1).append(node)
    return len(root.nodes(1)) - 1


def _multiply(root: Node, node: Node, graph: Subgraph, tensors: set[int], code: int) -> None:
    owners = [(index, graph.tensors[index]) for index in sorted(tensors)]
    scales = {i: _scales(root, node, t, t.quantization) for i, t in owners if t.quantization}
    for index in scales:
        node.nodes(0)[index].link(4, _one())
    ordered: list[Node] = []
    for operator, own in zip(graph.operators, node.nodes(3), strict=True):
        ordered.append(own)
        if operator.op == _DEQUANTIZE and operator.inputs[0] in scales:
            ordered.append(_behind(node, own, scales[operator.inputs[0]], code))
    node.nodes(3)[:] = ordered


def _scales(root: Node, node: Node, tensor: TfTensor, found: Quantization) -> int:
    """Add a constant of a tensor's scales; return its index."""
    shape = [found.scale.size if n == found.axis else 1 for n in range(len(tensor.shape))]
    buffer, made = Node(), Node()
    buffer.link(0, Vector(found.scale.astype("<f4").tobytes(), 1, 16))
    root.nodes(4).append(buffer)
    made.link(0, Vector(np.array(shape, "<i4").tobytes()))
    made.put(2, "I", len(root.nodes(4)) - 1)
    node.nodes(0).append(made)
    return len(node.nodes(0)) - 1


def _one() -> Node:
    """Return a quantization of scale 1."""
    made = Node()
    made.link(2, Vector(np.ones(1, "<f4").tobytes()))
    made.link(3, Vector(bytes(8), 8, 8))
    return made


def _behind(node: Node, own: Node, scales: int, code: int) -> Node:
    """Return a MUL that gives what a DEQUANTIZE gave, which gets an output of its own."""
    (output,) = own.ints(2)
    inner = copy.deepcopy(node.nodes(0)[output])
    node.nodes(0).append(inner)
    place = len(node.nodes(0)) - 1
    own.link(2, Vector(np.array([place], "<i4").tobytes()))
    made = Node()
    made.put(0, "I", code)
    made.link(1, Vector(np.array([place, scales], "<i4").tobytes()))
    made.link(2, Vector(np.array([output], "<i4").tobytes()))
    made.put(3, "B", _MUL_OPTIONS)
    made.link(4, Node())
    return made
