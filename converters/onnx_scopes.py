"""Graphs of an ONNX model as scopes: which tensor or node a name means at each node.

Spec: https://onnx.ai/onnx/repo-docs/IR.html (names and scopes). Sister files: onnx_uses.py (what
the tensors are for), read_onnx.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .onnx_wire import Path

_LABEL = 200  # characters of a node's name in a label; longer names are replaced
_DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})
_KNOWN_DOMAINS = _DEFAULT_DOMAINS | {"com.microsoft"}


@dataclass(frozen=True, eq=False)
class Site:
    """A tensor that a name refers to: an initializer, or the value of a Constant node."""

    name: str
    path: Path
    proto: Any  # onnx.TensorProto
    scope: Scope


@dataclass(frozen=True, eq=False)
class Node:
    """A node, and the scope in which its input names are looked up."""

    proto: Any  # onnx.NodeProto
    index: int
    path: Path
    scope: Scope

    @property
    def label(self) -> str:
        """Name of the node with the names of what it is inside of, for people."""
        return _joined(self.scope.label, own_label(self.proto, self.index))

    @property
    def op(self) -> str:
        """Operator, with its domain unless that is ONNX's own."""
        name = text(self.proto.op_type)
        return name if self.domain in _DEFAULT_DOMAINS else f"{self.domain}.{name}"

    @property
    def domain(self) -> str:
        """Domain of the operator, as the file writes it."""
        return text(self.proto.domain)

    @property
    def known_op(self) -> str:
        """Operator without its domain if that is ONNX's or onnxruntime's own, else empty."""
        return text(self.proto.op_type) if self.domain in _KNOWN_DOMAINS else ""

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs; an empty name is an input left out."""
        return [text(name) for name in self.proto.input]

    def number(self, name: str, default: int = 0) -> int:
        """Return the integer attribute `name`."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                return int(attribute.i)
        return default

    def numbers(self, name: str) -> list[int] | None:
        """Return the first 64 integers of the list attribute `name`, None if there is none."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                return [int(n) for n in attribute.ints[:64]]
        return None


@dataclass(eq=False)
class Scope:
    """A graph, subgraph or function body: its names, and the scope outside of it."""

    label: str
    path: Path
    depth: int
    outer: Scope | None = None
    sites: dict[str, Site] = field(default_factory=dict)
    producers: dict[str, Node] = field(default_factory=dict)
    inputs: frozenset[str] = frozenset()
    bindings: dict[str, tuple[Scope, str]] = field(default_factory=dict)


@dataclass(eq=False)
class Program:
    """All scopes of a model in one list of sites and one of nodes, in the file's order."""

    sites: list[Site] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    scopes: int = 0


def text(value: str | bytes) -> str:
    """Return a protobuf string as str; bytes that are no UTF-8 are shown as escapes."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def follow(model: Any, path: Path) -> Any:
    """Return the message that `path` leads to in an onnx.ModelProto."""
    steps = []
    while path:
        path, step = path
        steps.append(step)
    message = model
    for number, index in reversed(steps):
        value = getattr(message, message.DESCRIPTOR.fields_by_number[number].name)
        message = value if hasattr(value, "DESCRIPTOR") else value[index]
    return message


def own_label(proto: Any, index: int) -> str:
    """Return the name of a node, or one made of its operator and place."""
    name = text(proto.name)
    if 0 < len(name) <= _LABEL:
        return name
    return f"{text(proto.op_type)[:_LABEL]}_{index}"


def _joined(outer: str, inner: str) -> str:
    return f"{outer}/{inner}" if outer else inner


def program_of(model: Any) -> Program:
    """Return the scopes of an onnx.ModelProto: main graph, subgraphs, local functions.

    Recursion is as deep as graphs are nested, which protobuf's parsers limit to 100 messages.
    """
    program = Program()
    main = Scope("", ((), (7, 0)), 0)
    _add_graph(program, main, model.graph)
    functions: dict[tuple[str, str, str], Scope] = {}
    for index, function in enumerate(model.functions):
        scope = Scope(text(function.name)[:_LABEL], ((), (25, index)), 1)
        scope.inputs = frozenset(text(name) for name in function.input)
        functions[text(function.domain), text(function.name), text(function.overload)] = scope
        _add_nodes(program, scope, function.node, 7)
    _bind_calls(program, functions, model.functions)
    return program


def _add_graph(program: Program, scope: Scope, graph: Any) -> None:
    scope.inputs = frozenset(text(value.name) for value in graph.input)
    for index, tensor in enumerate(graph.initializer):
        _add_site(program, scope, text(tensor.name), (scope.path, (5, index)), tensor)
    _add_nodes(program, scope, graph.node, 1)


def _add_site(program: Program, scope: Scope, name: str, path: Path, proto: Any) -> None:
    site = Site(name, path, proto, scope)
    program.sites.append(site)
    if name:
        scope.sites.setdefault(name, site)


def _add_nodes(program: Program, scope: Scope, nodes: Any, number: int) -> None:
    for index, proto in enumerate(nodes):
        node = Node(proto, index, (scope.path, (number, index)), scope)
        program.nodes.append(node)
        for output in proto.output:
            scope.producers.setdefault(text(output), node)
        for place, attribute in enumerate(proto.attribute):
            path = (node.path, (5, place))
            if _is_constant(proto, attribute):
                output = text(proto.output[0]) if proto.output else ""
                _add_site(program, scope, output, (path, (5, 0)), attribute.t)
            for suffix, step, graph in _subgraphs(attribute):
                _add_subgraph(program, node, text(attribute.name) + suffix, (path, step), graph)


def _is_constant(node: Any, attribute: Any) -> bool:
    return (
        node.op_type == "Constant"
        and node.domain in _DEFAULT_DOMAINS
        and attribute.name == "value"
        and attribute.HasField("t")
    )


def _subgraphs(attribute: Any) -> Iterator[tuple[str, tuple[int, int], Any]]:
    if attribute.HasField("g"):
        yield "", (6, 0), attribute.g
    for index, graph in enumerate(attribute.graphs):
        yield f"_{index}", (11, index), graph


def _add_subgraph(program: Program, node: Node, name: str, path: Path, graph: Any) -> None:
    program.scopes += 1
    label = f"{node.label}/{name}"
    if len(label) > 4 * _LABEL:
        label = f"graph_{program.scopes}"
    scope = Scope(label, path, node.scope.depth + 1, node.scope)
    _add_graph(program, scope, graph)


def _bind_calls(
    program: Program, functions: dict[tuple[str, str, str], Scope], protos: Any
) -> None:
    """Connect the inputs of each local function with those of the first node that calls it."""
    formal = {
        (text(f.domain), text(f.name), text(f.overload)): [text(name) for name in f.input]
        for f in protos
    }
    for node in program.nodes:
        key = (text(node.proto.domain), text(node.proto.op_type), text(node.proto.overload))
        scope = functions.get(key)
        if scope is None or scope.bindings:
            continue
        actual = [text(name) for name in node.proto.input]
        scope.bindings = {f: (node.scope, a) for f, a in zip(formal[key], actual, strict=False)}


def resolve(scope: Scope, name: str, hops: int = 64) -> Site | Node | None:
    """Return the tensor or the node that `name` means in `scope`; None for inputs of the model."""
    place: Scope | None = scope
    while place is not None and name and hops > 0:
        hops -= 1
        found = place.sites.get(name) or place.producers.get(name)
        if found is not None:
            return found
        if name in place.bindings:
            place, name = place.bindings[name]
        elif name in place.inputs:
            return None
        else:
            place = place.outer
    return None
