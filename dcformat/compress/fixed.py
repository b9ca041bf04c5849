"""Fixed point Qm.n: integers of 4, 8 or 16 bits and a power of two.

Qiu et al. 2016, "Going Deeper with Embedded FPGA Platform for Convolutional Neural Network": the
fraction length of each layer is the one with the least error. Without overflow that is the
longest at which the largest weight still fits: a longer one holds every number of a shorter.
Spec: spec/encodings/values_fixed.md
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcformat.coded import Fixed
from dcformat.errors import ConvertError
from dcformat.ids import DType

from .quantized import Quantized, by_channel, spread
from .reals import F64

BITS = (4, 8, 16)
LEAST, MOST = -128, 127  #: fraction lengths that a file can hold


def quantize_fixed(weights: F64, bits: int, axis: int | None) -> Quantized:
    """Return weights as q * 2**-n with q of `bits` bits, n for the tensor or each index of `axis`.

    `weights` is finite and below 2**128, of any shape; they are rounded to nearest, ties to even,
    and none is clipped. Numbers are int8 for 4 and 8 bits, int16 for 16. Zeros have n = 0.
    Raises ConvertError for other `bits`, and where the largest weight does not fit any n.
    """
    if bits not in BITS:
        raise ConvertError(f"bits = {bits}: fixed point has 4, 8 or 16")
    rows = by_channel(weights, axis)
    highest = rows.max(axis=1, initial=0.0)
    lowest = rows.min(axis=1, initial=0.0)
    fractions = _fractions(lowest, highest, bits)
    numbers = np.rint(np.ldexp(weights, spread(fractions, weights.ndim, axis)))
    number, kind = (DType.INT16, "<i2") if bits == 16 else (DType.INT8, "i1")
    fraction = fractions.reshape(()) if axis is None else fractions
    return Quantized(numbers.astype(kind), Fixed(number, fraction, axis))


def _fractions(lowest: F64, highest: F64, bits: int) -> npt.NDArray[np.int32]:
    """Return the longest fraction length at which the extremes of each channel fit."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    sizes = np.maximum(-lowest, highest)
    # 2**(exponent - 1) <= size < 2**exponent: one longer than this cannot fit
    longest = bits - np.frexp(sizes)[1].astype(np.int64)
    found = np.clip(longest, LEAST, MOST)
    for _ in range(3):
        too_long = np.rint(np.ldexp(lowest, found)) < low
        too_long |= np.rint(np.ldexp(highest, found)) > high
        found = np.where(too_long, found - 1, found)
    if np.any(found < LEAST):
        raise ConvertError(f"weights of {sizes.max():.3g} are too large for {bits} bits")
    return np.where(sizes > 0, found, 0).astype(np.int32)
