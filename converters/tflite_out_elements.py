"""Operators that work on each element: activations, arithmetic, comparisons, types.

Spec: https://onnx.ai/onnx/operators. Sister: tflite_out_maker.py (broadcasting).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dcformat.ids import DType

from .tflite_out_layout import Value
from .tflite_out_maker import Maker, Operand, Translation, dtype_of, given
from .tflite_out_net import DTYPES, Array, Unsupported
from .tflite_out_onnx import SourceNode

#: Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26: at most 1.5e-7 wrong.
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_ERF_P = 0.3275911
_COMPUTED = (DType.FLOAT, DType.INT32, DType.INT64)


def _number(value: float) -> Array:
    return np.array(value, np.float32)


def real(maker: Maker, name: str) -> Value:
    """Return a value, which must be real numbers."""
    value = maker.value(name)
    if maker.dtype(value) is not DType.FLOAT:
        raise Unsupported(f"elements of type {maker.dtype(value).name}")
    return value


def unary(kind: str) -> Translation:
    """Return the translation of an operator that TFLite has for real numbers."""

    def translate(maker: Maker, node: SourceNode) -> Sequence[Value]:
        return [maker.like(kind, real(maker, node.inputs[0]))]

    return translate


def binary(kind: str) -> Translation:
    """Return the translation of arithmetic on two inputs."""

    def translate(maker: Maker, node: SourceNode) -> Sequence[Value]:
        operands = [maker.operand(name) for name in node.inputs]
        _check_arithmetic(maker, operands)
        return [maker.together(kind, *operands)]

    return translate


def _check_arithmetic(maker: Maker, operands: Sequence[Operand]) -> None:
    for one in operands:
        if isinstance(one, Value) and maker.dtype(one) not in _COMPUTED:
            raise Unsupported(f"arithmetic on {maker.dtype(one).name}")


def several(kind: str) -> Translation:
    """Return the translation of an operator of any number of inputs, two by two."""

    def translate(maker: Maker, node: SourceNode) -> Sequence[Value]:
        operands = [maker.operand(name) for name in node.inputs]
        _check_arithmetic(maker, operands)
        result = operands[0]
        for other in operands[1:]:
            result = maker.together(kind, result, other)
        if not isinstance(result, Value):
            raise Unsupported("a single constant")
        return [result]

    return translate


def compare(kind: str) -> Translation:
    """Return the translation of a comparison, or of logic."""

    def translate(maker: Maker, node: SourceNode) -> Sequence[Value]:
        operands = [maker.operand(name) for name in node.inputs]
        return [maker.together(kind, *operands, dtype=DType.BOOL)]

    return translate


def logical_not(maker: Maker, node: SourceNode) -> Sequence[Value]:
    return [maker.like("LogicalNot", maker.value(node.inputs[0]))]


def where(maker: Maker, node: SourceNode) -> Sequence[Value]:
    condition, *choices = [maker.operand(name) for name in node.inputs]
    first = choices[0]
    dtype = maker.dtype(first) if isinstance(first, Value) else DTYPES[first.dtype.name]
    return [maker.together("SelectV2", condition, *choices, dtype=dtype)]


def same(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """Identity and Dropout."""
    if len([name for name in node.outputs if name]) > 1:
        raise Unsupported("its second output, the mask")
    return [maker.raw(node.inputs[0])]


def clip(maker: Maker, node: SourceNode) -> Sequence[Value]:
    low, high = (_bound(maker, node, place, name) for place, name in ((1, "min"), (2, "max")))
    value = maker.value(node.inputs[0])
    known: dict[tuple[float | None, float | None], str]
    known = {(0.0, 6.0): "Relu6", (-1.0, 1.0): "ReluN1To1", (0.0, None): "Relu"}
    if maker.dtype(value) is DType.FLOAT and (low, high) in known:
        return [maker.like(known[low, high], value)]
    dtype = np.float32 if maker.dtype(value) is DType.FLOAT else np.int32
    if maker.dtype(value) is DType.INT64:
        dtype = np.int64
    for kind, bound in (("Maximum", low), ("Minimum", high)):
        if bound is not None:
            value = maker.together(kind, value, np.array(bound, dtype))
    return [value]


def _bound(maker: Maker, node: SourceNode, place: int, name: str) -> float | None:
    bound = maker.optional(node, place, name)
    found = node.attributes.get(name) if bound is None else float(bound.reshape(()))
    limit = float(np.finfo(np.float32).max)
    return None if found is None or abs(found) >= limit else float(found)


def leaky_relu(maker: Maker, node: SourceNode) -> Sequence[Value]:
    alpha = float(node.attributes.get("alpha", 0.01))
    return [maker.like("LeakyRelu", real(maker, node.inputs[0]), alpha=alpha)]


def prelu(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value, slope = real(maker, node.inputs[0]), maker.operand(node.inputs[1])
    if isinstance(slope, np.ndarray) and slope.size > 1:
        shape = np.broadcast_shapes(slope.shape, (1,) * len(maker.shape(value)))
        slope = slope.reshape(shape)
    return [maker.together("Prelu", value, slope)]


def elu(maker: Maker, node: SourceNode) -> Sequence[Value]:
    if node.attributes.get("alpha", 1.0) != 1.0:
        raise Unsupported("alpha other than 1")
    return [maker.like("Elu", real(maker, node.inputs[0]))]


def hard_sigmoid(maker: Maker, node: SourceNode) -> Sequence[Value]:
    alpha = float(node.attributes.get("alpha", 0.2))
    beta = float(node.attributes.get("beta", 0.5))
    line = maker.together("Mul", real(maker, node.inputs[0]), _number(alpha))
    rising = maker.like("Relu", maker.together("Add", line, _number(beta)))
    return [maker.together("Minimum", rising, _number(1.0))]


def softplus(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """log(1 + e^x), as max(x, 0) + log(1 + e^-|x|): it does not overflow."""
    value = real(maker, node.inputs[0])
    small = maker.like("Exp", maker.like("Neg", maker.like("Abs", value)))
    rest = maker.like("Log", maker.together("Add", small, _number(1.0)))
    return [maker.together("Add", maker.like("Relu", value), rest)]


def reciprocal(maker: Maker, node: SourceNode) -> Sequence[Value]:
    return [maker.together("Div", _number(1.0), real(maker, node.inputs[0]), dtype=DType.FLOAT)]


def gelu(maker: Maker, node: SourceNode) -> Sequence[Value]:
    approximate = node.attributes.get("approximate", "none") == "tanh"
    return [maker.like("Gelu", real(maker, node.inputs[0]), approximate=approximate)]


def erf(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """Erf as sign(x) (1 - p(t) e^(-x x)) with t = 1 / (1 + q |x|)."""
    value = real(maker, node.inputs[0])
    size = maker.like("Abs", value)
    below = maker.together("Add", maker.together("Mul", size, _number(_ERF_P)), _number(1.0))
    t = maker.together("Div", _number(1.0), below, dtype=DType.FLOAT)
    sum_ = maker.together("Mul", t, _number(_ERF[0]))
    for coefficient in _ERF[1:]:
        sum_ = maker.together("Mul", maker.together("Add", sum_, _number(coefficient)), t)
    bell = maker.like("Exp", maker.like("Neg", maker.like("Square", value)))
    tail = maker.together("Mul", sum_, bell)
    rising = maker.together("Sub", _number(1.0), tail, dtype=DType.FLOAT)
    return [maker.together("Mul", maker.like("Sign", value), rising)]


def power(maker: Maker, node: SourceNode) -> Sequence[Value]:
    exponent = maker.array(node.inputs[1])
    if exponent is not None and exponent.size == 1 and maker.array(node.inputs[0]) is None:
        kinds = {2.0: "Square", 0.5: "Sqrt"}
        kind = kinds.get(float(exponent.reshape(())))
        if kind:
            return [maker.like(kind, real(maker, node.inputs[0]))]
    operands = [maker.operand(name) for name in node.inputs]
    both = [one.astype(np.float32) if isinstance(one, np.ndarray) else one for one in operands]
    return [maker.together("Pow", *both)]


def modulo(maker: Maker, node: SourceNode) -> Sequence[Value]:
    if node.attributes.get("fmod", 0):
        raise Unsupported("fmod")
    return [maker.together("FloorMod", *(maker.operand(name) for name in node.inputs))]


def cast(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value = maker.value(node.inputs[0])
    target = dtype_of(int(node.attributes["to"]))
    if target is maker.dtype(value):
        return [value]
    return [maker.like("Cast", value, target, source=maker.dtype(value), target=target)]


def mean_of(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """Mean of several inputs."""
    (total,) = several("Add")(maker, node)
    return [maker.together("Mul", total, _number(1.0 / len(node.inputs)))]


def batch_norm(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """What tflite_out_norms.py could not write out: numbers that are computed, or training."""
    computed = [place for place in range(1, 5) if maker.array(given(node, place)) is None]
    raise Unsupported("its parameters are computed" if computed else "training mode")


TRANSLATIONS: dict[str, Translation] = {
    "Relu": unary("Relu"), "Sigmoid": unary("Logistic"), "Tanh": unary("Tanh"),
    "HardSwish": unary("HardSwish"), "Sqrt": unary("Sqrt"), "Exp": unary("Exp"),
    "Neg": unary("Neg"), "Abs": unary("Abs"), "Log": unary("Log"), "Floor": unary("Floor"),
    "Ceil": unary("Ceil"), "Round": unary("Round"), "Sin": unary("Sin"), "Cos": unary("Cos"),
    "Sign": unary("Sign"), "Elu": elu, "Clip": clip, "LeakyRelu": leaky_relu, "PRelu": prelu,
    "HardSigmoid": hard_sigmoid, "Softplus": softplus, "Reciprocal": reciprocal, "Gelu": gelu,
    "Erf": erf, "Add": binary("Add"), "Sub": binary("Sub"), "Mul": binary("Mul"),
    "Div": binary("Div"), "Pow": power, "Mod": modulo, "Max": several("Maximum"),
    "Min": several("Minimum"), "Sum": several("Add"), "Mean": mean_of, "Cast": cast,
    "Equal": compare("Equal"), "Greater": compare("Greater"), "Less": compare("Less"),
    "GreaterOrEqual": compare("GreaterEqual"), "LessOrEqual": compare("LessEqual"),
    "And": compare("LogicalAnd"), "Or": compare("LogicalOr"), "Not": logical_not,
    "Where": where, "Identity": same, "Dropout": same, "BatchNormalization": batch_norm,
}  # fmt: skip
