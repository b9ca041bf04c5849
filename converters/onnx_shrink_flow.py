"""Follow the channels of an ONNX graph from the layers that make them to those that take them.

Each output of a layer is a channel. What goes through a graph unmixed (activations, norms, pooling,
depthwise convolutions) stays that channel; an Add makes one of two. A channel can go where nobody
would notice: each layer that takes it has zeros for it, or it is the same number everywhere and
that number fits into the layer's bias. Whatever is not known here holds its channels back, and
says why. Sisters: onnx_shrink_ops.py (what each operator does), onnx_shrink.py (takes them out).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from dcformat.errors import ConvertError

Numbers = npt.NDArray[Any]
I64 = npt.NDArray[np.int64]

MOST = 1 << 22  #: channels that are followed in one value
#: Types of numbers that can be looked at and written again.
REALS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})
_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class Channels:
    """What is known of a value along `axis`: whose channel each index is.

    `constant` has the number that an index is everywhere, NaN where it is not the same everywhere.
    """

    ids: I64
    constant: Numbers
    axis: int


@dataclass(frozen=True, eq=False)
class Layer:
    """Channels `ids` that one operator makes; `zero` are those for which it has zeros only."""

    label: str
    ids: I64
    zero: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Cut:
    """Input `place` of a node loses, along `axis`, the channels that go, of these `ids`."""

    node: NodeProto
    place: int
    axis: int
    ids: I64


@dataclass(frozen=True, eq=False)
class Taken:
    """A layer that takes `channels`: `each` is what 1 on an index adds to its outputs.

    Input `place` of `node` is the bias to which that can go.
    """

    node: NodeProto
    channels: Channels
    each: Numbers
    place: int = 2


@dataclass(eq=False)
class Flow:
    """What is found out of a graph, node by node."""

    model: ModelProto
    initializers: dict[str, TensorProto]
    constants: dict[str, TensorProto]  #: of nodes: they are looked at, and never cut
    users: dict[str, int]
    takers: dict[str, NodeProto]  #: the last node that takes a name
    shapes: Mapping[str, Sequence[int | None]]
    values: dict[str, Channels] = field(default_factory=dict)
    parents: list[int] = field(default_factory=list)
    held: dict[int, str] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    groups: list[tuple[NodeProto, I64]] = field(default_factory=list)
    flats: list[tuple[NodeProto, I64]] = field(default_factory=list)

    def array(self, name: str) -> Numbers | None:
        """Return the numbers of an initializer or Constant; None of what is none, or not real."""
        proto = self.initializers.get(name) or self.constants.get(name)
        if proto is None or proto.data_type not in REALS:
            return None
        return numpy_helper.to_array(proto)

    def integers(self, name: str) -> list[int] | None:
        """Return the numbers of a constant of integers."""
        proto = self.initializers.get(name) or self.constants.get(name)
        if proto is None or proto.data_type not in (TensorProto.INT64, TensorProto.INT32):
            return None
        return [int(n) for n in numpy_helper.to_array(proto).reshape(-1)]

    def parameter(self, name: str) -> Numbers | None:
        """Return the numbers of an initializer, which can be cut."""
        return self.array(name) if name in self.initializers else None

    def weight(self, name: str) -> Numbers | None:
        """Return the numbers of an initializer that one node alone takes, if all are finite."""
        found = self.parameter(name) if self.users.get(name) == 1 else None
        return None if found is None or not np.isfinite(found).all() else found

    def cut(self, node: NodeProto, place: int, axis: int, ids: I64) -> None:
        """Note that an input, if it is there or comes, loses what goes of `ids`.

        Raises ConvertError if it has not as many.
        """
        if input_of(node, place):
            proto = self.initializers.get(node.input[place])
            dims = () if proto is None else proto.dims
            if not -len(dims) <= axis < len(dims) or dims[axis] != ids.size:
                raise misfit(node)
        self.cuts.append(Cut(node, place, axis, ids))

    def rank(self, name: str) -> int | None:
        return len(self.shapes[name]) if name in self.shapes else None

    def new(self, node: NodeProto, zero: npt.NDArray[np.bool_]) -> I64:
        """Return ids for the channels that a layer makes."""
        start = len(self.parents)
        ids = np.arange(start, start + zero.size)
        self.parents += ids.tolist()
        self.layers.append(Layer(node.name or node.output[0], ids, zero))
        return ids

    def foreign(self, count: int) -> I64:
        """Return ids for channels that no layer makes: they stay."""
        ids = np.arange(len(self.parents), len(self.parents) + count)
        self.parents += ids.tolist()
        self.hold(ids, "no layer makes it")
        return ids

    def root(self, one: int) -> int:
        while self.parents[one] != one:
            self.parents[one] = self.parents[self.parents[one]]
            one = self.parents[one]
        return one

    def join(self, mine: I64, theirs: I64) -> None:
        """Let channels go together, or stay together."""
        for one, other in zip(mine.tolist(), theirs.tolist(), strict=True):
            self.parents[self.root(other)] = self.root(one)

    def hold(self, ids: I64, why: str) -> None:
        for one in ids.tolist():
            self.held.setdefault(one, why)

    def hold_inputs(self, node: NodeProto, why: str) -> None:
        for name in node.input:
            if name in self.values:
                self.hold(self.values[name].ids, why)

    def roots(self) -> I64:
        return np.array([self.root(one) for one in range(len(self.parents))], np.int64)

    def gone(self) -> npt.NDArray[np.bool_]:
        """Return which channels go; a layer keeps one at least."""
        roots = self.roots()
        gone = ~np.isin(roots, roots[list(self.held)])
        for layer in self.layers:
            if layer.ids.size and gone[layer.ids].all():
                first = int(layer.ids[0])
                self.held[first] = "it is the last one of its layer"
                gone[roots == roots[first]] = False
        return gone

    def reasons(self) -> dict[int, str]:
        """Return why channels stay, by their root."""
        return {self.root(one): why for one, why in reversed(self.held.items())}


def flow_of(model: ModelProto) -> Flow:
    """Return the flow of a model of which nothing is known yet."""
    graph = model.graph
    users: dict[str, int] = {}
    for name in _names_taken(graph):
        users[name] = users.get(name, 0) + 1
    shapes = {value.name: dims for value in _inferred(model) if (dims := _dims(value)) is not None}
    shapes |= {one.name: list(one.dims) for one in graph.initializer}
    constants = {
        node.output[0]: one.t
        for node in graph.node
        for one in node.attribute
        if node.op_type == "Constant" and one.name == "value" and one.HasField("t")
    }
    takers = {name: node for node in graph.node for name in node.input}
    initializers = {one.name: one for one in graph.initializer}
    return Flow(model, initializers, constants, users, takers, shapes)


def known_op(node: NodeProto) -> str:
    """Return the operator, "" if it is not ONNX's own, with a graph inside or several outputs."""
    inside = any(a.HasField("g") or a.graphs for a in node.attribute)
    outputs = [name for name in node.output if name]
    if node.domain not in _DOMAINS or inside or outputs != list(node.output[:1]):
        return ""
    return node.op_type


def input_of(node: NodeProto, place: int) -> str:
    """Return the name of an input, "" if it is left out."""
    return node.input[place] if len(node.input) > place else ""


def rows(array: Numbers, axis: int) -> Numbers:
    """Return an array as one row for each index of `axis`."""
    moved = np.moveaxis(array, axis, 0)
    return moved.reshape(moved.shape[0], int(np.prod(moved.shape[1:])))


def misfit(node: NodeProto) -> ConvertError:
    label = node.name or "".join(node.output[:1])
    return ConvertError(f"node {label!r}: its inputs and attributes do not fit each other")


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return an attribute, of the type of `default`; that of None is a list."""
    for one in node.attribute:
        if one.name == name:
            value = helper.get_attribute_value(one)
            if not isinstance(value, list if default is None else type(default)):
                raise misfit(node)
            return value
    return default


def _names_taken(graph: Any) -> Iterator[str]:
    """Yield each name that a node takes, those of inner graphs too, and the graph's outputs."""
    for node in graph.node:
        yield from node.input
        for one in node.attribute:
            for inner in [one.g] if one.HasField("g") else one.graphs:
                yield from _names_taken(inner)
    yield from (value.name for value in graph.output)


def _inferred(model: ModelProto) -> Iterator[Any]:
    try:
        found = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:
        found = model.graph
    yield from (*found.input, *found.output, *found.value_info)


def _dims(value: Any) -> list[int | None] | None:
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return [one.dim_value if one.HasField("dim_value") else None for one in dims]
