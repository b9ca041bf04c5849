"""Layers of an ONNX model that can be fixed point, and the places where numbers become fixed.

Sister files: onnx_qdq.py (writes such a model), onnx_simulate.py (computes it in integers),
dcformat/compress/fixed_point.py. A layer is a Conv, Gemm or MatMul of the main graph with a weight
of its own, and its bias, which may be an Add of its own. Its output is fixed if it comes to another
layer, else it stays as wide as sums are. Its input is fixed where no other layer has done that:
movements of data, Relu and MaxPool keep fixed numbers fixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from dcformat.compress.fixed_point import bounds
from dcformat.errors import ConvertError

from .onnx_scopes import Node, program_of, text
from .onnx_trial import window_of
from .onnx_windows import Window

_KEEPS = frozenset(
    {"Dropout", "Flatten", "Identity", "MaxPool", "Relu", "Reshape", "Squeeze", "Transpose",
     "Unsqueeze"}
)  # fmt: skip
_FLOAT = onnx.TensorProto.FLOAT


@dataclass(frozen=True)
class FixedLayer:
    """A layer: values by name. `measured` is where the output's range is looked at.

    `source` is the value whose fraction length the input has: another layer's output, or the
    input itself. `dense` layers have a weight of (columns, outputs), or turned.
    """

    name: str
    op: str
    weight: str
    bias: str
    input: str
    source: str
    raw: str  # what the node gives, before an Add of the bias
    output: str
    measured: str
    last: bool  # no other layer follows
    turned: bool = False
    window: Window | None = None


@dataclass(frozen=True)
class Graph:
    """A model in memory, its layers, and its weights and biases as numbers."""

    proto: Any
    layers: tuple[FixedLayer, ...]
    weights: Mapping[str, npt.NDArray[np.float32]]

    @property
    def places(self) -> dict[str, str]:
        """Values that become fixed, each with the value whose range it is to hold."""
        found: dict[str, str] = {}
        for layer in self.layers:
            found.setdefault(layer.source, layer.source)
            if not layer.last:
                found[layer.output] = layer.measured
        return found


def graph_of(path: Path) -> Graph:
    """Return the model in the file `path` and its layers. Raises ConvertError."""
    try:
        proto = onnx.load(str(path))
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=str(path)) from error
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise ConvertError("not an ONNX model", place=str(path)) from error
    nodes = [node for node in program_of(proto).nodes if not node.scope.depth]
    weights = _own_weights(proto)
    layers = _layers(nodes, weights, {value.name for value in proto.graph.output})
    if not layers:
        raise ConvertError("no Conv, Gemm or MatMul with a weight of its own", place=str(path))
    used = {name for layer in layers for name in (layer.weight, layer.bias) if name}
    return Graph(proto, layers, {name: weights[name] for name in weights if name in used})


def _own_weights(proto: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Return float initializers that one node takes."""
    taken = Counter(name for node in proto.graph.node for name in node.input)
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
        if tensor.data_type == _FLOAT and taken[tensor.name] == 1
    }


def _layers(
    nodes: list[Node], weights: Mapping[str, Any], outputs: Iterable[str]
) -> tuple[FixedLayer, ...]:
    takers: dict[str, list[Node]] = {}
    makers: dict[str, Node] = {}
    for node in nodes:
        makers.update({text(name): node for name in node.proto.output})
        for name in node.inputs:
            takers.setdefault(name, []).append(node)
    ends, before = set(outputs), _before_layers(nodes, weights)
    found: dict[str, FixedLayer] = {}
    for node in nodes:
        if _is_layer(node, weights):
            layer = _layer(node, weights, takers, makers, found, ends)
            layer = replace(layer, last=layer.output not in before)
            found[layer.output] = layer
    return tuple(found.values())


def _before_layers(nodes: list[Node], weights: Mapping[str, Any]) -> set[str]:
    """Return the values that layers are made of, through whatever nodes."""
    found: set[str] = set()
    for node in reversed(nodes):
        if _is_layer(node, weights) or found.intersection(map(text, node.proto.output)):
            found.update(node.inputs)
    return found


def _is_layer(node: Node, weights: Mapping[str, npt.NDArray[np.float32]]) -> bool:
    if node.op not in ("Conv", "Gemm", "MatMul") or node.inputs[1] not in weights:
        return False
    if len(node.inputs) > 2 and node.inputs[2] and node.inputs[2] not in weights:
        return False
    if node.op == "Conv":
        return True
    plain = {a.name: a.f for a in node.proto.attribute if a.name in ("alpha", "beta")}
    scaled = any(value != 1.0 for value in plain.values())
    return weights[node.inputs[1]].ndim == 2 and not node.number("transA") and not scaled


def _layer(
    node: Node,
    weights: Mapping[str, npt.NDArray[np.float32]],
    takers: Mapping[str, list[Node]],
    makers: Mapping[str, Node],
    known: Mapping[str, FixedLayer],
    ends: set[str],
) -> FixedLayer:
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else ""
    raw = output = text(node.proto.output[0])
    window = window_of(node, [*weights[weight].shape[2:]]) if node.op == "Conv" else None
    turned = node.op == "MatMul" or (node.op == "Gemm" and not node.number("transB"))
    after = _only(takers, output, ends)
    if not bias and after is not None and after.op == "Add":
        other = next((n for n in after.inputs if n != output), "")
        size = weights[weight].shape[1 if turned else 0]
        if other in weights and _is_bias(weights[other].shape, size, window):
            bias, output = other, text(after.proto.output[0])
    follower = _only(takers, output, ends)
    relu = follower is not None and follower.op == "Relu"
    measured = text(follower.proto.output[0]) if follower is not None and relu else output
    source = _source(node.inputs[0], makers, known)
    names = (node.label, node.op, weight, bias, node.inputs[0], source, raw, output, measured)
    return FixedLayer(*names, False, turned, window)


def _only(takers: Mapping[str, list[Node]], value: str, ends: set[str]) -> Node | None:
    """Return the one node that takes a value; None where others may see it too."""
    nodes = takers.get(value, [])
    return nodes[0] if len(nodes) == 1 and value not in ends else None


def _is_bias(shape: tuple[int, ...], size: int, window: Window | None) -> bool:
    """Tell whether what is added is one number for each output channel."""
    after = len(window.kernel) if window else 0
    lead = shape[: len(shape) - 1 - after]
    return len(shape) > after and shape[len(lead) :] == (size,) + (1,) * after and set(lead) <= {1}


def _source(value: str, makers: Mapping[str, Node], known: Mapping[str, FixedLayer]) -> str:
    """Return the layer's output that `value` is made of by movements alone, or `value`."""
    place = value
    while place not in known:
        node = makers.get(place)
        if node is None or node.op not in _KEEPS:
            return value
        place = node.inputs[0]
    return place


#: nodes(value, result, place): what makes `result` of `value`, fixed as `place` is
Maker = Callable[[str, str, str], list[Any]]


def with_places(graph: Graph, make: Maker) -> Any:
    """Return a copy of the model in which values become fixed by the nodes of `make`.

    An output of a layer is so for all who take it, another value for the layers alone.
    """
    proto = type(graph.proto)()
    proto.CopyFrom(graph.proto)
    outputs = {layer.output for layer in graph.layers if not layer.last}
    inputs = {layer.name: f"{layer.source}/fixed" for layer in graph.layers
              if layer.source not in outputs}  # fmt: skip
    labels = {node.path: node.label for node in program_of(graph.proto).nodes}
    old, made = list(proto.graph.node), set[str]()
    del proto.graph.node[:]
    for index, node in enumerate(old):
        name = labels.get((((), (7, 0)), (1, index)), "")
        if name in inputs:
            source, node.input[0] = node.input[0], inputs[name]
            if source not in made:
                proto.graph.node.extend(make(source, inputs[name], source))
                made.add(source)
        after = [(k, text(v)) for k, v in enumerate(node.output) if text(v) in outputs]
        for k, value in after:
            node.output[k] = f"{value}/exact"
        proto.graph.node.append(node)
        for _, value in after:
            proto.graph.node.extend(make(f"{value}/exact", value, value))
    del proto.graph.value_info[:]
    return proto


@dataclass(frozen=True)
class Knobs:
    """Names of the numbers by which a trial rounds at a place: steps, and what rounds them.

    To add 1.5 * 2^23 and to take it away again rounds binary32 to whole numbers, ties to even.
    """

    step: str
    low: str
    high: str
    magic: str

    @staticmethod
    def at(place: str) -> Knobs:
        return Knobs(*(f"{place}/{what}" for what in ("step", "low", "high", "magic")))

    def turned(self, fraction: int, bits: int) -> dict[str, npt.NDArray[np.float32]]:
        """Return the numbers that round to `bits` bits."""
        low, high = bounds(bits)
        values = (np.ldexp(1.0, -fraction), low, high, 1.5 * 2.0**23)
        return self._named(values)

    def still(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the numbers that change nothing."""
        return self._named((1.0, -np.inf, np.inf, 0.0))

    def _named(self, values: Iterable[float]) -> dict[str, npt.NDArray[np.float32]]:
        names = (self.step, self.low, self.high, self.magic)
        return {n: np.array(v, np.float32) for n, v in zip(names, values, strict=True)}


def trial_model(graph: Graph) -> tuple[bytes, dict[str, Knobs]]:
    """Return a model that rounds at its places as initializers say; as they stand, not at all."""
    knobs: dict[str, Knobs] = {}

    def make(value: str, result: str, place: str) -> list[Any]:
        own = knobs[place] = Knobs.at(place)
        names = [value, *(f"{result}/{k}" for k in range(5)), result]
        work = [("Div", own.step), ("Max", own.low), ("Min", own.high),
                ("Add", own.magic), ("Sub", own.magic), ("Mul", own.step)]  # fmt: skip
        return [
            helper.make_node(op, [names[at], by], [names[at + 1]])
            for at, (op, by) in enumerate(work)
        ]

    proto = with_places(graph, make)
    held = {name: array for own in knobs.values() for name, array in own.still().items()}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in held.items())
    return bytes(proto.SerializeToString()), knobs
