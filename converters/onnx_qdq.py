"""A fixed-point model as ONNX: QuantizeLinear and DequantizeLinear with powers of two.

Spec: https://onnx.ai/onnx/operators (QuantizeLinear, DequantizeLinear). Sister files:
onnx_fixed.py (layers and places), dcformat/compress/fixed_point.py. Zero points are 0. Numbers of
up to 8 bits are INT8, others INT16, for which operator sets before 21 take onnxruntime's own
operators. A bias is INT32 at the accumulator's fraction length, which is what integer kernels want;
where that does not fit it stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper, numpy_helper

from dcformat.compress.fixed_point import bounds
from dcformat.model import LayerFormat

from .onnx_fixed import Graph, with_places

_MICROSOFT = "com.microsoft"
Numbers = Mapping[str, npt.NDArray[Any]]


class _Writer:
    """Puts nodes and initializers in."""

    def __init__(self, graph: Graph, places: Mapping[str, tuple[int, int]]) -> None:
        self.places = places
        self.held: dict[str, npt.NDArray[Any]] = {}
        opset = next(o.version for o in graph.proto.opset_import if o.domain in ("", "ai.onnx"))
        self.opset = opset

    def domain(self, bits: int) -> str:
        return "" if self.opset >= (21 if bits > 8 else 10) else _MICROSOFT

    def pair(self, value: str, result: str, place: str) -> list[Any]:
        """Return what rounds a value and gives it back as a float."""
        fraction, bits = self.places[place]
        names = self._parameters(result, fraction, _kind(bits))
        clipped, numbers = value, f"{result}/numbers"
        nodes = []
        if bits not in (8, 16):
            clipped = f"{result}/clipped"
            nodes = self._clip(value, clipped, fraction, bits)
        domain = self.domain(bits)
        return [
            *nodes,
            helper.make_node("QuantizeLinear", [clipped, *names], [numbers], domain=domain),
            helper.make_node("DequantizeLinear", [numbers, *names], [result], domain=domain),
        ]

    def constant(self, name: str, numbers: npt.NDArray[Any], fraction: int, bits: int) -> Any:
        """Return the node that gives a weight or a bias of `numbers`."""
        self.held[f"{name}/numbers"] = numbers
        names = self._parameters(name, fraction, numbers.dtype)
        inputs, domain = [f"{name}/numbers", *names], self.domain(bits)
        return helper.make_node("DequantizeLinear", inputs, [name], domain=domain)

    def _parameters(self, name: str, fraction: int, kind: Any) -> list[str]:
        self.held[f"{name}/scale"] = np.array(np.ldexp(1.0, -fraction), np.float32)
        self.held[f"{name}/zero"] = np.array(0, kind)
        return [f"{name}/scale", f"{name}/zero"]

    def _clip(self, value: str, result: str, fraction: int, bits: int) -> list[Any]:
        for what, bound in zip(("low", "high"), bounds(bits), strict=True):
            self.held[f"{result}/{what}"] = np.array(np.ldexp(float(bound), -fraction), np.float32)
        inner = f"{result}/inner"
        return [
            helper.make_node("Max", [value, f"{result}/low"], [inner]),
            helper.make_node("Min", [inner, f"{result}/high"], [result]),
        ]


def to_qdq(graph: Graph, formats: Sequence[LayerFormat], numbers: Numbers) -> bytes:
    """Return the model with these formats of its layers and integers of their tensors."""
    writer = _Writer(graph, _places(graph, formats))
    proto = with_places(graph, writer.pair)
    constants = []
    for layer, own in zip(graph.layers, formats, strict=True):
        weight = numbers[layer.weight].astype(_kind(own.weight_bits))
        bits, fraction = own.weight_bits, own.weight_fraction
        constants.append(writer.constant(layer.weight, weight, fraction, bits))
        if layer.bias:
            bias, at = _bias(numbers[layer.bias], own)
            constants.append(writer.constant(layer.bias, bias, at, own.bias_bits))
    replaced = {c.output[0] for c in constants}
    _replace(proto, replaced, constants, writer.held)
    return bytes(proto.SerializeToString())


def _places(graph: Graph, formats: Sequence[LayerFormat]) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    for layer, own in zip(graph.layers, formats, strict=True):
        places.setdefault(layer.source, (own.input_fraction, own.input_bits))
        if not layer.last:
            places[layer.output] = (own.output_fraction, own.output_bits)
    return places


def _bias(numbers: npt.NDArray[Any], own: LayerFormat) -> tuple[npt.NDArray[Any], int]:
    """Return a bias as INT32 at the accumulator's fraction length, where it fits."""
    wide = numbers.astype(np.int64) << np.int64(own.bias_shift)
    if own.bias_bits <= 8 and np.abs(wide).max(initial=0) < 1 << 31:
        return wide.astype(np.int32), own.input_fraction + own.weight_fraction
    return numbers.astype(_kind(own.bias_bits)), own.bias_fraction


def _kind(bits: int) -> Any:
    return np.int8 if bits <= 8 else np.int16


def _replace(proto: Any, gone: set[str], nodes: list[Any], held: Mapping[str, Any]) -> None:
    """Put nodes before all others, and initializers in the place of those that are gone."""
    kept = [t for t in proto.graph.initializer if t.name not in gone]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in held.items())
    inputs = [v for v in proto.graph.input if v.name not in gone]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    old = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *old])
    if any(node.domain == _MICROSOFT for node in proto.graph.node) and not any(
        o.domain == _MICROSOFT for o in proto.opset_import
    ):
        proto.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))
