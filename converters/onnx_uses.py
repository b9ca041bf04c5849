"""What the tensors of an ONNX model are for: weights, biases, norms, indices.

Sister files: onnx_roles.py (the table of operators), onnx_trace.py (from an input back to a
tensor), dcformat/model.py (Use).
"""

from __future__ import annotations

from collections.abc import Iterator

from dcformat.ids import DType
from dcformat.model import Use

from .onnx_roles import Slot, slots_of
from .onnx_scopes import Node, Program, Scope, Site, Steps, resolve, resolve_all, text
from .onnx_trace import MAX_HOPS, Ints, Trace, is_quantizer, keeps_elements, trace
from .onnx_views import source_axis, source_order
from .onnx_wire import Path

_RANKS = {"weight": 3, "bias": 2, "norm": 2, "index": 1, "other": 0}
_INTEGERS = frozenset({DType.INT32, DType.INT64})
_REALS = frozenset({DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE})


def uses_of(program: Program, ints: Ints) -> dict[Path, Use]:
    """Return the use of each tensor that some node takes, by the tensor's path.

    `ints` gives the values of a small integer tensor. Where several nodes take a tensor, a weight
    goes before all other roles, and then the first node counts.
    """
    uses: dict[Path, Use] = {}
    steps = Steps.of(program)
    for node in program.nodes:
        for site, use in [*_own_uses(node, ints, steps), *_plain_uses(node, steps)]:
            known = uses.get(site.path)
            if known is None or _RANKS[known.role] < _RANKS[use.role]:
                uses[site.path] = use
    for path, indices in program.indices.items():
        use = uses.get(path, Use("", "", "other"))
        uses[indices.path] = Use(use.node, use.op, "index")
    return uses


def _own_uses(node: Node, ints: Ints, steps: Steps) -> Iterator[tuple[Site, Use]]:
    """Uses that the operator's table knows, or that a bias added to a layer has."""
    inputs = node.inputs
    for slot in slots_of(node):
        if slot.index >= len(inputs):
            continue
        for found in trace(node.scope, inputs[slot.index], ints, steps):
            if _applies(node, slot, found):
                yield found.site, _use_of(node, slot, found)


def _use_of(node: Node, slot: Slot, found: Trace) -> Use:
    if node.known_op == "Add":
        return Use(node.label, node.op, slot.role, layer=_layer_of(node, slot))
    if slot.role != "weight" or found.view is None:
        return Use(node.label, node.op, slot.role)
    dims = found.dims
    axis, order = slot.rule(node, len(found.view))
    return Use(
        node.label,
        node.op,
        slot.role,
        source_axis(found.view, axis, dims),
        source_order(found.view, order, len(dims)),
    )


def _applies(node: Node, slot: Slot, found: Trace) -> bool:
    """Tell whether a tensor in a slot of Gather or Add is a parameter; in others it always is."""
    if node.known_op == "Gather":
        return len(found.dims) == 2 and _is_real(found)
    if node.known_op == "Add" and len(node.proto.input) == 2:
        other = text(node.proto.input[1 - slot.index])
        wide = sum(n > 1 for n in found.dims)
        return wide <= 1 and _is_real(found) and _follows_layer(node.scope, other)
    return node.known_op != "Add"


def _layer_of(node: Node, slot: Slot) -> str:
    """Return the layer whose output an Add takes as it is, "" where it takes something else."""
    other = resolve(node.scope, text(node.proto.input[1 - slot.index]))
    layer = isinstance(other, Node) and any(s.role == "weight" for s in slots_of(other))
    return other.label if layer and isinstance(other, Node) else ""


def _is_real(found: Trace) -> bool:
    dequantized = any(node.known_op == "DequantizeLinear" for node in found.passed)
    return dequantized or found.site.proto.data_type in _REALS


def _follows_layer(scope: Scope, name: str) -> bool:
    """Tell whether a name is a layer's output, through casts, reshapes and scales."""
    for _ in range(MAX_HOPS):
        node = resolve(scope, name)
        if not isinstance(node, Node) or not node.proto.input:
            return False
        if any(slot.role == "weight" for slot in slots_of(node)):
            return True
        if not keeps_elements(node) and node.known_op != "Mul":
            return False
        scope, name = node.scope, text(node.proto.input[0])
    return False


def _plain_uses(node: Node, steps: Steps) -> Iterator[tuple[Site, Use]]:
    """Uses that say only which node takes the tensor, and whether it is an index."""
    for name in node.inputs:
        for site in resolve_all(node.scope, name, steps):
            if isinstance(site, Site):
                index = site.proto.data_type in _INTEGERS and not is_quantizer(node)
                yield site, Use(node.label, node.op, "index" if index else "other")
