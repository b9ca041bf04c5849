"""Symbols of fixed width, least significant bit first.

Spec: spec/encodings/coder_packed.md    C: dcformat/c/dcf_coder_packed.c
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..errors import Code, error_of
from ..fields import Fields
from .parts import Items, Planes, check_end


def bits_of(alphabet: int) -> int:
    """Return the bits of a symbol of `alphabet` symbols."""
    return (alphabet - 1).bit_length()


def read_params(
    fields: Fields, alphabets: tuple[int, ...], classes: int, tables: list[object]
) -> tuple[int, ...]:
    """Return the tables that a record names; there are none."""
    return ()


def write_params(tables: tuple[int, ...]) -> bytes:
    """Return the parameters of a record; there are none."""
    return b""


def encode(items: Items, alphabets: tuple[int, ...]) -> tuple[bytes, np.ndarray]:
    """Return the bytes of all blocks and where each ends."""
    widths = np.array([bits_of(a) for a in alphabets], np.uint8)
    if len(items.ends) == 1 and len(set(widths.tolist())) == 1:
        data = kernels.pack_lsb(items.symbols, int(widths[0]))
        return data, np.array([len(data)], np.int64)
    return kernels.pack_lsb_mixed(items.symbols, widths[items.streams], items.ends)


class Reader:
    """The symbols of one block."""

    def __init__(self, block: memoryview, alphabets: tuple[int, ...], place: str) -> None:
        self.block = block
        self.alphabets = alphabets
        self.bits = tuple(bits_of(a) for a in alphabets)
        self.place = place
        self.pos = 0

    def next(self, stream: int) -> int:
        """Return the next symbol, which is of `stream`."""
        bits = self.bits[stream]
        if self.pos + bits > 8 * len(self.block):
            raise error_of(Code.TRUNCATED, f"block ends at bit {self.pos}", self.place)
        start = self.pos >> 3
        word = int.from_bytes(self.block[start : start + 3], "little")
        symbol = word >> (self.pos & 7) & ((1 << bits) - 1)
        self.pos += bits
        if symbol >= self.alphabets[stream]:
            raise error_of(Code.RANGE, f"symbol {symbol} at bit {self.pos - bits}", self.place)
        return symbol

    def seek(self, bit: int) -> None:
        """Go to a bit of the block."""
        self.pos = bit

    def many(self, count: int, streams: tuple[int, ...]) -> Planes:
        """Return `count` elements whose symbols are of `streams` in turn, all of one width."""
        bits = self.bits[streams[0]]
        wanted = count * len(streams)
        left = max(0, 8 * len(self.block) - self.pos)
        there = wanted if bits == 0 else min(wanted, left // bits)
        symbols = self._unpack(there, bits)
        alphabet = self.alphabets[streams[0]]
        if there and int(symbols.max()) >= alphabet:
            raise error_of(Code.RANGE, f"symbol {int(symbols.max())} of {alphabet}", self.place)
        if there < wanted:
            raise error_of(Code.TRUNCATED, f"block ends after {there} symbols", self.place)
        self.pos += wanted * bits
        return symbols.reshape(count, len(streams))

    def _unpack(self, count: int, bits: int) -> Planes:
        if bits == 0:
            return np.zeros(count, np.uint8)
        raw = np.frombuffer(self.block, np.uint8)[self.pos >> 3 :]
        skip = self.pos & 7
        if bits == 8 and skip == 0:
            return raw[:count]
        flat = np.unpackbits(raw, count=skip + count * bits, bitorder="little")[skip:]
        return np.packbits(flat.reshape(count, bits), axis=1, bitorder="little")[:, 0]

    def finish(self) -> None:
        """Check that the block ends here."""
        spare = 8 * len(self.block) - self.pos
        check_end(spare, self.block[-1] >> (8 - spare) if 0 < spare < 8 else 0, self.place)
