"""Reading and writing the little-endian fields of spec/DCF.md, "Conventions"."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .errors import Code, error_of


@dataclass
class Fields:
    """A cursor over `data`; a field past the end is TRUNCATED at `place`."""

    data: memoryview
    place: str
    pos: int = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.pos

    def take(self, size: int) -> memoryview:
        """Return the next `size` bytes."""
        if size > self.left:
            raise error_of(
                Code.TRUNCATED, f"{size} bytes wanted, {self.left} left at {self.pos}", self.place
            )
        self.pos += size
        return self.data[self.pos - size : self.pos]

    def _one(self, kind: str, size: int) -> int:
        return int(struct.unpack("<" + kind, self.take(size))[0])

    def u8(self) -> int:
        return self._one("B", 1)

    def i8(self) -> int:
        return self._one("b", 1)

    def u16(self) -> int:
        return self._one("H", 2)

    def i16(self) -> int:
        return self._one("h", 2)

    def u32(self) -> int:
        return self._one("I", 4)

    def i32(self) -> int:
        return self._one("i", 4)

    def u64(self) -> int:
        return self._one("Q", 8)

    def zeros(self, size: int) -> None:
        """Skip `size` bytes that are zero, else PADDING."""
        if any(self.take(size)):
            raise error_of(Code.PADDING, f"bytes at {self.pos - size} not zero", self.place)

    def need(self, condition: bool, message: str, code: Code = Code.STRUCTURE) -> None:
        """Raise `code` (STRUCTURE unless said otherwise) where `condition` is false."""
        if not condition:
            raise error_of(code, message, self.place)


def align(value: int, step: int) -> int:
    """Return the smallest multiple of `step` that is not below `value`."""
    return -(-value // step) * step


def all_zero(data: memoryview) -> bool:
    """Tell whether every byte of `data` is zero."""
    return not any(data[i : i + 4096].tobytes().strip(b"\0") for i in range(0, len(data), 4096))
