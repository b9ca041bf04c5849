"""Decode what stands in a DECODE operator as TFLite Micro does, with every access checked.

Format: tflm_codes.py. Sister: tflm_check.py, which asks for all operators of a file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from dcformat.errors import CorruptError

from .tflm_codes import (
    HEAD,
    HUFFMAN,
    LUT,
    MOST_VALUES,
    NARROW,
    PRUNE,
    SPARE,
    VERSION,
    WIDE,
    Entries,
    Numbers,
)


@dataclass(frozen=True)
class Output:
    """What is decoded: `count` elements of NumPy type `kind`.

    `channels` is how many scales they have, along the `last` axis or else along the first one.
    """

    kind: str
    count: int
    channels: int = 1
    last: bool = False


def decode(encoded: bytes, ancillary: bytes, output: Output, spare: int = SPARE) -> Numbers:
    """Return the elements; behind a stream of Huffman codes `spare` bytes have to stand.

    Raises CorruptError where a runtime would read outside of the two tensors, or refuse them.
    """
    if len(ancillary) < HEAD:
        raise CorruptError("the ancillary tensor ends inside its first 16 bytes")
    how, version, _, own, flags, stride = struct.unpack_from("<BBHBBB", ancillary)
    if how not in (LUT, HUFFMAN, PRUNE) or (version, own) != (VERSION, VERSION):
        raise CorruptError(f"kind {how} of versions {version} and {own} is not known")
    payload = ancillary[HEAD:]
    if how == HUFFMAN:
        form = WIDE if flags & 1 else NARROW
        if output.kind not in (("i1", "<i2") if form is WIDE else ("i1",)):
            raise CorruptError(f"such Huffman codes are not of {output.kind}")
        return _huffman(encoded, _entries(payload, form), output, ((flags >> 4) + 1, spare, form))
    if how == PRUNE:
        return _prune(encoded, payload, output.kind, output.count)
    return _lut(encoded, payload, output, (flags & 7, stride))


def _bits(encoded: bytes, count: int) -> Numbers:
    if len(encoded) * 8 < count:
        raise CorruptError(f"{len(encoded)} bytes encoded where {count} bits are wanted")
    return np.unpackbits(np.frombuffer(encoded, np.uint8), count=count)


def _lut(encoded: bytes, payload: bytes, output: Output, how: tuple[int, int]) -> Numbers:
    width, stride = how
    if not width or stride > MOST_VALUES:
        raise CorruptError(f"indices of {width} bits, tables of {stride} values")
    wide = _bits(encoded, output.count * width).reshape(output.count, width)
    index = np.packbits(np.pad(wide, ((0, 0), (8 - width, 0))), axis=1).reshape(-1)
    values = np.frombuffer(payload, output.kind, len(payload) // np.dtype(output.kind).itemsize)
    place = index + stride * _channel(output)
    if place.max(initial=0) >= max(values.size, 1):
        raise CorruptError(f"index {place.max()} into a table of {values.size} values")
    found: Numbers = values[place]
    return found


def _channel(output: Output) -> Numbers:
    """Return of which channel each element is."""
    each, rest = divmod(output.count, output.channels)
    if rest:
        raise CorruptError(f"{output.channels} scales of {output.count} elements")
    place: Numbers = np.arange(output.count)
    found: Numbers = place % output.channels if output.last else place // max(1, each)
    return found


def _prune(encoded: bytes, payload: bytes, kind: str, count: int) -> Numbers:
    kept = _bits(encoded, count).astype(bool)
    size = int(kept.sum()) * np.dtype(kind).itemsize
    if len(payload) < size:
        raise CorruptError(f"{len(payload)} bytes of values where {size} are wanted")
    out = np.zeros(count, kind)
    out[kept] = np.frombuffer(payload[:size], kind)
    return out


def _entries(payload: bytes, form: Entries) -> tuple[int, ...]:
    count = len(payload) // struct.calcsize(form.letter)
    return struct.unpack_from(f"<{count}{form.letter}", payload)


def _huffman(
    encoded: bytes, entries: tuple[int, ...], output: Output, how: tuple[int, int, Entries]
) -> Numbers:
    root, spare, form = how
    end, count, mask = 8 * len(encoded), output.count, (1 << 8 * np.dtype(output.kind).itemsize) - 1
    if count > end:  # a code has a bit or more
        raise CorruptError(f"{len(encoded)} bytes encoded for {count} values")
    out, at = np.empty(count, output.kind.replace("i", "u")), 0
    for place in range(count):
        value, at = _next(entries, encoded, (at, root), form)
        out[place] = value & mask
    if end - -(-at // 32) * 32 < 8 * spare:
        raise CorruptError("a runtime that looks ahead reads behind the stream")
    return out.view(output.kind)


def _next(
    entries: tuple[int, ...], encoded: bytes, start: tuple[int, int], form: Entries
) -> tuple[int, int]:
    """Return the entry of a value, and the bit at which the next code begins."""
    table, (at, width) = 0, start
    while True:
        if at + width > 8 * len(encoded):
            raise CorruptError("the stream ends inside a code")
        near = int.from_bytes(encoded[at >> 3 : (at >> 3) + 4].ljust(4, b"\0"), "big")
        place = table + (near >> (32 - (at & 7) - width) & (1 << width) - 1)
        if place >= len(entries):
            raise CorruptError(f"entry {place} of a table of {len(entries)}")
        entry = entries[place]
        field = entry >> form.shift & 15
        if entry & form.found:
            if not 1 <= field <= width:
                raise CorruptError(f"entry {place} takes {field} bits of {width}")
            return entry, at + field
        if not entry & form.most:
            raise CorruptError(f"entry {place} leads to itself")
        table, at, width = place + (entry & form.most), at + width, field + 1
