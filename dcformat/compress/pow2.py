"""Weights of zero, or plus or minus a power of two: a product becomes a shift.

"nearest": each weight goes to the nearest number (Zhou et al. 2017, "Incremental Network
Quantization", without its retraining); what is nearest to zero becomes zero. "log2": Miyashita, Lee
and Murmann 2016, "Convolutional Neural Networks using Logarithmic Data Representation": logarithms
are rounded and clipped, so that only zero becomes zero.
Spec: spec/encodings/values_pow2.md
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcformat.coded import Pow2
from dcformat.errors import ConvertError

from .quantized import Quantized, by_channel, spread
from .reals import F64

I64 = npt.NDArray[np.int64]

BITS = tuple(range(2, 9))
#: Of a power of two: from here on a magnitude goes to the next one.
_UP = {"nearest": 0.75, "log2": 0.7071067811865476}
_LEAST, _MOST = -126, 127  #: exponents of binary32


def quantize_pow2(weights: F64, bits: int, axis: int | None, rule: str = "nearest") -> Quantized:
    """Return weights as 0 or +-2**e with 2**(bits-1) - 1 exponents e that follow each other.

    The largest of them is the one to which the largest magnitude goes, of the tensor or of each
    index of `axis`. `weights` is finite and within float32, of any shape; `rule` is "nearest" or
    "log2". Symbols are the numbers (int8) of values_pow2.
    Raises ConvertError for other `bits` or rules.
    """
    if bits not in BITS or rule not in _UP:
        raise ConvertError(f"powers of two with bits = {bits} and quantizer = {rule!r}")
    count = (1 << (bits - 1)) - 1
    peaks = np.abs(by_channel(weights, axis)).max(axis=1, initial=0.0)
    top = np.minimum(_exponents(peaks, rule), _MOST)
    lowest = np.where(peaks > 0, np.maximum(top - (count - 1), _LEAST), 0)
    beside = spread(lowest, weights.ndim, axis)
    steps = np.clip(_exponents(np.abs(weights), rule) - beside, 0, count - 1) + 1
    zero = weights == 0
    if rule == "nearest":
        zero |= np.abs(weights) < np.ldexp(0.5, beside)
    numbers = np.where(zero, 0, np.where(weights < 0, -steps, steps)).astype(np.int8)
    fraction = (-lowest).astype(np.int32)
    return Quantized(numbers, Pow2(fraction.reshape(()) if axis is None else fraction, axis))


def _exponents(sizes: F64, rule: str) -> I64:
    """Return the exponent of the power of two that each magnitude goes to."""
    mantissas, exponents = np.frexp(sizes)
    found: I64 = exponents.astype(np.int64) - (mantissas < _UP[rule])
    return found
