"""What the tensors of an ONNX model are for: weights, biases, norms, indices.

Spec: https://onnx.ai/onnx/operators (default domain) and onnxruntime's ContribOperators.md
(com.microsoft). Sister files: onnx_scopes.py (names), onnx_views.py (axes), dcformat/model.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Union

from dcformat.ids import MAX_RANK, DType
from dcformat.model import Use

from .onnx_scopes import Node, Program, Scope, Site, resolve, text
from .onnx_views import View, identity, reshaped, source_axis, source_order, transposed
from .onnx_wire import Path

MAX_HOPS = 8

_RANKS = {"weight": 3, "bias": 2, "norm": 2, "index": 1, "other": 0}
_INTEGERS = frozenset({DType.INT32, DType.INT64})
_REALS = frozenset({DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE})

Axes = tuple[Union[int, None], Union[tuple[int, ...], None]]  # out_axis, order: as in Use
Rule = Callable[[Node, int], Axes]
Ints = Callable[[Site], Union[list[int], None]]


@dataclass(frozen=True)
class _Slot:
    """Input number `index` of an operator has this role; `rule` gives its axes from its rank."""

    index: int
    role: str
    rule: Rule


@dataclass(frozen=True)
class _Trace:
    """A tensor that reaches a node, as the node sees it."""

    site: Site
    view: View
    passed: tuple[Node, ...]


def _number(node: Node, name: str, default: int = 0) -> int:
    for attribute in node.proto.attribute:
        if attribute.name == name:
            return int(attribute.i)
    return default


def _plain(node: Node, rank: int) -> Axes:
    return None, None


def _first(node: Node, rank: int) -> Axes:
    return 0 if rank else None, None


def _conv(node: Node, rank: int) -> Axes:
    """OIHW, walked as OHWI; with any number of spatial axes."""
    return (0, (0, *range(2, rank), 1)) if rank > 2 else (None, None)


def _conv_transpose(node: Node, rank: int) -> Axes:
    """IOHW, walked as OHWI; with groups, axis 1 counts the channels of one group only."""
    if rank <= 2 or _number(node, "group", 1) != 1:
        return None, None
    return 1, (*range(1, rank), 0)


def _columns(rank: int) -> Axes:
    """[.., in, out], walked as [.., out, in]."""
    if rank < 2:
        return None, None
    return rank - 1, (*range(rank - 2), rank - 1, rank - 2)


def _rows(rank: int) -> Axes:
    """[.., out, in]."""
    return (rank - 2, None) if rank >= 2 else (None, None)


def _right(node: Node, rank: int) -> Axes:
    return _rows(rank) if _number(node, "transB") else _columns(rank)


def _left(node: Node, rank: int) -> Axes:
    return _columns(rank) if _number(node, "transA") else _rows(rank)


def _recurrent(node: Node, rank: int) -> Axes:
    """[directions, gates * hidden, input]."""
    return (1, None) if rank == 3 else (None, None)


def _weight(index: int, rule: Rule) -> _Slot:
    return _Slot(index, "weight", rule)


def _each(role: str, *indices: int) -> tuple[_Slot, ...]:
    return tuple(_Slot(index, role, _plain) for index in indices)


_MATMUL = (_weight(0, _left), _weight(1, _right))
_RNN = (_weight(1, _recurrent), _weight(2, _recurrent), *_each("bias", 3))
_CONV = (_weight(1, _conv), *_each("bias", 2))

_ONNX: dict[str, tuple[_Slot, ...]] = {
    "Conv": _CONV,
    "ConvInteger": (_weight(1, _conv),),
    "QLinearConv": (_weight(3, _conv), *_each("bias", 8)),
    "DeformConv": (_weight(1, _conv), *_each("bias", 3)),
    "ConvTranspose": (_weight(1, _conv_transpose), *_each("bias", 2)),
    "Gemm": (*_MATMUL, *_each("bias", 2)),
    "MatMul": _MATMUL,
    "MatMulInteger": _MATMUL,
    "QLinearMatMul": (_weight(0, _left), _weight(3, _right)),
    "LSTM": _RNN,
    "GRU": _RNN,
    "RNN": _RNN,
    "BatchNormalization": _each("norm", 1, 2, 3, 4),
    "LayerNormalization": _each("norm", 1, 2),
    "InstanceNormalization": _each("norm", 1, 2),
    "GroupNormalization": _each("norm", 1, 2),
    "RMSNormalization": _each("norm", 1),
    "SimplifiedLayerNormalization": _each("norm", 1),
}

_MICROSOFT: dict[str, tuple[_Slot, ...]] = {
    "FusedConv": _CONV,
    "FusedMatMul": _MATMUL,
    "FusedGemm": (*_MATMUL, *_each("bias", 2)),
    "GemmFastGelu": (_weight(1, _right), *_each("bias", 2)),
    "QGemm": (_weight(0, _left), _weight(3, _right), *_each("bias", 6)),
    "MatMulIntegerToFloat": (_weight(1, _right), *_each("bias", 6)),
    "DynamicQuantizeMatMul": (_weight(1, _right), *_each("bias", 4)),
    "MatMulNBits": (_weight(1, _first),),
    "DynamicQuantizeLSTM": (_weight(1, _plain), _weight(2, _plain), *_each("bias", 3)),
    "Attention": (_weight(1, _right), *_each("bias", 2)),
    "QAttention": (_weight(1, _right), *_each("bias", 2)),
    "MultiHeadAttention": _each("bias", 3),
    "EmbedLayerNormalization": (
        *(_weight(index, _first) for index in (2, 3, 4)),
        *_each("norm", 5, 6),
    ),
    "SkipLayerNormalization": (*_each("norm", 2, 3), *_each("bias", 4)),
    "SkipSimplifiedLayerNormalization": (*_each("norm", 2), *_each("bias", 3)),
    "GroupNorm": _each("norm", 1, 2),
    "BiasGelu": _each("bias", 1),
    "FastGelu": _each("bias", 1),
}

_TABLES = {"": _ONNX, "ai.onnx": _ONNX, "com.microsoft": _MICROSOFT}

_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast", "CastLike"})
_RESHAPERS = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_BREVITAS = frozenset({"Quant", "BipolarQuant", "IntQuant", "FloatQuant", "Trunc"})


def _short_op(node: Node) -> str:
    """Return the operator's name if it is ONNX's or onnxruntime's own, else ""."""
    return text(node.proto.op_type) if text(node.proto.domain) in _TABLES else ""


def _is_quantizer(node: Node) -> bool:
    domain = text(node.proto.domain)
    if domain.startswith(("onnx.brevitas", "qonnx", "finn")):
        return text(node.proto.op_type) in _BREVITAS
    return _short_op(node) in _QUANTIZERS


def _passes(node: Node) -> bool:
    return _short_op(node) in _RESHAPERS | {"Identity"} or _is_quantizer(node)


def uses_of(program: Program, ints: Ints) -> dict[Path, Use]:
    """Return the use of each tensor that some node takes, by the tensor's path.

    `ints` gives the values of a small integer tensor. Where several nodes take a tensor, a weight
    goes before all other roles, and then the first node counts.
    """
    uses: dict[Path, Use] = {}
    for node in program.nodes:
        for site, use in [*_own_uses(node, ints), *_plain_uses(node)]:
            known = uses.get(site.path)
            if known is None or _RANKS[known.role] < _RANKS[use.role]:
                uses[site.path] = use
    return uses


def _own_uses(node: Node, ints: Ints) -> Iterator[tuple[Site, Use]]:
    """Uses that the operator's table knows, or that a bias added to a layer has."""
    slots = _TABLES.get(text(node.proto.domain), {}).get(text(node.proto.op_type), ())
    if _short_op(node) == "Gather" and _number(node, "axis") == 0:
        slots = (_weight(0, _first),)
    elif _short_op(node) == "Add":
        slots = _each("bias", 0, 1)
    for slot in slots:
        if slot.index >= len(node.proto.input):
            continue
        found = trace(node.scope, text(node.proto.input[slot.index]), ints)
        if found is not None and _applies(node, slot, found):
            yield found.site, _use_of(node, slot, found)


def _use_of(node: Node, slot: _Slot, found: _Trace) -> Use:
    dims = [int(n) for n in found.site.proto.dims]
    if slot.role != "weight" or found.view is None:
        return Use(node.label, node.op, slot.role)
    axis, order = slot.rule(node, len(found.view))
    return Use(
        node.label,
        node.op,
        slot.role,
        source_axis(found.view, axis, dims),
        source_order(found.view, order, len(dims)),
    )


def _applies(node: Node, slot: _Slot, found: _Trace) -> bool:
    op = _short_op(node)
    if op == "Gather":
        return len(found.site.proto.dims) == 2 and _is_real(found)
    if op == "Add":
        other = text(node.proto.input[1 - slot.index])
        wide = sum(n > 1 for n in found.site.proto.dims)
        return wide <= 1 and _is_real(found) and _follows_layer(node.scope, other)
    return True


def _is_real(found: _Trace) -> bool:
    dequantized = any(_short_op(node) == "DequantizeLinear" for node in found.passed)
    return dequantized or found.site.proto.data_type in _REALS


def _follows_layer(scope: Scope, name: str) -> bool:
    """Tell whether a name is a layer's output, through casts, reshapes and scales."""
    for _ in range(MAX_HOPS):
        node = resolve(scope, name)
        if not isinstance(node, Node):
            return False
        table = _TABLES.get(text(node.proto.domain), {})
        if any(slot.role == "weight" for slot in table.get(text(node.proto.op_type), ())):
            return True
        if not (_passes(node) or _short_op(node) == "Mul") or not node.proto.input:
            return False
        scope, name = node.scope, text(node.proto.input[0])
    return False


def _plain_uses(node: Node) -> Iterator[tuple[Site, Use]]:
    """Uses that say only which node takes the tensor, and whether it is an index."""
    for name in node.proto.input:
        site = resolve(node.scope, text(name))
        if isinstance(site, Site):
            index = site.proto.data_type in _INTEGERS and not _is_quantizer(node)
            yield site, Use(node.label, node.op, "index" if index else "other")


def trace(scope: Scope, name: str, ints: Ints) -> _Trace | None:
    """Follow `name` back to a tensor through nodes that keep or rearrange its elements."""
    passed: list[Node] = []
    found = resolve(scope, name)
    while isinstance(found, Node):
        if len(passed) == MAX_HOPS or not _passes(found) or not found.proto.input:
            return None
        passed.append(found)
        found = resolve(found.scope, text(found.proto.input[0]))
    if found is None or len(found.proto.dims) > MAX_RANK:
        return None
    dims = [int(n) for n in found.proto.dims]
    view = identity(len(dims))
    for node in reversed(passed):
        view = _seen_through(node, view, dims, ints)
    return _Trace(found, view, tuple(passed))


def _seen_through(node: Node, view: View, dims: list[int], ints: Ints) -> View:
    op = _short_op(node)
    if view is None or op in ("Squeeze", "Unsqueeze"):
        return None
    if op == "Transpose":
        return transposed(view, _numbers(node, "perm"))
    if op == "Flatten":
        return reshaped(view, dims, _flat_shape(view, dims, _number(node, "axis", 1)))
    if op == "Reshape":
        shape = _target_shape(node, ints)
        return reshaped(view, dims, shape) if shape is not None else None
    return view


def _numbers(node: Node, name: str) -> list[int]:
    for attribute in node.proto.attribute:
        if attribute.name == name:
            return [int(n) for n in attribute.ints[:64]]
    return []


def _flat_shape(view: View, dims: list[int], axis: int) -> list[int]:
    rows = 1
    for group in (view or ())[:axis]:
        for source in group:
            rows *= dims[source]
    return [rows, -1]


def _target_shape(node: Node, ints: Ints) -> list[int] | None:
    """Return the shape a Reshape asks for: an attribute before opset 5, then a constant input."""
    if len(node.proto.input) < 2 or _number(node, "allowzero"):
        return _numbers(node, "shape") or None
    site: Any = resolve(node.scope, text(node.proto.input[1]))
    return ints(site) if isinstance(site, Site) else None
