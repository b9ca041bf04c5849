"""Operators on axes: what is cut, joined, padded, gathered or given another shape.

Spec: https://onnx.ai/onnx/operators. Axes of the source are looked up in the order in which they
lie (tflite_out_layout.py), so that nothing is transposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from dcformat.ids import DType

from .tflite_out_layout import Value, arranged, natural, reshaped, turned
from .tflite_out_maker import Maker, Translation, one_axis
from .tflite_out_net import Unsupported
from .tflite_out_onnx import SourceNode
from .tflite_out_windows import pad_operator

_MAX_SLICED = 5  #: axes, of the kernels of STRIDED_SLICE and PAD


def reshape(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = maker.raw(node.inputs[0])
    wanted = node.attributes.get("shape")
    if wanted is None:
        wanted = maker.constant(node, 1, "shape").reshape(-1).tolist()
    old = maker.shape(value)
    keep_zeros = bool(node.attributes.get("allowzero", 0))
    sizes = [old[i] if n == 0 and not keep_zeros else int(n) for i, n in enumerate(wanted)]
    if -1 in sizes:
        sizes[sizes.index(-1)] = prod(old) // max(1, -prod(sizes))
    return [reshaped(maker.net, value, tuple(sizes))]


def flatten(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = maker.raw(node.inputs[0])
    shape = maker.shape(value)
    axis = int(node.attributes.get("axis", 1))
    axis += len(shape) if axis < 0 else 0
    return [reshaped(maker.net, value, (prod(shape[:axis]), prod(shape[axis:])))]


def restated(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """Squeeze and Unsqueeze: the shape is the one that inference found."""
    return [reshaped(maker.net, maker.raw(node.inputs[0]), maker.stated(node.outputs[0]))]


def transpose(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = maker.value(node.inputs[0])
    rank = len(maker.shape(value))
    return [turned(value, node.attributes.get("perm", range(rank)[::-1]))]


def concat(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """Concat: all parts in the order in which the largest lies."""
    values = [maker.value(name) for name in node.inputs]
    shapes = [maker.shape(value) for value in values]
    best = max(values, key=lambda v: (prod(maker.shape(v)), v.order != natural(len(v.order))))
    axis = one_axis(node.attributes["axis"], len(shapes[0]))
    if len(values) == 1:
        return values
    tensors = [arranged(maker.net, value, best.order) for value in values]
    total = sum(shape[axis] for shape in shapes)
    shape = tuple(total if a == axis else shapes[0][a] for a in best.order)
    made = maker.net.add("Concatenation", tensors, shape, axis=best.order.index(axis))
    return [Value(made, best.order)]


def split(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = maker.value(node.inputs[0])
    axis = one_axis(node.attributes.get("axis", 0), len(value.order))
    sizes = [maker.stated(name)[axis] for name in node.outputs]
    return split_up(maker, value, axis, sizes)


def split_up(maker: Maker, value: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    """Return parts of a value along an axis of the source."""
    net, place = maker.net, value.order.index(axis)
    own = net.tensors[value.tensor]
    if sum(sizes) != own.shape[place]:
        raise Unsupported("parts that are not the whole")
    shapes = [(*own.shape[:place], size, *own.shape[place + 1 :]) for size in sizes]
    inputs = [value.tensor, net.ints(sizes), net.constant(np.int32(place))]
    made = net.add_many("SplitV", inputs, shapes, own.dtype, splits=len(sizes))
    return [Value(tensor, value.order) for tensor in made]


def slice_(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = maker.value(node.inputs[0])
    shape = maker.shape(value)
    cuts = [slice(0, size, 1) for size in shape]
    for axis, cut in _cuts(maker, node, len(shape)):
        if not cut.step:
            raise Unsupported("a step of 0")
        cuts[axis] = slice(*cut.indices(shape[axis]))
    return [sliced(maker, value, cuts)]


def _cuts(maker: Maker, node: SourceNode, rank: int) -> list[tuple[int, slice]]:
    names = ("starts", "ends", "axes", "steps")
    lists = {name: node.attributes.get(name) for name in names}
    for place, name in enumerate(names):
        found = maker.optional(node, place + 1, name)
        lists[name] = lists[name] if found is None else found.reshape(-1).tolist()
    starts, ends = lists["starts"] or [], lists["ends"] or []
    axes, steps = lists["axes"] or range(len(starts)), lists["steps"] or [1] * len(starts)
    return [
        (one_axis(axis, rank), _cut(int(start), int(end), int(step)))
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    ]


def _cut(start: int, end: int, step: int) -> slice:
    limit = 1 << 31
    if step < 0 and end < -limit + 2:  # to the very first
        return slice(start, None, step)
    return slice(start, end, step)


def sliced(maker: Maker, value: Value, cuts: Sequence[slice]) -> Value:
    """Return a part of a value; `cuts` are as slice.indices gives them, by axes of the source."""
    net, own = maker.net, maker.net.tensors[value.tensor]
    placed = [cuts[axis] for axis in value.order]
    counts = [len(range(cut.start, cut.stop, cut.step)) for cut in placed]
    if min(counts, default=1) == 0:
        raise Unsupported("a part without elements")
    if tuple(counts) == own.shape and all(cut.step == 1 for cut in placed):
        return value
    if len(placed) > _MAX_SLICED:
        raise Unsupported(f"a part of {len(placed)} axes")
    starts, steps = [cut.start for cut in placed], [cut.step for cut in placed]
    if set(steps) == {1}:
        inputs = [value.tensor, net.ints(starts), net.ints(counts)]
        return Value(net.add("Slice", inputs, tuple(counts)), value.order)
    mask = sum(1 << place for place, cut in enumerate(placed) if cut.stop < 0)
    inputs = [value.tensor, net.ints(starts), net.ints(cut.stop for cut in placed), net.ints(steps)]
    return Value(net.add("StridedSlice", inputs, tuple(counts), end_mask=mask), value.order)


def pad(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = maker.value(node.inputs[0])
    rank = len(value.order)
    given_pads = node.attributes.get("pads")
    if given_pads is None:
        given_pads = maker.constant(node, 1, "pads").reshape(-1).tolist()
    axes = maker.optional(node, 3, "axes")
    chosen = range(rank) if axes is None else [one_axis(axis, rank) for axis in axes.reshape(-1)]
    pairs = dict(zip(chosen, _pairs(given_pads), strict=True))
    cuts = [_cropped(size, pairs.get(axis, (0, 0))) for axis, size in enumerate(maker.shape(value))]
    value = sliced(maker, value, cuts)
    table = [[max(0, n) for n in pairs.get(axis, (0, 0))] for axis in value.order]
    if not any(map(any, table)):
        return [value]
    return [_padded(maker, node, value, table)]


def _pairs(pads: Sequence[int]) -> list[tuple[int, int]]:
    half = len(pads) // 2
    return [(int(a), int(b)) for a, b in zip(pads[:half], pads[half:], strict=True)]


def _cropped(size: int, pads: tuple[int, int]) -> slice:
    """Return what pads below 0 leave of an axis."""
    return slice(max(0, -pads[0]), size + min(0, pads[1]), 1)


def _padded(maker: Maker, node: SourceNode, value: Value, table: list[list[int]]) -> Value:
    mode = node.attributes.get("mode", "constant")
    sizes = maker.net.tensors[value.tensor].shape
    shape = tuple(size + sum(pads) for size, pads in zip(sizes, table, strict=True))
    if mode == "reflect":
        inputs = [value.tensor, maker.net.constant(np.array(table, np.int32))]
        return Value(maker.net.add("MirrorPad", inputs, shape, mode="REFLECT"), value.order)
    if mode != "constant":
        raise Unsupported(f"mode {mode}")
    fill = maker.optional(node, 2, "value")
    number = float(node.attributes.get("value", 0.0)) if fill is None else float(fill.reshape(()))
    return Value(pad_operator(maker, value.tensor, table, shape, number), value.order)


def gather(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = maker.value(node.inputs[0])
    shape, indices = maker.shape(value), maker.array(node.inputs[1])
    axis = one_axis(node.attributes.get("axis", 0), len(shape))
    if indices is not None and indices.ndim == 0:
        return [_taken(maker, value, axis, int(indices) % shape[axis])]
    if indices is not None:
        places = maker.net.constant(
            np.where(indices < 0, indices + shape[axis], indices).astype(np.int32)
        )
        rank = indices.ndim
    else:
        places, rank = maker.plain(node.inputs[1]), len(maker.stated(node.inputs[1]))
        _check_indices(maker, places)
    return [gathered(maker, value, axis, places, rank)]


def _check_indices(maker: Maker, places: int) -> None:
    if maker.net.tensors[places].dtype not in (DType.INT32, DType.INT64):
        raise Unsupported("indices that are no integers of 32 or 64 bits")


def gathered(maker: Maker, value: Value, axis: int, places: int, rank: int) -> Value:
    """Return what stands at `places`, a tensor of `rank` axes, along an axis of the source."""
    net, at = maker.net, value.order.index(axis)
    sizes, own = net.tensors[value.tensor].shape, net.tensors[places].shape
    shape = (*sizes[:at], *own, *sizes[at + 1 :])
    moved = [a if a < axis else a + rank - 1 for a in value.order]
    order = (*moved[:at], *range(axis, axis + rank), *moved[at + 1 :])
    return Value(net.add("Gather", [value.tensor, places], shape, axis=at), order)


def _taken(maker: Maker, value: Value, axis: int, index: int) -> Value:
    """Return what stands at one index of an axis, the axis gone."""
    shape = maker.shape(value)
    cuts = [slice(0, size, 1) for size in shape]
    cuts[axis] = slice(index, index + 1, 1)
    part = sliced(maker, value, cuts)
    return reshaped(maker.net, part, (*shape[:axis], *shape[axis + 1 :]))


def expand(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value, shape = maker.value(node.inputs[0]), maker.stated(node.outputs[0])
    own = maker.shape(value)
    value = reshaped(maker.net, value, (1,) * (len(shape) - len(own)) + own)
    sizes = tuple(shape[axis] for axis in value.order)
    if sizes == maker.net.tensors[value.tensor].shape:
        return [value]
    inputs = [value.tensor, maker.net.ints(sizes)]
    return [Value(maker.net.add("BroadcastTo", inputs, sizes), value.order)]


def tile(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = maker.value(node.inputs[0])
    times = maker.constant(node, 1, "number of repeats").reshape(-1).tolist()
    placed = [int(times[axis]) for axis in value.order]
    sizes = maker.net.tensors[value.tensor].shape
    shape = tuple(size * n for size, n in zip(sizes, placed, strict=True))
    return [
        Value(maker.net.add("Tile", [value.tensor, maker.net.ints(placed)], shape), value.order)
    ]


def space_to_depth(maker: Maker, node: SourceNode) -> Sequence[Value]:
    block = int(node.attributes["blocksize"])
    tensor = arranged(maker.net, maker.value(node.inputs[0]), (0, 2, 3, 1))
    batch, height, width, channels = maker.net.tensors[tensor].shape
    if height % block or width % block:
        raise Unsupported(f"blocks of {block} in {height} x {width} pixels")
    shape = (batch, height // block, width // block, channels * block * block)
    return [Value(maker.net.add("SpaceToDepth", [tensor], shape, block=block), (0, 2, 3, 1))]


def depth_to_space(maker: Maker, node: SourceNode) -> Sequence[Value]:
    block = int(node.attributes["blocksize"])
    tensor = arranged(maker.net, maker.value(node.inputs[0]), (0, 2, 3, 1))
    batch, height, width, channels = maker.net.tensors[tensor].shape
    if channels % block**2:
        raise Unsupported(f"blocks of {block} in {channels} channels")
    if node.attributes.get("mode", "DCR") == "CRD":
        places = np.arange(channels, dtype=np.int32).reshape(-1, block * block).T.reshape(-1)
        value = Value(tensor, (0, 2, 3, 1))
        tensor = gathered(maker, value, 1, maker.net.constant(places), 1).tensor
    shape = (batch, height * block, width * block, channels // block**2)
    return [Value(maker.net.add("DepthToSpace", [tensor], shape, block=block), (0, 2, 3, 1))]


def constant(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """A Constant that could not be worked out: a string or a sparse one."""
    raise Unsupported("a constant that is no plain tensor of numbers")


TRANSLATIONS: dict[str, Translation] = {
    "Reshape": reshape, "Flatten": flatten, "Squeeze": restated, "Unsqueeze": restated,
    "Transpose": transpose, "Concat": concat, "Split": split, "Slice": slice_, "Pad": pad,
    "Gather": gather, "Expand": expand, "Tile": tile, "SpaceToDepth": space_to_depth,
    "DepthToSpace": depth_to_space, "Constant": constant,
}  # fmt: skip
