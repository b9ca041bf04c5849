"""Numbers in ascending order, written by halves: the middle one first, then those on each side.

Spec: spec/DCF.md, TABLES, "CODEBOOK_SORTED". What is known of a number already, from those around
it that were written before, is not written (binary interpolative coding, Moffat and Stuiver 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import Code
from .fields import Fields
from .ids import DType

Bits = npt.NDArray[Any]
_SIGNED = frozenset({DType.INT16, DType.INT32, DType.INT64})
FLOATS = frozenset({DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE})


def sort_keys(bits: Bits, dtype: DType) -> Bits:
    """Return keys that sort as the numbers do, floats by IEEE 754's totalOrder."""
    if dtype not in _SIGNED | FLOATS:
        return bits
    top = bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
    flipped: Bits = bits ^ top
    return flipped if dtype in _SIGNED else np.where(bits & top, ~bits, flipped)


def from_keys(keys: Bits, dtype: DType) -> Bits:
    """Return the bits that `sort_keys` made keys of."""
    if dtype not in _SIGNED | FLOATS:
        return keys
    top = keys.dtype.type(1 << (8 * keys.dtype.itemsize - 1))
    flipped: Bits = keys ^ top
    return flipped if dtype in _SIGNED else np.where(keys & top, flipped, ~keys)


def pack(keys: Sequence[int], bits: int) -> bytes:
    """Return ascending keys of so many bits, no two of them equal."""
    packed = at = 0

    def write(first: int, stop: int, low: int, high: int) -> None:
        nonlocal packed, at
        if first == stop:
            return
        middle = (first + stop) // 2
        least, most = low + middle - first, high - (stop - 1 - middle)
        packed |= (keys[middle] - least) << at
        at += (most - least).bit_length()
        write(first, middle, low, keys[middle] - 1)
        write(middle + 1, stop, keys[middle] + 1, high)

    write(0, len(keys), 0, (1 << bits) - 1)
    return packed.to_bytes(-(-at // 8), "little")


def unpack(fields: Fields, count: int, bits: int) -> list[int]:
    """Return the `count` keys in what is left of `fields`; CorruptError where it is not they."""
    size = fields.left
    packed, at = int.from_bytes(fields.take(size), "little"), 0
    keys = [0] * count

    def read(first: int, stop: int, low: int, high: int) -> None:
        nonlocal at
        if first == stop:
            return
        middle = (first + stop) // 2
        least, most = low + middle - first, high - (stop - 1 - middle)
        width = (most - least).bit_length()
        fields.need(at + width <= 8 * size, "ends inside a level", Code.TRUNCATED)
        keys[middle] = least + (packed >> at & (1 << width) - 1)
        fields.need(keys[middle] <= most, f"level {middle} is above the next")
        at += width
        read(first, middle, low, keys[middle] - 1)
        read(middle + 1, stop, keys[middle] + 1, high)

    read(0, count, 0, (1 << bits) - 1)
    fields.need(8 * size - at < 8, "bytes behind the last level")
    fields.need(not packed >> at, "spare bits of the levels not zero", Code.PADDING)
    return keys
