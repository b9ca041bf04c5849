"""The integers whose sizes are compared: five ways from float weights to symbols, layer by layer.

Without retraining: what is measured is the coding of the integers, not the accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from weights import Layer

from dcformat import kernels
from dcformat.coded import Affine, Codebook, CodedTensor, Values
from dcformat.compress.prune import prune
from dcformat.ids import DType

F64 = npt.NDArray[np.float64]
Symbols = tuple[npt.NDArray[np.generic], Values]
LEVELS = 16


def _affine(numbers: F64, scale: float) -> Symbols:
    values = Affine(DType.INT8, np.asarray(scale, np.float32), np.zeros((), np.int32))
    return numbers.astype(np.int8), values


def uniform(weights: F64) -> Symbols:
    """D8: symmetric int8, one scale for the tensor."""
    scale = float(np.abs(weights).max()) / 127
    return _affine(np.rint(weights / scale), scale)


def ternary(weights: F64) -> Symbols:
    """TERN: -1, 0 and 1, zero up to 0.7 of the mean magnitude."""
    kept = np.abs(weights) > 0.7 * np.abs(weights).mean()
    return _affine(np.sign(weights) * kept, float(np.abs(weights[kept]).mean()))


def shared(weights: F64) -> Symbols:
    """D4: the exact best 16 levels; zero, if it is a weight, stays a level of its own."""
    distinct, inverse, counts = np.unique(weights, return_inverse=True, return_counts=True)
    there = distinct != 0
    levels, starts = kernels.optimal_kmeans(distinct[there], counts[there], LEVELS)
    cell = np.zeros(distinct.size, np.int64)
    cell[there] = np.searchsorted(starts, np.arange(int(there.sum())), side="right") - 1
    if not there.all():
        cell[~there] = levels.size
        levels = np.append(levels, 0.0)
    final, place = np.unique(levels.astype(np.float32), return_inverse=True)
    indices = place[cell][inverse].astype(np.uint8).reshape(weights.shape)
    return indices, Codebook(DType.FLOAT, final)


def pruned(weights: F64, ratio: float) -> Symbols:
    """P4: the smallest magnitudes zero, the others share 16 levels."""
    return shared(prune(weights, ratio))


REGIMES: dict[str, Callable[[F64], Symbols]] = {
    "D8": uniform,
    "D4": shared,
    "P4_80": partial(pruned, ratio=0.8),
    "P4_90": partial(pruned, ratio=0.9),
    "TERN": ternary,
}


def coded(layer: Layer, regime: str) -> CodedTensor:
    """Return a layer's weights in a regime."""
    symbols, values = REGIMES[regime](layer.weights.astype(np.float64))
    return CodedTensor(layer.name, DType.FLOAT, symbols, values, layer.order, exact=False)
