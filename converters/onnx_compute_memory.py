"""How much memory activations take at once, in the order of the graph's nodes.

Sister file: onnx_compute.py (asks). An input of the graph lives from the start, any other value
from the node that gives it, until the last node that takes it; outputs of the graph live until the
end. A node's inputs and outputs are alive together: nothing is assumed to be written in place.
Parameters are not counted, nor results that nothing takes. A node with subgraphs takes, while it
runs, what its largest subgraph does. Sizes are those of the values, without padding or a runtime's
own buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .onnx_compute_bodies import Body
from .onnx_compute_shapes import Shape
from .onnx_compute_values import Table, Value
from .onnx_scopes import Node

_SHOWN = 16


@dataclass(frozen=True)
class Peak:
    """The most bytes that live at once, at which node, and the largest of them.

    Not `complete`: some value's size is unknown, so that the bytes are a lower bound.
    """

    bytes: int = 0
    node: str = ""
    tensors: tuple[tuple[str, Shape, int], ...] = ()
    complete: bool = True


@dataclass(eq=False)
class _Alive:
    """What is in memory while the nodes of one graph are gone through."""

    values: dict[tuple[int, str], Value] = field(default_factory=dict)
    bytes: int = 0

    def add(self, value: Value) -> None:
        if value.key not in self.values:
            self.values[value.key] = value
            self.bytes += value.fact.size or 0

    def drop(self, key: tuple[int, str]) -> None:
        value = self.values.pop(key, None)
        self.bytes -= (value.fact.size or 0) if value else 0


def peak_of(table: Table, body: Body) -> Peak:
    """Return the peak of one graph."""
    alive, best = _Alive(), Peak()
    last = _last_uses(table, body)
    for name in body.inputs:
        value = table.value(body.scope, name)
        if not value.constant and value.key in last:
            alive.add(value)
    complete = all(v.fact.size is not None for v in alive.values.values())
    for index, node in enumerate(body.nodes):
        if id(node) in table.constant:
            continue
        outputs = [v for v in table.outputs(node) if v.key in table.taken]
        complete = complete and all(v.fact.size is not None for v in outputs)
        for value in outputs:
            alive.add(value)
        inner = [peak_of(table, b) for b in body.inner_of(node)]
        complete = complete and all(p.complete for p in inner)
        best = _larger(best, alive, node, max(inner, key=lambda p: p.bytes, default=Peak()))
        for key in _ended(_taken(table, node, body), outputs, last, index):
            alive.drop(key)
    return Peak(best.bytes, best.node, best.tensors, complete)


def _larger(best: Peak, alive: _Alive, node: Node, inner: Peak) -> Peak:
    total = alive.bytes + inner.bytes
    if total <= best.bytes:
        return best
    shown = [(v.name, v.fact.shape or (), v.fact.size or 0) for v in alive.values.values()]
    shown += inner.tensors
    shown.sort(key=lambda item: (-item[2], item[0]))
    return Peak(total, inner.node or node.label, tuple(shown[:_SHOWN]))


def _last_uses(table: Table, body: Body) -> dict[tuple[int, str], int]:
    """Return the index of the last node that takes each value; outputs are taken after all."""
    last: dict[tuple[int, str], int] = {}
    for index, node in enumerate(body.nodes):
        for value in _taken(table, node, body):
            last[value.key] = index
    for value in table.results(body):
        last[value.key] = len(body.nodes)
    return last


def _taken(table: Table, node: Node, body: Body) -> Iterator[Value]:
    """Yield what a node takes, and what its subgraphs take from outside."""
    yield from (v for v in table.inputs(node) if v is not None)
    for inner in body.inner_of(node):
        for child in inner.nodes:
            yield from _taken(table, child, inner)
        yield from table.results(inner)


def _ended(
    taken: Iterable[Value], outputs: list[Value], last: dict[tuple[int, str], int], index: int
) -> Iterator[tuple[int, str]]:
    """Yield what nothing takes after node number `index`."""
    for value in [*taken, *outputs]:
        if last.get(value.key, -1) <= index:
            yield value.key
