"""Bytes by their frequencies: the range variant of asymmetric numeral systems (Duda 2013).

Spec: spec/encodings/coder_zstd.md, "Frequencies"    C: dcformat/_native/rans.c
What is static and known before costs nothing here: no bit is rounded up to a whole one, as in
Huffman codes, and the table takes some 20 bytes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import kernels
from .errors import Code, error_of
from .ids import MAX_SYMBOLS

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
I64 = npt.NDArray[np.int64]
MOST_BITS = 12
_LEAST_BITS = 6
_LOW = 1 << 16  #: least state between two symbols
_LANED = 1 << 16  #: symbols from which four states take turns, which decodes faster


def encode(symbols: U8) -> bytes | None:
    """Return `symbols`, not empty; None where they have more values than a short table holds."""
    bits = min(MOST_BITS, max(_LEAST_BITS, symbols.size.bit_length()))
    counts = np.bincount(symbols, minlength=MAX_SYMBOLS)
    if np.count_nonzero(counts) > 1 << bits - 1:
        return None
    frequencies = normalised(counts, bits)
    lanes_log2 = 2 if symbols.size >= _LANED else 0
    head = bytes([bits | lanes_log2 << 4]) + _write_table(frequencies)
    return head + _write(symbols, frequencies, bits, 1 << lanes_log2)


def normalised(counts: I64, bits: int) -> U16:
    """Return frequencies that sum to 2^bits, at least 1 for what occurs."""
    total, slots = int(counts.sum()), 1 << bits
    found = np.maximum((counts * slots + total // 2) // total, counts > 0)
    while (left := slots - int(found.sum())) != 0:
        top = int(np.argmax(found))
        found[top] += left if left > 0 else max(left, -(int(found[top]) // 8) - 1)
    return found.astype(np.uint16)


def _write_table(frequencies: U16) -> bytes:
    """Return first symbol, count - 1, and of each frequency its length and the bits below the top.

    All of it is least significant bit first.
    """
    used = np.flatnonzero(frequencies)
    first, last = int(used[0]), int(used[-1])
    packed = size = 0
    for value in frequencies[first : last + 1].tolist():
        length = value.bit_length()
        rest = value - (1 << length - 1) if length else 0
        packed |= (length | rest << 4) << size
        size += 4 + max(0, length - 1)
    return bytes([first, last - first]) + packed.to_bytes(-(-size // 8), "little")


def _write(symbols: U8, frequencies: U16, bits: int, lanes: int) -> bytes:
    if kernels.NATIVE:
        own = np.ascontiguousarray(symbols)
        data: bytes = kernels._core.rans_write(own, frequencies, bits, lanes)
        return data
    return plain_write(symbols, frequencies, bits, lanes)


def plain_write(symbols: U8, frequencies: U16, bits: int, lanes: int) -> bytes:
    """Do what the C extension does; the same bytes."""
    sizes, starts = frequencies.tolist(), _starts(frequencies).tolist()
    states, words = [_LOW] * lanes, []
    for i in range(symbols.size - 1, -1, -1):
        symbol, state = int(symbols[i]), states[i % lanes]
        if state >= sizes[symbol] << 32 - bits:
            words.append(state & 0xFFFF)
            state >>= 16
        whole, rest = divmod(state, sizes[symbol])
        states[i % lanes] = (whole << bits) + rest + starts[symbol]
    head = np.array(states, "<u4").tobytes()
    return head + np.array(words[::-1], "<u2").tobytes()


def _starts(frequencies: U16) -> I64:
    return np.cumsum(frequencies, dtype=np.int64) - frequencies


def decode(data: memoryview, count: int, place: str) -> bytes:
    """Return the `count` symbols in `data`; CODE where it is not exactly they."""
    try:
        bits, lanes, frequencies, at = _read_table(data)
    except (IndexError, ValueError):
        raise error_of(Code.CODE, "not a table of frequencies", place) from None
    found = _read(data[at:], count, frequencies, bits, lanes)
    if found is None:
        raise error_of(Code.CODE, f"not {count} symbols", place)
    return found


def _read_table(data: memoryview) -> tuple[int, int, U16, int]:
    """Return bits, lanes, frequencies, and where they end. IndexError or ValueError."""
    bits, lanes_log2, first, count = data[0] & 15, data[0] >> 4, data[1], data[2] + 1
    frequencies = np.zeros(MAX_SYMBOLS, np.uint16)
    most = 3 + count * 2  # a length of 4 bits, and 12 bits
    packed, at = int.from_bytes(data[3:most], "little"), 0
    for symbol in range(first, first + count):
        length, at = packed >> at & 15, at + 4
        rest = max(0, length - 1)
        frequencies[symbol] = (1 << rest | packed >> at & (1 << rest) - 1) if length else 0
        at += rest
    end = 3 + -(-at // 8)
    spare = packed >> at & (1 << -at % 8) - 1
    ends = frequencies[first] and frequencies[first + count - 1]
    total = int(frequencies.sum(dtype=np.int64))
    good = 1 <= bits <= MOST_BITS and lanes_log2 <= 3 and total == 1 << bits and ends
    if not good or spare or end > len(data):
        raise ValueError("not a table")
    return bits, 1 << lanes_log2, frequencies, end


def _read(data: memoryview, count: int, frequencies: U16, bits: int, lanes: int) -> bytes | None:
    if kernels.NATIVE:
        own = np.frombuffer(data, np.uint8)
        found: bytes | None = kernels._core.rans_read(own, count, frequencies, bits, lanes)
        return found
    return plain_read(data, count, frequencies, bits, lanes)


def plain_read(
    data: memoryview, count: int, frequencies: U16, bits: int, lanes: int
) -> bytes | None:
    """Do what the C extension does; the same result."""
    if len(data) < 4 * lanes or len(data) % 2:
        return None
    states = np.frombuffer(data[: 4 * lanes], "<u4").tolist()
    words = iter(np.frombuffer(data[4 * lanes :], "<u2").tolist())
    sizes, starts = frequencies.tolist(), _starts(frequencies).tolist()
    slots = np.repeat(np.arange(MAX_SYMBOLS), frequencies).tolist()
    out = bytearray(count)
    if min(states) < _LOW:
        return None
    for i in range(count):
        state = states[i % lanes]
        slot = state & (1 << bits) - 1
        symbol = out[i] = slots[slot]
        state = sizes[symbol] * (state >> bits) + slot - starts[symbol]
        if state < _LOW:
            word = next(words, None)
            if word is None:
                return None
            state = state << 16 | word
        states[i % lanes] = state
    whole = set(states) == {_LOW} and next(words, None) is None
    return bytes(out) if whole else None
