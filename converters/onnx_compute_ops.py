"""How many multiplications an operator makes: the table of operators.

Spec: https://onnx.ai/onnx/operators. Sister file: onnx_compute.py (asks). A MAC is one
multiplication of two elements with its addition to a sum. Padding counts as if it were multiplied,
biases do not count. An operator is in this table, or in that of those without MACs (`FREE`:
elementwise arithmetic, norms, pooling, softmax, reductions, movement of data), or is *not counted*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from .onnx_compute_shapes import Shape
from .onnx_scopes import Node, text
from .onnx_trace import is_quantizer


class UnknownShapeError(Exception):
    """A shape that the number of MACs depends on is not known, or does not fit the operator."""


@dataclass(frozen=True)
class Product:
    """MACs in which each element of each of the inputs `operands` takes part equally often."""

    macs: int
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Shapes:
    """A node with the shapes of its inputs and outputs; None where unknown or left out."""

    node: Node
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]

    def input(self, index: int, rank: int = 0) -> Shape:
        """Return a shape that has to be known, and of `rank` where that is given."""
        return _need(self.inputs, index, rank)

    def output(self, index: int = 0, rank: int = 0) -> Shape:
        return _need(self.outputs, index, rank)

    def has(self, index: int) -> bool:
        """Tell whether an input is there."""
        names = self.node.inputs
        return index < len(names) and bool(names[index])


def _need(shapes: tuple[Shape | None, ...], index: int, rank: int) -> Shape:
    shape = shapes[index] if index < len(shapes) else None
    if shape is None or (rank and len(shape) != rank):
        raise UnknownShapeError
    return shape


def _fit(condition: bool) -> None:
    if not condition:
        raise UnknownShapeError


Rule = Callable[[Shapes], list[Product]]


def _conv(weight: int) -> Rule:
    """Every weight is used once for each place of the output, whatever groups and strides are."""

    def rule(at: Shapes) -> list[Product]:
        kernel, out = at.input(weight), at.output()
        _fit(len(kernel) == len(out) >= 3 and kernel[0] == out[1])
        return [Product(prod(kernel) * out[0] * prod(out[2:]), (weight,))]

    return rule


def _conv_transpose(at: Shapes) -> list[Product]:
    """Every element of the input meets every weight of its channel once."""
    data, kernel = at.input(0), at.input(1)
    _fit(len(kernel) == len(data) >= 3 and kernel[0] == data[1])
    return [Product(prod(kernel) * data[0] * prod(data[2:]), (1,))]


def _gemm(at: Shapes) -> list[Product]:
    a, b = at.input(0, 2), at.input(1, 2)
    rows, inner = reversed(a) if at.node.number("transA") else a
    right, columns = reversed(b) if at.node.number("transB") else b
    _fit(inner == right)
    return [Product(rows * inner * columns, (0, 1))]


def _matmul(left: int, right: int) -> Rule:
    def rule(at: Shapes) -> list[Product]:
        inner = _inner(at, left, right)
        return [Product(prod(_multiplied(at, left, right)) * inner, (left, right))]

    return rule


def _multiplied(at: Shapes, left: int, right: int) -> Shape:
    """Return the shape of the result, of the operands where no type is known."""
    if at.outputs and at.outputs[0] is not None:
        return at.outputs[0]
    a, b = at.input(left), at.input(right)
    if min(len(a), len(b)) < 2:
        raise UnknownShapeError
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise UnknownShapeError from None
    return (*batch, a[-2], b[-1])


def _inner(at: Shapes, left: int, right: int) -> int:
    """Return the length of the axis that is summed over: either operand says it."""
    known = {i: shape for i, shape in enumerate(at.inputs) if shape}
    found = {known[left][-1]} if left in known else set()
    if right in known:
        found.add(known[right][max(-2, -len(known[right]))])
    _fit(len(found) == 1)
    return found.pop()


def _recurrent(at: Shapes) -> list[Product]:
    """Gates of each direction at each step; no sequence is taken to end early."""
    data, weights, again = at.input(0, 3), at.input(1, 3), at.input(2, 3)
    _fit(weights[:2] == again[:2] and weights[2] == data[2])
    steps = data[0] * data[1]
    return [Product(prod(weights) * steps, (1,)), Product(prod(again) * steps, (2,))]


def _attention(at: Shapes) -> list[Product]:
    """Queries by keys, and what comes of it by values; keys of the past included."""
    query, key, value = at.input(0), at.input(1), at.input(2)
    if len(query) == 3:
        query = _heads(query, at.node.number("q_num_heads"))
        key, value = (_heads(s, at.node.number("kv_num_heads")) for s in (key, value))
    _fit(len(query) == len(key) == len(value) == 4 and query[3] == key[3])
    past = at.input(4, 4)[2] if at.has(4) else 0
    pairs = query[0] * query[1] * query[2] * (key[2] + past)
    return [Product(pairs * key[3], (0, 1)), Product(pairs * value[3], (2,))]


def _heads(shape: Shape, heads: int) -> Shape:
    _fit(len(shape) == 3 and heads > 0 and shape[2] % heads == 0)
    return shape[0], heads, shape[1], shape[2] // heads


def _old_attention(at: Shapes) -> list[Product]:
    """com.microsoft.Attention: the projections of queries, keys and values, then as above."""
    data, weights = at.input(0, 3), at.input(1, 2)
    sizes = at.node.numbers("qkv_hidden_sizes") or [weights[1] // 3] * 3
    _fit(sum(sizes) == weights[1] and data[2] == weights[0] and len(sizes) == 3)
    past = at.input(4, 5)[3] if at.has(4) else 0
    pairs = data[0] * data[1] * (data[1] + past)
    projections = Product(data[0] * data[1] * prod(weights), (1,))
    return [projections, Product(pairs * sizes[1], ()), Product(pairs * sizes[2], ())]


def _einsum(at: Shapes) -> list[Product]:
    """Of two operands every combination of indices is one MAC; of more it depends on the order."""
    found = [a.s for a in at.node.proto.attribute if a.name == "equation"]
    equation = text(found[0]).replace(" ", "") if found else "."
    terms = equation.split("->")[0].split(",")
    _fit(len(terms) == len(at.inputs) <= 2 and "." not in equation)
    sizes: dict[str, int] = {}
    for index, letters in enumerate(terms):
        _fit(len(letters) == len(at.input(index)))
        for letter, size in zip(letters, at.input(index), strict=True):
            sizes[letter] = max(size, sizes.get(letter, 0))
    return [Product(prod(sizes.values()), (0, 1))] if len(terms) == 2 else []


_ONNX: dict[str, Rule] = {
    "Attention": _attention,
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "ConvTranspose": _conv_transpose,
    "DeformConv": _conv(1),
    "Einsum": _einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matmul(0, 1),
    "MatMulInteger": _matmul(0, 1),
    "QLinearConv": _conv(3),
    "QLinearMatMul": _matmul(0, 3),
    "RNN": _recurrent,
}
_MICROSOFT: dict[str, Rule] = {
    "Attention": _old_attention,
    "FusedConv": _conv(1),
    "FusedGemm": _gemm,
}
_TABLES = {"": _ONNX, "ai.onnx": _ONNX, "com.microsoft": _MICROSOFT}

#: Operators of ONNX that make no MACs.
FREE = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization
    Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast
    CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant
    ConstantOfShape Cos Cosh CumProd CumSum DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements
    GatherND Gelu GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If
    ImageDecoder InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less
    LessOrEqual Log LogSoftmax Loop LpNormalization LpPool Max MaxPool MaxRoiPool MaxUnpool Mean
    MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Multinomial Neg
    NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement
    OptionalHasElement Or PRelu Pad Pow QuantizeLinear RMSNormalization RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding
    Round Scan Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty
    SequenceErase SequenceInsert SequenceLength SequenceMap Shape Shrink Sigmoid Sign
    SimplifiedLayerNormalization Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus
    Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze StringConcat StringNormalizer
    StringSplit Sub Sum Swish Tan Tanh TensorScatter TfIdfVectorizer ThresholdedRelu Tile TopK
    Transpose Trilu Unique Unsqueeze Upsample Where Xor
    """.split()  # noqa: SIM905 - a list of two hundred lines
)
_FREE_MICROSOFT = frozenset(
    """
    BiasGelu EmbedLayerNormalization FastGelu Gelu QuickGelu SkipLayerNormalization
    SkipSimplifiedLayerNormalization
    """.split()  # noqa: SIM905
)
_FREE = {"": FREE, "ai.onnx": FREE, "com.microsoft": _FREE_MICROSOFT}


def is_free(node: Node) -> bool:
    """Tell whether an operator makes no MACs."""
    return node.known_op in _FREE.get(node.domain, ()) or is_quantizer(node)


def rule_of(node: Node) -> Rule | None:
    """Return how to count a node; None for operators that are not counted."""
    return _TABLES.get(node.domain, {}).get(node.known_op)
