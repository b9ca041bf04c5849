"""A binary range coder whose chances follow the neighbours, for tensors that are to be small.

Spec: spec/encodings/coder_context.md    C: dcformat/c/dcf_coder_context.c
One walk over a block serves both directions: `_Writer` puts the bits that it is given, `_Reader`
gives those that it finds.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..errors import Code, DcfError, error_of
from ..fields import Fields
from .parts import Planes

I64 = npt.NDArray[np.int64]
BOUNDS = (1, 3, 6, 10, 16, 26, 48, 96, 192, 400)  #: least expected magnitudes of buckets, times 16
BUCKETS = len(BOUNDS) + 1
#: Where the contexts of each decision begin, and how many there are in all.
ZERO = 0
SIGN = ZERO + 8 * BUCKETS
LENGTH = SIGN + 81
SECOND = LENGTH + 7 * BUCKETS
THIRD = SECOND + 7
CONTEXTS = THIRD + 12
STEPS = (1, 4, 9, 20, 44, 90)  #: from so many decisions on a chance learns more slowly
TOP = 1 << 24
MASK = (1 << 32) - 1


@dataclass(frozen=True)
class Context:
    """The parameters: the symbol of magnitude 0, and the axes of a row that have scales (bits)."""

    centre: int
    axes: int


@dataclass(frozen=True)
class Extents:
    """A row as planes of lines of elements."""

    planes: int
    lines: int
    line: int

    @property
    def columns(self) -> int:
        return self.planes * self.lines * self.line

    def steps(self, axes: int) -> tuple[int, int, int, int]:
        """Return how far scales are apart by plane, line and element, and how many there are."""
        step = axes & 1
        count = self.line if step else 1
        step_line = count if axes & 2 else 0
        count *= self.lines if axes & 2 else 1
        step_plane = count if axes & 4 else 0
        return step_plane, step_line, step, count * (self.planes if axes & 4 else 1)


def extents_of(stored_shape: tuple[int, ...], row_axes: int) -> Extents:
    """Return the extents of a row: its last two axes, and all before them as one."""
    axes = stored_shape[row_axes:]
    lines, line = (1, 1, *axes)[-2:]
    return Extents(math.prod(axes[:-2]), lines, line)


def read_params(
    fields: Fields, alphabets: tuple[int, ...], classes: int, tables: list[object]
) -> Context:
    """Return the parameters of a record."""
    centre, axes = fields.u8(), fields.u8()
    spare = fields.take(2)
    fields.need(len(alphabets) == 1, "elements of several symbols")
    fields.need(centre < alphabets[0], f"centre {centre} of {alphabets[0]} symbols")
    fields.need(axes < 8, f"axes {axes}")
    fields.need(not any(spare), "bytes after the axes", Code.PADDING)
    return Context(centre, axes)


def write_params(context: Context) -> bytes:
    """Return the parameters of a record."""
    return struct.pack("<BBxx", context.centre, context.axes)


@dataclass(frozen=True)
class Key:
    """What decoding a block needs beside its bytes."""

    alphabet: int
    context: Context
    extents: Extents

    @property
    def below(self) -> int:
        """The largest magnitude below the centre."""
        return self.context.centre

    @property
    def above(self) -> int:
        return self.alphabet - 1 - self.context.centre

    @property
    def depth(self) -> int:
        """How many decisions tell the length of a magnitude."""
        return max(0, max(self.below, self.above).bit_length() - 1).bit_length()


class _Bits(Protocol):
    """Decisions in one direction: a writer puts `bit` and returns it, a reader ignores it."""

    def decision(self, context: int, bit: int) -> int: ...

    def plain(self, count: int, value: int) -> int: ...


class _Chances:
    """How likely each decision is to be 1: means of a fast and a slow average."""

    def __init__(self) -> None:
        self.fast = [1 << 15] * CONTEXTS
        self.slow = [1 << 15] * CONTEXTS
        self.seen = [0] * CONTEXTS

    def of(self, context: int) -> int:
        """Return the chance, of 4096."""
        return (self.fast[context] + self.slow[context]) >> 5

    def learn(self, context: int, bit: int) -> None:
        seen = self.seen[context]
        shift = 1 + sum(seen >= step for step in STEPS)
        turn = 0xFFFF if bit else 0
        fast, slow = self.fast[context] ^ turn, self.slow[context] ^ turn
        self.fast[context] = (fast - (fast >> min(shift, 5))) ^ turn
        self.slow[context] = (slow - (slow >> shift)) ^ turn
        self.seen[context] = min(seen + 1, STEPS[-1])


class _Reader:
    """Decisions out of the bytes of a block, behind which zero bytes follow."""

    def __init__(self, block: memoryview) -> None:
        self.block = block
        self.chances = _Chances()
        self.range, self.code, self.taken = MASK, 0, 0
        for _ in range(4):
            self._take()

    def _take(self) -> None:
        byte = self.block[self.taken] if self.taken < len(self.block) else 0
        self.code = (self.code << 8 | byte) & MASK
        self.taken += 1

    def _normalise(self) -> None:
        while self.range < TOP:
            self.range <<= 8
            self._take()

    @property
    def behind(self) -> int:
        """How many bytes behind the block were taken; below 0 where some are left."""
        return self.taken - len(self.block)

    def decision(self, context: int, bit: int) -> int:
        bound = (self.range >> 12) * self.chances.of(context)
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        self.chances.learn(context, bit)
        self._normalise()
        return bit

    def plain(self, count: int, value: int) -> int:
        self.range >>= count
        value = min(self.code // self.range, (1 << count) - 1)
        self.code -= value * self.range
        self._normalise()
        return value


class _Writer:
    """Decisions into bytes."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.chances = _Chances()
        self.low, self.range = 0, MASK

    def _carry(self) -> None:
        at = len(self.out)
        while self.low > MASK:
            at -= 1
            self.out[at] = (self.out[at] + 1) & 0xFF
            if self.out[at]:
                self.low &= MASK
        self.low &= MASK

    def _put(self) -> None:
        self.out.append(self.low >> 24)
        self.low = self.low << 8 & MASK

    def _normalise(self) -> None:
        self._carry()
        while self.range < TOP:
            self._put()
            self.range <<= 8

    def decision(self, context: int, bit: int) -> int:
        bound = (self.range >> 12) * self.chances.of(context)
        if bit:
            self.range = bound
        else:
            self.low += bound
            self.range -= bound
        self.chances.learn(context, bit)
        self._normalise()
        return bit

    def plain(self, count: int, value: int) -> int:
        self.range >>= count
        self.low += self.range * value
        self._normalise()
        return value

    def finish(self) -> bytes:
        """Return all bytes: the last is that of the first multiple of 2^24 not below `low`."""
        self.low += TOP - 1
        self._carry()
        self._put()
        return bytes(self.out)


def _follow(scale: int, target: int, shift: int) -> int:
    return scale + ((target - scale) >> shift)


def _shift(number: int, most: int) -> int:
    return min((number + 1).bit_length(), most)


class _Walk:
    """The walk over the elements of a block."""

    def __init__(self, key: Key, bits: _Bits) -> None:
        self.key, self.bits = key, bits
        self.depth = key.depth
        self.steps = key.extents.steps(key.context.axes)
        self.scales = [0] * self.steps[3]
        self.signs = [0] * key.extents.columns
        self.row_scale = self.mean = 0

    def over(self, symbols: Iterator[int], row: int) -> Iterator[int]:
        """Yield the symbols of a row: those that are put, or those that are found."""
        extents, column, self.left = self.key.extents, 0, 0
        for plane in range(extents.planes):
            for line in range(extents.lines):
                scale = plane * self.steps[0] + line * self.steps[1]
                for at in range(extents.line):
                    yield self._element(next(symbols), (plane, line, at), column, row, scale)
                    column, scale = column + 1, scale + self.steps[2]
        self.mean = _follow(self.mean, self.row_scale, _shift(row, 5) - 1)
        self.row_scale = self.mean

    def _element(
        self, symbol: int, place: tuple[int, int, int], column: int, row: int, scale: int
    ) -> int:
        key, signs, extents = self.key, self.signs, self.key.extents
        plane, line, at = place
        left = signs[column - 1] if at else 0
        up = signs[column - extents.line] if line else 0
        over = signs[column - extents.lines * extents.line] if plane else 0
        before = signs[column]
        near = (left > 0) + 2 * (before > 0) + 4 * (up > 0)
        bucket = self._bucket(at, self.scales[scale] if row else self.row_scale)
        number = symbol - key.context.centre
        value, sign = 0, 0
        if key.alphabet > 1 and self.bits.decision(ZERO + BUCKETS * near + bucket, number != 0):
            value = self._magnitude(bucket, abs(number))
            sign = self._sign(value, left + 3 * up + 9 * over + 27 * before, number < 0)
        signs[column] = sign
        self.left = value
        self.row_scale = _follow(self.row_scale, 16 * value, _shift(column, 5))
        self.scales[scale] = _follow(self.scales[scale], 16 * value, _shift(row, 3))
        return key.context.centre + (-value if sign == 2 else value)

    def _bucket(self, at: int, column_scale: int) -> int:
        left = 16 * self.left if at else self.row_scale
        expected = (6 * left + 5 * self.row_scale + 5 * column_scale) >> 4
        return sum(expected >= bound for bound in BOUNDS)

    def _magnitude(self, bucket: int, value: int) -> int:
        """A magnitude that is not 0: the bits behind its first one are counted, then told."""
        rest = value.bit_length() - 1
        node = 1
        for i in range(self.depth - 1, -1, -1):
            node = 2 * node + self.bits.decision(LENGTH + 7 * bucket + node - 1, rest >> i & 1)
        rest = node - (1 << self.depth)
        found = 1
        if rest > 0:
            found = 2 + self.bits.decision(SECOND + rest - 1, value >> max(0, rest - 1) & 1)
        if rest > 1:
            context = THIRD + 2 * (rest - 2) + (found & 1)
            found = 2 * found + self.bits.decision(context, value >> (rest - 2) & 1)
        if rest > 2:
            plain = rest - 2
            found = found << plain | self.bits.plain(plain, value & (1 << plain) - 1)
        return found

    def _sign(self, value: int, near: int, negative: int) -> int:
        """Return 1 above the centre, 2 below it; told only where both are possible."""
        below, above = value <= self.key.below, value <= self.key.above
        if below and above:
            return 1 + self.bits.decision(SIGN + near, negative)
        if not below and not above:
            raise error_of(Code.RANGE, f"magnitude {value}")
        return 1 if above else 2


def encode(planes: Planes, ends: I64, key: Key) -> tuple[bytes, I64]:
    """Return the bytes of all blocks and where each ends; `ends` counts elements.

    Each block has whole rows, and all but the last have as many.
    """
    if kernels.NATIVE:
        extents = key.extents
        return kernels.context_encode(
            planes.reshape(-1),
            (extents.planes, extents.lines, extents.line),
            key.alphabet,
            (key.context.centre, key.context.axes),
            int(ends[0]) // extents.columns,
        )
    return plain_encode(planes, ends, key)


def plain_encode(planes: Planes, ends: I64, key: Key) -> tuple[bytes, I64]:
    """`encode` in Python; the same result."""
    starts = [0, *ends[:-1].tolist()]
    parts = [_block(planes[a:b, 0].tolist(), key) for a, b in zip(starts, ends, strict=True)]
    return b"".join(parts), np.cumsum([len(p) for p in parts], dtype=np.int64)


def _block(symbols: list[int], key: Key) -> bytes:
    writer = _Writer()
    walk, given = _Walk(key, writer), iter(symbols)
    for row in range(len(symbols) // key.extents.columns):
        for _ in walk.over(given, row):
            pass
    return writer.finish()


class Reader:
    """The symbols of one block."""

    def __init__(self, block: memoryview, key: Key, place: str) -> None:
        self.bits = _Reader(block)
        self.key = key
        self.place = place
        self.found = self._symbols()

    def _symbols(self) -> Iterator[int]:
        walk, row = _Walk(self.key, self.bits), 0
        nothing = iter(lambda: self.key.context.centre, None)
        while True:
            yield from walk.over(nothing, row)
            row += 1

    def next(self, stream: int) -> int:
        """Return the next symbol."""
        try:
            symbol = next(self.found)
        except DcfError:
            self._need_bytes()
            raise
        self._need_bytes()
        return symbol

    def _need_bytes(self) -> None:
        if self.bits.behind > 3:
            raise error_of(Code.TRUNCATED, "block ends inside a symbol", self.place)

    def many(self, count: int, streams: tuple[int, ...]) -> Planes:
        """Return `count` elements."""
        symbols = np.fromiter((self.next(0) for _ in range(count)), np.uint8, count)
        return symbols.reshape(count, 1)

    def finish(self) -> None:
        """Check that the block ends here: its last byte stands before three that are not there."""
        self._need_bytes()
        if self.bits.behind < 3:
            unused = f"{3 - self.bits.behind} unused bytes in the block"
            raise error_of(Code.STRUCTURE, unused, self.place)
        if self.bits.code >= TOP:
            raise error_of(Code.CODE, "the block does not end as one that was written", self.place)
