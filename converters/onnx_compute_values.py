"""Values of an ONNX graph as costs need them: shape, type, and which of them are parameters.

Sister files: onnx_scopes.py (names), onnx_compute_shapes.py (shapes), onnx_compute.py (asks). A
value is a *parameter* if it does not depend on the model's inputs: an initializer, a Constant, and
what is computed of these alone. All others are *activations*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnx import numpy_helper

from dcformat.ids import BITS, DType

from .onnx_compute_bodies import Body
from .onnx_compute_shapes import UNKNOWN, Fact, facts_of
from .onnx_scopes import Node, Program, Scope, Site, follow, resolve, text
from .onnx_trace import keeps_elements

_MAX_HOPS = 16
_RANDOM = frozenset(
    [
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
    ]
)
_NO_PARAMETERS = frozenset({0, 7, 8, 9})  # unknown, INT64, STRING, BOOL: shapes, axes, indices


@dataclass(frozen=True)
class Value:
    """A value that a node takes or gives; `place` is the scope that defines it.

    `stored` is the tensor of the file that it is made of without other arithmetic than
    quantization, None where there is none.
    """

    name: str
    place: int
    fact: Fact
    constant: bool
    stored: Site | None = None
    exact_zero: bool = True  # a stored 0 means 0: no zero point moves it

    @property
    def key(self) -> tuple[int, str]:
        """What tells it from all other values of the model."""
        return self.place, self.name

    @property
    def parameter_bytes(self) -> int:
        """Bytes in the file's own type; those of shapes, axes and indices are not counted."""
        kind = self.stored.proto.data_type if self.stored else self.fact.kind
        elements = self.fact.elements
        if elements is None or self.fact.kind in _NO_PARAMETERS or kind not in BITS:
            return 0
        return -(-elements * BITS[DType(kind)] // 8)

    @property
    def parameters(self) -> int:
        """Elements, where they are parameters and not shapes, axes or indices."""
        return 0 if self.fact.kind in _NO_PARAMETERS else self.fact.elements or 0


@dataclass(eq=False)
class Table:
    """Facts of all values of a program, by scope and name."""

    program: Program
    facts: dict[int, Mapping[str, Fact]] = field(default_factory=dict)
    constant: set[int] = field(default_factory=set)  # ids of nodes
    taken: set[tuple[int, str]] = field(default_factory=set)  # keys of values that are of use
    _known: dict[tuple[int, str], Value] = field(default_factory=dict)

    def inputs(self, node: Node) -> list[Value | None]:
        """Return the values that a node takes, in order; None for inputs left out."""
        return [self.value(node.scope, name) if name else None for name in node.inputs]

    def outputs(self, node: Node) -> list[Value]:
        """Return the values that a node gives, without those left out."""
        names = [text(name) for name in node.proto.output if name]
        return [self.value(node.scope, name) for name in names]

    def results(self, body: Body) -> list[Value]:
        """Return the outputs of a graph."""
        return [self.value(body.scope, name) for name in body.outputs]

    def value(self, scope: Scope, name: str) -> Value:
        """Return what `name` is where a node of `scope` says it."""
        known = self._known.get((id(scope), name))
        if known is None:
            known = self._known[id(scope), name] = self._value(scope, name)
        return known

    def _value(self, scope: Scope, name: str) -> Value:
        place = _home(scope, name)
        found = resolve(scope, name)
        constant = isinstance(found, Site) or id(found) in self.constant
        fact = self.facts.get(id(place), {}).get(name, UNKNOWN)
        stored, exact = _stored(found) if constant else (None, True)
        if isinstance(found, Site):
            fact = Fact(found.proto.data_type, tuple(found.dims))
        return Value(name, id(place), fact, constant, stored, exact)


def table_of(model: Any, program: Program, main: Body) -> Table:
    """Return the table of an onnx.ModelProto with inferred shapes, of its program and graphs."""
    table = Table(program)
    for body in main.all():
        table.facts[id(body.scope)] = facts_of(follow(model, body.scope.path))
    for node in program.nodes:
        if _is_constant(table, node):
            table.constant.add(id(node))
    for body in main.all():
        table.taken.update(value.key for value in table.results(body))
    for node in program.nodes:
        table.taken.update(value.key for value in table.inputs(node) if value)
    return table


def _is_constant(table: Table, node: Node) -> bool:
    if node.known_op in _RANDOM or any(a.HasField("g") or a.graphs for a in node.proto.attribute):
        return False
    found = (resolve(node.scope, name) for name in node.inputs if name)
    return all(isinstance(f, Site) or id(f) in table.constant for f in found)


def _home(scope: Scope, name: str) -> Scope:
    """Return the innermost scope that defines a name."""
    place: Scope | None = scope
    while place is not None:
        if name in place.sites or name in place.producers or name in place.inputs:
            return place
        place = place.outer
    return scope


def _stored(found: Site | Node | None) -> tuple[Site | None, bool]:
    """Return the tensor that a constant is, seen through quantizers and changes of shape.

    And whether its zeros are zeros on the way: a zero point that is not 0 makes others of them.
    """
    exact = True
    for _ in range(_MAX_HOPS):
        if isinstance(found, Site):
            return found, exact
        if found is None or not keeps_elements(found) or not found.proto.input:
            break
        exact = exact and has_no_zero_point(found, 2)
        found = resolve(found.scope, found.inputs[0])
    return None, exact


def has_no_zero_point(node: Node, index: int) -> bool:
    """Tell whether the zero point that input number `index` may be is 0, or is left out."""
    if "Quant" not in node.op and "Linear" not in node.op and "Integer" not in node.op:
        return True
    name = node.inputs[index] if index < len(node.inputs) else ""
    return not name or _is_zero(resolve(node.scope, name))


def _is_zero(found: Site | Node | None) -> bool:
    """Tell whether all numbers of a tensor are there and 0."""
    if isinstance(found, Node):
        return False
    try:
        return found is not None and not numpy_helper.to_array(found.proto).any()
    except (ValueError, TypeError, KeyError):  # its numbers are not here
        return False
