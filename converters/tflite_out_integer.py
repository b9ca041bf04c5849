"""A TFLite graph in integers: int8 activations and weights, int32 biases.

Spec: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec.
Activations get a scale and a zero point from ranges that were seen; weights are symmetric, with a
scale for each output channel, and integers that the model has already stay what they are. Operators
that have no kernel for int8, or whose results have no range, stay in float32 between DEQUANTIZE and
QUANTIZE. Sisters: tflite_out_integer_rules.py (operators), tflite_out_weights.py.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dcformat.errors import ConvertError
from dcformat.ids import DType

from .tflite_out_net import Array, Net, Op, OutTensor, Scale

Ranges = Mapping[str, tuple[float, float]]
_LOW, _HIGH = -128, 127
_SMALLEST = 1e-8  #: scale of what was 0 in every sample
#: Written out of one operator of the source, what is between has no name there, and no range.
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "Add": operator.add,
    "Mul": operator.mul,
    "Sub": operator.sub,
}
_MOVES = ("Concatenation", "Reshape", "Slice", "Transpose")
_BORDERS = ("Quantize", "Dequantize")


@dataclass
class Quantizer:
    """The graph while it changes: `ints` are tensors of int8 by the real ones that they stand for.

    `given` are real tensors that are there.
    """

    net: Net
    ranges: Mapping[int, tuple[float, float]]
    ops: list[Op] = field(default_factory=list)
    ints: dict[int, int] = field(default_factory=dict)
    given: set[int] = field(default_factory=set)
    makers: dict[int, Op] = field(default_factory=dict)

    def tensor(self, index: int) -> OutTensor:
        return self.net.tensors[index]

    def scale(self, index: int) -> Scale | None:
        """Return what int8 in the place of a real tensor would mean; None where that is unknown."""
        if index in self.ints:
            return self.tensor(self.ints[index]).scale
        own = self.tensor(index)
        if own.dtype is not DType.FLOAT:
            return None
        if own.data is not None:
            return scale_of(float(own.data.min()), float(own.data.max())) if own.size else None
        seen = self.ranges.get(index)
        return None if seen is None else scale_of(*seen)

    def place(self, index: int, scale: Scale) -> int:
        """Return a new tensor of int8 for a real one."""
        own = self.tensor(index)
        made = self.net.tensor(replace(own, dtype=DType.INT8, scale=scale, data=None))
        self.ints[index] = made
        return made

    def integer(self, index: int, wanted: Scale | None = None) -> int:
        """Return int8 for a real tensor, with the scale `wanted` if one is."""
        scale = self.scale(index)
        if scale is None:
            raise ConvertError(f"tensor {self.tensor(index).name!r} has no range")
        if self.tensor(index).data is not None:
            return self._constant(index, wanted or scale)
        if index not in self.ints:
            source = index
            self.ops.append(Op("Quantize", (source,), (self.place(index, scale),)))
        if wanted is None or same(wanted, scale):
            return self.ints[index]
        again = replace(self.tensor(self.ints[index]), name=f"{self.tensor(index).name}/again")
        made = self.net.tensor(replace(again, scale=wanted))
        self.ops.append(Op("Quantize", (self.ints[index],), (made,)))
        return made

    def _constant(self, index: int, scale: Scale) -> int:
        own = self.tensor(index)
        numbers = np.asarray(rounded(own.data, scale))
        return self.net.tensor(replace(own, dtype=DType.INT8, data=numbers, scale=scale))

    def real(self, index: int) -> int:
        """Return a tensor of real numbers; one of another type is returned as it is."""
        if index < 0 or index in self.given or index not in self.ints:
            return index
        self.ops.append(Op("Dequantize", (self.ints[index],), (index,)))
        self.given.add(index)
        return index

    def keep(self, op: Op) -> None:
        """Add an operator as it is."""
        self.ops.append(replace(op, inputs=tuple(self.real(index) for index in op.inputs)))
        self.given |= set(op.outputs)


def scale_of(low: float, high: float) -> Scale:
    """Return the scale and zero point of a range; 0 is always a number of its own."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / (_HIGH - _LOW), _SMALLEST))
    point = int(np.clip(np.rint(_LOW - low / float(scale)), _LOW, _HIGH))
    return fixed_scale(float(scale), point)


def fixed_scale(scale: float, point: int) -> Scale:
    return Scale(np.array([scale], np.float32), np.array([point], np.int64))


def same(one: Scale, other: Scale) -> bool:
    return bool(one.scale[0] == other.scale[0] and one.zero_point[0] == other.zero_point[0])


def rounded(numbers: Array | None, scale: Scale) -> Array:
    """Return real numbers as int8."""
    parts = np.rint(np.asarray(numbers, np.float64) / float(scale.scale[0])) + scale.zero_point[0]
    return np.asarray(np.clip(parts, _LOW, _HIGH), np.int8)


def _seen(net: Net, ranges: Ranges) -> dict[int, tuple[float, float]]:
    """Return ranges by tensor; what an operator only moves has the range of where it moves to."""
    found = {
        index: ranges[one.value] for index, one in enumerate(net.tensors) if one.value in ranges
    }
    uses = Counter(index for op in net.ops for index in op.inputs) + Counter(net.outputs)
    for op in reversed(net.ops):
        seen = found.get(op.outputs[0]) if op.kind in _MOVES else None
        joined = op.inputs if op.kind == "Concatenation" else op.inputs[:1]
        for index in joined:
            if seen is not None and uses[index] == 1:  # what a Slice leaves out is nobody's
                found.setdefault(index, seen)
    for op in net.ops:
        own = _reached(net, op, found) if op.kind in _ARITHMETIC else None
        if own is not None:
            found.setdefault(op.outputs[0], own)
    return found


def _reached(
    net: Net, op: Op, found: Mapping[int, tuple[float, float]]
) -> tuple[float, float] | None:
    """Return the range that arithmetic with a constant can reach."""
    ends = []
    for index in op.inputs:
        data = net.tensors[index].data
        if data is not None and data.size:
            ends.append((float(data.min()), float(data.max())))
        elif index in found:
            ends.append(found[index])
    if len(ends) != 2 or "activation" in op.options:
        return None
    reached = [_ARITHMETIC[op.kind](a, b) for a in ends[0] for b in ends[1]]
    return min(reached), max(reached)


def start(net: Net, ranges: Ranges) -> Quantizer:
    """Return a quantizer whose inputs are of int8 already. Raises ConvertError."""
    made = Quantizer(net, _seen(net, ranges), makers={op.outputs[0]: op for op in net.ops})
    for place, index in enumerate(net.inputs):
        if net.tensors[index].dtype is not DType.FLOAT:
            continue
        scale = made.scale(index)
        if scale is None:
            raise ConvertError(f"input {net.tensors[index].name!r} has no range")
        net.inputs[place] = made.place(index, scale)
        net.tensors[index] = replace(net.tensors[index], name=f"{net.tensors[index].name}/real")
    return made


def finish(made: Quantizer) -> None:
    """Give the graph its new operators, and outputs of int8 where they are."""
    net = made.net
    net.ops = made.ops
    for place, index in enumerate(net.outputs):
        if index in made.ints:
            name = net.tensors[index].name
            net.outputs[place] = made.ints[index]
            net.tensors[index] = replace(net.tensors[index], name=f"{name}/real")


def left_real(net: Net) -> list[str]:
    """Return the kinds of operators that compute with real numbers."""
    return [
        op.kind
        for op in net.ops
        if op.kind not in _BORDERS
        and any(net.tensors[i].dtype is DType.FLOAT for i in (*op.inputs, *op.outputs) if i >= 0)
    ]
