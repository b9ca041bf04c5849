"""The lossless stage, first in every preset: a tensor becomes symbols, and no bit changes.

Spec: spec/encodings/values_raw.md, values_codebook.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.coded import Codebook, CodedTensor, Raw
from dcformat.ids import MAX_SYMBOLS, NUMPY, WIDTH, DType
from dcformat.model import Array, Tensor

from .estimate import estimate

Cost = Callable[[CodedTensor], int]
Bits = npt.NDArray[Any]

#: Distinct values are counted in a part first: most weights have too many, and sorting is slow.
_SAMPLE = 8192

_SIGNED = frozenset({DType.INT16, DType.INT32, DType.INT64})
_FLOATS = frozenset({DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE})


def code_exactly(
    tensor: Tensor, order: tuple[int, ...] | None = None, cost: Cost = estimate
) -> CodedTensor:
    """Return `tensor` as symbols that give back its bits.

    A tensor of at most 256 distinct bit patterns, wider than a byte, becomes a codebook of them
    where that takes fewer bytes by `cost`; any other stays raw.
    """
    raw = CodedTensor(tensor.name, tensor.dtype, tensor.data, Raw(), order)
    found = distinct(tensor)
    if WIDTH[tensor.dtype] == 1 or found is None or tensor.data.size == 0:
        return raw
    levels, indices = found
    values = Codebook(tensor.dtype, levels)
    shared = CodedTensor(tensor.name, tensor.dtype, indices, values, order)
    return shared if cost(shared) < cost(raw) else raw


def distinct(tensor: Tensor) -> tuple[Array, npt.NDArray[np.uint8]] | None:
    """Return the distinct elements and each element's index into them; None if above 256.

    Elements differ where their bits do: 0.0 and -0.0, and NaNs of different payloads. They are
    sorted by number (floats by IEEE 754's totalOrder), so that like stands beside like.
    """
    bits = _bits(tensor)
    if _count(bits[:_SAMPLE]) > MAX_SYMBOLS or _count(bits) > MAX_SYMBOLS:
        return None
    keys, back = _sort_keys(bits, tensor.dtype)
    found, indices = np.unique(keys, return_inverse=True)
    levels = np.ascontiguousarray(back(found)).view(NUMPY[tensor.dtype]).reshape(-1)
    return levels, indices.reshape(tensor.shape).astype(np.uint8)


def count_distinct(tensor: Tensor) -> int | None:
    """Return the number of distinct bit patterns of a tensor, None if above 256."""
    bits = _bits(tensor)
    if _count(bits[:_SAMPLE]) > MAX_SYMBOLS:
        return None
    count = _count(bits)
    return count if count <= MAX_SYMBOLS else None


def _bits(tensor: Tensor) -> Bits:
    """Return the elements' bits as a vector: unsigned integers, or 16 bytes for complex128."""
    width = WIDTH[tensor.dtype]
    kind = f"<u{width}" if width <= 8 else f"V{width}"
    return np.ascontiguousarray(tensor.data).reshape(-1).view(kind)


def _count(bits: Bits) -> int:
    return int(np.unique(bits).size)


def _sort_keys(bits: Bits, dtype: DType) -> tuple[Bits, Callable[[Bits], Bits]]:
    """Return keys that sort as the numbers do, and what turns keys into bits again."""
    if dtype not in _SIGNED | _FLOATS:
        return bits, lambda keys: keys
    top = bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
    if dtype in _SIGNED:
        return bits ^ top, lambda keys: keys ^ top
    keys = np.where(bits & top, ~bits, bits | top)
    return keys, lambda keys: np.where(keys & top, keys ^ top, ~keys)
