"""What translations of single operators share: values by name, constants, and elementwise steps.

Sisters: tflite_out_layout.py (axes), tflite_out.py (the table of translations).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from dcformat.ids import DType

from .tflite_out_layout import Order, Value, arranged, natural, plain, settled, shape_of, whole
from .tflite_out_net import DTYPES, Array, Net, OutTensor, Scale, Shape, Unsupported
from .tflite_out_onnx import SourceGraph, SourceNode

#: ONNX's numbers of types, for Cast.
_KINDS = {1: DType.FLOAT, 2: DType.UINT8, 3: DType.INT8, 5: DType.INT16, 6: DType.INT32,
          7: DType.INT64, 9: DType.BOOL}  # fmt: skip
Operand = Union[Value, Array]
_REALS = ("float16", "float64")


@dataclass
class Maker:
    """The graph that is read, the one that is made, and what of the one is where in the other."""

    source: SourceGraph
    net: Net = field(default_factory=Net)
    values: dict[str, Value] = field(default_factory=dict)

    def array(self, name: str) -> Array | None:
        """Return the numbers of a constant, None for what is computed."""
        return self.source.constants.get(name) if name else None

    def constant(self, node: SourceNode, place: int, what: str) -> Array:
        """Return input `place`, which must be a constant."""
        name = given(node, place)
        found = self.array(name)
        if found is None:
            raise Unsupported(f"its {what} {'is computed' if name else 'is missing'}")
        return found

    def optional(self, node: SourceNode, place: int, what: str) -> Array | None:
        """Return input `place`, a constant if it is there at all."""
        return self.constant(node, place, what) if given(node, place) else None

    def raw(self, name: str) -> Value:
        """Return a value, which may be a reshape that is still to be done."""
        if name not in self.values:
            constant = self.array(name)
            if constant is None:
                raise Unsupported(f"its input {name!r} is missing")
            return whole(self.net, self.net.constant(narrowed(constant)))
        return self.values[name]

    def value(self, name: str) -> Value:
        return settled(self.net, self.raw(name))

    def operand(self, name: str) -> Operand:
        """Return a constant's numbers, or a value."""
        constant = self.array(name)
        return self.value(name) if constant is None else narrowed(constant)

    def shape(self, value: Value) -> Shape:
        return shape_of(self.net, value)

    def dtype(self, value: Value) -> DType:
        return self.net.tensors[value.tensor].dtype

    def stated(self, name: str) -> Shape:
        """Return the shape that inference found for a value."""
        fact = self.source.facts.get(name)
        if fact is None or fact.shape is None:
            raise Unsupported("its output's shape cannot be told")
        return fact.shape

    def like(self, kind: str, value: Value, dtype: DType | None = None, **options: Any) -> Value:
        """Return an elementwise operator of one input."""
        shape = self.net.tensors[value.tensor].shape
        made = self.net.add(kind, [value.tensor], shape, dtype, **options)
        return Value(made, value.order)

    def together(
        self, kind: str, *operands: Operand, dtype: DType | None = None, **options: Any
    ) -> Value:
        """Return an elementwise operator of inputs that are broadcast."""
        order, shape = self._common(operands)
        tensors = [self._broadcast(one, order) for one in operands]
        sizes = tuple(shape[axis] for axis in order)
        return Value(self.net.add(kind, tensors, sizes, dtype, **options), order)

    def _common(self, operands: Sequence[Operand]) -> tuple[Order, Shape]:
        """Return the order of axes that costs least, and the shape of the result."""
        shapes = [one.shape if isinstance(one, np.ndarray) else self.shape(one) for one in operands]
        shape = tuple(int(n) for n in np.broadcast_shapes(*shapes))
        best, cost = natural(len(shape)), (-1, False)
        for one, own in zip(operands, shapes, strict=True):
            if isinstance(one, Value):
                order = _lifted(one.order, len(shape))
                own_cost = (int(np.prod(own)), order != natural(len(shape)))
                best, cost = (order, own_cost) if own_cost > cost else (best, cost)
        return best, shape

    def _broadcast(self, operand: Operand, order: Order) -> int:
        if isinstance(operand, np.ndarray):
            return self.net.constant(_constant_as(operand, order))
        more = len(order) - len(operand.order)
        sizes = (1,) * more + self.net.tensors[operand.tensor].shape
        lifted = Value(self.net.reshape(operand.tensor, sizes), _lifted(operand.order, len(order)))
        return arranged(self.net, lifted, order)

    def weight(self, name: str, laid: Callable[[Array], Array]) -> int:
        """Return the weights of a layer as `laid` puts them; integers stay integers."""
        if name in self.source.integers:
            return self._meant(name, laid)
        return self.net.constant(
            np.ascontiguousarray(laid(narrowed(self.source.constants[name]))), name
        )

    def _meant(self, name: str, laid: Callable[[Array], Array]) -> int:
        """Return what a constant's integers mean, worked out when the model is run."""
        own = self.source.integers[name]
        numbers = np.ascontiguousarray(laid(own.numbers))
        scale = Scale(own.scale, own.zero_point)
        if own.axis is not None:
            shape = [-1 if axis == own.axis else 1 for axis in range(own.numbers.ndim)]
            channels = np.arange(own.scale.size).reshape(shape)
            scale = _scale_of(laid(np.broadcast_to(channels, own.numbers.shape)), scale)
        stored = OutTensor(name, DType.INT8, numbers.shape, numbers, scale)
        return self.net.add("Dequantize", [self.net.tensor(stored)], numbers.shape, DType.FLOAT)

    def arranged(self, value: Value, order: Order) -> int:
        return arranged(self.net, value, order)

    def plain(self, name: str) -> int:
        """Return the tensor of a value with the source's axes."""
        return plain(self.net, self.raw(name))


def _scale_of(channels: Array, scale: Scale) -> Scale:
    """Return the scales of numbers that were moved; `channels` says whose each of them was."""
    for axis in range(channels.ndim):
        first = np.moveaxis(channels, axis, 0).reshape(channels.shape[axis], -1)
        if np.all(first == first[:, :1]):
            own = first[:, 0]
            return Scale(scale.scale[own], scale.zero_point[own], axis)
    raise Unsupported("scales by a channel that its layout mixes with others")


def given(node: SourceNode, place: int) -> str:
    """Return the name of input `place`, empty where it was left out."""
    return node.inputs[place] if place < len(node.inputs) else ""


def dtype_of(kind: int) -> DType:
    """Return a type by ONNX's number."""
    if kind not in _KINDS:
        raise Unsupported(f"elements of ONNX's type {kind}")
    return _KINDS[kind]


def narrowed(array: Array) -> Array:
    """Return constants in a type that TFLite computes with."""
    if array.dtype.name in _REALS:
        return array.astype(np.float32)
    if array.dtype.name not in DTYPES:
        raise Unsupported(f"a constant of type {array.dtype.name}")
    return array


def _lifted(order: Order, rank: int) -> Order:
    """Return an order with axes of length 1 before all others, as broadcasting adds them."""
    more = rank - len(order)
    return (*range(more), *(axis + more for axis in order))


def _constant_as(numbers: Array, order: Order) -> Array:
    """Return constants as they are broadcast to axes in `order`, without leading axes of 1."""
    if numbers.size == 1:
        return numbers.reshape(())
    full = numbers.reshape((1,) * (len(order) - numbers.ndim) + numbers.shape).transpose(order)
    cut = next(axis for axis, length in enumerate(full.shape) if length != 1)
    return np.ascontiguousarray(full.reshape(full.shape[cut:]))


def one_axis(axis: Any, rank: int) -> int:
    """Return an axis that may be counted from the end."""
    number = int(axis)
    if not -rank <= number < rank:
        raise Unsupported(f"axis {number} of {rank}")
    return number % rank


Translation = Callable[[Maker, SourceNode], Sequence[Value]]
