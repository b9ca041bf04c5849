"""Which operators TFLite has for int8, and what their scales must be.

Spec: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec.
Sister: tflite_out_integer.py (ranges, borders to what stays real).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dcformat.ids import DType

from .tflite_out_integer import Quantizer, Ranges, finish, fixed_scale, rounded, start
from .tflite_out_net import Array, Net, Op, OutTensor, Scale
from .tflite_out_weights import LAYERS, integers_of, quantized

#: Results of these have the scale of their first input.
_SAME = frozenset(
    {
        "AveragePool2D",
        "BroadcastTo",
        "DepthToSpace",
        "Gather",
        "MaxPool2D",
        "MirrorPad",
        "Pad",
        "Padv2",
        "ReduceMax",
        "ReduceMin",
        "Reshape",
        "ResizeBilinear",
        "ResizeNearestNeighbor",
        "Slice",
        "SpaceToDepth",
        "SplitV",
        "StridedSlice",
        "Tile",
        "Transpose",
    }
)
#: Results of these have scales of their own; so have their inputs.
_FREE = frozenset(
    {
        "Add",
        "BatchMatMul",
        "HardSwish",
        "LeakyRelu",
        "Mean",
        "Mul",
        "Prelu",
        "Relu",
        "Relu6",
        "Sub",
        "Sum",
    }
)
#: All inputs of these must have the scale of the result.
_JOINED = frozenset({"Concatenation", "Maximum", "Minimum"})
#: The scale and zero point that the specification sets.
_FIXED = {
    "Logistic": (1 / 256, -128),
    "LogSoftmax": (16 / 256, 127),
    "Softmax": (1 / 256, -128),
    "Tanh": (1 / 128, 0),
}
_DENSE = ("Conv2D", "DepthwiseConv2D", "FullyConnected")
#: Of a layer with other places than Conv2D: those of the input and of the bias.
_PLACES = {"TransposeConv": (2, 3)}
_LARGEST_BIAS = 1 << 30  #: so that sums of products have room beside it


def to_integers(net: Net, ranges: Ranges) -> None:
    """Let `net` compute in integers, in place. `ranges` are the smallest and largest by value."""
    made = start(net, ranges)
    for op in list(net.ops):
        rule = _rule_of(op)
        if rule is None or not rule(made, op):
            made.keep(op)
    finish(made)


def _rule_of(op: Op) -> Callable[[Quantizer, Op], bool] | None:
    """Return the rule of an operator; it tells whether it could add it in integers."""
    if op.kind in (*_DENSE, "TransposeConv"):
        return _layer
    for kinds, rule in ((_SAME, _same), (_FREE, _free), (_JOINED, _joined), (_FIXED, _fixed)):
        if op.kind in kinds:
            return rule
    if op.kind == "Div":
        return _divided
    return _arg if op.kind in ("ArgMax", "ArgMin") else None


def _add(made: Quantizer, op: Op, inputs: list[int], scale: Scale) -> bool:
    outputs = tuple(made.place(index, scale) for index in op.outputs)
    made.ops.append(replace(op, inputs=tuple(inputs), outputs=outputs))
    return True


def _is_real(made: Quantizer, index: int) -> bool:
    return index >= 0 and made.tensor(index).dtype is DType.FLOAT


def _same(made: Quantizer, op: Op) -> bool:
    """What moves numbers, or takes one of several: nothing is rounded."""
    scale = made.scale(op.inputs[0])
    if scale is None or made.tensor(op.inputs[0]).data is not None:
        return False
    first = made.integer(op.inputs[0])
    rest = [_filled(made, index, scale) for index in op.inputs[1:]]
    return _add(made, op, [first, *rest], scale)


def _filled(made: Quantizer, index: int, scale: Scale) -> int:
    """Return a parameter, a real one (what Padv2 fills with) in the scale of the input."""
    own = made.tensor(index)
    if own.dtype is not DType.FLOAT:
        return index
    data = rounded(own.data, scale)
    return made.net.tensor(replace(own, dtype=DType.INT8, data=data, scale=scale))


def _free(made: Quantizer, op: Op) -> bool:
    scale = made.scale(op.outputs[0])
    wanted = [index for index in op.inputs if _is_real(made, index)]
    if scale is None or any(made.scale(index) is None for index in wanted):
        return False
    inputs = [made.integer(i) if _is_real(made, i) else i for i in op.inputs]
    return _add(made, op, inputs, scale)


def _divided(made: Quantizer, op: Op) -> bool:
    """A division by a constant: a product, for which there is a kernel."""
    below = made.tensor(op.inputs[1])
    if below.data is None or not np.all(below.data):
        return False
    inverse = made.net.tensor(replace(below, data=np.float32(1) / below.data))
    return _free(made, replace(op, kind="Mul", inputs=(op.inputs[0], inverse)))


def _joined(made: Quantizer, op: Op) -> bool:
    scale = made.scale(op.outputs[0])
    if scale is None or any(made.scale(index) is None for index in op.inputs):
        return False
    return _add(made, op, [made.integer(index, scale) for index in op.inputs], scale)


def _fixed(made: Quantizer, op: Op) -> bool:
    if made.scale(op.inputs[0]) is None:
        return False
    return _add(made, op, [made.integer(op.inputs[0])], fixed_scale(*_FIXED[op.kind]))


def _arg(made: Quantizer, op: Op) -> bool:
    """Where the largest is: integers of another kind, which stay."""
    if op.inputs[0] not in made.ints:
        return False
    made.ops.append(replace(op, inputs=(made.ints[op.inputs[0]], *op.inputs[1:])))
    return True


def _layer(made: Quantizer, op: Op) -> bool:
    """A layer with weights: int32 sums of products, the bias in their scale."""
    first, last = _PLACES.get(op.kind, (0, 2))
    source, scale = made.scale(op.inputs[first]), made.scale(op.outputs[0])
    if source is None or scale is None:
        return False
    bias = made.tensor(op.inputs[last]).data if len(op.inputs) > last else np.zeros(1, np.float32)
    weight = None if bias is None else _weight(made, op, bias, float(source.scale[0]))
    if bias is None or weight is None or weight.scale is None:
        return False
    steps = weight.scale.scale.astype(np.float64) * float(source.scale[0])
    numbers = np.rint(bias / steps)
    if np.abs(numbers).max(initial=0) > _LARGEST_BIAS:
        return False
    inputs = list(op.inputs)
    inputs[first], inputs[1] = made.integer(op.inputs[first]), made.net.tensor(weight)
    if len(inputs) > last:
        own = Scale(steps.astype(np.float32), np.zeros(steps.size, np.int64))
        kept = replace(made.tensor(op.inputs[last]), dtype=DType.INT32, scale=own)
        inputs[last] = made.net.tensor(replace(kept, data=numbers.astype(np.int32)))
    return _add(made, op, inputs, scale)


def _weight(made: Quantizer, op: Op, bias: Array, step: float) -> OutTensor | None:
    """Return a weight as int8; None where its integers are none that the kernel takes."""
    axis, index = LAYERS[op.kind], op.inputs[1]
    held = integers_of(made.net, made.makers.get(index))
    if held is not None:
        fits = held.scale is not None and (held.scale.axis == axis or held.scale.scale.size == 1)
        plain = held.scale is not None and not held.scale.zero_point.any()
        return held if fits and plain else None
    own = made.tensor(index)
    if own.data is None:
        return None
    least = np.abs(bias).astype(np.float64) / (step * _LARGEST_BIAS / 2)
    numbers, scale = quantized(own.data, axis, 127, least)
    return replace(own, dtype=DType.INT8, data=numbers, scale=scale)
