"""How numbers stand in TFLite Micro's DECODE operators: tables of values, Huffman codes, bitmaps.

Format: tflite-micro, tensorflow/lite/micro/kernels/decode_state*.cc. A tensor
becomes an encoded one and an ancillary one, which begins with 16 bytes that say how. Sisters:
tflm_decode.py (reads what stands here, every access checked), write_tflm.py.

- LUT: up to 128 values, and indices of 1 to 7 bits. A runtime steps to another table with each
  channel that has a scale of its own; a step of 0 elements stays with the one table.
- HUFFMAN: a code for each value of int8 or int16. A table is looked up with the next bits; an entry
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
MOST_CODES = 256  #: values of which code_lengths knows
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


@dataclass(frozen=True)
class Entries:
    """How an entry of a Huffman table stands: a bit `found`, 4 bits of a width, and the rest.

    The rest is a value, or how many entries farther (`most` at most) the next table begins.
    """

    letter: str
    shift: int

    @property
    def found(self) -> int:
        return 1 << self.shift + 4

    @property
    def most(self) -> int:
        return (1 << self.shift) - 1

    def value(self, bits: int, symbol: int) -> int:
        """Return the entry of a value that takes the next `bits` bits."""
        return self.found | bits << self.shift | symbol


NARROW, WIDE = Entries("H", 11), Entries("I", 27)


def _head(kind: int, flags: int, stride: int = 0) -> bytes:
    return struct.pack("<BBHBBB9x", kind, VERSION, 0, VERSION, flags, stride)


def lut(flat: Numbers, per_channel: bool) -> Coded | None:
    """Return indices into one table of values; None where there are more than 128."""
    values, index = np.unique(flat.view(f"<u{flat.itemsize}"), return_inverse=True)
    if values.size > MOST_VALUES:
        return None
    return _lut(index, values, ONE_TABLE, 0 if per_channel else values.size)


def lut_by_channel(numbers: Numbers, axis: int) -> Coded | None:
    """Return indices into a table for each index of `axis`, which is the first or the last."""
    rows = np.moveaxis(numbers, axis, 0).reshape(numbers.shape[axis], -1)
    found = [np.unique(row.view(f"<u{row.itemsize}"), return_inverse=True) for row in rows]
    stride = max(values.size for values, _ in found)
    if stride > MOST_VALUES or axis > ONE_TABLE - 1:
        return None
    table = np.zeros((len(found), stride), f"<u{numbers.itemsize}")
    for row, (values, _) in zip(table, found, strict=True):
        row[: values.size] = values
    index = np.stack([one.reshape(-1) for _, one in found], 1 if axis else 0)
    return _lut(index.reshape(-1), table, axis, stride)


def _lut(index: Numbers, table: Numbers, axis: int, stride: int) -> Coded:
    width = max(1, int(table.shape[-1] - 1).bit_length())
    wide = np.unpackbits(index.astype(np.uint8)[:, None], axis=1)[:, 8 - width :]
    head = _head(LUT, width | axis << 4, stride)
    return Coded(np.packbits(wide).tobytes(), head + table.tobytes(), LUT)


def prune(flat: Numbers) -> Coded:
    """Return a bitmap, and the elements whose bits are not all zero."""
    kept = flat.view(f"<u{flat.itemsize}") != 0
    return Coded(np.packbits(kept).tobytes(), _head(PRUNE, 0) + flat[kept].tobytes(), PRUNE)


def huffman(flat: Numbers) -> Coded | None:
    """Return integers in Huffman codes with the smallest table; None of more than 256 values."""
    values, index = np.unique(flat.view(f"<u{flat.itemsize}"), return_inverse=True)
    if values.size > MOST_CODES:
        return None
    form = NARROW if flat.itemsize == 1 else WIDE
    lengths = code_lengths(np.bincount(index))
    if not lengths.any():  # a lone value: it takes one bit, and the other bit is its own, too
        lengths = np.ones(1, np.uint8)
    codes = canonical_codes(lengths)
    used = list(zip(lengths.tolist(), codes.tolist(), values.tolist(), strict=True))
    tables = [(_table(used, root, form), root) for root in range(1, int(lengths.max()) + 1)]
    found = [(len(table), root, table) for table, root in tables if table]
    if not found:
        return None
    _, root, table = min(found)
    stream, _ = pack_msb(codes[index], lengths[index], np.array([index.size]))
    padded = stream + bytes(-len(stream) % 4 + SPARE)
    return Coded(padded, _head(HUFFMAN, root - 1 << 4 | (form is WIDE)) + table, HUFFMAN)


def _table(used: list[tuple[int, int, int]], root: int, form: Entries) -> bytes:
    """Return a table that is entered with `root` bits; empty where its entries cannot say it.

    `used` are length, code and value of each symbol.
    """
    first = [form.value(1, used[0][2])] * (1 << root)  # what a lone value leaves open
    longer: dict[int, list[tuple[int, int, int]]] = {}
    for length, code, symbol in used:
        if length > root:
            rest = length - root
            longer.setdefault(code >> rest, []).append((rest, code & (1 << rest) - 1, symbol))
        else:
            _fill(first, root, (length, code), form.value(length, symbol))
    entries = first
    for prefix, inner in sorted(longer.items()):
        width = max(length for length, _, _ in inner)
        if len(entries) - prefix > form.most:
            return b""
        entries[prefix] = (width - 1) << form.shift | len(entries) - prefix
        table = [0] * (1 << width)
        for length, code, symbol in inner:
            _fill(table, width, (length, code), form.value(length, symbol))
        entries += table
    return struct.pack(f"<{len(entries)}{form.letter}", *entries)


def _fill(table: list[int], width: int, code: tuple[int, int], entry: int) -> None:
    """Let all entries that begin with a code, of a length, give its value."""
    length, bits = code
    start, count = bits << (width - length), 1 << (width - length)
    table[start : start + count] = [entry] * count
