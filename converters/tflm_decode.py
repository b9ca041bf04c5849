"""Decode what stands in a DECODE operator as TFLite Micro does, with every access checked.

Format: tflm_codes.py. Sister: tflm_check.py, which asks for all operators of a file.
"""

from __future__ import annotations

import struct

import numpy as np

from dcformat.errors import CorruptError

from .tflm_codes import FOUND, HEAD, HUFFMAN, LUT, MOST_VALUES, PRUNE, SPARE, VERSION, Numbers


def decode(encoded: bytes, ancillary: bytes, kind: str, count: int, channels: int = 1) -> Numbers:
    """Return `count` elements of NumPy type `kind`; `channels` is how many scales they have.

    Raises CorruptError where a runtime would read outside of the two tensors, or refuse them.
    """
    if len(ancillary) < HEAD:
        raise CorruptError("the ancillary tensor ends inside its first 16 bytes")
    how, version, _, own, flags, stride = struct.unpack_from("<BBHBBB", ancillary)
    if how not in (LUT, HUFFMAN, PRUNE) or (version, own) != (VERSION, VERSION):
        raise CorruptError(f"kind {how} of versions {version} and {own} is not known")
    payload = ancillary[HEAD:]
    if how == HUFFMAN:
        if kind != "i1" or flags & 1:
            raise CorruptError("Huffman codes are of int8 here")
        return _huffman(encoded, payload, count, (flags >> 4) + 1)
    if how == PRUNE:
        return _prune(encoded, payload, kind, count)
    return _lut(encoded, payload, kind, count, (flags & 7, stride, channels))


def _bits(encoded: bytes, count: int) -> Numbers:
    if len(encoded) * 8 < count:
        raise CorruptError(f"{len(encoded)} bytes encoded where {count} bits are wanted")
    return np.unpackbits(np.frombuffer(encoded, np.uint8), count=count)


def _lut(
    encoded: bytes, payload: bytes, kind: str, count: int, how: tuple[int, int, int]
) -> Numbers:
    width, stride, channels = how
    if not width or stride > MOST_VALUES:
        raise CorruptError(f"indices of {width} bits, tables of {stride} values")
    if channels > 1 and stride:
        raise CorruptError("a table for each channel")
    wide = _bits(encoded, count * width).reshape(count, width)
    index = np.packbits(np.pad(wide, ((0, 0), (8 - width, 0))), axis=1).reshape(-1)
    values = np.frombuffer(payload, kind, len(payload) // np.dtype(kind).itemsize)
    if index.max(initial=0) >= max(values.size, 1):
        raise CorruptError(f"index {index.max()} into a table of {values.size} values")
    return values[index]


def _prune(encoded: bytes, payload: bytes, kind: str, count: int) -> Numbers:
    kept = _bits(encoded, count).astype(bool)
    size = int(kept.sum()) * np.dtype(kind).itemsize
    if len(payload) < size:
        raise CorruptError(f"{len(payload)} bytes of values where {size} are wanted")
    out = np.zeros(count, kind)
    out[kept] = np.frombuffer(payload[:size], kind)
    return out


def _huffman(encoded: bytes, payload: bytes, count: int, root: int) -> Numbers:
    entries = struct.unpack(f"<{len(payload) // 2}H", payload[: len(payload) // 2 * 2])
    end = 8 * len(encoded)
    if count > end:  # a code has a bit or more
        raise CorruptError(f"{len(encoded)} bytes encoded for {count} values")
    out, at = np.empty(count, np.uint8), 0
    for place in range(count):
        out[place], at = _next(entries, encoded, at, root)
    if end - -(-at // 32) * 32 < 8 * SPARE:
        raise CorruptError("a runtime that looks ahead reads behind the stream")
    return out.view("i1")


def _next(entries: tuple[int, ...], encoded: bytes, at: int, root: int) -> tuple[int, int]:
    """Return a value, and the bit at which the next code begins."""
    table, width = 0, root
    while True:
        if at + width > 8 * len(encoded):
            raise CorruptError("the stream ends inside a code")
        near = int.from_bytes(encoded[at >> 3 : (at >> 3) + 4].ljust(4, b"\0"), "big")
        place = table + (near >> (32 - (at & 7) - width) & (1 << width) - 1)
        if place >= len(entries):
            raise CorruptError(f"entry {place} of a table of {len(entries)}")
        entry = entries[place]
        field = entry >> 11 & 15
        if entry & FOUND:
            if not 1 <= field <= width:
                raise CorruptError(f"entry {place} takes {field} bits of {width}")
            return entry & 0xFF, at + field
        if not entry & 0x7FF:
            raise CorruptError(f"entry {place} leads to itself")
        table, at, width = place + (entry & 0x7FF), at + width, field + 1
