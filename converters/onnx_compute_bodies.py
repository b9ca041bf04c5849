"""The graphs of a model as a tree: the main one, and those inside of If, Loop and Scan.

Sister files: onnx_scopes.py (names), onnx_compute.py and onnx_compute_memory.py (walk it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .onnx_scopes import Node, Program, Scope, text
from .onnx_wire import Path


@dataclass(frozen=True, eq=False)
class Body:
    """One graph: its nodes, the names of its inputs and outputs, the graphs that its nodes hold.

    `attribute` is the name of the attribute that holds it, empty for the main graph.
    """

    attribute: str
    scope: Scope
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    inner: Mapping[int, tuple[Body, ...]]  # by id of the node

    def inner_of(self, node: Node) -> tuple[Body, ...]:
        """Return the graphs that a node of this body holds."""
        return self.inner.get(id(node), ())

    def all(self) -> Iterator[Body]:
        """Yield this graph and all inside of it."""
        yield self
        for bodies in self.inner.values():
            for body in bodies:
                yield from body.all()


def body_of(model: Any, program: Program) -> Body:
    """Return the main graph of a model without local functions."""
    nodes: dict[Path, list[Node]] = {}
    for node in program.nodes:
        nodes.setdefault(node.scope.path, []).append(node)
    main = Scope("", ((), (7, 0)), 0)
    return _body("", model.graph, main, nodes)


def _body(attribute: str, graph: Any, empty: Scope, nodes: Mapping[Path, list[Node]]) -> Body:
    """Return one graph; `empty` is its scope if no node is in it."""
    own = nodes.get(empty.path, [])
    scope = own[0].scope if own else empty
    return Body(
        attribute,
        scope,
        tuple(own),
        tuple(text(value.name) for value in graph.input),
        tuple(text(value.name) for value in graph.output),
        {id(node): found for node in own if (found := tuple(_inner(node, nodes)))},
    )


def _inner(node: Node, nodes: Mapping[Path, list[Node]]) -> Iterator[Body]:
    for place, attribute in enumerate(node.proto.attribute):
        held = [((6, 0), attribute.g)] if attribute.HasField("g") else []
        held += [((11, index), graph) for index, graph in enumerate(attribute.graphs)]
        for step, graph in held:
            path: Path = ((node.path, (5, place)), step)
            inside = frozenset(text(value.name) for value in graph.input)
            empty = Scope(node.label, path, node.scope.depth + 1, node.scope, inputs=inside)
            yield _body(text(attribute.name), graph, empty, nodes)
