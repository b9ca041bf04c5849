"""What is in a tensor's numbers: zeros, distinct ones, entropy, range, and errors against a source.

*Order-0 entropy* is taken over symbols as the values room has them: of a codebook the index, of a
type of width 1 the number, of wider types each byte place for itself, as the coders do. It is the
sum over symbols of -log2 of their share in the tensor, in bits; no table is counted. A file can be
below it: gaps and runs see more than one element, and table classes more than one distribution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels
from .coded import Codebook, CodedTensor, Fixed, expand_tensor, same_bits
from .compress.reals import REALS, reals_of
from .encodings.parts import Planes
from .ids import BITS, DType
from .model import PIECE, Array, Tensor, windows

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
BINS = 48  #: of a histogram
MOST_LEVELS = 64  #: that are listed
_FLOAT8 = (DType.FLOAT8E4M3FN, DType.FLOAT8E5M2)  #: with a negative zero
_NO_ZERO = (DType.FLOAT8E8M0,)
_PATTERNS = (
    *_FLOAT8,
    *_NO_ZERO,
    DType.FLOAT8E4M3FNUZ,
    DType.FLOAT8E5M2FNUZ,
    DType.FLOAT4E2M1,
    DType.COMPLEX64,
    DType.COMPLEX128,
)


@dataclass(frozen=True)
class Facts:
    """What the numbers of a tensor say, none of it about how they are stored.

    `zeros` are elements that mean 0, `distinct` the different numbers before any scale. `low` and
    `high` are the least and greatest finite element, `histogram` counts finite elements in BINS
    equal bins between them, `level_values` are all values that elements have where these are few
    (at most MOST_LEVELS, and at most half as many as elements); None where elements are not real
    numbers, or there are none.
    """

    zeros: int
    distinct: int
    entropy_bits: float
    low: float | None = None
    high: float | None = None
    histogram: tuple[int, ...] | None = None
    level_values: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Errors:
    """Of all elements against those of a source: the largest, and the root of the mean square.

    Infinite where only one side is a number; 0 where every bit is kept.
    """

    largest: float
    rms: float


def facts_of(tensor: CodedTensor, planes: Planes) -> Facts:
    """Return the facts of a tensor; `planes` (n, width) are its symbols, in any order.

    Its elements are made piece by piece: they may take many times what its symbols do.
    """
    pieces = _Pieces(tensor)
    zeros = sum(_zeros(piece, tensor.dtype) for piece in pieces)
    facts = Facts(zeros, _distinct(tensor), entropy_bits(planes))
    if tensor.dtype in _PATTERNS or not tensor.size:
        return facts
    ends = [(part.min(), part.max()) for part in _finite(pieces) if part.size]
    if not ends:
        return facts
    low, high = float(min(one for one, _ in ends)), float(max(one for _, one in ends))
    bins = sum((_histogram(part, low, high) for part in _finite(pieces)), np.zeros(BINS, np.int64))
    few = facts.distinct <= min(MOST_LEVELS, tensor.size // 2)
    return replace(
        facts,
        low=low,
        high=high,
        histogram=tuple(bins.tolist()),
        level_values=_values(pieces) if few else None,
    )


@dataclass(frozen=True, eq=False)
class _Pieces:
    """The elements of a tensor piece by piece, made each time; of a small one they are kept."""

    tensor: CodedTensor
    kept: list[Array] = field(default_factory=list)

    def __iter__(self) -> Iterator[Array]:
        if self.tensor.size > PIECE:
            yield from (expand_tensor(self.tensor, w) for w in windows(self.tensor.shape))
            return
        if not self.kept:
            self.kept.append(expand_tensor(self.tensor))
        yield self.kept[0]


def _finite(pieces: _Pieces) -> Iterator[F64]:
    """Yield the finite elements in pieces."""
    for piece in pieces:
        real = _real(piece, pieces.tensor.dtype)
        yield real[np.isfinite(real)]


def entropy_bits(planes: Planes) -> float:
    """Return the order-0 entropy of symbols (n, width) in bits, each place for itself."""
    total = 0.0
    for place in range(planes.shape[1]):
        counts = kernels.histogram(np.ascontiguousarray(planes[:, place]))
        used = counts[counts > 0]
        total += float(used @ np.log2(len(planes) / used)) if used.size else 0.0
    return total


def _zeros(elements: Array, dtype: DType) -> int:
    """Return how many elements are 0; -0.0 is one."""
    if dtype in _NO_ZERO:
        return 0
    bits: Any = elements
    if dtype is DType.BFLOAT16:
        bits = elements.astype(np.uint16) & 0x7FFF
    elif dtype in (*_FLOAT8, DType.FLOAT4E2M1):
        bits = elements.astype(np.uint8) & ((1 << BITS[dtype] - 1) - 1)
    return int(elements.size - np.count_nonzero(bits))


def _distinct(tensor: CodedTensor) -> int:
    """Return how many different numbers there are, by their bits."""
    values, symbols = tensor.values, np.ascontiguousarray(tensor.symbols)
    if isinstance(values, Codebook):
        used = np.flatnonzero(kernels.histogram(symbols.reshape(-1)))
        return len(np.unique(_patterns(np.ascontiguousarray(values.levels[used]))))
    if symbols.itemsize == 1:
        return int(np.count_nonzero(kernels.histogram(symbols.reshape(-1).view(np.uint8))))
    return len(np.unique(_patterns(symbols.reshape(-1))))


def _patterns(numbers: Array) -> Any:
    size = numbers.itemsize
    return numbers.view(f"<u{size}" if size <= 8 else f"S{size}")


def _real(elements: Array, dtype: DType) -> F64:
    if dtype in REALS:
        return reals_of(elements, dtype).reshape(-1)
    return elements.astype(np.float64).reshape(-1)


def _histogram(finite: F64, low: float, high: float) -> I64:
    """Count in equal bins; the scaling is halved so that no width is infinite."""
    width = high / 2 - low / 2
    place = np.zeros(finite.size) if width == 0 else (finite / 2 - low / 2) / width * BINS
    bins = np.minimum(place.astype(np.int64), BINS - 1)
    return np.asarray(np.bincount(bins, minlength=BINS), np.int64)


def _values(pieces: _Pieces) -> tuple[float, ...] | None:
    """Return all values in ascending order, None where scales make too many of them."""
    values: set[float] = set()
    for part in _finite(pieces):
        values.update(np.unique(part).tolist())
        if len(values) > MOST_LEVELS:
            return None
    return tuple(sorted(values))


def q_format(tensor: CodedTensor) -> str | None:
    """Return "Q2.5" for 8-bit numbers q that mean q * 2**-5; of several "Q0.7 to Q3.4"."""
    values = tensor.values
    if isinstance(values, Fixed):
        lengths, bits = np.atleast_1d(values.fraction), BITS[values.number]
    elif isinstance(values, Codebook) and values.fraction is not None:
        lengths, bits = np.atleast_1d(values.fraction), BITS[values.level]
    else:
        return None
    if not lengths.size:
        return None
    names = [q_name(bits, int(n)) for n in (lengths.max(), lengths.min())]
    return names[0] if names[0] == names[1] else f"{names[0]} to {names[1]}"


def q_name(bits: int, fraction: int) -> str:
    """Return the name of a signed format: Qm.n with m + n + 1 bits."""
    return f"Q{bits - 1 - fraction}.{fraction}"


def errors_of(tensor: CodedTensor, source: Tensor) -> Errors:
    """Return the errors of a tensor against the same one of a source, of one type and shape."""
    largest, squares = 0.0, 0.0
    for window in windows(tensor.shape):
        mine, theirs = expand_tensor(tensor, window), source.piece(window)
        if same_bits(np.ascontiguousarray(mine), np.ascontiguousarray(theirs)):
            continue
        wrong = _differences(mine, theirs, tensor.dtype)
        largest = max(largest, float(wrong.max(initial=0.0)))
        with np.errstate(over="ignore"):  # of huge differences: infinity will do
            squares += float(np.square(wrong).sum())
    return Errors(largest, math.sqrt(squares / max(tensor.size, 1)))


def _differences(mine: Array, theirs: Array, dtype: DType) -> F64:
    """Return absolute differences; infinite where only one side is a number, or bits differ."""
    if dtype in _PATTERNS:
        return np.where(mine == theirs, 0.0, math.inf).reshape(-1)
    a, b = _real(mine, dtype), _real(theirs, dtype)
    with np.errstate(invalid="ignore"):  # infinity minus itself
        wrong = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(wrong), math.inf, wrong))
