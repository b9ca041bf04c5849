"""Values whose axes lie as TFLite's operators want them, and are moved where nothing else does.

A value is a tensor with the order of its axes: a convolution leaves (N, H, W, C), a Transpose of
the source changes the order alone, elementwise operators keep it, axes of a Concat or a reduction
are looked up in it. Only what wants another order than the one that is there adds an operator
TRANSPOSE; where only axes of length 1 move it is a RESHAPE. Sister: tflite_out_net.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from .tflite_out_net import Array, Net, Shape, Unsupported

Order = tuple[int, ...]
_MAX_AXES = 6  #: of the kernels of TRANSPOSE


@dataclass(frozen=True)
class Value:
    """Axis i of `tensor` is axis `order[i]` of what the source means.

    With `shape` it is a reshape that is still to be done, of what stands before it: some readers
    can do without the transposition that it takes.
    """

    tensor: int
    order: Order
    shape: Shape | None = None


def natural(rank: int) -> Order:
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Return the order of a convolution's input: (N, C, H, W) as (N, H, W, C)."""
    return (0, *range(2, rank), 1)


def shape_of(net: Net, value: Value) -> Shape:
    """Return the shape that the source sees."""
    if value.shape is not None:
        return value.shape
    sizes = net.tensors[value.tensor].shape
    return tuple(sizes[value.order.index(axis)] for axis in range(len(sizes)))


def whole(net: Net, tensor: int) -> Value:
    """Return a tensor whose axes are in the source's order."""
    return Value(tensor, natural(len(net.tensors[tensor].shape)))


def arranged(net: Net, value: Value, order: Order) -> int:
    """Return the tensor of `value` with its axes in `order`."""
    if value.shape is not None and order == natural(len(value.shape)):
        return net.reshape(plain(net, Value(value.tensor, value.order)), value.shape)
    value = settled(net, value)
    steps = tuple(value.order.index(axis) for axis in order)
    if steps == natural(len(steps)):
        return value.tensor
    key = "arranged", value.tensor, steps
    if key not in net.made:
        net.made[key] = _transposed(net, value.tensor, steps)
    return net.made[key]


def plain(net: Net, value: Value) -> int:
    """Return the tensor of `value` with the source's axes."""
    return arranged(net, value, natural(len(shape_of(net, value))))


def settled(net: Net, value: Value) -> Value:
    """Do what is still to be done for `value`."""
    if value.shape is None:
        return value
    source = Value(value.tensor, value.order)
    order = _sorted_within(value.order, shape_of(net, source), value.shape)
    return reshaped(net, Value(arranged(net, source, order), order), value.shape)


def _sorted_within(order: Order, old: Shape, new: Shape) -> Order:
    """Return an order, as near as may be, in which axes that a reshape joins stand in a row."""
    groups = [before for before, _ in _groups(old, new) if before]
    groups.sort(key=lambda axes: min(order.index(a) for a in _long(axes, old) or axes))
    return tuple(axis for axes in groups for axis in axes)


def _long(axes: Order, shape: Shape) -> list[int]:
    return [axis for axis in axes if shape[axis] != 1]


def _transposed(net: Net, tensor: int, steps: Order) -> int:
    own = net.tensors[tensor]
    shape = tuple(own.shape[axis] for axis in steps)
    if own.data is not None and own.scale is None:
        return net.constant(own.data.transpose(steps))
    long = [axis for axis in steps if own.shape[axis] != 1]
    if long == sorted(long):  # only axes of length 1 move
        return net.reshape(tensor, shape)
    if len(steps) <= 4:
        return _move(net, tensor, steps)
    kept = sorted(long)
    if len(kept) > _MAX_AXES:
        raise Unsupported(f"a transposition of {len(kept)} axes")
    squeezed = net.reshape(tensor, tuple(own.shape[axis] for axis in kept))
    moved = _move(net, squeezed, tuple(kept.index(axis) for axis in long))
    return net.reshape(moved, shape)


def _move(net: Net, tensor: int, steps: Order) -> int:
    shape = tuple(net.tensors[tensor].shape[axis] for axis in steps)
    return net.add("Transpose", [tensor, net.ints(steps)], shape)


def turned(value: Value, steps: Sequence[int]) -> Value:
    """Return the source's Transpose of a value: nothing moves."""
    places = {axis: place for place, axis in enumerate(steps)}
    return Value(value.tensor, tuple(places[axis] for axis in value.order))


def reshaped(net: Net, value: Value, shape: Shape) -> Value:
    """Return the source's Reshape of a value, its axes where they are as far as that goes."""
    value = Value(value.tensor, value.order)  # a reshape of a reshape is one of what was before
    old = shape_of(net, value)
    if prod(old) != prod(shape):
        raise Unsupported(f"a reshape of {old} to {shape}")
    if value.order == natural(len(old)) or not prod(shape):
        return whole(net, net.reshape(plain(net, value), shape))
    order = _carried(value.order, old, shape)
    if order is None:
        return Value(value.tensor, value.order, shape)
    sizes = tuple(shape[axis] for axis in order)
    return Value(net.reshape(value.tensor, sizes), order)


def _carried(order: Order, old: Shape, new: Shape) -> Order | None:
    """Return the order of the new axes if no number needs to move, else None."""
    groups = _groups(old, new)
    long = _long(order, old)
    taken: list[tuple[int, Order]] = []
    place = 0
    for before, after in groups:
        own = _long(before, old)
        if not _are_together([long.index(axis) for axis in own]):
            return None
        place = min((order.index(axis) for axis in own or before), default=place)
        taken.append((place, after))
    return tuple(axis for _, after in sorted(taken) for axis in after)


def _are_together(places: list[int]) -> bool:
    return not places or places == list(range(places[0], places[0] + len(places)))


def _groups(old: Shape, new: Shape) -> list[tuple[Order, Order]]:
    """Return runs of old and of new axes that hold the same numbers of elements."""
    groups: list[tuple[Order, Order]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        first, second, p, q = i, j, 1, 1
        if i < len(old):
            p, i = old[i], i + 1
        if j < len(new):
            q, j = new[j], j + 1
        while p != q:
            if p < q:
                p, i = p * old[i], i + 1
            else:
                q, j = q * new[j], j + 1
        groups.append((tuple(range(first, i)), tuple(range(second, j))))
    return groups


def rows_of(net: Net, value: Value) -> tuple[int, Array | None]:
    """Return a matrix for a layer with constant weights, and which column each of its own is.

    Where the value is a reshape of a transposed tensor its numbers stay where they are, and it is
    the weight's columns that must move: None is that they are in the source's order.
    """
    if value.shape is None or len(value.shape) != 2:
        return plain(net, value), None
    source = Value(value.tensor, value.order)
    old = shape_of(net, source)
    if not old or old[0] != value.shape[0] or value.order[0] != 0:
        return plain(net, value), None
    columns = np.arange(value.shape[1]).reshape(1, *old[1:]).transpose(value.order)
    return net.reshape(value.tensor, value.shape), columns.reshape(-1)


def transposes(net: Net) -> int:
    """Return how many operators move numbers from axis to axis."""
    return sum(op.kind == "Transpose" for op in net.ops)
