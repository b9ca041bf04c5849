"""Dense layers and products of matrices.

Spec: https://onnx.ai/onnx/operators (Gemm, MatMul). A product with a constant matrix is
FULLY_CONNECTED with weights [out, in]; of a tensor that was flattened where convolutions leave it,
the weight's columns are put into its order. Sister: tflite_out_layout.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .tflite_out_layout import Value, natural, rows_of, shape_of, turned, whole
from .tflite_out_maker import Maker, given, narrowed
from .tflite_out_net import Array, Shape, Unsupported
from .tflite_out_onnx import SourceNode


def matmul(maker: Maker, node: SourceNode) -> Sequence[Value]:
    """MatMul; a third input is a bias that was put into it."""
    weight = maker.array(node.inputs[1])
    left = maker.raw(node.inputs[0])
    if weight is not None and weight.ndim == 2 and len(maker.shape(left)) > 1:
        bias = maker.optional(node, 2, "bias")
        return [dense(maker, left, (node.inputs[1], True), (given(node, 2), bias))]
    if given(node, 2):
        raise Unsupported("a bias of a product of two computed matrices")
    return [_product(maker, maker.value(node.inputs[0]), maker.value(node.inputs[1]))]


def gemm(maker: Maker, node: SourceNode) -> Sequence[Value]:
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    left = maker.raw(node.inputs[0])
    if node.attributes.get("transA", 0):
        left = turned(maker.value(node.inputs[0]), (1, 0))
    transposed = bool(node.attributes.get("transB", 0))
    weight, bias = maker.array(node.inputs[1]), maker.array(given(node, 2))
    if weight is None:
        right = maker.value(node.inputs[1])
        made = _product(maker, left, turned(right, (1, 0)) if transposed else right)
    else:
        outputs = weight.shape[0 if transposed else 1]
        if alpha == 1.0 and beta == 1.0 and bias is not None and bias.size in (1, outputs):
            bias = np.broadcast_to(bias.reshape(-1), (outputs,))
            name = given(node, 2)
            return [dense(maker, left, (node.inputs[1], not transposed), (name, bias))]
        made = dense(maker, left, (node.inputs[1], not transposed), ("", None))
    return [_scaled_sum(maker, node, made, alpha, beta)]


def _scaled_sum(maker: Maker, node: SourceNode, product: Value, alpha: float, beta: float) -> Value:
    if alpha != 1.0:
        product = maker.together("Mul", product, np.array(alpha, np.float32))
    if not given(node, 2):
        return product
    added = maker.operand(node.inputs[2])
    if beta != 1.0:
        factor = np.array(beta, np.float32)
        added = (
            added * factor
            if isinstance(added, np.ndarray)
            else maker.together("Mul", added, factor)
        )
    return maker.together("Add", product, added)


def dense(
    maker: Maker, left: Value, weight: tuple[str, bool], bias: tuple[str, Array | None]
) -> Value:
    """Return a layer; `weight` is a name, and whether it stands as [in, out]."""
    name, turn = weight
    tensor, columns = rows_of(maker.net, left)

    def laid(array: Array) -> Array:
        array = array.T if turn else array
        return array if columns is None else array[:, columns]

    made = maker.weight(name, laid)
    outputs, inputs = maker.net.tensors[made].shape
    shape = maker.net.tensors[tensor].shape
    if shape[-1] != inputs:
        raise Unsupported(f"a weight of {inputs} columns on an input of {shape[-1]}")
    own = np.zeros(outputs, np.float32) if bias[1] is None else narrowed(bias[1])
    given_bias = maker.net.constant(own, bias[0])
    keep: dict[str, Any] = {"keep_dims": True} if len(shape) != 2 else {}
    made = maker.net.add(
        "FullyConnected", [tensor, made, given_bias], (*shape[:-1], outputs), **keep
    )
    return whole(maker.net, made)


def _product(maker: Maker, left: Value, right: Value) -> Value:
    """Return the product of two computed matrices, or of stacks of them."""
    a, b = shape_of(maker.net, left), shape_of(maker.net, right)
    if len(a) < 2 or len(b) < 2:
        raise Unsupported("a product with a vector")
    rank = max(len(a), len(b))
    shape = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])
    (first, adj_x), (second, adj_y) = (_matrix(maker, one, rank) for one in (left, right))
    options: dict[str, Any] = {
        name: True for name, on in (("adj_x", adj_x), ("adj_y", adj_y)) if on
    }
    return whole(maker.net, maker.net.add("BatchMatMul", [first, second], _ints(shape), **options))


def _matrix(maker: Maker, value: Value, rank: int) -> tuple[int, bool]:
    """Return a tensor of `rank` axes, and whether its last two are exchanged."""
    own = maker.net.tensors[value.tensor]
    size = len(own.shape)
    swapped = (*range(size - 2), size - 1, size - 2)
    crossed = value.order == swapped
    order = swapped if crossed else natural(size)
    from_order = maker.arranged(value, order)
    shape = maker.net.tensors[from_order].shape
    return maker.net.reshape(from_order, (1,) * (rank - size) + shape), crossed


def _ints(shape: Sequence[int]) -> Shape:
    return tuple(int(n) for n in shape)
