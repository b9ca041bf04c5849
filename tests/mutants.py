"""Damaged files for comparing decoders: seeded, most with CRCs made right again."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from build import fix_crcs

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
