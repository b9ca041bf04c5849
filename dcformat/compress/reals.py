"""Weights as real numbers: float64 in, the tensor's own type out.

Sister: dcformat/coded.py (`expand_tensor`), which has the same conversions for decoders.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcformat.ids import NUMPY, DType
from dcformat.model import Array
from dcformat.rounding import Floats

F64 = npt.NDArray[np.float64]

#: Types that can be quantized.
REALS = frozenset({DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE})


def floats_of(data: Array, dtype: DType) -> Floats:
    """Return elements of one of REALS in float32 or, of DOUBLE, in float64: exactly."""
    if dtype is DType.BFLOAT16:
        bits = data.astype(np.uint32)
        bits <<= np.uint32(16)
        return bits.view(np.float32)
    return np.asarray(data, np.float64 if dtype is DType.DOUBLE else np.float32)


def reals_of(data: Array, dtype: DType) -> F64:
    """Return elements of one of REALS as float64, exactly, in the same shape."""
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return np.asarray(floats_of(data, dtype), np.float64)


def as_type(values: F64, dtype: DType) -> Array:
    """Round float64 values to one of REALS, to nearest, ties to even."""
    if dtype is not DType.BFLOAT16:
        return np.asarray(values, NUMPY[dtype])
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    return np.asarray((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, NUMPY[dtype])
