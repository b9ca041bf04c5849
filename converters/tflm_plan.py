"""Choose which weights TFLite Micro shall decode, and put its DECODE operators before them.

A weight becomes an encoded tensor, in its own place, and an ancillary one. Before each operator
that takes encoded weights stands a DECODE, whose outputs are what the weights were: they live until
that operator is done. Runtimes want inputs that shape a graph as plain constants: only weights of
layers are encoded here, of which each has a buffer of its own.

Sisters: tflm_codes.py (the bytes), tflm_tree.py (the tables), write_tflm.py.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass

import numpy as np

from dcformat.ids import NUMPY

from .tflite_lift import plan_of
from .tflite_schema import DTYPES, TfModel, TfOperator, TfTensor
from .tflite_tables import Source
from .tflm_check import NAME
from .tflm_codes import Coded, huffman, lut, lut_by_channel, prune
from .tflm_tree import Node, Vector

#: Operators whose kernels take a weight that is not constant, and which input it is.
_LAYERS = {
    "Conv2D": 1,
    "DepthwiseConv2D": 1,
    "FullyConnected": 1,
    "TransposeConv": 1,
    "Dequantize": 0,
}
_UINT8, _CUSTOM = 3, 32
#: About what two tensors, two buffers and an operator take.
OVERHEAD = 384


@dataclass(frozen=True, eq=False)
class Encoded:
    """A weight of subgraph `graph` that is to be decoded, and the operators that take it."""

    graph: int
    tensor: int
    name: str
    raw: bytes
    coded: Coded
    users: tuple[int, ...]


def choose(model: TfModel, source: Source) -> list[Encoded]:
    """Return the weights that take fewer bytes encoded."""
    entries = {entry.region: entry for entry in plan_of(model).entries}
    owners = _owners(model)
    found = []
    for number, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            region = model.buffers[tensor.buffer]
            users = _users(graph.operators, index)
            if region not in entries or owners[region.start] != 1 or not users:
                continue
            if index in (*graph.inputs, *graph.outputs) or tensor.sparse:
                continue
            raw = bytes(source[region.start : region.end])
            coded = smallest(tensor, raw)
            if coded is not None and coded.size + OVERHEAD < len(raw):
                found.append(Encoded(number, index, entries[region].name, raw, coded, users))
    return found


def _owners(model: TfModel) -> dict[int, int]:
    """Return how many tensors there are to each buffer's place."""
    count: dict[int, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            start = model.buffers[tensor.buffer].start
            count[start] = count.get(start, 0) + 1
    return count


def _users(operators: tuple[TfOperator, ...], index: int) -> tuple[int, ...]:
    """Return the operators that take a tensor, none if one takes it otherwise than as a weight."""
    users = [(number, one) for number, one in enumerate(operators) if index in one.inputs]
    plain = all(
        one.op in _LAYERS
        and [n for n, i in enumerate(one.inputs) if i == index] == [_LAYERS[one.op]]
        for _, one in users
    )
    return tuple(number for number, _ in users) if plain else ()


def decoded_by(encoded: list[Encoded]) -> list[bytes]:
    """Return what the DECODE operators of `insert` give, in the order of the file."""
    order = sorted(
        (one.graph, user, place) for place, one in enumerate(encoded) for user in one.users
    )
    return [encoded[place].raw for _, _, place in order]


def most_at_once(encoded: list[Encoded]) -> int:
    """Return the bytes of the decoded weights of the layer that has most of them."""
    layers: Counter[tuple[int, int]] = Counter()
    for one in encoded:
        layers.update(dict.fromkeys(((one.graph, user) for user in one.users), len(one.raw)))
    return max(layers.values(), default=0)


def smallest(tensor: TfTensor, raw: bytes) -> Coded | None:
    """Return the smallest encoding that every published runtime decodes; None for no such type."""
    kind, quantization = NUMPY[DTYPES[tensor.type]], tensor.quantization
    if kind not in ("<f4", "i1", "<i2"):
        return None
    channels, axis = (quantization.scale.size, quantization.axis) if quantization else (1, 0)
    if axis not in (0, len(tensor.shape) - 1) or (axis and channels == 1):
        return None
    if channels > 1 and tensor.shape[axis : axis + 1] != (channels,):
        return None
    flat = np.frombuffer(raw, kind)
    found = [lut(flat, channels > 1)]
    if channels > 1:
        found.append(lut_by_channel(flat.reshape(tensor.shape), axis))
    if kind != "<f4":
        found.append(huffman(flat))
    if quantization is None or not quantization.zero_point.any():
        found.append(prune(flat))
    return min((one for one in found if one), key=lambda one: one.size, default=None)


def insert(root: Node, encoded: list[Encoded]) -> None:
    """Change a model so that it decodes these weights."""
    codes = root.nodes(1)
    codes.append(_code())
    ancillary = {id(one): _encode(root, one) for one in encoded}
    for number, graph in enumerate(root.nodes(2)):
        own = [one for one in encoded if one.graph == number]
        _decode_before_users(graph, own, ancillary, len(codes) - 1)


def _code() -> Node:
    node = Node()
    node.put(0, "b", _CUSTOM)
    node.link(1, Vector(NAME.encode(), 1, zero=True))
    node.put(2, "i", 1)
    node.put(3, "i", _CUSTOM)
    return node


def _encode(root: Node, one: Encoded) -> int:
    """Put the ancillary tensor beside a weight, whose buffer is encoded; return its index."""
    tensors, buffers = root.nodes(2)[one.graph].nodes(0), root.nodes(4)
    buffers[tensors[one.tensor].get(2, "I")].link(0, Vector(one.coded.encoded, 1, 16))
    node, buffer = Node(), Node()
    buffer.link(0, Vector(one.coded.ancillary, 1, 16))
    buffers.append(buffer)
    _as_bytes(node, len(one.coded.ancillary), len(buffers) - 1)
    tensors.append(node)
    return len(tensors) - 1


def _as_bytes(tensor: Node, size: int, buffer: int) -> None:
    tensor.link(0, Vector(np.array([size], "<i4").tobytes()))
    tensor.put(1, "b", _UINT8)
    tensor.put(2, "I", buffer)


def _decode_before_users(
    graph: Node, encoded: list[Encoded], ancillary: dict[int, int], code: int
) -> None:
    tensors, operators = graph.nodes(0), graph.nodes(3)
    plain = {one.tensor: copy.deepcopy(tensors[one.tensor]) for one in encoded}
    users: dict[int, list[Encoded]] = {}
    for one in encoded:
        node = tensors[one.tensor]
        node.drop(4)
        node.drop(7)
        _as_bytes(node, len(one.coded.encoded), node.get(2, "I"))
        for user in one.users:
            users.setdefault(user, []).append(one)
    ordered: list[Node] = []
    for number, operator in enumerate(operators):
        taken, made = [], []
        for one in users.get(number, []):
            decoded = copy.deepcopy(plain[one.tensor])
            decoded.put(2, "I", 0)
            tensors.append(decoded)
            taken += [one.tensor, ancillary[id(one)]]
            made.append(len(tensors) - 1)
            _replace(operator, one.tensor, made[-1])
        ordered += [_decode(code, taken, made)] if taken else []
        ordered.append(operator)
    operators[:] = ordered


def _decode(code: int, inputs: list[int], outputs: list[int]) -> Node:
    node = Node()
    node.put(0, "I", code)
    node.link(1, Vector(np.array(inputs, "<i4").tobytes()))
    node.link(2, Vector(np.array(outputs, "<i4").tobytes()))
    return node


def _replace(operator: Node, old: int, new: int) -> None:
    inputs = [new if index == old else index for index in operator.ints(1)]
    operator.link(1, Vector(np.array(inputs, "<i4").tobytes()))
