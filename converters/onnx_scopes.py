"""Graphs of an ONNX model as scopes: which tensor or node a name means at each node.

Spec: https://onnx.ai/onnx/repo-docs/IR.html (names and scopes). Sister files: onnx_uses.py (what
the tensors are for), read_onnx.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .onnx_wire import Path

_MAX_HOPS = 64  # from function to caller
_STEPS = 1 << 16  # to further callers, in all
_STEPS_A_NODE = 256
_LABEL = 200  # characters of a node's name in a label; longer names are replaced
_DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})
_KNOWN_DOMAINS = _DEFAULT_DOMAINS | {"com.microsoft"}


@dataclass(frozen=True, eq=False)
class Site:
    """A tensor that a name refers to: an initializer, or the value of a Constant node.

    Of a sparse one there are two sites: the values, and the indices, to which no node refers.
    """

    name: str
    path: Path
    proto: Any  # onnx.TensorProto
    scope: Scope
    sparse: Any = None  # onnx.SparseTensorProto

    @property
    def dims(self) -> list[int]:
        """Dimensions of the tensor as nodes see it."""
        return [int(n) for n in (self.sparse or self.proto).dims]


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


@dataclass(frozen=True, eq=False)
class Call:
    """A node that calls a function, and what it gives for each input of the function."""

    scope: Scope
    given: dict[str, str]


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
    calls: list[Call] = field(default_factory=list)


@dataclass(eq=False)
class Program:
    """All scopes of a model in one list of sites and one of nodes, in the file's order.

    `indices` are the sites of indices by the path of the values.
    """

    sites: list[Site] = field(default_factory=list)
    indices: dict[Path, Site] = field(default_factory=dict)
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
        _add_site(program, text(tensor.name), (scope.path, (5, index)), tensor, scope)
    for index, sparse in enumerate(graph.sparse_initializer):
        _add_sparse(program, text(sparse.values.name), (scope.path, (15, index)), sparse, scope)
    _add_nodes(program, scope, graph.node, 1)


def _add_site(
    program: Program, name: str, path: Path, proto: Any, scope: Scope, sparse: Any = None
) -> None:
    site = Site(name, path, proto, scope, sparse)
    program.sites.append(site)
    if name:
        scope.sites.setdefault(name, site)


def _add_sparse(program: Program, name: str, path: Path, sparse: Any, scope: Scope) -> None:
    if not (sparse.HasField("values") and sparse.HasField("indices")):
        return
    _add_site(program, name, (path, (1, 0)), sparse.values, scope, sparse)
    label = f"{name}/indices" if name else ""
    indices = Site(label, (path, (2, 0)), sparse.indices, scope, sparse)
    program.sites.append(indices)
    program.indices[path, (1, 0)] = indices


def _add_nodes(program: Program, scope: Scope, nodes: Any, number: int) -> None:
    for index, proto in enumerate(nodes):
        node = Node(proto, index, (scope.path, (number, index)), scope)
        program.nodes.append(node)
        for output in proto.output:
            scope.producers.setdefault(text(output), node)
        for place, attribute in enumerate(proto.attribute):
            path = (node.path, (5, place))
            output = text(proto.output[0]) if proto.output else ""
            if _is_constant(proto, attribute, "value", "t"):
                _add_site(program, output, (path, (5, 0)), attribute.t, scope)
            if _is_constant(proto, attribute, "sparse_value", "sparse_tensor"):
                _add_sparse(program, output, (path, (22, 0)), attribute.sparse_tensor, scope)
            for suffix, step, graph in _subgraphs(attribute):
                _add_subgraph(program, node, text(attribute.name) + suffix, (path, step), graph)


def _is_constant(node: Any, attribute: Any, name: str, kind: str) -> bool:
    return (
        node.op_type == "Constant"
        and node.domain in _DEFAULT_DOMAINS
        and attribute.name == name
        and attribute.HasField(kind)
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
    """Note at each local function the nodes that call it, and with what."""
    formal = {
        (text(f.domain), text(f.name), text(f.overload)): [text(name) for name in f.input]
        for f in protos
    }
    for node in program.nodes:
        key = (text(node.proto.domain), text(node.proto.op_type), text(node.proto.overload))
        scope = functions.get(key)
        if scope is not None:
            given = dict(zip(formal[key], node.inputs, strict=False))
            scope.calls.append(Call(node.scope, given))


@dataclass(eq=False)
class Steps:
    """How many callers, beside the first one of each function, may still be followed.

    Functions that call each other twice would otherwise be followed without end.
    """

    left: int

    @staticmethod
    def of(program: Program) -> Steps:
        """Return as many steps as a model of this size needs."""
        return Steps(_STEPS + _STEPS_A_NODE * len(program.nodes))


def resolve(scope: Scope, name: str) -> Site | Node | None:
    """Return the tensor or the node that `name` means in `scope`; None for inputs of the model.

    In a function this is what the first of its callers gives.
    """
    found = resolve_all(scope, name, Steps(0))
    return found[0] if found else None


def resolve_all(scope: Scope, name: str, steps: Steps) -> list[Site | Node]:
    """Return what `name` means in `scope`, for each caller of a function while `steps` last."""
    result: list[Site | Node] = []
    waiting = [(scope, name, _MAX_HOPS)]
    while waiting:
        place, wanted, hops = waiting.pop()
        found, function = _look_up(place, wanted)
        if found is not None:
            result.append(found)
        elif function is not None and hops:
            calls = [c for c in function.calls if wanted in c.given][: 1 + steps.left]
            steps.left -= max(0, len(calls) - 1)
            waiting += [(c.scope, c.given[wanted], hops - 1) for c in reversed(calls)]
    return result


def _look_up(scope: Scope, name: str) -> tuple[Site | Node | None, Scope | None]:
    """Return what `name` is in `scope` or outside of it, or the function whose input it is."""
    place: Scope | None = scope if name else None
    while place is not None:
        found = place.sites.get(name) or place.producers.get(name)
        if found is not None:
            return found, None
        if name in place.inputs:
            return None, place
        place = place.outer
    return None, None
