"""Operators that gather numbers along axes: sums, means, Softmax, norms of layers, ArgMax.

Spec: https://onnx.ai/onnx/operators. Sister: tflite_out_layout.py (where an axis lies).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from dcformat.ids import DType

from .tflite_out_elements import real
from .tflite_out_layout import Value, reshaped
from .tflite_out_maker import Maker, Translation, given, one_axis
from .tflite_out_net import Unsupported
from .tflite_out_onnx import SourceNode

_NEW_SOFTMAX = 13  #: operator set from which Softmax is of one axis


def reduced(maker: Maker, kind: str, value: Value, axes: Sequence[int], keep: bool) -> Value:
    """Return one number for all of `axes`, which are the source's."""
    sizes = maker.net.tensors[value.tensor].shape
    places = sorted(value.order.index(axis) for axis in axes)
    shape = tuple(1 if p in places else n for p, n in enumerate(sizes))
    order = value.order
    if not keep:
        shape = tuple(n for p, n in enumerate(sizes) if p not in places)
        left = [axis for axis in order if axis not in axes]
        order = tuple(sorted(left).index(axis) for axis in left)
    inputs = [value.tensor, maker.net.ints(places)]
    return Value(maker.net.add(kind, inputs, shape, keep_dims=keep), order)


def _axes(maker: Maker, node: SourceNode, rank: int) -> list[int] | None:
    """Return the axes of a reduction; None where nothing is to be done."""
    found = node.attributes.get("axes")
    if found is None:
        given_axes = maker.optional(node, 1, "axes")
        found = [] if given_axes is None else given_axes.reshape(-1).tolist()
    if not found and node.attributes.get("noop_with_empty_axes", 0):
        return None
    return [one_axis(axis, rank) for axis in found or range(rank)]


def reduction(kind: str, before: str = "", after: str = "") -> Translation:
    """Return the translation of a reduction, with operators on elements around it."""

    def translate(maker: Maker, node: SourceNode) -> Sequence[Value]:
        value = maker.value(node.inputs[0])
        axes = _axes(maker, node, len(value.order))
        value = maker.like(before, value) if before else value
        if axes is not None:
            value = reduced(maker, kind, value, axes, bool(node.attributes.get("keepdims", 1)))
        return [maker.like(after, value) if after else value]

    return translate


def arg(kind: str) -> Translation:
    """Return the translation of ArgMax or ArgMin."""

    def translate(maker: Maker, node: SourceNode) -> Sequence[Value]:
        if node.attributes.get("select_last_index", 0):
            raise Unsupported("select_last_index")
        value = real(maker, node.inputs[0])
        shape = maker.shape(value)
        axis = one_axis(node.attributes.get("axis", 0), len(shape))
        found = _place_of(maker, kind, value, axis)
        if not node.attributes.get("keepdims", 1):
            return [found]
        kept = tuple(1 if a == axis else n for a, n in enumerate(shape))
        return [reshaped(maker.net, found, kept)]

    return translate


def _place_of(maker: Maker, kind: str, value: Value, axis: int) -> Value:
    place = value.order.index(axis)
    sizes = maker.net.tensors[value.tensor].shape
    left = [a for a in value.order if a != axis]
    inputs = [value.tensor, maker.net.constant(np.int32(place))]
    rest = (*sizes[:place], *sizes[place + 1 :])
    made = maker.net.add(kind, inputs, rest, DType.INT64, output=DType.INT64)
    return Value(made, tuple(sorted(left).index(a) for a in left))


def softmax(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """Softmax and LogSoftmax: of the axis that lies last."""
    value = real(maker, node.inputs[0])
    shape = maker.shape(value)
    new = maker.source.opset >= _NEW_SOFTMAX
    axis = one_axis(node.attributes.get("axis", -1 if new else 1), len(shape))
    if not new and prod(shape[axis + 1 :]) > 1:  # of all axes from this one on
        flat = reshaped(maker.net, value, (prod(shape[:axis]), prod(shape[axis:])))
        made = _softmax(maker, node, maker.arranged(flat, (0, 1)))
        return [reshaped(maker.net, Value(made, (0, 1)), shape)]
    if value.order[-1] == axis:
        return [Value(_softmax(maker, node, value.tensor), value.order)]
    return [_softmax_across(maker, node, value, axis)]


def _softmax(maker: Maker, node: SourceNode, tensor: int) -> int:
    shape = maker.net.tensors[tensor].shape
    if node.op == "LogSoftmax":
        return maker.net.add("LogSoftmax", [tensor], shape)
    return maker.net.add("Softmax", [tensor], shape, beta=1.0)


def _softmax_across(maker: Maker, node: SourceNode, value: Value, axis: int) -> Value:
    """Return what TFLite has for the last axis only, step by step: that is no transposition."""
    most = reduced(maker, "ReduceMax", value, [axis], keep=True)
    apart = maker.together("Sub", value, most)
    powers = maker.like("Exp", apart)
    total = reduced(maker, "Sum", powers, [axis], keep=True)
    if node.op == "LogSoftmax":
        return maker.together("Sub", apart, maker.like("Log", total))
    return maker.together("Div", powers, total)


def layer_norm(maker: Maker, node: SourceNode) -> Sequence[Value]:
    if len([name for name in node.outputs if name]) > 1:
        raise Unsupported("its second output")
    value = real(maker, node.inputs[0])
    rank = len(value.order)
    axes = list(range(one_axis(node.attributes.get("axis", -1), rank), rank))
    made = _standardized(maker, value, axes, float(node.attributes.get("epsilon", 1e-5)))
    made = maker.together("Mul", made, maker.operand(node.inputs[1]))
    if given(node, 2):
        made = maker.together("Add", made, maker.operand(node.inputs[2]))
    return [made]


def _standardized(maker: Maker, value: Value, axes: Sequence[int], epsilon: float) -> Value:
    mean = reduced(maker, "Mean", value, axes, keep=True)
    apart = maker.together("Sub", value, mean)
    variance = reduced(maker, "Mean", maker.like("Square", apart), axes, keep=True)
    wide = maker.together("Add", variance, np.array(epsilon, np.float32))
    return maker.together("Mul", apart, maker.like("Rsqrt", wide))


def instance_norm(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = real(maker, node.inputs[0])
    rank = len(value.order)
    made = _standardized(maker, value, range(2, rank), float(node.attributes.get("epsilon", 1e-5)))
    for kind, place in (("Mul", 1), ("Add", 2)):
        numbers = maker.constant(node, place, "parameters").reshape(-1, *(1,) * (rank - 2))
        made = maker.together(kind, made, numbers)
    return [made]


TRANSLATIONS: dict[str, Translation] = {
    "ReduceMean": reduction("Mean"), "ReduceSum": reduction("Sum"),
    "ReduceMax": reduction("ReduceMax"), "ReduceMin": reduction("ReduceMin"),
    "ReduceProd": reduction("ReduceProd"), "ReduceL1": reduction("Sum", before="Abs"),
    "ReduceL2": reduction("Sum", before="Square", after="Sqrt"),
    "ReduceSumSquare": reduction("Sum", before="Square"),
    "ReduceLogSum": reduction("Sum", after="Log"), "ArgMax": arg("ArgMax"), "ArgMin": arg("ArgMin"),
    "Softmax": softmax, "LogSoftmax": softmax, "LayerNormalization": layer_norm,
    "InstanceNormalization": instance_norm,
}  # fmt: skip
