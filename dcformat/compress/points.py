"""The distinct weights of a tensor, sorted once: what the choosers of levels work on.

A cell is an interval of them that shares a level. With running sums any set of cells has its
means, its error and its counts in time that depends on the cells, not on the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError
from dcformat.kmeans import prefix_sums

from .reals import F64

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: No weight counts for less than this share of the one that counts most.
LEAST_SALIENCY = 2.0**-40


@dataclass(frozen=True, eq=False)
class Points:
    """Distinct nonzero weights times 2**-exponent, ascending, and sums over the first 0 … n.

    `counts` are of weights, `sums` of saliency s, s * w and s * w * w: s is the saliency times
    2**-weight_exponent, or 1 without.
    `zeros` counts the zero weights. `place` is the index of each weight's value, -1 of a zero.
    """

    values: F64
    counts: I64
    sums: tuple[F64, F64, F64]
    zeros: int
    exponent: int
    weight_exponent: int
    place: I64

    @property
    def largest(self) -> float:
        """The largest magnitude."""
        return float(max(-self.values[0], self.values[-1]))

    def masses(self) -> F64:
        """Return the saliency of each value."""
        return np.diff(self.sums[0])

    def scaled(self, error: float) -> float:
        """Return a squared error of the weights in the units of the values."""
        return float(np.ldexp(error, -2 * self.exponent - self.weight_exponent))

    def unscaled(self, error: float) -> float:
        """Return a squared error of the values in the units of the weights."""
        return float(np.ldexp(error, 2 * self.exponent + self.weight_exponent))


@dataclass(frozen=True, eq=False)
class Cells:
    """Intervals of points: where each starts and its level, both in the units of the points.

    `zero` is the index of the cell whose level is 0, -1 for none. `error` is the squared error of
    it all; `bits` what the indices, their table and the levels take, 0 where nobody asked.
    """

    starts: I64
    levels: F64
    zero: int
    error: float
    bits: float = 0.0


def points_of(weights: F64, saliency: F64 | None = None) -> Points:
    """Return the points of finite `weights`; `saliency` weighs each one's squared error.

    Raises ConvertError if the saliency is negative, not finite, or of another shape.
    """
    flat = weights.reshape(-1)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    first = np.ones(flat.size, np.int64)  # sums of booleans would hold the interpreter
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:], casting="unsafe")
    starts = np.flatnonzero(first)
    place = np.empty(flat.size, np.int64)
    place[order] = np.cumsum(first) - 1
    distinct, counts = ordered[starts], np.diff(starts, append=flat.size)
    masses, weighing = _masses(saliency, weights.shape, place, counts)
    exponent = int(np.frexp(np.abs(distinct[[0, -1]]).max())[1])
    scaled = np.ldexp(distinct, -exponent)  # so that no square overflows
    low, high = (int(np.searchsorted(scaled, 0.0, side=side)) for side in ("left", "right"))
    if high > low:
        place = np.where(place < low, place, np.where(place < high, -1, place - (high - low)))
    there = np.r_[:low, high : distinct.size]
    running = np.concatenate([[0], np.cumsum(counts[there])])
    values, zeros = scaled[there], int(counts[low:high].sum())
    sums = prefix_sums(values, masses[there])
    return Points(values, running, sums, zeros, exponent, weighing, place.reshape(weights.shape))


def _masses(
    saliency: F64 | None, shape: tuple[int, ...], place: I64, counts: I64
) -> tuple[F64, int]:
    """Return the saliency of each distinct value, times a power of two, and its exponent."""
    if saliency is None:
        return counts.astype(np.float64), 0
    if saliency.shape != shape:
        raise ConvertError(f"saliency of shape {saliency.shape}, weights of {shape}")
    top = float(saliency.max())
    if not (np.all(saliency >= 0) and np.isfinite(top)):
        raise ConvertError("saliency is negative or not finite")
    exponent = int(np.frexp(top)[1])
    scaled = np.ldexp(saliency.reshape(-1), -exponent)
    masses = np.bincount(place, np.maximum(scaled, LEAST_SALIENCY))
    return np.asarray(masses, np.float64), exponent


def cells_of(points: Points, starts: I64, zero: int = -1) -> Cells:
    """Return the cells that begin at `starts`, each with its mean; cell `zero` has level 0."""
    ends = np.append(starts, points.values.size)
    w, x, xx = (np.diff(s[ends]) for s in points.sums)
    levels = np.where(np.diff(ends) == 1, points.values[starts], x / w)  # no digit is lost
    if zero >= 0:
        levels[zero] = 0.0
    errors = np.maximum(xx - (2.0 * x - levels * w) * levels, 0.0)
    return Cells(starts, levels, zero, float(np.cumsum(errors)[-1]))


def occupied(starts: I64, n: int) -> I64:
    """Return the starts of cells that hold a point, from ascending starts of cells."""
    return np.unique(starts[starts < n])


def indices_of(points: Points, cells: Cells) -> tuple[F64, U8]:
    """Return the levels in the units of the weights, ascending, and each weight's index.

    Zero weights have the level 0.
    """
    n = points.values.size
    cell = np.repeat(np.arange(cells.starts.size), np.diff(cells.starts, append=n))
    levels = cells.levels
    if points.zeros:
        cell, levels = np.append(cell, levels.size), np.append(levels, 0.0)  # place -1 is the last
    final, index = np.unique(levels, return_inverse=True)
    return np.ldexp(final, points.exponent), index[cell][points.place].astype(np.uint8)
