"""Layers in fixed point: integers in, integers out, a power of two for every tensor.

Qiu et al. 2016, "Going Deeper with Embedded FPGA Platform for Convolutional Neural Network": each
layer has a fraction length for its weights, its bias, its input and its output ("dynamic
precision"); with one for all it is "static". An accumulator has input + weight fraction bits; the
bias is shifted left to it, and it is shifted right, rounded and saturated to the output.
Sister: fixed.py (weights). Spec: spec/DCF.md, section FIXED.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.coded import Fixed
from dcformat.errors import ConvertError
from dcformat.ids import DType, Rounding
from dcformat.model import LayerFormat

from .feedback import Gram, round_to_grid
from .fixed import LEAST, MOST
from .quantized import Quantized
from .reals import F64

I64 = npt.NDArray[np.int64]
BITS = range(2, 17)


def bounds(bits: int) -> tuple[int, int]:
    """Return the least and the largest integer of `bits` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def longest_fraction(low: float, high: float, bits: int) -> int:
    """Return the longest fraction length at which numbers from low to high do not overflow.

    What rounds up to 2**(bits - 1) is an overflow too. Zeros have all bits for the fraction.
    """
    if bits not in BITS:
        raise ConvertError(f"bits = {bits}: fixed point has 2 to 16")
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ConvertError("fixed point has no infinities")
    if not (low or high):
        return bits - 1
    least, most = bounds(bits)
    fraction = bits + 1 - int(np.frexp(max(-low, high))[1])
    while np.rint(np.ldexp(high, fraction)) > most or np.rint(np.ldexp(low, fraction)) < least:
        fraction -= 1
    if fraction < LEAST:
        raise ConvertError(f"{max(-low, high):.3g} is too large for {bits} bits")
    return min(fraction, MOST)


def storable(fraction: int) -> int:
    """Return the nearest fraction length that a file can hold."""
    return max(LEAST, min(fraction, MOST))


def to_fixed(values: npt.NDArray[Any], fraction: int, bits: int) -> I64:
    """Return the integers nearest to values * 2**fraction, ties to even, saturated."""
    low, high = bounds(bits)
    scaled = np.rint(np.ldexp(values.astype(np.float64), fraction))
    return np.asarray(np.clip(scaled, low, high), np.int64)


def from_fixed(numbers: npt.NDArray[Any], fraction: int) -> F64:
    """Return what the integers mean."""
    return np.asarray(np.ldexp(numbers.astype(np.float64), -fraction))


def fixed_tensor(values: F64, fraction: int, bits: int, gram: Gram | None = None) -> Quantized:
    """Return a tensor's numbers at a given fraction length, as a file has them.

    With a `gram` they are rounded with error feedback.
    """
    number, kind = (DType.INT16, "<i2") if bits > 8 else (DType.INT8, "i1")
    if gram is None:
        numbers = to_fixed(values, fraction, bits).astype(kind)
    else:
        step = float(np.ldexp(1.0, -fraction))
        numbers = round_to_grid(values, step, gram, bounds(bits)).astype(kind)
    return Quantized(numbers, Fixed(number, np.asarray(fraction, np.int32)))


def finish(products: I64, bias: I64 | None, layer: LayerFormat) -> I64:
    """Return a layer's output of its sums of products; `bias` broadcasts over them."""
    sums = products if bias is None else products + shifted_left(bias, layer.bias_shift)
    low, high = bounds(layer.output_bits)
    shifted = shifted_right(sums, layer.shift, layer.rounding)
    return np.asarray(np.clip(shifted, low, high), np.int64)


def shifted_left(numbers: I64, shift: int) -> I64:
    """Return numbers * 2**shift. Raises ConvertError where bits would be lost."""
    if not 0 <= shift < 63:
        raise ConvertError(f"numbers cannot be shifted left by {shift}")
    shifted = np.asarray(np.left_shift(numbers, np.int64(shift)), np.int64)
    if not np.array_equal(np.right_shift(shifted, np.int64(shift)), numbers):
        raise ConvertError(f"numbers shifted left by {shift} do not fit 64 bits")
    return shifted


def shifted_right(numbers: I64, shift: int, rounding: int) -> I64:
    """Return numbers / 2**shift by a rule of spec/registry.md; a negative shift is to the left."""
    if shift <= 0:
        return shifted_left(numbers, -shift)
    if shift > 62:
        raise ConvertError(f"a sum cannot be shifted right by {shift}")
    floor: I64 = np.right_shift(numbers, np.int64(shift))
    if rounding == Rounding.FLOOR:
        return floor
    rest, half = numbers - (floor << np.int64(shift)), np.int64(1) << np.int64(shift - 1)
    up = rest > half
    tie = rest == half
    odd = (floor & 1) == 1
    up |= tie & (odd | (rounding == Rounding.HALF_UP))
    return np.asarray(floor + up, np.int64)
