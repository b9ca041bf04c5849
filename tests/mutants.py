"""Damaged files for comparing decoders: seeded, most with CRCs made right again."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import numpy as np
from cases import forms, sparse, stored
from handmade import Part, file_of, fix_crcs, joined, taken_apart

from dcformat.coded import Affine, Codebook, CodedTensor, Raw
from dcformat.encode import write_tensors
from dcformat.ids import DType, Section

TELLING = (0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 26, 27, 32, 64, 127, 128, 253, 254, 255)
VAST = (256, 257, 4096, 16384, 32767, 32768, 65535, 65536, 1 << 20, 1 << 31, (1 << 32) - 1)


def mutants(files: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` files that differ from one of `files` in one to three places.

    Some are changed where they stand, others inside a section, whose neighbours move along.
    """
    rng = random.Random(seed)
    files = [data for data in files if len(data) >= 48]
    for _ in range(count):
        yield mutant(rng.choice(files), rng)


def mutant(file: bytes, rng: random.Random) -> bytes:
    """Return `file`, of at least 48 bytes, changed in one to three places."""
    return (_reshaped if rng.random() < 0.5 else _damaged)(file, rng)


def _damaged(file: bytes, rng: random.Random) -> bytes:
    data = bytearray(file)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _damage(data, _place(data, rng), rng)
    if rng.random() < 0.8 and len(data) >= 24:
        struct.pack_into("<Q", data, 16, len(data))
    return fix_crcs(bytes(data)) if rng.random() < 0.97 else bytes(data)


def _reshaped(file: bytes, rng: random.Random) -> bytes:
    """Return `file` with sections changed, and offsets, sizes and CRCs made right again."""
    header, parts = taken_apart(file)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if parts:
            entry, body = rng.choice(parts)
            _edit(entry[0], body, parts, rng)
    return joined(header, parts)


def _edit(kind: int, body: bytearray, parts: list[Part], rng: random.Random) -> None:
    starts = _record_starts(body) if kind == Section.RECORDS else []
    if len(starts) > 1 and rng.random() < 0.8:
        _edit_record(body, starts, rng.randrange(len(starts) - 1), parts, rng)
    elif not body or rng.random() < 0.3:
        at = rng.randrange(len(body) + 1)
        body[at:at] = bytes(rng.choice(TELLING) for _ in range(rng.choice((1, 2, 4))))
    elif rng.random() < 0.3:
        at = rng.randrange(len(body))
        del body[at : at + rng.choice((1, 2, 4))]
    else:
        _set_field(body, rng.randrange(len(body)), rng)


def _record_starts(body: bytearray) -> list[int]:
    """Return where records begin, and the end of the last that can be followed."""
    starts, at = [4], 4
    while at < len(body) and body[at] >= 3 and at + 4 * body[at] <= len(body):
        at += 4 * body[at]
        starts.append(at)
    return starts


def _edit_record(
    body: bytearray, starts: list[int], index: int, parts: list[Part], rng: random.Random
) -> None:
    start, stop = starts[index : index + 2]
    kind, count = rng.randrange(8), struct.unpack_from("<I", body)[0]
    if kind == 0:
        body[start:start] = body[start:stop]
        struct.pack_into("<I", body, 0, count + 1)
    elif kind == 1:
        del body[start:stop]
        struct.pack_into("<I", body, 0, max(0, count - 1))
    elif kind == 2:
        body[starts[-1] : starts[-1]] = bytes([3, *bytes(6), 1, *struct.pack("<I", index)])
        struct.pack_into("<I", body, 0, count + 1)
    elif kind == 3:
        _resize_payload(body, starts, index, parts, rng)
    elif kind == 4:
        body[start + rng.randrange(8)] = rng.choice(TELLING)
    else:
        _set_field(body, rng.randrange(start, stop), rng)


def _resize_payload(
    body: bytearray, starts: list[int], index: int, parts: list[Part], rng: random.Random
) -> None:
    """Give a payload a byte more or less, and say so in its record."""
    payload = next((body for entry, body in parts if entry[0] == Section.PAYLOAD), bytearray())
    sizes = [
        struct.unpack_from("<I", body, at + 12)[0] for at in starts[: index + 1] if body[at] > 3
    ]
    if not sizes or body[starts[index]] <= 3 or sum(sizes) > len(payload):
        return
    at = sum(sizes)
    if rng.random() < 0.5:
        payload[at:at] = bytes([rng.choice(TELLING)])
        struct.pack_into("<I", body, starts[index] + 12, sizes[-1] + 1)
    elif sizes[-1]:
        del payload[at - 1]
        struct.pack_into("<I", body, starts[index] + 12, sizes[-1] - 1)


def _set_field(body: bytearray, at: int, rng: random.Random) -> None:
    width = min(rng.choice((1, 1, 2, 4)), len(body) - at)
    value = int.from_bytes(body[at : at + width], "little")
    choices = (value ^ 1 << rng.randrange(8 * width), value + 1, value - 1, rng.choice(TELLING))
    chosen = rng.choice((*choices, rng.choice(VAST))) % (1 << 8 * width)
    body[at : at + width] = chosen.to_bytes(width, "little")


def large_files() -> Iterator[bytes]:
    """Yield files of one tensor, large enough for every fast loop of the C decoder."""
    rng = np.random.default_rng(11)
    shape = (150, 128)
    one = Affine(DType.INT8, np.asarray(0.5, "<f4"), np.asarray(0, np.int32))
    index = np.clip(np.round(rng.standard_normal(shape) * 2) + 8, 0, 15).astype(np.uint8)
    levels = np.linspace(-1, 1, 16).astype("<f4")
    floats = np.where(rng.random(shape) < 0.7, 0, rng.standard_normal(shape)).astype("<f4")
    for tensor in (
        CodedTensor("int8", DType.FLOAT, sparse(rng, shape, 0.0), one),
        CodedTensor("pruned", DType.FLOAT, sparse(rng, shape, 0.9), one),
        CodedTensor("shared", DType.FLOAT, index, Codebook(DType.FLOAT, levels)),
        CodedTensor("half", DType.FLOAT16, index, Codebook(DType.FLOAT16, levels.astype("<f2"))),
        CodedTensor("float", DType.FLOAT, floats, Raw()),
    ):
        for tag, form in forms(stored(tensor)):
            if form.legal() and "zstd" not in tag:
                records, tables, payload = write_tensors([form], {}, 1, 4)
                content = {Section.RECORDS: records, Section.TABLES: tables}
                yield file_of([], payload, sections=content)


def _damage(data: bytearray, at: int, rng: random.Random) -> None:
    kind = rng.random()
    if kind < 0.5:
        data[at] ^= 1 << rng.randrange(8)
    elif kind < 0.9:
        data[at] = rng.choice(TELLING)
    elif kind < 0.95:
        del data[at]
    else:
        data.insert(at, rng.randrange(256))


def _place(data: bytearray, rng: random.Random) -> int:
    """Return where to damage: header and table, RECORDS, TABLES and payload, or anywhere."""
    count = struct.unpack_from("<H", data, 14)[0] if len(data) >= 48 else 0
    spans = [(0, min(len(data), 48 + 32 * count)), (0, len(data))]
    for entry in range(48, min(48 + 32 * count, len(data) - 31), 32):
        offset, size = struct.unpack_from("<QQ", data, entry + 8)
        if data[entry] in (1, 2, 8) and size and offset + size <= len(data):
            spans.append((offset, offset + size))
    low, high = rng.choice(spans)
    return rng.randrange(low, high)
