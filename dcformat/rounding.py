"""Looking at weights, rounding them to int8 and what that loses: C if it is built, else NumPy.

Both give the same bits. C: dcformat/_native/rounding.c, which lets other threads go on.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from . import kernels

LARGEST = 127  #: magnitude of an int8 number; -128 is left out, so that there is a -q for each q

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]


def survey(weights: Floats, axis: int | None) -> tuple[Floats, int]:
    """Return max|w| for each index of `axis` (shape () without one), and the number of zeros.

    `weights` is float32 or float64, and so are the maxima; that of nothing is 0. A NaN counts as
    larger than infinity: a maximum is finite where all elements are.
    """
    if not kernels.NATIVE or not weights.size:
        return numpy_survey(weights, axis)
    data = np.ascontiguousarray(weights)
    bits, zeros = kernels._core.rounding_survey(data, data.itemsize, *_view(weights.shape, axis))
    peaks: Floats = np.frombuffer(bits, np.int8).view(weights.dtype)
    return peaks.reshape(()) if axis is None else peaks, int(zeros)


def numpy_survey(weights: Floats, axis: int | None) -> tuple[Floats, int]:
    """`survey` in NumPy; the same result."""
    kind = np.dtype(f"i{weights.itemsize}")
    sizes = np.ascontiguousarray(weights).reshape(weights.shape).view(kind) & np.iinfo(kind).max
    others = tuple(i for i in range(weights.ndim) if i != axis)
    peaks = np.asarray(sizes.max(axis=others, initial=0))
    return peaks.view(weights.dtype), int((sizes == 0).sum())


def to_int8(weights: Floats, scale: F64, axis: int | None) -> I8:
    """Return the integer of -127 to 127 that is nearest to weights / scale, ties to even.

    `weights` is finite, float32 or float64; `scale` is positive, of shape () or, with `axis`,
    (weights.shape[axis],). The quotient is one division in float64.
    """
    if not kernels.NATIVE or not weights.size:
        return numpy_to_int8(weights, scale, axis)
    data = np.ascontiguousarray(weights)
    scales = np.ascontiguousarray(scale, np.float64)
    numbers = kernels._core.rounding_int8(data, data.itemsize, *_view(weights.shape, axis), scales)
    return np.frombuffer(numbers, np.int8).reshape(weights.shape)


def numpy_to_int8(weights: Floats, scale: F64, axis: int | None) -> I8:
    """`to_int8` in NumPy; the same result."""
    along = scale if axis is None else scale.reshape(_beside(weights.ndim, axis))
    steps = weights.astype(np.float64) / along
    return np.clip(np.rint(steps), -LARGEST, LARGEST).astype(np.int8)


def squared_errors(weights: Floats, scale: F64, axis: int) -> F64:
    """Return, for each index of `axis`, the sum of squared errors of `to_int8`.

    `scale` has shape (weights.shape[axis],). The errors are float64 and are added one by one, in
    the order of the elements.
    """
    if not kernels.NATIVE or not weights.size:
        return numpy_squared_errors(weights, scale, axis)
    data, scales = np.ascontiguousarray(weights), np.ascontiguousarray(scale, np.float64)
    sums = kernels._core.rounding_squares(data, data.itemsize, *_view(weights.shape, axis), scales)
    return np.frombuffer(sums, np.float64)


def numpy_squared_errors(weights: Floats, scale: F64, axis: int) -> F64:
    """`squared_errors` in NumPy; the same result."""
    if not weights.size:
        return np.zeros(weights.shape[axis])
    back = numpy_to_int8(weights, scale, axis) * scale.reshape(_beside(weights.ndim, axis))
    wrong = np.moveaxis(weights - back, axis, 0).reshape(weights.shape[axis], -1)
    sums: F64 = np.cumsum(wrong * wrong, axis=1)[:, -1]  # np.sum adds in another order
    return sums


def largest_error(weights: Floats, numbers: I8, scale: F32, axis: int | None) -> float:
    """Return max|w - numbers * scale|, the product in float32; infinity if one is not finite.

    `scale` is as for `to_int8`, but float32.
    """
    if not kernels.NATIVE or not weights.size:
        return numpy_largest_error(weights, numbers, scale, axis)
    data, given = np.ascontiguousarray(weights), np.ascontiguousarray(numbers)
    scales, view = np.ascontiguousarray(scale, np.float32), _view(weights.shape, axis)
    worst: float = kernels._core.rounding_worst(data, data.itemsize, *view, given, scales)
    return worst


def numpy_largest_error(weights: Floats, numbers: I8, scale: F32, axis: int | None) -> float:
    """`largest_error` in NumPy; the same result."""
    along = scale if axis is None else scale.reshape(_beside(weights.ndim, axis))
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = np.asarray(weights.astype(np.float64) - numbers.astype(np.float32) * along)
    worst = float(np.abs(wrong).max(initial=0.0))
    return worst if math.isfinite(worst) else math.inf


def _beside(rank: int, axis: int) -> list[int]:
    return [-1 if i == axis else 1 for i in range(rank)]


def _view(shape: tuple[int, ...], axis: int | None) -> tuple[int, int, int]:
    """Return the elements before, along and behind `axis`."""
    if axis is None:
        return 1, 1, math.prod(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
