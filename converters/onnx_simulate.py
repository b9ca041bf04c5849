"""A fixed-point model computed in integers, as firmware would: layer by layer, to the last bit.

Sister files: onnx_fixed.py (layers), dcformat/compress/fixed_point.py (shifts and rounding). What
stands between layers is computed as the graph says, in float32, of fixed numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from dcformat.compress.fixed_point import I64, finish, from_fixed, to_fixed
from dcformat.model import LayerFormat

from .onnx_fixed import FixedLayer, Graph
from .onnx_windows import Window, gathered

Arrays = dict[str, npt.NDArray[Any]]


def simulate(
    graph: Graph,
    formats: Sequence[LayerFormat],
    numbers: Mapping[str, npt.NDArray[Any]],
    feed: Mapping[str, npt.NDArray[Any]],
) -> tuple[Arrays, dict[str, I64]]:
    """Return the outputs of the model, and the integers that each layer gives."""
    values: Arrays = {t.name: numpy_helper.to_array(t) for t in graph.proto.graph.initializer}
    values.update(feed)
    by_output = {layer.raw: (layer, own) for layer, own in zip(graph.layers, formats, strict=True)}
    found: dict[str, I64] = {}
    biases = {layer.output for layer in graph.layers if layer.output != layer.raw}
    for node in graph.proto.graph.node:
        if node.output[0] in by_output:
            layer, own = by_output[node.output[0]]
            found[layer.name] = run_layer(layer, own, values[layer.input], numbers)
            fixed = from_fixed(found[layer.name], own.output_fraction)
            values[layer.output] = fixed.astype(np.float32)
        elif node.output[0] not in biases:  # an Add of a bias is part of its layer
            values.update(_run_node(graph.proto, node, values))
    return {v.name: values[v.name] for v in graph.proto.graph.output}, found


def run_layer(
    layer: FixedLayer,
    own: LayerFormat,
    value: npt.NDArray[Any],
    numbers: Mapping[str, npt.NDArray[Any]],
) -> I64:
    """Return the integers that a layer gives of a value, which is fixed first."""
    given = to_fixed(value, own.input_fraction, own.input_bits)
    weight = numbers[layer.weight].astype(np.int64)
    if layer.window is not None:
        products = _convolved(layer.window, given, weight)
    else:
        products = _exact(given, weight if layer.turned else weight.T)
    bias = numbers[layer.bias].astype(np.int64).reshape(-1) if layer.bias else None
    if bias is not None and layer.window is not None:
        bias = bias.reshape(-1, *[1] * len(layer.window.kernel))
    return finish(products, bias, own)


def _exact(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> I64:
    """Multiply matrices of integers: sums of up to 2^22 products of 16 bits are exact so."""
    return np.rint(left.astype(np.float64) @ right.astype(np.float64)).astype(np.int64)


def _convolved(window: Window, given: I64, weight: I64) -> I64:
    outs = window.places(list(given.shape[2:]))
    rows = gathered(window, given, np.arange(len(given) * prod(outs)))
    kernels = weight.reshape(window.groups, len(weight) // window.groups, -1)
    parts = [_exact(rows[:, g], kernels[g].T) for g in range(window.groups)]
    sums = np.concatenate(parts, axis=1).reshape(len(given), prod(outs), len(weight))
    return np.moveaxis(sums, 2, 1).reshape(len(given), len(weight), *outs)


def _normed(epsilon: float, x: Any, *statistics: npt.NDArray[np.float32]) -> Any:
    """Return a batch norm of the statistics that a model has learned."""
    shape = (-1, *[1] * (x.ndim - 2))
    scale, bias, mean, variance = (each.reshape(shape) for each in statistics)
    return (x - mean) / np.sqrt(variance + np.float32(epsilon)) * scale + bias


def _run_node(proto: Any, node: Any, values: Arrays) -> Arrays:
    """Return what one node gives.

    The reference evaluator takes norms of operator sets before 14 to be in training.
    """
    if node.op_type == "BatchNormalization":
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        return {node.output[0]: _normed(epsilon, *(values[name] for name in node.input))}
    inputs = [helper.make_empty_tensor_value_info(n) for n in dict.fromkeys(node.input) if n]
    outputs = [helper.make_empty_tensor_value_info(n) for n in node.output if n]
    graph = helper.make_graph([node], "one", inputs, outputs)
    model = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    given = {value.name: values[value.name] for value in inputs}
    results = ReferenceEvaluator(model).run(None, given)
    return {v.name: np.asarray(r) for v, r in zip(outputs, results, strict=True)}
