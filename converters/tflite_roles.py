"""Which input of which operator is a weight, a bias or a norm, and how its axes lie.

Spec: the comments of tensorflow/lite/schema/schema.fbs and the kernels' own. Sisters:
tflite_uses.py (asks), onnx_roles.py (the same for ONNX), dcformat/model.py (what roles mean).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dcformat import axes
from dcformat.axes import Axes

from .tflite_schema import TfOperator

Rule = Callable[[TfOperator, int], Axes]


@dataclass(frozen=True)
class Slot:
    """Input number `index` of an operator has this role; `rule` gives its axes from its rank."""

    index: int
    role: str
    rule: Rule


def _plain(operator: TfOperator, rank: int) -> Axes:
    return axes.UNKNOWN


def _first(operator: TfOperator, rank: int) -> Axes:
    """OHWI, [out, in], or a table with a row for an index: walked as it lies."""
    return (0, None) if rank else axes.UNKNOWN


def _depthwise(operator: TfOperator, rank: int) -> Axes:
    """[1, H, W, out], walked as [out, 1, H, W]."""
    return (3, (3, 0, 1, 2)) if rank == 4 else axes.UNKNOWN


def _conv_last(operator: TfOperator, rank: int) -> Axes:
    return axes.conv_last(rank)


def _conv_transpose_last(operator: TfOperator, rank: int) -> Axes:
    return axes.conv_transpose_last(rank)


def _left(operator: TfOperator, rank: int) -> Axes:
    return axes.columns(rank) if operator.turned[0] else axes.rows(rank)


def _right(operator: TfOperator, rank: int) -> Axes:
    return axes.rows(rank) if operator.turned[1] else axes.columns(rank)


def _weight(index: int, rule: Rule = _first) -> Slot:
    return Slot(index, "weight", rule)


def _weights(*indices: int) -> tuple[Slot, ...]:
    return tuple(_weight(index) for index in indices)


def _each(role: str, *indices: int) -> tuple[Slot, ...]:
    return tuple(Slot(index, role, _plain) for index in indices)


_BIAS = _each("bias", 2)
_LSTM = (
    *_weights(1, 2, 3, 4, 5, 6, 7, 8, 16),
    *_each("bias", 9, 10, 11, 12, 13, 14, 15, 17),
    *_each("norm", 20, 21, 22, 23),
)
_RNN = (*_weights(1, 2), *_each("bias", 3))

_SLOTS: dict[str, tuple[Slot, ...]] = {
    "Conv2D": (_weight(1), *_BIAS),
    "DepthwiseConv2D": (_weight(1, _depthwise), *_BIAS),
    "FullyConnected": (_weight(1), *_BIAS),
    "TransposeConv": (_weight(1), *_each("bias", 3)),
    "Conv3D": (_weight(1, _conv_last), *_BIAS),
    "Conv3DTranspose": (_weight(1, _conv_transpose_last), *_each("bias", 3)),
    "BatchMatMul": (_weight(0, _left), _weight(1, _right)),
    "EmbeddingLookup": (_weight(1),),
    "LSTM": _LSTM,
    "UnidirectionalSequenceLSTM": _LSTM,
    "BidirectionalSequenceLSTM": _weights(*range(1, 9), *range(18, 26)),
    "RNN": _RNN,
    "UnidirectionalSequenceRNN": _RNN,
    "BidirectionalSequenceRNN": (*_weights(1, 2, 4, 5), *_each("bias", 3, 6)),
    "SVDF": (*_weights(1, 2), *_each("bias", 3)),
}


def slots_of(operator: TfOperator) -> tuple[Slot, ...]:
    """Return the slots of an operator; empty for those that have no parameters or are unknown.

    Of a Gather the data is a table only if its rows are what is gathered.
    """
    if operator.op == "Gather":
        return (_weight(0),) if operator.axis == 0 else ()
    return _SLOTS.get(operator.op, ())
