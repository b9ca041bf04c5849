"""Weights of zero, or plus or minus a power of two: a product becomes a shift.

"nearest": each weight goes to the nearest number (Zhou et al. 2017, "Incremental Network
Quantization", without its retraining); what is nearest to zero becomes zero. "log2": Miyashita, Lee
and Murmann 2016, "Convolutional Neural Networks using Logarithmic Data Representation": logarithms
are rounded and clipped, so that only zero becomes zero.
Spec: spec/encodings/values_codebook.md
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcformat.coded import Codebook
from dcformat.errors import ConvertError
from dcformat.ids import DType

from .quantized import Quantized, by_channel, scales_of, spread
from .reals import F64

I64 = npt.NDArray[np.int64]

BITS = (2, 3, 4, 5)
#: Of a power of two: from here on a magnitude goes to the next one.
_UP = {"nearest": 0.75, "log2": 0.7071067811865476}
_LEAST = -126  #: exponent of the smallest scale


def quantize_pow2(weights: F64, bits: int, axis: int | None, rule: str = "nearest") -> Quantized:
    """Return weights as 0 or +-2**e with 2**(bits-1) - 1 exponents e that follow each other.

    The largest of them is the one to which the largest magnitude goes, of the tensor or of each
    index of `axis`. `weights` is finite and within float32, of any shape; `rule` is "nearest" or
    "log2". Symbols are indices (uint8) into integer levels, with powers of two as scales.
    Raises ConvertError for other `bits` or rules.
    """
    if bits not in BITS or rule not in _UP:
        raise ConvertError(f"powers of two with bits = {bits} and quantizer = {rule!r}")
    count = (1 << (bits - 1)) - 1
    peaks = np.abs(by_channel(weights, axis)).max(axis=1, initial=0.0)
    lowest = np.maximum(_exponents(peaks, rule) - (count - 1), _LEAST)
    beside = spread(lowest, weights.ndim, axis)
    places = _exponents(np.abs(weights), rule) - beside
    zero = weights == 0
    if rule == "nearest":
        zero |= np.abs(weights) < np.ldexp(0.5, beside)
    steps = np.where(zero, 0, np.clip(places, 0, count - 1) + 1)
    powers = 1 << np.arange(count)
    levels = np.concatenate([-powers[::-1], [0], powers])
    number, kind = (DType.INT8, "i1") if count <= 7 else (DType.INT16, "<i2")
    scales = scales_of(np.where(peaks > 0, np.ldexp(1.0, lowest), 0.0), axis)
    symbols = np.where(weights < 0, count - steps, count + steps).astype(np.uint8)
    return Quantized(symbols, Codebook(number, levels.astype(kind), scales, axis))


def _exponents(sizes: F64, rule: str) -> I64:
    """Return the exponent of the power of two that each magnitude goes to."""
    mantissas, exponents = np.frexp(sizes)
    found: I64 = exponents.astype(np.int64) - (mantissas < _UP[rule])
    return found
