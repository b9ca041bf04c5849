"""Convolutions: plain, depthwise, of groups, of one axis, and transposed.

Spec: https://onnx.ai/onnx/operators (Conv, ConvTranspose). Weights are [out, h, w, in], of
depthwise ones [1, h, w, out]. Sisters: tflite_out_windows.py, tflite_out_weights.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .tflite_out_layout import Value, arranged, channels_last
from .tflite_out_maker import Maker, given, narrowed
from .tflite_out_net import Array, Unsupported
from .tflite_out_onnx import SourceNode
from .tflite_out_windows import (
    Axis,
    as_images,
    axes_of,
    from_images,
    pad_operator,
    padded,
    padding_of,
    two,
)


def conv(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """Conv of one or two axes."""
    weight = maker.constant(node, 1, "weight")
    value = as_images(maker, maker.value(node.inputs[0]))
    rank = weight.ndim - 2
    sizes = maker.shape(value)[4 - rank :]
    axes = two(axes_of(sizes, weight.shape[2:], node.attributes))
    tensor = arranged(maker.net, value, channels_last(4))
    padding = padding_of(axes)
    if padding is None:
        tensor, padding = padded(maker, tensor, axes), "VALID"
    made = _convolved(maker, node, tensor, axes, padding)
    return [from_images(maker, made, rank + 2)]


def _convolved(maker: Maker, node: SourceNode, tensor: int, axes: list[Axis], padding: str) -> int:
    weight = maker.constant(node, 1, "weight")
    groups, channels = int(node.attributes.get("group", 1)), maker.net.tensors[tensor].shape[3]
    outputs = weight.shape[0]
    if weight.shape[1] * groups != channels or outputs % groups:
        raise Unsupported("a weight whose channels are not its input's")
    options = _options(axes, padding) | {
        "dilation_h": axes[0].dilation,
        "dilation_w": axes[1].dilation,
    }
    shape = (maker.net.tensors[tensor].shape[0], axes[0].out, axes[1].out, outputs)
    bias = bias_of(maker, node, outputs)
    if groups == channels and groups > 1:
        made = maker.weight(node.inputs[1], _depthwise)
        multiplier = {"multiplier": outputs // channels}
        return maker.net.add(
            "DepthwiseConv2D", [tensor, made, bias], shape, **options, **multiplier
        )
    made = maker.weight(node.inputs[1], _ohwi)
    return maker.net.add("Conv2D", [tensor, made, bias], shape, **options)


def _options(axes: Sequence[Axis], padding: str) -> dict[str, Any]:
    return {"padding": padding, "stride_h": axes[0].stride, "stride_w": axes[1].stride}


def _squared(weight: Array) -> Array:
    """Return a weight of one axis with a height of 1."""
    return weight if weight.ndim == 4 else weight.reshape(*weight.shape[:2], 1, -1)


def _ohwi(weight: Array) -> Array:
    return np.transpose(_squared(weight), (0, 2, 3, 1))


def _depthwise(weight: Array) -> Array:
    return np.transpose(_squared(weight), (1, 2, 3, 0))


def bias_of(maker: Maker, node: SourceNode, outputs: int) -> int:
    """Return the bias, zeros where the layer has none."""
    bias = maker.optional(node, 2, "bias")
    if bias is None:
        return maker.net.constant(np.zeros(outputs, np.float32))
    if bias.shape != (outputs,):
        raise Unsupported(f"a bias of shape {bias.shape}")
    return maker.net.constant(narrowed(bias), given(node, 2))


def channels(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """A norm: of pictures a depthwise convolution of one pixel, elsewhere a Mul and an Add."""
    value = maker.value(node.inputs[0])
    factor, shift = (maker.constant(node, place, "parameter") for place in (1, 2))
    rank = len(maker.shape(value))
    if rank != 4:
        spread = (-1,) + (1,) * (rank - 2)
        scaled = maker.together("Mul", value, factor.reshape(spread))
        return [maker.together("Add", scaled, shift.reshape(spread))]
    tensor = arranged(maker.net, value, channels_last(4))
    weight = maker.net.constant(factor.reshape(1, 1, 1, -1), node.inputs[1])
    inputs = [tensor, weight, maker.net.constant(shift, node.inputs[2])]
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "multiplier": 1}
    whole: dict[str, Any] = {**options, "dilation_h": 1, "dilation_w": 1}
    shape = maker.net.tensors[tensor].shape
    return [Value(maker.net.add("DepthwiseConv2D", inputs, shape, **whole), channels_last(4))]


def conv_transpose(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """ConvTranspose of one or two axes: all that the windows cover, of which a part is cut out."""
    weight = maker.constant(node, 1, "weight")
    if set(node.attributes.get("dilations", [1])) != {1}:
        raise Unsupported("dilations")
    rank, shape = weight.ndim - 2, maker.stated(node.outputs[0])
    value = as_images(maker, maker.value(node.inputs[0]))
    tensor = arranged(maker.net, value, channels_last(4))
    axes = two(_grown(maker.shape(value)[4 - rank :], weight.shape[2:], shape[2:], node))
    inside = all(map(_is_same, axes)) or not _beyond(axes)
    made = _all_groups(maker, node, tensor, axes, inside)
    if given(node, 2) and not inside:
        sizes = maker.net.tensors[made].shape
        made = maker.net.add("Add", [made, bias_of(maker, node, sizes[3])], sizes)
    return [from_images(maker, made, rank + 2)]


def _all_groups(
    maker: Maker, node: SourceNode, tensor: int, axes: Sequence[Axis], biased: bool
) -> int:
    """Return the output of a transposed convolution, its bias in it if `biased`."""
    weight = maker.constant(node, 1, "weight")
    groups = int(node.attributes.get("group", 1))
    if weight.shape[0] != maker.net.tensors[tensor].shape[3] or weight.shape[0] % groups:
        raise Unsupported("a weight whose channels are not its input's")
    bias = maker.optional(node, 2, "bias") if biased else None
    parts = _split(maker, tensor, groups)
    made = [_grow(maker, node, one, axes, (g, groups), bias) for g, one in enumerate(parts)]
    full, sizes = made[0], maker.net.tensors[made[0]].shape
    if groups > 1:
        wide = (*sizes[:3], sizes[3] * groups)
        full = maker.net.add("Concatenation", made, wide, axis=3)
    return full if all(map(_is_same, axes)) else _cut(maker, full, axes)


def _is_same(axis: Axis) -> bool:
    """Tell whether TFLite's SAME cuts an axis as it is to be cut."""
    total = (axis.size - 1) * axis.stride + axis.kernel - axis.out
    return -(-axis.out // axis.stride) == axis.size and total >= 0 and axis.before == total // 2


def _beyond(axes: Sequence[Axis]) -> bool:
    """Tell whether the output reaches beyond all that the windows cover."""
    return any(
        axis.before < 0 or axis.before + axis.out > (axis.size - 1) * axis.stride + axis.kernel
        for axis in axes
    )


def _grown(
    sizes: Sequence[int], kernel: Sequence[int], outs: Sequence[int], node: SourceNode
) -> list[Axis]:
    """Return windows whose `size` is that of the input; `before` is what is cut away."""
    rank = len(sizes)
    strides = node.attributes.get("strides", [1] * rank)
    pads = list(node.attributes.get("pads", [0] * 2 * rank))
    extra = node.attributes.get("output_padding", [0] * rank)
    auto = node.attributes.get("auto_pad", "NOTSET")
    found = []
    for at, (size, reach, stride, out) in enumerate(zip(sizes, kernel, strides, outs, strict=True)):
        total = stride * (size - 1) + extra[at] + reach - out
        before = pads[at]
        if auto == "SAME_UPPER":
            before = total // 2
        elif auto == "SAME_LOWER" or "output_shape" in node.attributes:
            before = total - total // 2
        found.append(Axis(size, reach, stride, 1, before, 0, out))
    return found


def _split(maker: Maker, tensor: int, groups: int) -> list[int]:
    if groups == 1:
        return [tensor]
    *sizes, channels = maker.net.tensors[tensor].shape
    inputs = [
        tensor,
        maker.net.ints([channels // groups] * groups),
        maker.net.constant(np.int32(3)),
    ]
    shapes = [(*sizes, channels // groups)] * groups
    dtype = maker.net.tensors[tensor].dtype
    return maker.net.add_many("SplitV", inputs, shapes, dtype, splits=groups)


def _grow(
    maker: Maker,
    node: SourceNode,
    tensor: int,
    axes: Sequence[Axis],
    group: tuple[int, int],
    bias: Array | None,
) -> int:
    number, groups = group

    def part(weight: Array) -> Array:
        wide = weight.shape[0] // groups
        return _depthwise(weight[number * wide : (number + 1) * wide])

    weight = maker.weight(node.inputs[1], part)
    outputs = maker.net.tensors[weight].shape[0]
    padding = "SAME" if all(map(_is_same, axes)) else "VALID"
    full = [axis.stride * (axis.size - 1) + axis.kernel for axis in axes]
    sizes = [axis.out for axis in axes] if padding == "SAME" else full
    shape = (maker.net.tensors[tensor].shape[0], *sizes, outputs)
    inputs = [maker.net.ints(shape), weight, tensor]
    if bias is not None:
        own = narrowed(bias)[number * outputs : (number + 1) * outputs]
        inputs.append(maker.net.constant(own, f"{given(node, 2)}/{number}"))
    dtype = maker.net.tensors[tensor].dtype
    return maker.net.add("TransposeConv", inputs, shape, dtype, **_options(axes, padding))


def _cut(maker: Maker, tensor: int, axes: Sequence[Axis]) -> int:
    """Return what of all that the windows cover is the output; beyond them there are zeros."""
    sizes = maker.net.tensors[tensor].shape
    after = [
        max(0, axis.before + axis.out - size) for axis, size in zip(axes, sizes[1:], strict=False)
    ]
    before = [max(0, -axis.before) for axis in axes]
    if any(after) or any(before):
        pads = [(0, 0), *zip(before, after, strict=True), (0, 0)]
        sizes = tuple(size + sum(pad) for size, pad in zip(sizes, pads, strict=True))
        tensor = pad_operator(maker, tensor, pads, sizes, 0.0)
    shape = (sizes[0], axes[0].out, axes[1].out, sizes[3])
    if shape == sizes:
        return tensor
    starts = [0, *(max(0, axis.before) for axis in axes), 0]
    return maker.net.add("Slice", [tensor, maker.net.ints(starts), maker.net.ints(shape)], shape)
