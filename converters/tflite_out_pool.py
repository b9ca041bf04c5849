"""Pooling: the largest or the mean of windows, and of whole planes.

Spec: https://onnx.ai/onnx/operators (MaxPool, AveragePool, GlobalAveragePool). The mean of a window
leaves padding out in TFLite, as ONNX does unless it is told otherwise. Sister:
tflite_out_windows.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .tflite_out_layout import Value, arranged, channels_last
from .tflite_out_maker import Maker
from .tflite_out_net import Array, Unsupported
from .tflite_out_onnx import SourceNode
from .tflite_out_windows import Axis, as_images, axes_of, from_images, padded, padding_of, two

_LOWEST = float(np.finfo(np.float32).min)


def max_pool(maker: Maker, node: SourceNode) -> Sequence[Value]:
    if len([name for name in node.outputs if name]) > 1:
        raise Unsupported("its second output, the places of the largest")
    tensor, axes = _opened(maker, node)
    padding = padding_of(axes)
    if padding is None:
        tensor, padding = padded(maker, tensor, axes, _LOWEST), "VALID"
    return [_closed(maker, node, _pool(maker, "MaxPool2D", tensor, axes, padding))]


def average_pool(maker: Maker, node: SourceNode) -> Sequence[Value]:
    tensor, axes = _opened(maker, node)
    padding = padding_of(axes)
    zeros_count = bool(node.attributes.get("count_include_pad", 0))
    if padding is not None and not (padding == "SAME" and zeros_count):
        return [_closed(maker, node, _pool(maker, "AveragePool2D", tensor, axes, padding))]
    made = _pool(maker, "AveragePool2D", padded(maker, tensor, axes), axes, "VALID")
    factors = _factors(node, axes, zeros_count)
    if np.any(factors != 1):
        inputs = [made, maker.net.constant(factors.astype(np.float32))]
        made = maker.net.add("Mul", inputs, maker.net.tensors[made].shape)
    return [_closed(maker, node, made)]


def _factors(node: SourceNode, axes: Sequence[Axis], zeros_count: bool) -> Array:
    """Return by what the mean of padded windows is multiplied, [H, W, 1]."""
    pads = node.attributes.get("pads", [0] * 4)
    ends = pads[len(pads) // 2 :]
    ends = [0] * (len(axes) - len(ends)) + list(ends)
    if node.attributes.get("auto_pad", "").startswith("SAME"):
        ends = [axis.after for axis in axes]
    counts = [_counted(axis, int(end), zeros_count) for axis, end in zip(axes, ends, strict=True)]
    rows, columns = (axis.kernel / count for axis, count in zip(axes, counts, strict=True))
    return np.asarray(np.outer(rows, columns)[..., None])


def _counted(axis: Axis, end: int, zeros_count: bool) -> Array:
    """Return how many numbers of each window count; what `ceil_mode` adds never does."""
    low, high = (-axis.before, axis.size + end) if zeros_count else (0, axis.size)
    starts = np.arange(axis.out) * axis.stride - axis.before
    return np.minimum(starts + axis.kernel, high) - np.maximum(starts, low)


def _opened(maker: Maker, node: SourceNode) -> tuple[int, list[Axis]]:
    kernel = node.attributes["kernel_shape"]
    value = as_images(maker, maker.value(node.inputs[0]))
    axes = axes_of(maker.shape(value)[4 - len(kernel) :], kernel, node.attributes)
    if any(axis.dilation > 1 for axis in axes):
        raise Unsupported("dilations")
    return arranged(maker.net, value, channels_last(4)), two(axes)


def _closed(maker: Maker, node: SourceNode, tensor: int) -> Value:
    return from_images(maker, tensor, len(node.attributes["kernel_shape"]) + 2)


def _pool(maker: Maker, kind: str, tensor: int, axes: Sequence[Axis], padding: str) -> int:
    rows, columns = axes
    batch, _, _, channels = maker.net.tensors[tensor].shape
    sizes: dict[str, Any] = {"height": rows.kernel, "width": columns.kernel}
    strides: dict[str, Any] = {"stride_h": rows.stride, "stride_w": columns.stride}
    shape = (batch, rows.out, columns.out, channels)
    return maker.net.add(kind, [tensor], shape, padding=padding, **sizes, **strides)


def global_pool(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """The mean or the largest of each channel."""
    kind = {"GlobalAveragePool": "Mean", "GlobalMaxPool": "ReduceMax"}[node.op]
    value = maker.value(node.inputs[0])
    places = [place for place, axis in enumerate(value.order) if axis > 1]
    sizes = list(maker.net.tensors[value.tensor].shape)
    for place in places:
        sizes[place] = 1
    inputs = [value.tensor, maker.net.ints(places)]
    return [Value(maker.net.add(kind, inputs, tuple(sizes), keep_dims=True), value.order)]
