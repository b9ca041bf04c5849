"""What an ONNX graph costs to run: multiplications, bytes, memory, node by node and in all.

Sister files: onnx_compute_shapes.py (shapes), onnx_compute_ops.py (MACs by operator),
onnx_compute_memory.py (the peak), onnx_compute_pairs.py. No number of a weight is needed.

Definitions. A *MAC* is one multiplication of two elements added to a sum; padding counts as if it
were multiplied, biases and elementwise arithmetic do not count. *FLOPs* are 2 * MACs. *Parameters*
are what does not depend on the inputs, in the file's own types; INT64, BOOL and strings are shapes
and indices and do not count. *Activation bytes* of a node are those of what it reads and writes but
parameters, each once, without results that nothing takes. The *intensity* is FLOPs a byte of both.

Of an If both branches are listed; the one with more MACs is in the totals. The bodies of Loop and
Scan are counted for one iteration. Nodes that compute with parameters only are done once, before:
they have no row. `complete` is False where some node is not counted or a shape is unknown: the
totals are lower bounds then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from onnx import ModelProto

from dcformat.errors import CorruptError
from dcformat.graph import decode_graph
from dcformat.model import Array

from . import onnx_wire as wire
from .onnx_compute_bodies import Body, body_of
from .onnx_compute_memory import Peak, peak_of
from .onnx_compute_ops import Product, Shapes, UnknownShapeError, is_free, rule_of
from .onnx_compute_pairs import Pair, pairs_of
from .onnx_compute_shapes import (
    Shape,
    fix_inputs,
    infer,
    inlined,
    lighten,
    parse_shapes,
    put_numbers,
)
from .onnx_compute_values import Table, Value, has_no_zero_point, table_of
from .onnx_scopes import Node, follow, program_of, text

__all__ = ["Compute", "Cost", "compute_of_graph", "compute_of_proto", "parse_shapes"]

#: Which input of an integer operator is the zero point of which other.
_ZERO_POINTS = {
    ("QLinearConv", 3): 5,
    ("ConvInteger", 1): 3,
    ("QLinearMatMul", 0): 2,
    ("QLinearMatMul", 3): 5,
    ("MatMulInteger", 0): 2,
    ("MatMulInteger", 1): 3,
}
COUNTED, FREE, NOT_COUNTED, UNKNOWN = "counted", "free", "not counted", "unknown shape"


@dataclass(frozen=True)
class Cost:
    """What one node costs; None is what cannot be told.

    `where` is the subgraph it is in, empty for the main graph. `weights` are the tensors of the
    file that it multiplies with, `skipped` the MACs in which one of their known zeros takes part.
    """

    name: str
    op: str
    where: str
    status: str
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]
    weights: tuple[str, ...]
    macs: int | None
    skipped: int | None
    parameters: int
    parameter_bytes: int
    activation_bytes: int | None
    in_total: bool = True

    @property
    def flops(self) -> int | None:
        return None if self.macs is None else 2 * self.macs

    @property
    def intensity(self) -> float | None:
        return _intensity(self.macs, self.parameter_bytes, self.activation_bytes)

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "flops": self.flops, "intensity": self.intensity}


@dataclass(frozen=True)
class Compute:
    """What a graph costs; the totals leave out what `in_total` says, and what is not known."""

    layers: tuple[Cost, ...]
    parameters: int
    parameter_bytes: int
    peak: Peak
    separable: tuple[Pair, ...]
    assumed: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def macs(self) -> int:
        return sum(c.macs or 0 for c in self._counted)

    @property
    def skipped(self) -> int:
        return sum(c.skipped or 0 for c in self._counted)

    @property
    def activation_bytes(self) -> int:
        return sum(c.activation_bytes or 0 for c in self._counted)

    @property
    def complete(self) -> bool:
        return all(c.status in (COUNTED, FREE) for c in self.layers)

    @property
    def intensity(self) -> float | None:
        return _intensity(self.macs, self.parameter_bytes, self.activation_bytes)

    @property
    def _counted(self) -> list[Cost]:
        return [c for c in self.layers if c.in_total]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        peak = {**asdict(self.peak), "node": self.peak.node or None}
        peak["tensors"] = [
            {"name": name, "shape": shape, "bytes": size} for name, shape, size in self.peak.tensors
        ]
        return {
            "macs": self.macs,
            "flops": 2 * self.macs,
            "complete": self.complete,
            "skipped": self.skipped,
            "parameters": self.parameters,
            "parameter_bytes": self.parameter_bytes,
            "activation_bytes": self.activation_bytes,
            "intensity": self.intensity,
            "peak": peak,
            "layers": [cost.as_dict() for cost in self.layers],
            "separable": [{**asdict(p), "macs": p.macs} for p in self.separable],
            "assumed": self.assumed,
            "notes": self.notes,
        }


def _intensity(macs: int | None, parameters: int, activations: int | None) -> float | None:
    if macs is None or activations is None or not parameters + activations:
        return None
    return 2 * macs / (parameters + activations)


def compute_of_graph(
    data: bytes,
    names: Sequence[str],
    value_of: Callable[[int], Array | None],
    shapes: Mapping[str, Shape] | None = None,
    zeros: Mapping[str, int] | None = None,
) -> Compute:
    """Return what the graph of a section GRAPH costs (dcformat.model.Graph.data).

    `names` are those of the file's tensors; `value_of(index)` gives the elements of a small one,
    None where it cannot be had. `shapes` are those of inputs, `zeros` how many a tensor has.
    Raises ConvertError or CorruptError.
    """
    holes, skeleton = decode_graph(data, len(names))
    owners = wire.holders(
        skeleton, found := wire.scan_skeleton(skeleton), [h.position for h in holes]
    )
    try:
        model = ModelProto.FromString(skeleton)
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise CorruptError("the graph is not a ModelProto") from error
    stored = {}
    for hole, owner in zip(holes, owners, strict=True):
        path = found.tensors[owner].path
        stored[path] = names[hole.tensor]
        put_numbers(follow(model, path), partial(value_of, hole.tensor))
    return _compute(model, stored, shapes or {}, zeros or {})


def compute_of_proto(
    model: Any,
    shapes: Mapping[str, Shape] | None = None,
    zeros: Mapping[str, int] | None = None,
) -> Compute:
    """Return what an onnx.ModelProto costs; see compute_of_graph. The model is not changed."""
    return _compute(lighten(model), {}, shapes or {}, zeros or {})


def _compute(
    model: Any,
    stored: Mapping[wire.Path, str],
    shapes: Mapping[str, Shape],
    zeros: Mapping[str, int],
) -> Compute:
    for site in program_of(model).sites:  # functions' tensors are known by it once they moved
        site.proto.doc_string = stored.get(site.path, site.name)
    model = inlined(model)
    assumed = fix_inputs(model, shapes)
    model = infer(model)
    program = program_of(model)
    body = body_of(model, program)
    table = table_of(model, program, body)
    return _result(table, body, zeros, assumed)


@dataclass(eq=False)
class _Count:
    """Walks the graphs of a model and collects rows and notes."""

    table: Table
    zeros: Mapping[str, int]
    notes: list[str] = field(default_factory=list)

    def rows(self, body: Body, in_total: bool = True) -> Iterator[Cost]:
        """Yield the rows of a graph and of those inside of it, in order."""
        for node in body.nodes:
            if id(node) in self.table.constant:
                continue
            yield replace(_cost(self.table, node, self.zeros), in_total=in_total)
            inner = [list(self.rows(b, in_total)) for b in body.inner_of(node)]
            if inner:
                self._note(node, body.inner_of(node), inner)
            chosen = _chosen(node, inner)
            for number, rows in enumerate(inner):
                left_out = chosen is not None and number != chosen
                yield from (replace(r, in_total=False) if left_out else r for r in rows)

    def _note(self, node: Node, bodies: Sequence[Body], rows: Sequence[Sequence[Cost]]) -> None:
        if node.known_op == "If":
            each = (f"{b.attribute} {_told(r)}" for b, r in zip(bodies, rows, strict=True))
            self.notes.append(f"{node.label}: {', '.join(each)}; the larger is in the totals")
        else:
            self.notes.append(f"{node.label}: {node.op} counted for one iteration")


def _told(rows: Sequence[Cost]) -> str:
    whole = all(row.status in (COUNTED, FREE) for row in rows)
    return f"{'' if whole else 'at least '}{_macs(rows)} MACs"


def _macs(rows: Iterable[Cost]) -> int:
    return sum(row.macs or 0 for row in rows if row.in_total)


def _chosen(node: Node, inner: Sequence[Sequence[Cost]]) -> int | None:
    """Return which branch of an If counts; None where all graphs do."""
    if node.known_op != "If" or not inner:
        return None
    return max(range(len(inner)), key=lambda number: _macs(inner[number]))


def _cost(table: Table, node: Node, zeros: Mapping[str, int]) -> Cost:
    inputs, outputs = table.inputs(node), table.outputs(node)
    at = Shapes(node, *(tuple(v.fact.shape if v else None for v in vs) for vs in (inputs, outputs)))
    status, products = _products(at)
    constants = {v.key: v for v in inputs if v and v.constant}.values()
    weights = _weights(products or [], inputs)
    return Cost(
        name=node.label,
        op=node.op,
        where=node.scope.label,
        status=status,
        inputs=at.inputs,
        outputs=at.outputs,
        weights=tuple(dict.fromkeys(_stored_name(v) for _, v in weights if v.stored)),
        macs=None if products is None else sum(p.macs for p in products),
        skipped=None if products is None else sum(_skipped(node, p, v, zeros) for p, v in weights),
        parameters=sum(v.parameters for v in constants),
        parameter_bytes=sum(v.parameter_bytes for v in constants),
        activation_bytes=_activation_bytes(table, [*inputs, *outputs]),
    )


def _products(at: Shapes) -> tuple[str, list[Product] | None]:
    rule = rule_of(at.node)
    if rule is None:
        return (FREE, []) if is_free(at.node) else (NOT_COUNTED, None)
    try:
        return COUNTED, rule(at)
    except UnknownShapeError:
        return UNKNOWN, None


def _weights(
    products: Sequence[Product], inputs: Sequence[Value | None]
) -> list[tuple[Product, Value]]:
    """Return the parameters that are multiplied, each with the product it is in."""
    pairs = [(p, inputs[i]) for p in products for i in p.operands if i < len(inputs)]
    return [(product, value) for product, value in pairs if value and value.constant]


def _stored_name(value: Value) -> str:
    return text(value.stored.proto.doc_string) if value.stored else ""


def _skipped(node: Node, product: Product, value: Value, zeros: Mapping[str, int]) -> int:
    """Return the MACs of a product in which a zero of a weight takes part."""
    point = _ZERO_POINTS.get((node.known_op, node.inputs.index(value.name)))
    if not value.exact_zero or (point and not has_no_zero_point(node, point)):
        return 0
    elements = value.fact.elements or 0
    known = zeros.get(_stored_name(value), 0)
    return product.macs * min(known, elements) // elements if elements else 0


def _activation_bytes(table: Table, values: Iterable[Value | None]) -> int | None:
    sizes = {v.key: v.fact.size for v in values if v and not v.constant and v.key in table.taken}
    return None if None in sizes.values() else sum(size or 0 for size in sizes.values())


def _parameters(table: Table) -> list[Value]:
    """Return the parameters that nodes read, each tensor of the file once."""
    found: dict[Any, Value] = {}
    for node in table.program.nodes:
        if id(node) not in table.constant:
            for value in table.inputs(node):
                if value and value.constant:
                    found.setdefault(id(value.stored) if value.stored else value.key, value)
    return list(found.values())


def _result(table: Table, body: Body, zeros: Mapping[str, int], assumed: Sequence[str]) -> Compute:
    count = _Count(table, zeros)
    rows = tuple(count.rows(body))
    parameters = _parameters(table)
    return Compute(
        layers=rows,
        parameters=sum(v.parameters for v in parameters),
        parameter_bytes=sum(v.parameter_bytes for v in parameters),
        peak=peak_of(table, body),
        separable=tuple(pairs_of(table)),
        assumed=tuple(assumed),
        notes=(*count.notes, *_open_questions(rows)),
    )


def _open_questions(rows: Sequence[Cost]) -> Iterator[str]:
    """Yield a line for each operator that is not counted, and one for unknown shapes."""
    for op, times in Counter(r.op for r in rows if r.status == NOT_COUNTED).items():
        yield f"{op}: not counted ({times} nodes)"
    unknown = sum(r.activation_bytes is None for r in rows)
    if unknown:
        yield f"{unknown} nodes take or give values of unknown shape"
