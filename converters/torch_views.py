"""Tensors as strided views of storages, read in pieces: what is not asked for is not in memory.

Element (i, j, ...) stands `offset + i * stride[0] + j * stride[1] + ...` elements behind the start
of the storage. Strides are 0 where one element is repeated along an axis, and in any order where a
tensor was transposed. Numbers are little-endian but in archives that say otherwise.

Sister files: onnx_files.py (files that must not change), dcformat/model.py (LazyTensor)
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import prod
from typing import BinaryIO, Protocol

import numpy as np

from dcformat.errors import ConvertError
from dcformat.ids import NUMPY, WIDTH, DType
from dcformat.model import Array, Window

from .onnx_data import check_bools
from .onnx_files import read_at, read_into, read_strips

_CHUNK = 1 << 20  # bytes that are read at once
_GAP = 1 << 13  # bytes that are rather read than skipped by one more call
_SPARSE = 4  # elements that are read of a strip for each one that is wanted


class Opens(Protocol):
    """A file, or bytes in memory, that can be read from any place."""

    def open(self) -> AbstractContextManager[BinaryIO]: ...


@dataclass(frozen=True)
class Held:
    """Bytes that are in memory: a storage that was deflated."""

    data: bytes

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Give the bytes as a file."""
        yield io.BytesIO(self.data)


@dataclass(frozen=True)
class Strided:
    """A tensor of `dims` whose first element is at byte `start` of `file`; strides in elements."""

    file: Opens
    start: int
    dtype: DType
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    big: bool = False

    @property
    def reach(self) -> int:
        """How many elements lie from the first to the last; 0 where there is none."""
        return reach(self.dims, self.strides)

    def read(self, window: Window = ()) -> Array:
        """Return `data[window]` as a new array."""
        if len(window) > len(self.dims):
            raise IndexError(f"a window of {len(window)} axes into a tensor of {len(self.dims)}")
        full = (*window, *(slice(None),) * (len(self.dims) - len(window)))
        boxes = [range(*part.indices(n)) for part, n in zip(full, self.dims, strict=True)]
        out = np.empty([len(box) for box in boxes], NUMPY[self.dtype])
        if out.size:
            strides = [s * box.step for s, box in zip(self.strides, boxes, strict=True)]
            first = sum(s * box.start for s, box in zip(self.strides, boxes, strict=True))
            with self.file.open() as stream:
                self._fill(stream, first, strides, out)
        return out

    def check(self) -> None:
        """Read all elements once where a wrong one is possible: a bool that is 2."""
        if self.dtype is DType.BOOL and self.reach:
            whole = Strided(self.file, self.start, self.dtype, (self.reach,), (1,))
            for first in range(0, self.reach, _CHUNK):
                whole.read((slice(first, first + _CHUNK),))

    def _fill(self, stream: BinaryIO, first: int, strides: list[int], out: Array) -> None:
        """Fill `out`, not empty: outer axes of the storage first, then what is repeated."""
        if not out.ndim:
            out, strides = out.reshape(1), [1]
        for axis, stride in enumerate(strides):
            if stride < 0:  # a window that runs backwards
                first += stride * (out.shape[axis] - 1)
                out = np.flip(out, axis)
        once = tuple(slice(0, 1) if s == 0 else slice(None) for s in strides)
        axes = [a for a in range(out.ndim) if strides[a] and out.shape[a] > 1]
        axes.sort(key=lambda axis: -abs(strides[axis]))
        rest = tuple(a for a in range(out.ndim) if a not in axes)
        corner = (..., *[0] * len(rest))
        inner = out[once].transpose((*axes, *rest))[corner]
        self._gather(stream, first, [abs(strides[a]) for a in axes], inner)
        if out[once].size != out.size:
            out[...] = out[once].copy()
        if self.dtype is DType.BOOL:
            check_bools(np.ascontiguousarray(out))

    def _gather(self, stream: BinaryIO, first: int, strides: list[int], out: Array) -> None:
        """Fill `out`, a view with descending strides, with the elements from `first` on."""
        width = WIDTH[self.dtype]
        span = reach(out.shape, strides)
        if span == out.size and out.flags.c_contiguous and not self.big:
            read_into(stream, self.start + first * width, out.reshape(-1).view(np.uint8).data)
        elif span * width <= _CHUNK:
            data = read_at(stream, self.start + first * width, span * width)
            out[...] = self._strided(data, out.shape, strides)
        else:
            self._gather_rows(stream, first, strides, out)

    def _gather_rows(self, stream: BinaryIO, first: int, strides: list[int], out: Array) -> None:
        """Do what `_gather` does, by indices of the first axis: many, a strip each, or one."""
        width = WIDTH[self.dtype]
        row = reach(out.shape[1:], strides[1:])
        near = (strides[0] - row) * width <= _GAP and strides[0] * width <= _CHUNK
        dense = row * width <= _CHUNK and row <= _SPARSE * prod(out.shape[1:])
        step = strides[0] if near else row
        group = max(1, (_CHUNK // width - row) // step) if near or dense else 1
        for place in range(0, out.shape[0], group):
            part, start = out[place : place + group], first + place * strides[0]
            if near and group > 1:
                self._gather(stream, start, strides, part)
            elif dense:
                starts = [start + i * strides[0] for i in range(len(part))]
                offsets = [self.start + n * width for n in starts]
                data = _strips(stream, offsets, row * width)
                part[...] = self._strided(data, part.shape, [row, *strides[1:]])
            else:
                self._gather(stream, start, strides[1:], part[0, ...])

    def _strided(
        self, data: bytes | bytearray, shape: tuple[int, ...], strides: list[int]
    ) -> Array:
        numbers = np.frombuffer(data, NUMPY[self.dtype])
        if self.big:
            numbers = numbers.byteswap()
        steps = [stride * numbers.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(numbers, shape, steps, writeable=False)


def reach(dims: Sequence[int], strides: Sequence[int]) -> int:
    """Return how many elements lie from a view's first to its last."""
    if not prod(dims):
        return 0
    return 1 + sum((n - 1) * stride for n, stride in zip(dims, strides, strict=True))


def _strips(stream: BinaryIO, offsets: list[int], size: int) -> bytes:
    """Return the `size` bytes at each offset, one after the other."""
    if isinstance(stream, io.BytesIO):  # which is no file of the system's
        return b"".join([read_at(stream, offset, size) for offset in offsets])
    return read_strips(stream, offsets, size)


@dataclass(frozen=True)
class Reading:
    """What a LazyTensor calls: a region, and the place for errors."""

    region: Strided
    place: str

    def __call__(self, window: Window) -> Array:
        try:
            return self.region.read(window)
        except ConvertError as error:
            raise error.at(self.place) from error.__cause__
