"""Numbers of a tensor read where they lie, whole or by windows, without the rest of the file.

Sister files: onnx_files.py (the files), onnx_data.py (the encodings), onnx_lift.py (which tensors),
dcformat/model.py (LazyTensor, which these readers serve).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import BinaryIO, Protocol

import numpy as np

from dcformat.errors import ConvertError
from dcformat.ids import BITS, NUMPY, DType
from dcformat.model import Array, Window

from .onnx_data import check_bools, check_count, check_size, decode, stored_bytes, unpack
from .onnx_files import Stored, read_at, read_into, read_strips

_CHUNK = 1 << 20  # bytes that are read to keep a part of them
_GAP = 1 << 13  # bytes that are rather read than skipped by one more call
_PART = 1 << 16  # numbers of a varint field that are decoded together

Boxes = tuple[slice, ...]  # a slice with start, stop and step for each axis


class Region(Protocol):
    """Where the numbers of a tensor stand: they are read again each time."""

    @property
    def file(self) -> Stored: ...
    @property
    def dtype(self) -> DType: ...
    @property
    def dims(self) -> tuple[int, ...]: ...

    def check(self) -> None:
        """Raise ConvertError where the numbers cannot be had, or would not come back the same."""

    def fill(self, stream: BinaryIO, first: int, out: Array) -> None:
        """Fill `out`, 1-D, with the elements from number `first` on."""

    def strips(self, stream: BinaryIO, firsts: range, out: Array) -> None:
        """Fill each row of `out`, 2-D, with the elements from one of the numbers `firsts` on."""


@dataclass(frozen=True)
class Packed:
    """Elements one after the other, as in raw_data, float_data, double_data or external data."""

    file: Stored
    offset: int
    dtype: DType
    dims: tuple[int, ...]

    def check(self) -> None:
        elements = prod(self.dims)
        if self.dtype is DType.BOOL:
            self._fill_all()
        elif elements and BITS[self.dtype] < 8:
            with self.file.open() as stream:
                place = self.offset + stored_bytes(self.dtype, elements) - 1
                share = 8 // BITS[self.dtype]
                last = np.frombuffer(read_at(stream, place, 1), np.uint8)
                unpack(self.dtype, last, (elements - 1) % share + 1)

    def _fill_all(self) -> None:
        """Read all elements once, which looks at each, and keep none."""
        room = np.empty(min(prod(self.dims), _CHUNK), NUMPY[self.dtype])
        with self.file.open() as stream:
            for first in range(0, prod(self.dims), _CHUNK):
                self.fill(stream, first, room[: prod(self.dims) - first])

    def fill(self, stream: BinaryIO, first: int, out: Array) -> None:
        bits = BITS[self.dtype]
        if bits < 8:
            start, stop = first * bits // 8, stored_bytes(self.dtype, first + out.size)
            packed = np.frombuffer(read_at(stream, self.offset + start, stop - start), np.uint8)
            wide = unpack(self.dtype, packed, packed.size * 8 // bits)
            skip = first - start * 8 // bits
            out[:] = wide[skip : skip + out.size]
            return
        read_into(stream, self.offset + first * bits // 8, out.view(np.uint8).data)
        if self.dtype is DType.BOOL:
            check_bools(out)

    def strips(self, stream: BinaryIO, firsts: range, out: Array) -> None:
        if BITS[self.dtype] < 8:
            _one_by_one(self, stream, firsts, out)
            return
        width, row = out.itemsize, out.itemsize * out.shape[1]
        group = max(1, _CHUNK // row)
        for start in range(0, len(firsts), group):
            part = firsts[start : start + group]
            offsets = range(
                self.offset + part.start * width, self.offset + part.stop * width, part.step * width
            )
            data = np.frombuffer(read_strips(stream, offsets, row), out.dtype)
            out[start : start + group] = data.reshape(len(part), -1)
        if self.dtype is DType.BOOL:
            check_bools(out)


@dataclass(frozen=True)
class Varints:
    """Elements as numbers of different lengths, in parts of _PART numbers.

    Part i stands at bytes `marks[i]` to `marks[i + 1]` of the file.
    """

    file: Stored
    field: int
    dtype: DType
    dims: tuple[int, ...]
    marks: tuple[int, ...]

    @property
    def _each(self) -> int:
        """Elements of a part: numbers hold a byte of 4- and 2-bit elements."""
        return _PART * max(1, 8 // BITS[self.dtype])

    def check(self) -> None:
        with self.file.open() as stream:
            for number in range(len(self.marks) - 1):
                self._part(stream, number)

    def fill(self, stream: BinaryIO, first: int, out: Array) -> None:
        done = 0
        while done < out.size:
            number, skip = divmod(first + done, self._each)
            part = self._part(stream, number)[skip : skip + out.size - done]
            out[done : done + part.size] = part
            done += part.size

    def strips(self, stream: BinaryIO, firsts: range, out: Array) -> None:
        _one_by_one(self, stream, firsts, out)

    def _part(self, stream: BinaryIO, number: int) -> Array:
        start, stop = self.marks[number : number + 2]
        if stop - start > 10 * _PART:
            raise ConvertError("a number of its data has more than ten bytes")
        payload = bytes(read_at(stream, start, stop - start))
        elements = min(self._each, prod(self.dims) - number * self._each)
        return decode(self.field, self.dtype, payload, elements)


@dataclass(frozen=True)
class Reading:
    """What a LazyTensor calls: a region, and the name of the tensor for errors."""

    region: Region
    place: str

    def __call__(self, window: Window) -> Array:
        try:
            return read(self.region, window)
        except ConvertError as error:
            raise error.at(self.place) from error.__cause__


def read(region: Region, window: Window = ()) -> Array:
    """Return `data[window]` as a new array; ConvertError where the file has changed."""
    boxes = _boxes(region.dims, window)
    out = np.empty([len(_numbers(box)) for box in boxes], NUMPY[region.dtype])
    if out.size:
        with region.file.open() as stream:
            _gather(region, stream, 0, region.dims, boxes, out)
    return out


def varints(
    file: Stored, offset: int, size: int, field: int, dtype: DType, dims: tuple[int, ...]
) -> Varints:
    """Return the region of the numbers in `size` bytes; ConvertError where they are too many."""
    marks = [offset]
    numbers = 0
    with file.open() as stream:
        for start in range(offset, offset + size, _CHUNK):
            length = min(_CHUNK, offset + size - start)
            last = np.frombuffer(read_at(stream, start, length), np.uint8)
            ends = np.flatnonzero(last < 0x80)
            full = ends[_PART - 1 - numbers % _PART :: _PART]
            marks += [start + int(end) + 1 for end in full]
            numbers += ends.size
    if size and last[-1] >= 0x80:
        raise ConvertError("its data ends inside a number")
    check_count(dtype, numbers, prod(dims))
    if marks[-1] != offset + size:
        marks.append(offset + size)
    return Varints(file, field, dtype, dims, tuple(marks))


def packed(file: Stored, offset: int, size: int, dtype: DType, dims: tuple[int, ...]) -> Packed:
    """Return the region of packed elements; ConvertError where they have another size."""
    check_size(dtype, size, prod(dims))
    return Packed(file, offset, dtype, dims)


def _boxes(dims: tuple[int, ...], window: Window) -> Boxes:
    if len(window) > len(dims):
        raise IndexError(f"a window of {len(window)} axes into a tensor of {len(dims)}")
    full = (*window, *(slice(None),) * (len(dims) - len(window)))
    return tuple(slice(*part.indices(n)) for part, n in zip(full, dims, strict=True))


def _gather(
    region: Region, stream: BinaryIO, first: int, dims: tuple[int, ...], boxes: Boxes, out: Array
) -> None:
    """Fill `out`, not empty, with the box of an array of `dims` that begins at element `first`."""
    if _is_run(dims, boxes):
        start = boxes[0].start * prod(dims[1:]) if boxes else 0
        region.fill(stream, first + start, out.reshape(-1))
    elif not _skips(region.dtype, dims[1:], boxes[1:]):
        _sift(region, stream, first, dims, boxes, out)
    elif len(dims) > 1 and _is_run(dims[1:], boxes[1:]):
        row, skip = prod(dims[1:]), boxes[1].start * prod(dims[2:])
        rows = _numbers(boxes[0])
        starts = range(
            first + rows.start * row + skip, first + rows.stop * row + skip, rows.step * row
        )
        region.strips(stream, starts, out.reshape(len(rows), -1))
    else:
        for place, row in enumerate(_numbers(boxes[0])):
            start = first + row * prod(dims[1:])
            _gather(region, stream, start, dims[1:], boxes[1:], out[place])


def _is_run(dims: tuple[int, ...], boxes: Boxes) -> bool:
    """Tell whether the elements of a box stand one after the other."""
    whole = all(box == slice(0, n, 1) for box, n in zip(boxes[1:], dims[1:], strict=True))
    return whole and (not boxes or boxes[0].step == 1)


def _one_by_one(region: Region, stream: BinaryIO, firsts: range, out: Array) -> None:
    for first, row in zip(firsts, out, strict=True):
        region.fill(stream, first, row)


def _skips(dtype: DType, dims: tuple[int, ...], boxes: Boxes) -> bool:
    """Tell whether rows are better read one by one than together with what is between them."""
    row = stored_bytes(dtype, prod(dims))
    wanted = 0
    for n, box in zip(dims, boxes, strict=True):
        numbers = _numbers(box)
        wanted = wanted * n + abs(numbers[-1] - numbers[0])
    return row > _CHUNK or row - stored_bytes(dtype, wanted + 1) > _GAP


def _sift(
    region: Region, stream: BinaryIO, first: int, dims: tuple[int, ...], boxes: Boxes, out: Array
) -> None:
    """Read whole rows, some at a time, and keep what is wanted."""
    row = prod(dims[1:])
    rows = _numbers(boxes[0])
    spread = abs(boxes[0].step)
    group = max(1, _CHUNK // (stored_bytes(region.dtype, row) * spread))
    for place in range(0, len(rows), group):
        part = rows[place : place + group]
        low, high = min(part[0], part[-1]), max(part[0], part[-1])
        room = np.empty((high - low + 1, *dims[1:]), NUMPY[region.dtype])
        region.fill(stream, first + low * row, room.reshape(-1))
        turned = room[:: boxes[0].step]
        kept = (slice(None), *(_again(box) for box in boxes[1:]))
        out[place : place + group] = turned[kept]


def _numbers(box: slice) -> range:
    return range(box.start, box.stop, box.step)


def _again(box: slice) -> slice:
    """Return the slice that gives the indices of `box`: -1 at its end means the start."""
    return slice(box.start, None if box.stop < 0 else box.stop, box.step)
