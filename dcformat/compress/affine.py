"""Integers of 2 to 8 bits with a scale, and a zero point if asked for.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-
Only Inference": the range of the tensor or of each channel, zero in it, is cut into equal steps;
zero is one of the numbers. Sister: int8.py, which reads piece by piece and is always symmetric.
Spec: spec/encodings/values_affine.md
"""

from __future__ import annotations

import numpy as np

from dcformat.coded import Affine
from dcformat.errors import ConvertError
from dcformat.ids import DType

from .quantized import Quantized, by_channel, scales_of, spread
from .reals import F64


def quantize_affine(weights: F64, bits: int, axis: int | None, zero_point: bool) -> Quantized:
    """Return weights as (q - z) * s with q of `bits` bits, for the tensor or each index of `axis`.

    `weights` is finite and within float32, of any shape. Without `zero_point` z is 0 and q is from
    -(2**(bits-1) - 1), so that there is a -q for each q; with it q takes all 2**bits numbers.
    Rounding is to nearest, ties to even. Numbers are int8. Raises ConvertError for other `bits`.
    """
    if not 2 <= bits <= 8:
        raise ConvertError(f"bits = {bits}: expected 2 to 8")
    rows = by_channel(weights, axis)
    high = rows.max(axis=1, initial=0.0)
    low = rows.min(axis=1, initial=0.0)
    most = (1 << (bits - 1)) - 1
    least = -most - zero_point
    if zero_point:
        scales = scales_of((high - low) / (most - least), axis)
        real = scales.astype(np.float64).reshape(-1)
        points = np.clip(np.rint(least - low / real), least, most)
    else:
        scales = scales_of(np.maximum(high, -low) / most, axis)
        real, points = scales.astype(np.float64).reshape(-1), np.zeros(len(rows))
    steps = weights / spread(real, weights.ndim, axis)
    numbers = np.clip(np.rint(steps) + spread(points, weights.ndim, axis), least, most)
    whole = points.astype(np.int32)
    values = Affine(DType.INT8, scales, whole.reshape(()) if axis is None else whole, axis)
    return Quantized(numbers.astype(np.int8), values)
