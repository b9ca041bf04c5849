"""How numbers stand in TFLite Micro's DECODE operators: tables of values, Huffman codes, bitmaps.

Format: tflite-micro, tensorflow/lite/micro/kernels/decode_state*.cc. A tensor
becomes an encoded one and an ancillary one, which begins with 16 bytes that say how. Sisters:
tflm_decode.py (reads what stands here, every access checked), write_tflm.py.

- LUT: up to 128 values, and indices of 1 to 7 bits. A runtime steps to another table with each
  channel that has a scale of its own; a step of 0 elements stays with the one table.
- HUFFMAN: a code for each value of int8. A table is looked up with the next bits; an entry
  gives a value and how many of them it took, or where to look with the bits behind them.
- PRUNE: a bit for each element, and the values of those that are not zero.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.kernels import canonical_codes, code_lengths, pack_msb

LUT, HUFFMAN, PRUNE = 0, 1, 2
HEAD = 16  #: bytes of the ancillary tensor before its payload
VERSION = 1
MOST_VALUES = 128
ONE_TABLE = 15  #: in place of an axis: newer runtimes take one table for the tensor
FOUND = 1 << 15  #: of an entry that gives a value
MOST_STEP = 2047  #: entries from one to the table that it leads to
SPARE = 4  #: bytes behind the stream, into which a runtime looks ahead
Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class Coded:
    """The encoded tensor, the ancillary one, and what it is called."""

    encoded: bytes
    ancillary: bytes
    kind: int

    @property
    def size(self) -> int:
        """Bytes of both, each up to a multiple of 16."""
        return sum(-(-len(part) // 16) * 16 for part in (self.encoded, self.ancillary))


def _head(kind: int, flags: int, stride: int = 0) -> bytes:
    return struct.pack("<BBHBBB9x", kind, VERSION, 0, VERSION, flags, stride)


def lut(flat: Numbers, per_channel: bool) -> Coded | None:
    """Return indices into one table of values; None where there are more than 128."""
    bits = flat.view(f"<u{flat.itemsize}")
    values, index = np.unique(bits, return_inverse=True)
    if values.size > MOST_VALUES:
        return None
    width = max(1, int(values.size - 1).bit_length())
    wide = np.unpackbits(index.astype(np.uint8)[:, None], axis=1)[:, 8 - width :]
    head = _head(LUT, width | ONE_TABLE << 4, 0 if per_channel else values.size)
    return Coded(np.packbits(wide).tobytes(), head + values.tobytes(), LUT)


def prune(flat: Numbers) -> Coded:
    """Return a bitmap, and the elements whose bits are not all zero."""
    kept = flat.view(f"<u{flat.itemsize}") != 0
    return Coded(np.packbits(kept).tobytes(), _head(PRUNE, 0) + flat[kept].tobytes(), PRUNE)


def huffman(flat: Numbers) -> Coded | None:
    """Return int8 elements in Huffman codes, with the smallest table; None where none can be."""
    symbols = flat.view(np.uint8)
    lengths = code_lengths(np.bincount(symbols, minlength=256))
    if not lengths.any():  # a lone value: it takes one bit, and the other bit is its own, too
        lengths = np.where(np.arange(256) == symbols[0], 1, 0).astype(np.uint8)
    codes = canonical_codes(lengths)
    tables = [(_table(lengths, codes, root), root) for root in range(1, int(lengths.max()) + 1)]
    found = [(len(table), root, table) for table, root in tables if table]
    if not found:
        return None
    _, root, table = min(found)
    stream, _ = pack_msb(codes[symbols], lengths[symbols], np.array([symbols.size]))
    padded = stream + bytes(-len(stream) % 4 + SPARE)
    return Coded(padded, _head(HUFFMAN, root - 1 << 4) + table, HUFFMAN)


def _table(lengths: Numbers, codes: Numbers, root: int) -> bytes:
    """Return a table that is entered with `root` bits; empty where its entries cannot say it."""
    used = [(int(lengths[s]), int(codes[s]), int(s)) for s in np.flatnonzero(lengths)]
    first = [FOUND | 1 << 11 | used[0][2]] * (1 << root)  # what a lone value leaves open
    longer: dict[int, list[tuple[int, int, int]]] = {}
    for length, code, symbol in used:
        if length > root:
            rest = length - root
            longer.setdefault(code >> rest, []).append((rest, code & (1 << rest) - 1, symbol))
        else:
            _fill(first, root, length, code, symbol)
    entries = first
    for prefix, inner in sorted(longer.items()):
        width = max(length for length, _, _ in inner)
        if len(entries) - prefix > MOST_STEP:
            return b""
        entries[prefix] = (width - 1) << 11 | len(entries) - prefix
        table = [0] * (1 << width)
        for length, code, symbol in inner:
            _fill(table, width, length, code, symbol)
        entries += table
    return struct.pack(f"<{len(entries)}H", *entries)


def _fill(table: list[int], width: int, length: int, code: int, symbol: int) -> None:
    """Let all entries that begin with a code give its value."""
    start, count = code << (width - length), 1 << (width - length)
    table[start : start + count] = [FOUND | length << 11 | symbol] * count
