"""QuantizeLinear and DequantizeLinear of activations; those of constants are worked out before.

Spec: https://onnx.ai/onnx/operators (QuantizeLinear). Sister: tflite_out_onnx.py (constants).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dcformat.ids import DType

from .tflite_out_elements import real
from .tflite_out_layout import Value
from .tflite_out_maker import Maker, Translation, given
from .tflite_out_net import DTYPES, Scale, Unsupported
from .tflite_out_onnx import SourceNode

_KINDS = (DType.INT8, DType.UINT8, DType.INT16)


def quantize(maker: Maker, node: SourceNode) -> Sequence[Value]:
    scale, dtype = _scale(maker, node)
    value = real(maker, node.inputs[0])
    made = maker.like("Quantize", value, dtype)
    maker.net.tensors[made.tensor] = replace(maker.net.tensors[made.tensor], scale=scale)
    return [made]


def dequantize(maker: Maker, node: SourceNode) -> Sequence[Value]:
    scale, _ = _scale(maker, node)
    value = maker.value(node.inputs[0])
    own = maker.net.tensors[value.tensor].scale
    if own is None or (own.scale, own.zero_point) != (scale.scale, scale.zero_point):
        raise Unsupported("integers that were not quantized with its own scale")
    return [maker.like("Dequantize", value, DType.FLOAT)]


def _scale(maker: Maker, node: SourceNode) -> tuple[Scale, DType]:
    """Return the scale of a tensor, and the type of its integers."""
    scale = maker.constant(node, 1, "scale")
    if scale.size != 1:
        raise Unsupported("scales by channel of an activation")
    point = maker.optional(node, 2, "zero point")
    point = np.zeros((), np.uint8) if not given(node, 2) or point is None else point
    dtype = DTYPES.get(point.dtype.name)
    if dtype not in _KINDS:
        raise Unsupported(f"integers of type {point.dtype.name}")
    return Scale(scale.reshape(1).astype(np.float32), point.reshape(1).astype(np.int64)), dtype


TRANSLATIONS: dict[str, Translation] = {"QuantizeLinear": quantize, "DequantizeLinear": dequantize}
