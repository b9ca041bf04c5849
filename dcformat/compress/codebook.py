"""Weight sharing: each weight becomes an index into a small table of levels.

Han, Mao and Dally 2016, "Deep Compression", section 3, without the retraining. Four ways to
choose the levels: "entropy", the default: the fewest bits of an entropy coder at the squared
error of "kmeans", or as near to it as 256 levels come (entropy.py); "uniform": equal steps with a
small dead zone, each level moved to its cell's mean, at that error (Sullivan 1996, "Efficient
scalar quantization of exponential and Laplacian random variables"); "kmeans", the exact optimum,
right where indices have a fixed width; "linear", the paper's (equally spaced levels, then Lloyd's
iterations), for comparison.
Spec: spec/encodings/values_codebook.md
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcformat import kernels
from dcformat.coded import Codebook
from dcformat.ids import MAX_SYMBOLS, DType

from . import entropy
from .points import Cells, Points, cells_of, indices_of, occupied, points_of
from .reals import F64, as_type

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: A weight of m + ROUND_UP steps or more becomes m + 1: below 1/2, zero's cell is the widest.
ROUND_UP = 0.42
#: Levels of 8 bits are taken where they add at most this to the squared error.
INT8_SLACK = 1.001

_LLOYD_ROUNDS = 100
_HALVINGS = 60
_MAX_STEPS = 1 << 15
_LARGEST = {DType.INT8: 127, DType.INT16: 32767}


def quantize_codebook(
    weights: F64, bits: int, quantizer: str, saliency: F64 | None = None
) -> tuple[F64, U8]:
    """Return levels (ascending) and the index of each weight's level.

    At most 2**bits levels, or at most 256 for "entropy" and "uniform", which aim at the squared
    error of the best 2**bits. Zero is always a level where it is a weight, and no zero weight
    becomes another. `saliency`, of the weights' shape, weighs the squared errors.
    """
    points = points_of(weights, saliency)
    if not points.values.size:
        return np.zeros(1), np.zeros(weights.shape, np.uint8)
    return indices_of(points, choose(points, bits, quantizer))


def choose(points: Points, bits: int, quantizer: str) -> Cells:
    """Return the cells that `quantizer` chooses for points, at least one of which is not zero."""
    most = 1 << bits
    k = max(1, most - bool(points.zeros))
    if points.values.size <= k:
        return cells_of(points, np.arange(points.values.size))
    if quantizer == "linear":
        return cells_of(points, _lloyd(points, k))
    if quantizer != "kmeans" and most == MAX_SYMBOLS:
        return _uniform(points, 0.0)  # as fine as it goes: no 256 levels beat the best
    best = best_cells(points, k)
    if quantizer == "uniform":
        return _uniform(points, best.error)
    return entropy.at_error(points, best.error) if quantizer == "entropy" else best


def best_cells(points: Points, k: int) -> Cells:
    """Return the cells of the exact optimal k-means."""
    return cells_of(points, kernels.optimal_kmeans(points.values, points.masses(), k)[1])


def type_levels(weights: F64, levels: F64, indices: U8, dtype: DType, kind: str) -> Codebook:
    """Return the codebook of `levels` with entries of the wanted type.

    `kind` is "float": the tensor's own type; "int8" or "int16": integers with one scale in
    float32, the largest level being the largest integer; "auto": int8 where that adds next to
    nothing to the error, else int16.
    """
    if kind == "float":
        return Codebook(dtype, as_type(levels, dtype))
    if kind in ("auto", "int8"):
        short = _integers(levels, DType.INT8)
        if kind == "int8" or _error(weights, short, indices) <= INT8_SLACK * _squares(
            weights - levels[indices]
        ):
            return short
    return _integers(levels, DType.INT16)


def _integers(levels: F64, number: DType) -> Codebook:
    """Return `levels` as integers times one float32 scale; zero stays zero."""
    largest = _LARGEST[number]
    scale = np.asarray(np.abs(levels).max() / largest, np.float32)
    scale = np.where(scale > 0, scale, np.float32(1))
    numbers = np.clip(np.rint(levels / np.float64(scale)), -largest, largest)
    kind = np.int8 if number is DType.INT8 else np.dtype("<i2")
    return Codebook(number, numbers.astype(kind), scale)


def _error(weights: F64, book: Codebook, indices: U8) -> float:
    scale = 1.0 if book.scale is None else float(book.scale)
    levels = np.asarray(book.levels, np.float64) * scale
    return _squares(weights - levels[indices])


def _squares(wrong: F64) -> float:
    """Return the sum of squares, added up from left to right."""
    flat = wrong.reshape(-1)
    return float(np.cumsum(flat * flat)[-1])


def _lloyd(points: Points, k: int) -> I64:
    """Return where cells start after Lloyd's iterations from k equally spaced levels."""
    levels = np.linspace(points.values[0], points.values[-1], k)
    starts = np.zeros(0, np.int64)
    for _ in range(_LLOYD_ROUNDS):
        cuts = np.searchsorted(points.values, (levels[1:] + levels[:-1]) / 2)
        if np.array_equal(cuts, starts):
            break
        starts = cuts
        ends = np.append(starts, points.values.size)
        w, x, _ = (s[ends] - s[np.insert(starts, 0, 0)] for s in points.sums)
        levels = np.where(w > 0, x / np.where(w > 0, w, 1.0), levels)
    return occupied(np.insert(starts, 0, 0), points.values.size)


def _uniform(points: Points, error: float) -> Cells:
    """Return equal steps, as wide as `error` allows, or as fine as 256 levels allow.

    The step is found by halving, the error from the running sums, so a trial costs a search for
    each cell's border and no pass over the points.
    """
    most, largest = MAX_SYMBOLS - bool(points.zeros), points.largest
    fine, coarse = largest / _MAX_STEPS, 4 * largest
    for _ in range(_HALVINGS):
        middle = (fine + coarse) / 2
        cells = _steps(points, middle)
        if cells.error <= error or cells.levels.size > most:
            fine = middle
        else:
            coarse = middle
    cells = _steps(points, fine)
    return cells if cells.levels.size <= most else _steps(points, coarse)


def _steps(points: Points, step: float) -> Cells:
    """Return the cells of equal steps around zero's, which is the widest and has level 0."""
    n = points.values.size
    count = int(points.largest / step + ROUND_UP)
    borders = (np.arange(1, count + 1) - ROUND_UP) * step
    above = np.searchsorted(points.values, borders, side="left")
    below = np.searchsorted(points.values, -borders[::-1], side="right")
    starts = occupied(np.concatenate([[0], below, above]), n)
    low = int(below[-1]) if count else 0
    high = int(above[0]) if count else n
    return cells_of(points, starts, int(np.searchsorted(starts, low)) if low < high else -1)
