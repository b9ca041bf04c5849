"""Follow a node's input back to the tensors it is made of, through nodes that only rearrange.

Sister files: onnx_scopes.py (names), onnx_views.py (axes), onnx_uses.py (asks). Quantization is
followed too: a weight that is stored as integers, or rounded on the way, is the weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

from dcformat.ids import MAX_RANK

from .onnx_scopes import Node, Scope, Site, Steps, resolve, resolve_all, text
from .onnx_views import View, identity, reshaped, squeezed, transposed, unsqueezed

MAX_HOPS = 8
_MAX_VISITS = 64  # of nodes for one input: a Concat leads to many

Ints = Callable[[Site], Union[list[int], None]]

_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast", "CastLike"})
_BREVITAS = frozenset({"Quant", "BipolarQuant", "IntQuant", "FloatQuant", "Trunc"})
_BREVITAS_DOMAINS = ("onnx.brevitas", "qonnx", "finn")
_RESHAPERS = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_CUTTERS = frozenset({"Slice", "Split", "Concat"})


@dataclass(frozen=True)
class Trace:
    """A tensor that reaches a node: its axes as the node sees them, and the nodes between."""

    site: Site
    view: View
    passed: tuple[Node, ...]  # the last is the nearest to the tensor

    @property
    def dims(self) -> list[int]:
        """Dimensions of the tensor itself."""
        return self.site.dims


def is_quantizer(node: Node) -> bool:
    """Tell whether a node only changes how its first input's numbers are represented."""
    if node.domain.startswith(_BREVITAS_DOMAINS):
        return text(node.proto.op_type) in _BREVITAS
    return node.known_op in _QUANTIZERS


def keeps_elements(node: Node) -> bool:
    """Tell whether a node's output has the elements of its first input, none less or more."""
    return node.known_op in _RESHAPERS or node.known_op == "Identity" or is_quantizer(node)


def trace(scope: Scope, name: str, ints: Ints, steps: Steps) -> list[Trace]:
    """Return the tensors that `name` is made of; none where it is computed or given.

    `ints` gives the values of a small integer tensor. A function's input is made of what each of
    its callers gives, while `steps` last.
    """
    result: list[Trace] = []
    waiting: list[tuple[Scope, str, tuple[Node, ...]]] = [(scope, name, ())]
    for _ in range(_MAX_VISITS):
        if not waiting:
            break
        place, wanted, passed = waiting.pop()
        for found in resolve_all(place, wanted, steps):
            if isinstance(found, Site):
                if len(found.dims) <= MAX_RANK:
                    result.append(Trace(found, _seen(found, passed, ints), passed))
            elif len(passed) < MAX_HOPS:
                waiting += [(found.scope, n, (*passed, found)) for n in reversed(_followed(found))]
    return result


def _followed(node: Node) -> list[str]:
    if node.known_op == "Concat":
        return [text(name) for name in node.proto.input[:_MAX_VISITS]]
    if node.known_op in _CUTTERS or keeps_elements(node):
        return [text(name) for name in node.proto.input[:1]]
    return []


def _seen(site: Site, passed: tuple[Node, ...], ints: Ints) -> View:
    if site.sparse is not None:  # its values have an axis of their own
        return None
    dims = site.dims
    view, whole = identity(len(dims)), True
    for node in reversed(passed):
        whole = whole and node.known_op not in _CUTTERS
        view = _seen_through(node, view, dims if whole else None, ints)
    return view


def _seen_through(node: Node, view: View, dims: list[int] | None, ints: Ints) -> View:
    """Return the view behind `node`; `dims` are None where only a part of the tensor comes."""
    op = node.known_op
    if view is None:
        return None
    if op == "Transpose":
        return transposed(view, node.numbers("perm") or [])
    if op in ("Squeeze", "Unsqueeze"):
        axes = _list_of(node, "axes", ints)
        change = squeezed if op == "Squeeze" else unsqueezed
        return change(view, axes) if axes else None
    if op == "Flatten":
        return reshaped(view, dims, _flat_shape(view, dims, node.number("axis", 1)))
    if op == "Reshape":
        shape = None if node.number("allowzero") else _list_of(node, "shape", ints)
        return reshaped(view, dims, shape)
    return view


def _flat_shape(view: View, dims: list[int] | None, axis: int) -> list[int]:
    rows = 1
    for group in (view or ())[:axis]:
        for source in group:
            rows *= dims[source] if dims else 1
    return [rows, -1]


def _list_of(node: Node, name: str, ints: Ints) -> list[int] | None:
    """Return a list of integers that is an attribute in old operator sets, an input in new."""
    if len(node.proto.input) < 2:
        return node.numbers(name)
    site = resolve(node.scope, text(node.proto.input[1]))
    return ints(site) if isinstance(site, Site) else None
