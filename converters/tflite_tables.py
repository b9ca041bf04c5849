"""Tables of a FlatBuffer, looked up by field number; every offset is checked before it is followed.

Format: https://flatbuffers.dev/internals. Sister: tflite_schema.py, which knows the fields.

The generated readers of the flatbuffers package follow offsets out of the file or back to its start
without a word, and writing needs no builder here (a .tflite is put together from its own bytes), so
that this is all of the format that is needed. Tables may be shared, and a few bytes could stand for
very much: all that is read is counted, and a file whose parts are read again and again is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError

_TIMES = 4  #: how often a byte of the file may be read, on average
_SLACK = 1 << 16
_MAX_TEXT = 1 << 16  #: bytes of a name or of what a custom operator is called
_U16, _I32, _U32 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I")
_SCALARS = {1: struct.Struct("<b"), 4: _I32, 8: struct.Struct("<Q")}


class Source(Protocol):
    """Bytes that are sliced like `bytes`, as a file is."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...


@dataclass(frozen=True)
class Span:
    """Where the elements of a vector stand, and how many there are."""

    start: int
    count: int


@dataclass
class Bytes:
    """The bytes of a FlatBuffer, and how many of them may still be read."""

    data: Source
    left: int = field(default=-1)

    def __post_init__(self) -> None:
        if self.left < 0:
            self.left = _TIMES * len(self.data) + _SLACK

    def take(self, at: int, size: int, what: str) -> bytes:
        """Return `size` bytes at `at`; ConvertError where they are not all in the file."""
        self.need(at, size, what)
        self.left -= size
        if self.left < 0:
            raise ConvertError(f"{what}: its tables are shared more often than any model's")
        return self.data[at : at + size]

    def need(self, at: int, size: int, what: str) -> None:
        """Raise ConvertError where `size` bytes at `at` are not in the file."""
        if not 0 <= at <= len(self.data) - size:
            raise ConvertError(f"{what}: {size} bytes at {at}, and the file ends at {len(self)}")

    def __len__(self) -> int:
        return len(self.data)

    def u32(self, at: int, what: str) -> int:
        number: int = _U32.unpack(self.take(at, 4, what))[0]
        return number

    def root(self, what: str) -> Table:
        return self.table(self.u32(0, what), what)

    def table(self, at: int, what: str) -> Table:
        """Return the table at `at` after a look at its vtable."""
        (back,) = _I32.unpack(self.take(at, 4, what))
        vtable = at - back
        size, inside = struct.unpack("<HH", self.take(vtable, 4, f"{what}: vtable"))
        if size < 4 or size % 2 or inside < 4:
            raise ConvertError(f"{what}: the vtable at {vtable} is not one")
        self.need(at, inside, what)
        raw = self.take(vtable + 4, size - 4, f"{what}: vtable")
        return Table(self, at, inside, struct.unpack(f"<{len(raw) // 2}H", raw), what)


@dataclass(frozen=True)
class Table:
    """A table at byte `at`: `offsets` are those of its fields, 0 where a field is missing."""

    file: Bytes
    at: int
    size: int
    offsets: tuple[int, ...]
    what: str

    def scalar(self, number: int, width: int, default: int = 0) -> int:
        """Return field `number`, an integer of 1 or 4 bytes with a sign or of 8 without."""
        at = self._place(number, width)
        if at is None:
            return default
        value: int = _SCALARS[width].unpack(self.file.take(at, width, self._at(number)))[0]
        return value

    def table(self, number: int, what: str) -> Table | None:
        """Return the table that field `number` points to."""
        at = self._target(number)
        return None if at is None else self.file.table(at, f"{self.what} / {what}")

    def vector(self, number: int, width: int) -> Span | None:
        """Return where the vector is that field `number` points to, of elements of `width`."""
        at = self._target(number)
        if at is None:
            return None
        count = self.file.u32(at, self._at(number))
        self.file.need(at + 4, count * width, self._at(number))
        return Span(at + 4, count)

    def numbers(self, number: int, dtype: str) -> npt.NDArray[np.generic] | None:
        """Return the vector of field `number` as numbers of a NumPy type."""
        span = self.vector(number, np.dtype(dtype).itemsize)
        if span is None:
            return None
        size = span.count * np.dtype(dtype).itemsize
        return np.frombuffer(self.file.take(span.start, size, self._at(number)), dtype)

    def ints(self, number: int) -> tuple[int, ...]:
        """Return the vector of field `number` as i32, nothing where it is missing."""
        found = self.numbers(number, "<i4")
        return () if found is None else tuple(int(n) for n in found)

    def tables(self, number: int, what: str) -> Iterator[Table]:
        """Yield the tables of the vector of field `number`."""
        span = self.vector(number, 4)
        for index in range(span.count if span else 0):
            place = f"{self.what} / {what} {index}" if self.what else f"{what} {index}"
            at = span.start + 4 * index if span else 0
            yield self.file.table(at + self.file.u32(at, place), place)

    def text(self, number: int) -> str:
        """Return the string of field `number`; what is not UTF-8 in it is shown as escapes."""
        span = self.vector(number, 1)
        if span is None:
            return ""
        if span.count > _MAX_TEXT:
            raise ConvertError(f"{self._at(number)}: a text of {span.count} bytes")
        raw = self.file.take(span.start, span.count, self._at(number))
        return raw.decode(errors="backslashreplace")

    def _place(self, number: int, width: int) -> int | None:
        """Return where field `number` of `width` bytes stands, None where it is missing."""
        offset = self.offsets[number] if number < len(self.offsets) else 0
        if not offset:
            return None
        if offset < 4 or offset + width > self.size:
            raise ConvertError(f"{self._at(number)} is not inside its table")
        return self.at + offset

    def _target(self, number: int) -> int | None:
        at = self._place(number, 4)
        return None if at is None else at + self.file.u32(at, self._at(number))

    def _at(self, number: int) -> str:
        return f"{self.what} / field {number}" if self.what else f"field {number}"
