"""Where the windows of convolutions and pooling lie, and what TFLite calls that.

Spec: https://onnx.ai/onnx/operators (Conv, MaxPool). TFLite knows SAME and VALID; other paddings
are an operator before the layer. Sisters: tflite_out_conv.py, tflite_out_pool.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcformat.ids import DType

from .tflite_out_layout import Value, channels_last, reshaped
from .tflite_out_maker import Maker
from .tflite_out_net import Shape, Unsupported


@dataclass(frozen=True)
class Axis:
    """Windows along one axis; `before` and `after` are what is padded, `out` their number."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    out: int

    @property
    def reach(self) -> int:
        return (self.kernel - 1) * self.dilation + 1

    @property
    def is_same(self) -> bool:
        """Tell whether these are the windows of TFLite's SAME."""
        total = max(0, (self.out - 1) * self.stride + self.reach - self.size)
        before = total // 2
        enough = self.out == -(-self.size // self.stride)
        return enough and (self.before, self.after) == (before, total - before)


def axes_of(sizes: Shape, kernel: Sequence[int], attributes: Mapping[str, Any]) -> list[Axis]:
    """Return the windows along each axis of a Conv or a pooling."""
    rank = len(sizes)
    strides = list(attributes.get("strides", [1] * rank))
    dilations = list(attributes.get("dilations", [1] * rank))
    pads = list(attributes.get("pads", [0] * 2 * rank))
    given = [strides, dilations, kernel, pads[:rank], pads[rank:]]
    if any(len(one) != rank for one in given) or min(map(min, given[:3])) < 1:
        raise Unsupported("strides, dilations or pads that are not its axes'")
    if min(pads) < 0:
        raise Unsupported("pads below 0")
    auto, ceil = attributes.get("auto_pad", "NOTSET"), bool(attributes.get("ceil_mode", 0))
    return [
        _axis(sizes[i], kernel[i], strides[i], dilations[i], pads[i], pads[rank + i], auto, ceil)
        for i in range(rank)
    ]


def _axis(
    size: int,
    kernel: int,
    stride: int,
    dilation: int,
    before: int,
    after: int,
    auto: str,
    ceil: bool,
) -> Axis:
    reach = (kernel - 1) * dilation + 1
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        out = -(-size // stride)
        total = max(0, (out - 1) * stride + reach - size)
        before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        return Axis(size, kernel, stride, dilation, before, total - before, out)
    if auto == "VALID":
        before = after = 0
    room = size + before + after - reach
    if room < 0:
        raise Unsupported("a window that is larger than its input")
    out = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (out - 1) * stride >= size + before:
        out -= 1  # a window that would see padding alone
    needed = max(0, (out - 1) * stride + reach - size - before)
    return Axis(size, kernel, stride, dilation, before, needed, out)


def padding_of(axes: Sequence[Axis]) -> str | None:
    """Return SAME or VALID, None where the input must be padded first."""
    if not any(axis.before or axis.after for axis in axes):
        return "VALID"
    return "SAME" if all(axis.is_same for axis in axes) else None


def padded(maker: Maker, tensor: int, axes: Sequence[Axis], fill: float = 0.0) -> int:
    """Return a tensor (N, H, W, C) with what the windows need around it."""
    pads = [(0, 0), *((axis.before, axis.after) for axis in axes), (0, 0)]
    if not any(map(any, pads)):
        return tensor
    sizes = maker.net.tensors[tensor].shape
    shape = tuple(size + sum(pad) for size, pad in zip(sizes, pads, strict=True))
    return pad_operator(maker, tensor, pads, shape, fill)


def pad_operator(
    maker: Maker, tensor: int, pads: Sequence[Sequence[int]], shape: Shape, fill: float
) -> int:
    table = maker.net.constant(np.array(pads, np.int32).reshape(-1, 2))
    if fill == 0.0:
        return maker.net.add("Pad", [tensor, table], shape)
    if maker.net.tensors[tensor].dtype is not DType.FLOAT:
        raise Unsupported("padding of integers with other numbers than 0")
    value = maker.net.constant(np.array([fill], np.float32))
    return maker.net.add("Padv2", [tensor, table, value], shape)


def as_images(maker: Maker, value: Value) -> Value:
    """Return a value (N, C, L) as (N, C, 1, L), and one (N, C, H, W) as it is."""
    shape = maker.shape(value)
    if len(shape) == 4:
        return value
    if len(shape) != 3:
        raise Unsupported(f"an input of {len(shape)} axes")
    batch, channels, length = shape
    return reshaped(maker.net, value, (batch, channels, 1, length))


def from_images(maker: Maker, tensor: int, rank: int) -> Value:
    """Return a tensor (N, H, W, C) as a value of `rank` axes."""
    value = Value(tensor, channels_last(4))
    if rank == 4:
        return value
    batch, channels, _, length = maker.shape(value)
    return reshaped(maker.net, value, (batch, channels, length))


def two(axes: list[Axis]) -> list[Axis]:
    """Return the windows of rows and columns; of one axis these are columns of one row."""
    return axes if len(axes) == 2 else [Axis(1, 1, 1, 1, 0, 0, 1), *axes]
