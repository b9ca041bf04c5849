"""Which input of which operator is a weight, a bias or a norm, and how its axes lie.

Spec: https://onnx.ai/onnx/operators (default domain) and onnxruntime's ContribOperators.md
(com.microsoft). Sister files: onnx_uses.py (asks), dcformat/model.py (Use: what the roles mean).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dcformat import axes
from dcformat.axes import Axes

from .onnx_scopes import Node

Rule = Callable[[Node, int], Axes]


@dataclass(frozen=True)
class Slot:
    """Input number `index` of an operator has this role; `rule` gives its axes from its rank."""

    index: int
    role: str
    rule: Rule


def _plain(node: Node, rank: int) -> Axes:
    return None, None


def _first(node: Node, rank: int) -> Axes:
    return 0 if rank else None, None


def _conv(node: Node, rank: int) -> Axes:
    return axes.conv(rank)


def _conv_transpose(node: Node, rank: int) -> Axes:
    """IOHW; with groups, axis 1 counts the channels of one group only."""
    return axes.conv_transpose(rank) if node.number("group", 1) == 1 else axes.UNKNOWN


def _right(node: Node, rank: int) -> Axes:
    return axes.rows(rank) if node.number("transB") else axes.columns(rank)


def _left(node: Node, rank: int) -> Axes:
    return axes.columns(rank) if node.number("transA") else axes.rows(rank)


def _recurrent(node: Node, rank: int) -> Axes:
    """[directions, gates * hidden, input]."""
    return (1, None) if rank == 3 else (None, None)


def _weight(index: int, rule: Rule) -> Slot:
    return Slot(index, "weight", rule)


def _each(role: str, *indices: int) -> tuple[Slot, ...]:
    return tuple(Slot(index, role, _plain) for index in indices)


_MATMUL = (_weight(0, _left), _weight(1, _right))
_RNN = (_weight(1, _recurrent), _weight(2, _recurrent), *_each("bias", 3))
_CONV = (_weight(1, _conv), *_each("bias", 2))

_ONNX: dict[str, tuple[Slot, ...]] = {
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

_MICROSOFT: dict[str, tuple[Slot, ...]] = {
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


def slots_of(node: Node) -> tuple[Slot, ...]:
    """Return the slots of a node; empty for operators that have no parameters or are unknown.

    A Gather's data and the operands of an Add may be parameters: that takes a look at the tensor.
    """
    if node.known_op == "Gather":
        return (_weight(0, _first),) if node.number("axis") == 0 else ()
    if node.known_op == "Add":
        return _each("bias", 0, 1)
    return _TABLES.get(node.domain, {}).get(node.known_op, ())
