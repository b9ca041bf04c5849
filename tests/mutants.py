"""Damaged files for comparing decoders: seeded, most with CRCs made right again."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import numpy as np
from cases import forms, sparse, stored
from handmade import file_of, fix_crcs

from dcformat.coded import Affine, Codebook, CodedTensor, Raw
from dcformat.encode import write_tensors
from dcformat.ids import DType, Section

TELLING = (0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 26, 27, 32, 64, 127, 128, 253, 254, 255)


def mutants(files: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` files that differ from one of `files` in one to three places."""
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(rng.choice(files))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            _damage(data, _place(data, rng), rng)
        if rng.random() < 0.8 and len(data) >= 24:
            struct.pack_into("<Q", data, 16, len(data))
        yield fix_crcs(bytes(data)) if rng.random() < 0.97 else bytes(data)


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
