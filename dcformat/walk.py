"""From elements to items and their bits: what the encoder counts and writes, block by block.

Spec: spec/encodings/layout_*.md, coder_*.md    C: dcformat/_native/walk.c
Without the extension the rooms themselves do it, with the same result; no format decision is
made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels
from .encodings import LAYOUTS, coder_huffman, coder_packed
from .encodings.coder_huffman import Table
from .encodings.coder_packed import bits_of
from .encodings.layout_gap import Gap
from .encodings.layout_run import Run
from .encodings.parts import Items, Planes
from .errors import Code, error_of
from .ids import MAX_SYMBOLS, Layout

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Walk:
    """A layout with its parameters, over elements of `width` symbols of some `alphabets`."""

    layout: Layout
    params: Any
    alphabets: tuple[int, ...]

    @property
    def width(self) -> int:
        return len(self.alphabets)

    @property
    def streams(self) -> int:
        """The number of streams: those of an element's symbols, and that of gaps."""
        return self.width + (self.layout is Layout.GAP)

    @property
    def stream_alphabets(self) -> tuple[int, ...]:
        if self.layout is Layout.GAP:
            return (self.params.highest + 1, *self.alphabets)
        return (self.alphabets[0] + 2,) if self.layout is Layout.RUN else self.alphabets


def count(planes: Planes, ends: I64, walk: Walk) -> U32:
    """Return how often each symbol occurs in each block: (blocks, streams, 256).

    `planes` (n, width) are the elements' symbols; a block ends before each of `ends`, in elements.
    """
    if not kernels.NATIVE:
        return numpy_count(planes, ends, walk)
    raw = kernels._core.walk_count(*_native(planes, ends, walk))
    return np.frombuffer(raw, np.uint32).reshape(len(ends), walk.streams, MAX_SYMBOLS)


def numpy_count(planes: Planes, ends: I64, walk: Walk) -> U32:
    """`count` in NumPy; the same result."""
    items = _items(planes, ends, walk)
    block = np.repeat(np.arange(len(ends)), np.diff(items.ends, prepend=0))
    index = (block * walk.streams + items.streams) * MAX_SYMBOLS + items.symbols
    shape = (len(ends), walk.streams, MAX_SYMBOLS)
    return np.bincount(index, minlength=int(np.prod(shape))).reshape(shape).astype(np.uint32)


def packed_gap_bits(planes: Planes, alphabets: tuple[int, ...], background: int) -> I64:
    """Return the bits of `planes` as a block of values and gaps, the gaps of 1 to 8 bits (8,)."""
    widths = np.arange(1, 9)
    highest = (1 << widths) - 1
    there = np.flatnonzero((planes != background).any(axis=1))
    gaps = np.diff(there, prepend=-1)[:, None] - 1
    end = len(planes) - (int(there[-1]) + 1 if there.size else 0)
    fillers = (gaps // highest).sum(axis=0) + -(-end // highest)
    each = sum(bits_of(alphabet) for alphabet in alphabets)
    bits: I64 = (fillers + there.size) * widths + there.size * each
    return bits


def write_huffman(
    planes: Planes, ends: I64, walk: Walk, tables: tuple[Table, ...], classes: U8 | None
) -> bytes:
    """Return the bytes of all blocks, Huffman coded; `tables` by class and stream.

    Raises CorruptError (RANGE) where a symbol is in use that its table lacks.
    """
    if not kernels.NATIVE:
        items = _items(planes, ends, walk)
        return coder_huffman.encode(items, list(tables), walk.streams, classes)[0]
    codes = np.stack([table.codes for table in tables])
    lengths = np.stack([table.lengths for table in tables])
    return _write(planes, ends, walk, codes, lengths, classes, msb=True)


def write_packed(planes: Planes, ends: I64, walk: Walk) -> bytes:
    """Return the bytes of all blocks, in symbols of fixed width."""
    widths = [bits_of(alphabet) for alphabet in walk.stream_alphabets]
    if walk.layout is Layout.DENSE and set(widths) == {8}:
        return planes.tobytes()
    if not kernels.NATIVE:
        return coder_packed.encode(_items(planes, ends, walk), walk.stream_alphabets)[0]
    codes = np.tile(np.arange(MAX_SYMBOLS, dtype=np.uint16), (walk.streams, 1))
    lengths = np.repeat(np.array(widths, np.uint8)[:, None], MAX_SYMBOLS, axis=1)
    return _write(planes, ends, walk, codes, lengths, None, msb=False)


def _write(
    planes: Planes,
    ends: I64,
    walk: Walk,
    codes: npt.NDArray[np.uint16],
    lengths: U8,
    classes: U8 | None,
    msb: bool,
) -> bytes:
    chosen = np.zeros(len(ends), np.uint8) if classes is None else np.ascontiguousarray(classes)
    own = np.array(planes)  # C reads it twice, and the tensor's owner may write meanwhile
    arguments = (*_native(own, ends, walk), codes, np.ascontiguousarray(lengths), chosen, msb)
    data: bytes | None = kernels._core.walk_write(*arguments)
    if data is None:
        raise error_of(Code.RANGE, "a symbol that its table lacks")
    return data


def _native(planes: Planes, ends: I64, walk: Walk) -> tuple[Any, ...]:
    """Return the arguments of the C functions that say what to walk over."""
    params = walk.params
    background = params.background if isinstance(params, Gap | Run) else 0
    highest, stores = (params.highest, params.filler_stores) if isinstance(params, Gap) else (1, 0)
    numbers = (walk.width, int(walk.layout), background, highest, int(stores), walk.alphabets[0])
    return np.ascontiguousarray(planes), np.ascontiguousarray(ends, np.int64), numbers


def _items(planes: Planes, ends: I64, walk: Walk) -> Items:
    if walk.layout is Layout.RUN:
        run: Items = LAYOUTS[walk.layout].encode(planes, ends, walk.params, walk.alphabets[0])
        return run
    items: Items = LAYOUTS[walk.layout].encode(planes, ends, walk.params)
    return items
