"""Write a fixed-point model as ONNX with QuantizeLinear and DequantizeLinear, for onnxruntime.

Spec: spec/DCF.md, section FIXED. Sister files: onnx_qdq.py (the nodes), write_onnx.py (the plain
model, of which it is made). The file needs formats of all its layers: dequantized to ONNX alone it
would not say how activations are rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.coded import CodedModel, CodedTensor, Fixed, expand
from dcformat.errors import ConvertError
from dcformat.files import atomic_output, scratch_folder
from dcformat.formats import Made, Writer
from dcformat.model import LayerFormat

from . import write_onnx
from .onnx_fixed import Graph, graph_of
from .onnx_qdq import to_qdq


def write(coded: CodedModel, path: Path, **_: Any) -> Made:
    """Write `coded`, whole or not at all. Raises ConvertError where a layer has no format."""
    try:
        made = qdq_of(coded)
    except ConvertError as error:
        raise error if error.place else error.at(str(path)) from error.__cause__
    with atomic_output(path) as stream:
        stream.write(made)
    return Made((Path(path),), len(made))


def qdq_of(coded: CodedModel) -> bytes:
    """Return the ONNX model. Raises ConvertError."""
    with scratch_folder() as folder:
        write_onnx.write(expand(coded), folder / "model.onnx")
        graph = graph_of(folder / "model.onnx")
    tensors = {tensor.name: tensor for tensor in coded.tensors}
    layers = _formats(graph, {layer.name: layer for layer in coded.layers})
    numbers: dict[str, npt.NDArray[Any]] = {}
    for layer in layers:
        for name, fraction in ((layer.weight, layer.weight_fraction),
                               (layer.bias, layer.bias_fraction)):  # fmt: skip
            if name is not None:
                numbers[name] = _numbers(tensors[name], fraction)
    return to_qdq(graph, layers, numbers)


def _formats(graph: Graph, known: Mapping[str, LayerFormat]) -> tuple[LayerFormat, ...]:
    """Return the formats of the layers in the graph's order."""
    for layer in graph.layers:
        own = known.get(layer.name)
        if own is None or (own.weight, own.bias or "") != (layer.weight, layer.bias):
            raise ConvertError(f"layer {layer.name!r} has no fixed-point format of its tensors")
        if own.bias_shift < 0 or not own.input_bits or not own.output_bits:
            raise ConvertError(f"layer {layer.name!r} has a fixed-point format without its bits")
    return tuple(known[layer.name] for layer in graph.layers)


def _numbers(tensor: CodedTensor, fraction: int) -> npt.NDArray[Any]:
    values = tensor.values
    if not isinstance(values, Fixed) or values.axis is not None or values.fraction != fraction:
        raise ConvertError(f"tensor {tensor.name!r} is not in the fixed-point format of its layer")
    return np.asarray(tensor.symbols)


#: Its files end as those of other writers do: it is named.
WRITER = Writer("qdq", (), write, options=("settings", "progress"), coded=True)
