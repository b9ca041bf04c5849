"""Cells for an entropy coder: equal steps, then levels and borders that pay for their bits.

Chou, Lookabaugh and Gray 1989, "Entropy-constrained vector quantization", on a line and with the
code lengths of the coder in place of an entropy: count the symbols, look up what each costs, give
every point to the level with the least squared distance + price * bits, move the levels to their
cells' means, and again. A price per bit widens the cells of frequent symbols, zero's most: that is
the dead zone. Borders, not points, are worked with: cells stay intervals.

Bits are those of the canonical Huffman code, every element a symbol; or, `sparse`, of a Huffman
code of the values that are not zero and one of the gaps between them, as if zeros were scattered
evenly. C: dcformat/_native/quantize.c, with the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dcformat import kernels
from dcformat.ids import MAX_SYMBOLS

from .points import Cells, Points
from .reals import F64

I64 = npt.NDArray[np.int64]

#: A table and the levels of a codebook: bits for a level, and for what does not depend on levels.
LEVEL_BITS, TABLE_BITS, GAP_TABLE_BITS = 12, 112, 256
_LAST_GAP = 63


@dataclass(frozen=True)
class Steps:
    """Equal steps: their width and, in widths, where the middle of one is (0 if there are zeros).

    Zero is a level if that is 0.
    """

    width: float
    shift: float = 0.0


def refine(points: Points, steps: Steps, price: float, sparse: bool, rounds: int) -> Cells | None:
    """Return the cells after `rounds` rounds from `steps`; None if 256 levels are too few.

    Widths, above 0, and `price` >= 0 of a bit are in the units of the points and their squares.
    """
    if not kernels.NATIVE:
        return numpy_refine(points, steps, price, sparse, rounds)
    columns = points.values, points.counts, *points.sums, points.zeros
    found = kernels._core.quantize_refine(*columns, steps.width, steps.shift, price, sparse, rounds)
    if found is None:
        return None
    starts, levels, zero, error, bits = found
    cells = Cells(np.frombuffer(starts, np.int64), np.frombuffer(levels), zero, error, bits)
    return _with_tables(cells, sparse)


def numpy_refine(
    points: Points, steps: Steps, price: float, sparse: bool, rounds: int
) -> Cells | None:
    """`refine` in NumPy; the same result."""
    cells = _equal_steps(points, steps)
    if cells is None:
        return None
    bits, cells = _counted(points, cells, sparse)
    for _ in range(rounds):
        cells = _assign(points, cells, price * bits)
        bits, cells = _counted(points, cells, sparse)
    return _with_tables(cells, sparse)


def _with_tables(cells: Cells, sparse: bool) -> Cells:
    tables = TABLE_BITS + LEVEL_BITS * cells.levels.size + sparse * GAP_TABLE_BITS
    return replace(cells, bits=cells.bits + tables)


def _equal_steps(points: Points, steps: Steps) -> Cells | None:
    """Return cells of equal steps."""
    keys = np.floor(points.values / steps.width + (0.5 - steps.shift))
    starts = np.flatnonzero(np.diff(keys, prepend=-np.inf))
    keys = keys[starts]
    if points.zeros and not np.any(keys == 0):
        at = int(np.searchsorted(keys, 0.0))
        starts = np.insert(starts, at, starts[at] if at < starts.size else points.values.size)
        keys = np.insert(keys, at, 0.0)
    zero = np.flatnonzero(keys == 0) if steps.shift == 0 else keys[:0]
    if starts.size > MAX_SYMBOLS:
        return None
    return _cells(points, starts, int(zero[0]) if zero.size else -1)


def _cells(points: Points, starts: I64, zero: int) -> Cells:
    """Return the cells that begin at `starts`; that of index `zero` may be empty."""
    ends = np.append(starts, points.values.size)
    w, x, xx = (np.diff(s[ends]) for s in points.sums)
    levels = np.zeros(starts.size)
    np.divide(x, w, out=levels, where=np.arange(starts.size) != zero)
    wrong = xx - (2.0 * x - levels * w) * levels
    error = np.cumsum(np.where(wrong > 0.0, wrong, 0.0))[-1]
    return Cells(starts, levels, zero, float(error))


def _counted(points: Points, cells: Cells, sparse: bool) -> tuple[F64, Cells]:
    """Return the bits of each cell's symbol, and the cells with the bits of them all."""
    counts = np.diff(points.counts[np.append(cells.starts, points.values.size)])
    if cells.zero >= 0:
        counts[cells.zero] += points.zeros
    zeros, whole = int(counts[cells.zero]) if cells.zero >= 0 else 0, int(counts.sum())
    if sparse and 0 < zeros < whole:
        zero, value = _gap_prices(zeros, whole)
        others = np.where(np.arange(counts.size) == cells.zero, 0, counts)
        bits = kernels.code_lengths(others).astype(np.float64) + value
        bits[cells.zero] = zero
    else:
        bits = kernels.code_lengths(counts).astype(np.float64)
    return bits, replace(cells, bits=float(np.cumsum(counts * bits)[-1]))


def _gap_prices(zeros: int, whole: int) -> tuple[float, float]:
    """Return what gaps make a zero cost, and a value on top of its own bits."""
    q = (whole - zeros) / whole
    past, there = log2(1.0 - q), log2(q)
    factor = _gap_bits(q) / (-there - past * ((1.0 - q) / q))
    return -past * factor, -there * factor


def _gap_bits(q: float) -> float:
    """Return the bits of the gap before a value, where a share q of the elements are values."""
    powers = np.cumprod(np.concatenate([[1.0], np.full(_LAST_GAP, 1.0 - q)]))
    share = np.append(q * powers[:-1], powers[-1])
    lengths = kernels.code_lengths((share * 1073741824.0).astype(np.int64))
    return float(np.cumsum(share * lengths)[-1] / (1.0 - powers[-1]))


def log2(x: float) -> float:
    """Return the logarithm, the same on every machine: from sums and products only."""
    mantissa, exponent = (float(part) for part in np.frexp(x))
    s = (mantissa - 1.0) / (mantissa + 1.0)
    t, total = s * s, 0.0
    for k in range(39, 0, -2):
        total = total * t + 1.0 / k
    return 2.0 * s * total / 0.6931471805599453 + exponent


def _assign(points: Points, old: Cells, costs: F64) -> Cells:
    """Give each point to the level that is cheapest for it, and move the levels to their means."""
    kept, borders = _envelope(old.levels.tolist(), costs.tolist())
    starts = np.searchsorted(points.values, borders)
    starts[0] = 0
    starts = np.maximum.accumulate(starts)
    filled = np.diff(starts, append=points.values.size) > 0
    is_zero = np.array(kept) == old.zero
    if points.zeros and not is_zero.any():
        at = int(np.searchsorted(kept, old.zero))
        start = starts[at] if at < starts.size else points.values.size
        starts, filled, is_zero = (
            np.insert(a, at, new) for a, new in ((starts, start), (filled, True), (is_zero, True))
        )
    filled |= is_zero & bool(points.zeros)
    zero = np.flatnonzero(is_zero[filled])
    return _cells(points, starts[filled], int(zero[0]) if zero.size else -1)


def _envelope(levels: list[float], costs: list[float]) -> tuple[list[int], list[float]]:
    """Return the levels that are somewhere the cheapest, and the borders below them."""
    kept: list[int] = []
    borders: list[float] = []
    for i, (level, cost) in enumerate(zip(levels, costs, strict=True)):
        border, there = 0.0, True
        while kept:
            top, theirs = levels[kept[-1]], costs[kept[-1]]
            apart = level - top
            if apart > 0.0:
                border = ((level * level + cost) - (top * top + theirs)) / (2.0 * apart)
                if len(kept) == 1 or border > borders[-1]:
                    break
            else:
                there = cost < theirs
                if not there:
                    break
            kept.pop()
            borders.pop()
        if there:
            kept.append(i)
            borders.append(border)
    return kept, borders
