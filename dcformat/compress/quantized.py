"""What a stage that chooses numbers gives: symbols, and the table of what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dcformat.coded import F32, Codebook, Values, expand_numbers, numbers_of
from dcformat.ids import DType
from dcformat.model import Array

from .reals import F64, reals_of

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Quantized:
    """Symbols in the shape of the weights, as `CodedTensor` has them, and their values."""

    symbols: Array
    values: Values

    def reals(self) -> F64:
        """Return what the symbols mean, before it is rounded to the tensor's own type."""
        values = self.values
        own = isinstance(values, Codebook) and values.scale is None and values.fraction is None
        dtype = values.level if isinstance(values, Codebook) and own else DType.FLOAT
        numbers = numbers_of(self.symbols, values)
        return reals_of(expand_numbers(numbers, values, dtype, self.symbols.shape), dtype)

    def error(self, weights: F64, saliency: F64 | None = None) -> float:
        """Return the sum of squared errors, each times its saliency, added from left to right."""
        wrong = np.square(weights - self.reals())
        return total(wrong if saliency is None else wrong * saliency)


def total(terms: F64) -> float:
    """Return the sum, added up from left to right on every machine."""
    return float(np.cumsum(terms.reshape(-1))[-1]) if terms.size else 0.0


def by_channel(weights: F64, axis: int | None) -> F64:
    """Return the weights as (channels, others), or (1, all) where `axis` is None."""
    if axis is None:
        return weights.reshape(1, -1)
    moved = np.moveaxis(weights, axis, 0)
    return np.ascontiguousarray(moved).reshape(weights.shape[axis], -1)


def sums_of(rows: F64) -> F64:
    """Return the sum of each row, added up from left to right."""
    if not rows.shape[1]:
        return np.zeros(len(rows))
    return np.ascontiguousarray(np.cumsum(rows, axis=1)[:, -1])


def spread(parameters: npt.NDArray[Kind], rank: int, axis: int | None) -> npt.NDArray[Kind]:
    """Return parameters of the channels in a shape that broadcasts over a tensor of `rank`."""
    if axis is None:
        return parameters.reshape(())
    return parameters.reshape([-1 if i == axis else 1 for i in range(rank)])


def scales_of(steps: F64, axis: int | None) -> F32:
    """Return float32 scales of the channels: normal numbers, 1 for a step of 0."""
    with np.errstate(over="ignore", under="ignore"):
        single = np.minimum(steps.astype(np.float32), np.finfo(np.float32).max)
    normal = np.maximum(single, np.finfo(np.float32).tiny)  # a subnormal scale has lost its digits
    scales: F32 = np.where(steps > 0, normal, np.float32(1)).astype(np.float32)
    return scales.reshape(()) if axis is None else scales
