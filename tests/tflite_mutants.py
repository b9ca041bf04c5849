"""TFLite files to start from, and ways to damage them: offsets, sizes, types, any byte."""

from __future__ import annotations

import random
from functools import cache

from tflite_files import behind_scales, dense, every_kind, layers, quantized

from dcformat.converters import write_tflm

_WORDS = (0, 1, 2, 4, 8, 16, 255, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)


@cache
def flatbuffers() -> list[bytes]:
    return [dense(), quantized(), dense(old=True), every_kind()]


@cache
def encoded_flatbuffers() -> list[bytes]:
    """Return files for TFLite Micro with each encoding, and the plain ones they are made of."""
    plain = [layers(kind) for kind in ("few", "zeros", "skewed")]
    plain.append(behind_scales(kind="few"))
    return [data for one in plain for data in (write_tflm.encode(one)[0], one)]


def repointed(data: bytes, rng: random.Random) -> bytes:
    """Return a file with one to four words changed, or cut, or longer."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        rng.choice((_word, _word, _near, _copy, _byte, _half))(out, rng)
    if rng.random() < 0.1:
        del out[rng.randrange(len(out)) :]
    if rng.random() < 0.05:
        out += bytes(rng.randrange(99))
    return bytes(out)


def _place(out: bytearray, rng: random.Random, width: int) -> int:
    return rng.randrange(0, max(1, len(out) - width), width)


def _word(out: bytearray, rng: random.Random) -> None:
    at = _place(out, rng, 4)
    out[at : at + 4] = rng.choice(_WORDS).to_bytes(4, "little")


def _near(out: bytearray, rng: random.Random) -> None:
    """Move an offset, or change a size, by a little."""
    at = _place(out, rng, 4)
    old = int.from_bytes(out[at : at + 4], "little")
    new = (old + rng.choice((-8, -4, -1, 1, 4, 8, 64))) % 2**32
    out[at : at + 4] = new.to_bytes(4, "little")


def _copy(out: bytearray, rng: random.Random) -> None:
    """Put a word where another one stood: an offset to what is there already."""
    at, other = _place(out, rng, 4), _place(out, rng, 4)
    out[at : at + 4] = out[other : other + 4]


def _byte(out: bytearray, rng: random.Random) -> None:
    at = _place(out, rng, 1)
    out[at : at + 1] = bytes([rng.randrange(256)])


def _half(out: bytearray, rng: random.Random) -> None:
    """Change a field's place in a vtable, or a vtable's size."""
    at = _place(out, rng, 2)
    out[at : at + 2] = rng.choice((0, 1, 2, 4, 6, 8, 12, 255, 0xFFFF)).to_bytes(2, "little")
