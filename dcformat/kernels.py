"""The encoder's hot loops: C where the extension is built, else NumPy, with the same bits.

Spec: spec/encodings/coder_huffman.md, coder_packed.md    C: dcformat/_native/kernels.c
No format decision is made here: callers say which symbols, widths and blocks. `NATIVE` tells
which of the two is at work; the `numpy_*` functions are always the plain ones. The bit writers
serve where walk.py has no C to do it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .ids import MAX_CODE_BITS, MAX_SYMBOLS
from .kmeans import best_ends, solve

if TYPE_CHECKING:
    _core: Any
else:
    try:
        from . import _core
    except ImportError:  # no compiler at install time: the NumPy versions serve
        _core = None

#: True where the C extension does the work.
NATIVE: bool = _core is not None

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

#: Items that the NumPy packers hold at once; bounds their memory.
_CHUNK = 1 << 18
#: Package-merge adds at most 12 * 256 counts, which must not overflow an int64.
_MAX_COUNT = 1 << 48


def code_lengths(counts: npt.NDArray[Any]) -> U8:
    """Return the canonical Huffman code lengths of symbols with these counts.

    Package-merge (Larmore and Hirschberg 1990) with limit 12, exactly as "Canonical lengths" of
    spec/encodings/coder_huffman.md. `counts` has shape (n,), n <= 256, none negative; the result
    is uint8 of that shape, 0 for symbols that do not occur, and 0 too if only one does.
    """
    counts = _vector(counts, np.int64)
    if not NATIVE:
        _check_counts(counts)
        return numpy_code_lengths(counts)
    return np.frombuffer(_core.kernel_code_lengths(counts), np.uint8)


def numpy_code_lengths(counts: I64) -> U8:
    """`code_lengths` in NumPy; the same result."""
    lengths = np.zeros(counts.size, np.uint8)
    used = np.flatnonzero(counts)
    if used.size < 2:
        return lengths
    items = np.sort(counts[used], kind="stable")
    depths = _package_merge(items)
    by_count = np.lexsort((used, -counts[used]))
    lengths[used[by_count]] = np.sort(depths)
    return lengths


def _package_merge(items: I64) -> I64:
    """Return the code length of each of the ascending weights `items`, at most 12."""
    is_item: list[npt.NDArray[np.bool_]] = []
    merged = items[:0]
    for _ in range(MAX_CODE_BITS):
        packages = merged[0 : merged.size // 2 * 2].reshape(-1, 2).sum(axis=1)
        both = np.concatenate([items, packages])
        order = np.argsort(both, kind="stable")  # an item before a package of the same weight
        merged = both[order]
        is_item.append(order < items.size)
    depths = np.zeros(items.size, np.int64)
    take = 2 * (items.size - 1)
    for kinds in reversed(is_item):
        taken = int(np.count_nonzero(kinds[:take]))
        depths[:taken] += 1
        take = 2 * (take - taken)
    return depths


def canonical_codes(lengths: npt.NDArray[Any]) -> U16:
    """Return the codes that belong to canonical lengths ("Codes" of coder_huffman.md).

    `lengths` has shape (n,), n <= 256, values 0 (not in use) to 12, with Kraft sum at most 1;
    the result is uint16 of that shape.
    """
    lengths = _vector(lengths, np.uint8)
    _check_lengths(lengths)
    if not NATIVE:
        return numpy_canonical_codes(lengths)
    return np.frombuffer(_core.kernel_canonical_codes(lengths), np.uint16)


def numpy_canonical_codes(lengths: U8) -> U16:
    """`canonical_codes` in NumPy; the same result."""
    codes = np.zeros(lengths.size, np.uint16)
    used = np.flatnonzero(lengths)
    order = used[np.argsort(lengths[used], kind="stable")]
    bits = lengths[order].astype(np.int64)
    steps = np.left_shift(1, MAX_CODE_BITS - bits)
    codes[order] = (np.cumsum(steps) - steps) >> (MAX_CODE_BITS - bits)
    return codes


def pack_msb(
    codes: npt.NDArray[Any], lengths: npt.NDArray[Any], ends: npt.NDArray[Any]
) -> tuple[bytes, I64]:
    """Write codes most significant bit first, block by block ("Block" of coder_huffman.md).

    `codes` (uint16) and `lengths` (uint8, 0 to 16) have shape (n,); a code has no bit above its
    length. `ends` (int64, ascending, the last is n) are the items at which blocks end; a block
    starts on a byte, its spare bits are zero. Returns the bytes and, for each block, the byte
    offset of its end.
    """
    codes, lengths, ends = _vector(codes, np.uint16), _vector(lengths, np.uint8), _ends(ends)
    _check_blocks(codes, lengths, ends)
    offsets = _block_offsets(lengths, ends)
    out = np.zeros(_total(offsets) + 3, np.uint8)
    for part, bit in _positions(lengths, ends, offsets):
        shift = 24 - (bit & 7) - lengths[part]
        _merge(out, bit >> 3, codes[part].astype(np.int64) << shift, (16, 8, 0))
    return out[: _total(offsets)].tobytes(), offsets


def pack_lsb(symbols: npt.NDArray[Any], bits: int) -> bytes:
    """Write symbols of `bits` bits (0 to 16), least significant first (coder_packed.md).

    `symbols` is uint8 or uint16 of shape (n,), each below 2**bits; the result has
    ceil(n * bits / 8) bytes, its spare bits are zero.
    """
    kind = np.uint8 if symbols.dtype == np.uint8 else np.uint16
    symbols = _vector(symbols, kind)
    if not 0 <= bits <= 8 * symbols.itemsize:
        raise ValueError(f"{bits} bits: a packed symbol of this type has 0 to 8 or 16")
    if symbols.size and int(symbols.max()) >> bits:
        raise ValueError(f"a symbol does not fit in {bits} bits")
    if bits in (8, 16):
        return symbols.astype(f"<u{bits // 8}").tobytes()
    planes = np.arange(bits, dtype=symbols.dtype)
    parts = []
    for start in range(0, symbols.size, _CHUNK):  # a multiple of 8 symbols ends on a byte
        chunk = symbols[start : start + _CHUNK, None]
        parts.append(np.packbits((chunk >> planes) & 1, bitorder="little").tobytes())
    return b"".join(parts)


def pack_lsb_mixed(
    symbols: npt.NDArray[Any], widths: npt.NDArray[Any], ends: npt.NDArray[Any]
) -> tuple[bytes, I64]:
    """Write symbols of differing widths, least significant bit first, block by block.

    As `pack_msb`, but in the bit order of coder_packed.md: for streams whose symbols of two
    alphabets follow each other (spec/encodings/layout_gap.md).
    """
    symbols, widths, ends = _vector(symbols, np.uint16), _vector(widths, np.uint8), _ends(ends)
    _check_blocks(symbols, widths, ends)
    offsets = _block_offsets(widths, ends)
    out = np.zeros(_total(offsets) + 3, np.uint8)
    for part, bit in _positions(widths, ends, offsets):
        _merge(out, bit >> 3, symbols[part].astype(np.int64) << (bit & 7), (0, 8, 16))
    return out[: _total(offsets)].tobytes(), offsets


def histogram(symbols: npt.NDArray[Any]) -> I64:
    """Return how often each of the 256 values occurs in `symbols` (uint8), as int64 (256,)."""
    symbols = _vector(symbols, np.uint8)
    if not NATIVE:
        return numpy_histogram(symbols)
    return np.frombuffer(_core.kernel_histogram(symbols), np.int64)


def numpy_histogram(symbols: U8) -> I64:
    """`histogram` in NumPy; the same result."""
    counts = np.zeros(MAX_SYMBOLS, np.int64)
    for start in range(0, symbols.size, _CHUNK):
        counts += np.bincount(symbols[start : start + _CHUNK], minlength=MAX_SYMBOLS)
    return counts


def price_blocks(blocks: U32, prices: npt.NDArray[Any]) -> I64:
    """Return what the symbols of each block cost: (blocks, lists).

    `blocks` (blocks, symbols) are counts, `prices` (lists, symbols) are each from 0 to 255.
    """
    if not NATIVE:
        return numpy_price_blocks(blocks, prices)
    counts, narrow = _rows(blocks), np.ascontiguousarray(prices, np.int16)
    sums = np.frombuffer(_core.kernel_price_blocks(counts, counts.shape[1], narrow), np.int64)
    return sums.reshape(len(counts), len(narrow))


def numpy_price_blocks(blocks: U32, prices: npt.NDArray[Any]) -> I64:
    """`price_blocks` in NumPy; the same result."""
    used = np.flatnonzero(blocks.any(axis=0))
    sums: I64 = blocks[:, used].astype(np.int64) @ prices[:, used].T.astype(np.int64)
    return sums


def sum_blocks(blocks: U32, classes: U8, count: int) -> I64:
    """Return the sum of the blocks of each class: (count, symbols).

    `blocks` (blocks, symbols) are counts, `classes` (blocks,) are each below `count`.
    """
    if not NATIVE:
        return numpy_sum_blocks(blocks, classes, count)
    counts, own = _rows(blocks), _vector(classes, np.uint8)
    sums = np.frombuffer(_core.kernel_sum_blocks(counts, counts.shape[1], own, count), np.int64)
    return sums.reshape(count, -1)


def numpy_sum_blocks(blocks: U32, classes: U8, count: int) -> I64:
    """`sum_blocks` in NumPy; the same result."""
    return np.stack([blocks[classes == c].sum(axis=0, dtype=np.int64) for c in range(count)])


def context_encode(
    symbols: npt.NDArray[Any],
    extents: tuple[int, int, int],
    alphabet: int,
    context: tuple[int, int],
    block_rows: int,
) -> tuple[bytes, I64]:
    """Return the blocks of coder_context and where each ends; there is no NumPy version.

    `symbols` are whole rows of planes, lines and elements as `extents` has it; `context` is the
    centre and the axes that have scales (spec/encodings/coder_context.md).
    """
    symbols = _vector(symbols, np.uint8)
    if symbols.size and int(symbols.max()) >= alphabet:
        raise ValueError(f"a symbol is not below {alphabet}")
    data, ends = _core.kernel_context_encode(symbols, extents, alphabet, *context, block_rows)
    return data, np.frombuffer(ends, np.int64)


def optimal_kmeans(values: F64, weights: npt.NDArray[Any], k: int) -> tuple[F64, I64]:
    """Return the exact optimal weighted k-means of points on a line.

    `values` is float64 (n,), strictly ascending and finite; `weights` (n,) is positive. Returns
    the min(k, n) levels (float64, the clusters' weighted means) and the index at which each
    cluster starts (int64, the first is 0). The method is that of `dcformat.kmeans`.
    """
    values, weights = _vector(values, np.float64), _vector(weights, np.float64)
    _check_points(values, weights, k)
    return solve(values, weights, k, _native_ends if NATIVE else best_ends)


def numpy_optimal_kmeans(values: F64, weights: F64, k: int) -> tuple[F64, I64]:
    """`optimal_kmeans` without the extension; the same result."""
    return solve(values, weights.astype(np.float64), k, best_ends)


def _native_ends(w: F64, x: F64, xx: F64, k: int) -> I64:
    return np.frombuffer(_core.kernel_kmeans_ends(w, x, xx, k), np.int64)


def _block_offsets(lengths: U8, ends: I64) -> I64:
    """Return the byte offset at which each block ends."""
    bits = np.zeros(ends.size, np.int64)
    total = 0
    for start in range(0, lengths.size, _CHUNK):
        sums = total + np.cumsum(lengths[start : start + _CHUNK], dtype=np.int64)
        low, high = np.searchsorted(ends, [start, start + sums.size], side="right")
        bits[low:high] = sums[ends[low:high] - 1 - start]
        total = int(sums[-1])
    return np.cumsum((np.diff(bits, prepend=0) + 7) // 8)


def _total(offsets: I64) -> int:
    """Return how many bytes blocks that end at `offsets` take."""
    return int(offsets[-1]) if offsets.size else 0


def _positions(lengths: U8, ends: I64, offsets: I64) -> Iterator[tuple[slice, I64]]:
    """Yield parts of the items, and the position of each item's first bit."""
    first_bits = 8 * np.concatenate([[0], offsets[:-1]])
    carry = 0  # bits of the current block that stand before the part
    for start in range(0, lengths.size, _CHUNK):
        part = slice(start, min(start + _CHUNK, lengths.size))
        widths = lengths[part].astype(np.int64)
        before = np.cumsum(widths) - widths + carry
        block = np.searchsorted(ends, np.arange(part.start, part.stop), side="right")
        fresh = np.flatnonzero(np.diff(block, prepend=block[0])) if widths.size else block
        base = np.zeros(widths.size, np.int64)
        base[fresh] = np.diff(before[fresh], prepend=0)
        inside = before - np.cumsum(base)
        yield part, first_bits[block] + inside
        done = part.stop in ends[np.searchsorted(ends, part.stop) :][:1]
        carry = 0 if done else int(inside[-1] + widths[-1])


def _merge(out: U8, first: I64, field: I64, shifts: tuple[int, int, int]) -> None:
    """Put 24-bit fields into three bytes from `first` on; no two fields share a bit."""
    low, size = int(first[0]), int(first[-1]) - int(first[0]) + 1
    for at, shift in enumerate(shifts):
        parts = np.bincount(first - low, weights=(field >> shift) & 0xFF, minlength=size)
        out[low + at : low + at + size] |= parts.astype(np.uint8)


def _vector(array: npt.NDArray[Any], kind: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return `array` as a contiguous vector of the native type `kind`."""
    if array.ndim != 1:
        raise ValueError(f"expected a vector, got shape {array.shape}")
    return np.ascontiguousarray(array, dtype=kind)


def _rows(blocks: U32) -> U32:
    if blocks.ndim != 2 or blocks.dtype != np.uint32:
        raise ValueError(f"expected rows of uint32, got {blocks.dtype} of shape {blocks.shape}")
    return np.ascontiguousarray(blocks)


def _ends(ends: npt.NDArray[Any]) -> I64:
    """Return `ends` as an int64 vector, checked to ascend from 0 on."""
    ends = _vector(ends, np.int64)
    if ends.size and (ends[0] < 0 or np.any(np.diff(ends) < 0)):
        raise ValueError("block ends must ascend")
    return ends


def _check_counts(counts: I64) -> None:
    if counts.size > MAX_SYMBOLS:
        raise ValueError("expected at most 256 counts")
    if counts.size and not 0 <= int(counts.min()) <= int(counts.max()) <= _MAX_COUNT:
        raise ValueError("a count is negative or above 2**48")


def _check_lengths(lengths: U8) -> None:
    used = lengths[lengths > 0].astype(np.int64)
    if lengths.size > MAX_SYMBOLS or (used.size and int(used.max()) > MAX_CODE_BITS):
        raise ValueError("expected at most 256 code lengths of at most 12")
    if int(np.left_shift(1, MAX_CODE_BITS - used).sum()) > 1 << MAX_CODE_BITS:
        raise ValueError("these code lengths belong to no prefix code")


def _check_blocks(items: U16, widths: U8, ends: I64) -> None:
    if items.size != widths.size or (int(ends[-1]) if ends.size else 0) != items.size:
        raise ValueError("items, widths and the last block's end disagree")
    if widths.size and int(widths.max()) > 16:
        raise ValueError("an item has at most 16 bits")


def _check_points(values: F64, weights: F64, k: int) -> None:
    if k < 1 or values.size < 1 or values.size != weights.size:
        raise ValueError("expected k >= 1 and as many weights as values, at least one")
    if not (np.all(np.isfinite(values)) and np.all(np.diff(values) > 0)):
        raise ValueError("values must be finite and strictly ascending")
    if not (np.all(weights > 0) and np.all(np.isfinite(weights))):
        raise ValueError("weights must be finite and above zero")
