"""The lossless stage, first in every preset: a tensor becomes symbols, and no bit changes.

Spec: spec/encodings/values_raw.md, values_codebook.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.coded import Codebook, CodedTensor, LazyCoded, Raw, Values
from dcformat.ids import MAX_SYMBOLS, NUMPY, WIDTH
from dcformat.model import Array, LazyTensor, Tensor, Window, windows
from dcformat.ordered import from_keys, sort_keys

from .estimate import estimate

Cost = Callable[[CodedTensor], int]
Bits = npt.NDArray[Any]

#: Distinct values are counted in a part first: most weights have too many, and sorting is slow.
_SAMPLE = 8192


def code_exactly(
    tensor: Tensor, order: tuple[int, ...] | None = None, cost: Cost = estimate
) -> CodedTensor:
    """Return `tensor` as symbols that give back its bits.

    A tensor of at most 256 distinct bit patterns, wider than a byte, becomes a codebook of them
    where that takes fewer bytes by `cost`; any other stays raw.
    """
    raw = _coded(tensor, tensor.piece, Raw(), order)
    found = None if WIDTH[tensor.dtype] == 1 else distinct(tensor)
    if found is None or tensor.size == 0:
        return raw
    levels, index = found
    if levels.size >= tensor.size:  # as most biases: no shared values, so levels are all there is
        return raw
    shared = _coded(tensor, index, Codebook(tensor.dtype, levels), order)
    return shared if cost(shared) < cost(raw) else raw


def _coded(
    tensor: Tensor, read: Callable[[Window], Array], values: Values, order: tuple[int, ...] | None
) -> CodedTensor:
    """Return the coded tensor whose symbols `read` gives: now, or for a lazy tensor when needed."""
    if isinstance(tensor, LazyTensor):
        return LazyCoded(tensor.name, tensor.dtype, tensor.shape, read, values, order)
    return CodedTensor(tensor.name, tensor.dtype, read(()), values, order)


def distinct(tensor: Tensor) -> tuple[Array, Callable[[Window], Array]] | None:
    """Return the distinct elements, and what gives the index into them of each in a window.

    None if there are more than 256. Elements differ where their bits do: 0.0 and -0.0, and NaNs
    of different payloads. They are sorted by number (floats by IEEE 754's totalOrder), so that
    like stands beside like.
    """
    bits = _patterns(tensor)
    if bits is None:
        return None
    keys = np.sort(sort_keys(bits, tensor.dtype))
    levels = np.ascontiguousarray(from_keys(keys, tensor.dtype)).view(NUMPY[tensor.dtype])

    def index(window: Window) -> Array:
        piece = tensor.piece(window)
        found = np.searchsorted(keys, sort_keys(_bits(piece), tensor.dtype))
        return found.reshape(piece.shape).astype(np.uint8)

    return levels.reshape(-1), index


def count_distinct(tensor: Tensor) -> int | None:
    """Return the number of distinct bit patterns of a tensor, None if above 256."""
    found = _patterns(tensor)
    return None if found is None else int(found.size)


def _patterns(tensor: Tensor) -> Bits | None:
    """Return the distinct bit patterns of a tensor, None if there are more than 256."""
    found = _bits(tensor.piece((slice(0, 0),) if tensor.shape else ()))
    for window in windows(tensor.shape):
        bits = _bits(tensor.piece(window))
        for part in (bits[:_SAMPLE], bits[_SAMPLE:]):
            found = _sorted_once(np.concatenate([found, _sorted_once(part)]))
            if found.size > MAX_SYMBOLS:
                return None
    return found


def _sorted_once(bits: Bits) -> Bits:
    """Return each pattern once. np.unique does that too, but holds the interpreter."""
    if bits.dtype.kind == "V":
        return np.unique(bits)
    whole = np.sort(bits)
    once: Bits = whole[np.concatenate([[True], whole[1:] != whole[:-1]])[: whole.size]]
    return once


def _bits(data: Array) -> Bits:
    """Return the elements' bits as a vector: unsigned integers, or 16 bytes for complex128."""
    width = data.dtype.itemsize
    kind = f"<u{width}" if width <= 8 else f"V{width}"
    return np.ascontiguousarray(data).reshape(-1).view(kind)
