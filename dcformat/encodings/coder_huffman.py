"""Canonical Huffman codes of at most 12 bits, with tables that tensors may share.

Spec: spec/encodings/coder_huffman.md    C: dcformat/c/dcf_coder_huffman.c
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..errors import Code, error_of
from ..fields import Fields, align
from ..ids import MAX_CODE_BITS, TableKind
from .parts import Items, Planes, check_end, read_table

Lengths = npt.NDArray[np.uint8]
FULL = 1 << MAX_CODE_BITS
UNUSED = 255
MAX_DELTA_BYTES = 288  #: of 256 lengths of 9 bits each
#: Bits of a step of HUFFMAN_DELTA from -12 to 12, by step; negative ones count from the end.
_STEP_BITS = np.array(
    [2 * (2 * n + 1).bit_length() - 1 for n in range(13)]
    + [2 * (2 * n + 2).bit_length() - 1 for n in range(12, 0, -1)]
)
_EXP_GOLOMB = [f"{n:0{2 * n.bit_length() - 1}b}" for n in range(1, 2 * (MAX_CODE_BITS + 2))]
CHUNK = 1 << 14  #: bytes of a block that a reader looks up at once


@dataclass(frozen=True, eq=False)
class Table:
    """Code lengths of symbols 0 to 255, UNUSED for those not in use; 0 for a lone symbol.

    `last` is the last symbol of the range that the table spans.
    """

    lengths: Lengths
    last: int

    @cached_property
    def codes(self) -> npt.NDArray[np.uint16]:
        """Codes by symbol."""
        return kernels.canonical_codes(np.where(self.lengths == UNUSED, 0, self.lengths))

    @cached_property
    def entry(self) -> bytes:
        """The smallest entry of TABLES."""
        return write_table(self)

    @cached_property
    def entry_size(self) -> int:
        """The size of `entry`, without writing it."""
        used = (self.lengths != UNUSED).nonzero()[0]
        count = int(used[-1] - used[0]) + 1
        lengths = self.lengths[used]
        flat = count.bit_length() - 1
        if count == len(used) == 1 << flat and (lengths == flat).all():
            return 3
        steps = lengths[1:].astype(np.int64) - lengths[:-1]
        bits = 1 + int(_STEP_BITS[steps].sum()) + 3 * (count - len(used))
        return 3 + min(1 + (bits + 7) // 8, (count + 1) // 2)

    @cached_property
    def lookup(self) -> tuple[Lengths, Lengths]:
        """Symbol and length for each value of the next 12 bits, two arrays of (4096,)."""
        symbols, lengths = np.zeros(FULL, np.uint8), np.zeros(FULL, np.uint8)
        for symbol in np.flatnonzero(self.lengths != UNUSED).tolist():
            length = int(self.lengths[symbol])
            start = int(self.codes[symbol]) << (MAX_CODE_BITS - length)
            symbols[start : start + (FULL >> length)] = symbol
            lengths[start : start + (FULL >> length)] = length
        return symbols, lengths


def table_of(counts: npt.NDArray[np.int64]) -> Table:
    """Return the canonical table for symbol counts (256,); at least one is not zero."""
    lengths = kernels.code_lengths(counts).copy()
    lengths[counts == 0] = UNUSED
    return Table(lengths, int(counts.nonzero()[0][-1]))


def parse_table(entry: memoryview, place: str) -> Table:
    """Return a Huffman entry of TABLES (coder_huffman.md, "Tables")."""
    fields = Fields(entry, place)
    kind, first, count = fields.u8(), fields.u8(), fields.u8() + 1
    fields.need(first + count <= 256, f"symbols {first} to {first + count - 1}")
    parse = {
        TableKind.HUFFMAN_NIBBLES: _parse_nibbles,
        TableKind.HUFFMAN_DELTA: parse_delta,
        TableKind.HUFFMAN_FLAT: _parse_flat,
    }[TableKind(kind)]
    lengths = np.full(256, UNUSED, np.uint8)
    lengths[first : first + count] = parse(fields, count)
    fields.need(fields.left == 0, f"{fields.left} bytes after the code lengths")
    if kind != TableKind.HUFFMAN_FLAT:
        used = lengths[lengths != UNUSED].astype(np.int64)
        filled = int((FULL >> used).sum())
        fields.need(filled == FULL, f"code fills {filled} of {FULL}", Code.CODE)
    return Table(lengths, first + count - 1)


def _parse_nibbles(fields: Fields, count: int) -> list[int]:
    size = (count + 1) // 2
    there = fields.data[fields.pos : fields.pos + size]
    nibbles = [n for byte in there for n in (byte & 15, byte >> 4)]
    # symbol by symbol: a length that is there and wrong comes before one that is missing
    good = max(nibbles[:count], default=0) <= MAX_CODE_BITS
    fields.need(good, "code length above 12", Code.CODE)
    fields.take(size)
    fields.need(not any(nibbles[count:]), "spare half byte", Code.PADDING)
    return [n or UNUSED for n in nibbles[:count]]


def parse_delta(fields: Fields, count: int) -> list[int]:
    """Return `count` code lengths, UNUSED for symbols not in use; `fields` is at `start`."""
    last = fields.u8()
    fields.need(1 <= last <= MAX_CODE_BITS, f"start {last}", Code.CODE)
    data, pos = fields.data[fields.pos :], 0
    bits = "".join(f"{byte:08b}" for byte in data[:MAX_DELTA_BYTES])
    lengths = []
    for _ in range(count):
        value, pos = _exp_golomb(fields, bits, pos)
        if value == 1:
            lengths.append(UNUSED)
            continue
        last += value // 2 if value % 2 == 0 else -(value // 2)
        fields.need(1 <= last <= MAX_CODE_BITS, f"code length {last}", Code.CODE)
        lengths.append(last)
    size = (pos + 7) // 8
    fields.need(
        not pos % 8 or not data[size - 1] & ((1 << -pos % 8) - 1), "spare bits", Code.PADDING
    )
    fields.take(size)
    return lengths


def _exp_golomb(fields: Fields, bits: str, pos: int) -> tuple[int, int]:
    zeros = bits.find("1", pos, pos + 5) - pos
    if zeros < 0:
        fields.need(len(bits) - pos < 5, "Exp-Golomb value above 30", Code.CODE)
    end = pos + 2 * zeros + 1
    fields.need(zeros >= 0 and end <= len(bits), "ends inside the code lengths", Code.TRUNCATED)
    return int(bits[pos + zeros : end], 2) - 1, end


def _parse_flat(fields: Fields, count: int) -> list[int]:
    fields.need(count & (count - 1) == 0, f"flat code of {count} symbols", Code.CODE)
    return [count.bit_length() - 1] * count


def write_table(table: Table) -> bytes:
    """Return the smallest entry of TABLES for `table`; at equal size the lowest kind."""
    used = np.flatnonzero(table.lengths != UNUSED)
    first, count = int(used[0]), int(used[-1] - used[0]) + 1
    span = [int(n) for n in table.lengths[first : first + count]]
    forms = [
        (TableKind.HUFFMAN_DELTA, write_delta(span, span[0])),
        (TableKind.HUFFMAN_NIBBLES, _nibbles(span)),
    ]
    if count & (count - 1) == 0 and set(span) == {count.bit_length() - 1}:
        forms = [(TableKind.HUFFMAN_FLAT, b"")]
    kind, data = min(forms, key=lambda form: (len(form[1]), form[0]))
    return struct.pack("<BBB", kind, first, count - 1) + data


def _nibbles(span: list[int]) -> bytes:
    values = [0 if n == UNUSED else n for n in span] + [0] * (len(span) % 2)
    return bytes(a | b << 4 for a, b in zip(values[::2], values[1::2], strict=True))


def write_delta(span: list[int], start: int) -> bytes:
    """Return `start` and the code lengths `span` in Exp-Golomb code."""
    codes, last = [], start
    for length in span:
        if length == UNUSED:
            codes.append(_EXP_GOLOMB[1])
            continue
        step = length - last
        codes.append(_EXP_GOLOMB[2 * step if step >= 0 else 1 - 2 * step])
        last = length
    bits = "".join(codes)
    bits += "0" * (-len(bits) % 8)
    return bytes([start]) + int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:]


def read_params(
    fields: Fields, alphabets: tuple[int, ...], classes: int, tables: list[object]
) -> tuple[int, ...]:
    """Return the tables that a record names: for each class one a stream."""
    wanted = len(alphabets) * classes
    found = []
    for i in range(wanted):
        index, table = read_table(fields, tables, Table)
        alphabet = alphabets[i % len(alphabets)]
        fields.need(table.last < alphabet, f"symbol {table.last} of {alphabet}")
        found.append(index)
    fields.zeros(align(2 * wanted, 4) - 2 * wanted)
    return tuple(found)


def write_params(tables: tuple[int, ...]) -> bytes:
    """Return the parameters of a record."""
    raw = struct.pack(f"<{len(tables)}H", *tables)
    return raw + bytes(-len(raw) % 4)


def encode(
    items: Items,
    tables: list[Table],
    streams: int,
    block_class: npt.NDArray[np.uint8] | None = None,
) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Return the bytes of all blocks and where each ends; `tables` by class and stream."""
    row = items.streams.astype(np.int64)
    if block_class is not None:
        row += np.repeat(block_class.astype(np.int64) * streams, np.diff(items.ends, prepend=0))
    codes = np.stack([t.codes for t in tables])[row, items.symbols]
    lengths = np.stack([t.lengths for t in tables])[row, items.symbols]
    if (lengths == UNUSED).any():
        raise error_of(Code.RANGE, "a symbol that its table lacks")
    return kernels.pack_msb(codes, lengths, items.ends)


class Reader:
    """The symbols of one block; `tables` by stream.

    Symbol and length are looked up for every bit position of a chunk at once, so that what is
    left to do one by one is to step from a code to the next.
    """

    def __init__(self, block: memoryview, tables: list[Table], place: str) -> None:
        self.block = block
        self.end = 8 * len(block)
        self.lookups = [t.lookup for t in tables]
        self.place = place
        self.pos = 0
        self._load()

    def _load(self) -> None:
        """Look up symbol and length at each bit from the byte of `pos` on."""
        start = self.pos >> 3
        self.base = 8 * start
        self.limit = min(8 * CHUNK, self.end - self.base + 1)
        size = -(-self.limit // 8)
        raw = np.zeros(size + 2, np.uint32)
        there = np.frombuffer(self.block[start : start + size + 2], np.uint8)
        raw[: len(there)] = there
        words = raw[:size] << 16 | raw[1 : size + 1] << 8 | raw[2 : size + 2]
        windows = (words[:, None] >> np.arange(12, 4, -1, dtype=np.uint32) & 0xFFF).reshape(-1)
        self.symbols = [symbols[windows] for symbols, _ in self.lookups]
        self.lengths = [lengths[windows].tobytes() for _, lengths in self.lookups]

    def next(self, stream: int) -> int:
        """Return the next symbol, which is of `stream`."""
        if self.pos - self.base >= self.limit:
            self._load()
        at = self.pos - self.base
        self.pos += self.lengths[stream][at]
        if self.pos > self.end:
            raise error_of(Code.TRUNCATED, f"block ends inside a code at bit {at}", self.place)
        return int(self.symbols[stream][at])

    def many(self, count: int, streams: tuple[int, ...]) -> Planes:
        """Return `count` elements whose symbols are of `streams` in turn."""
        out = np.empty((count, len(streams)), np.uint8)
        done = 0
        while done < count:
            done += self._bulk(out[done:], streams)
            if done < count:  # near the end of chunk or block: one element with every check
                out[done] = [self.next(stream) for stream in streams]
                done += 1
        return out

    def _bulk(self, out: Planes, streams: tuple[int, ...]) -> int:
        """Fill elements of `out` while their codes surely end in this chunk; return how many."""
        at, stop = self.pos - self.base, self.limit - MAX_CODE_BITS * len(streams)
        lengths = [self.lengths[stream] for stream in streams]
        starts: list[int] = []
        wanted = len(out) * len(streams)
        while at < stop and len(starts) < wanted:
            for length in lengths:
                starts.append(at)
                at += length[at]
        self.pos = self.base + at
        found = np.array(starts, np.int64).reshape(-1, len(streams))
        for k, stream in enumerate(streams):
            out[: len(found), k] = self.symbols[stream][found[:, k]]
        return len(found)

    def finish(self) -> None:
        """Check that the block ends here."""
        spare = self.end - self.pos
        check_end(spare, self.block[-1] & ((1 << spare) - 1) if 0 < spare < 8 else 0, self.place)
