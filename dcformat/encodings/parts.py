"""What rooms hand to each other: plans, items, and the rules all values rooms share."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..coded import Values
from ..errors import Code, error_of
from ..fields import Fields
from ..ids import BITS, NUMPY, WIDTH, DType
from ..model import Array

Planes = npt.NDArray[np.uint8]
_Table = TypeVar("_Table")
SIGNED = (DType.INT8, DType.INT4, DType.INT2)
REAL = (DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE)


@dataclass(frozen=True)
class Plan:
    """What a values room says of a tensor: its number type and the symbols of an element.

    `alphabets` has one entry per symbol of an element. Symbol s of a type of width 1 is the
    number `base` + s. `values` is the meaning, with parameters per axis still to be read from
    `axis_bytes` bytes of the payload; its axis is a stored axis. `table` is the entry of TABLES
    that a codebook was read from.
    """

    number: DType
    alphabets: tuple[int, ...]
    base: int
    values: Values
    axis_bytes: int = 0
    table: int | None = None

    @property
    def width(self) -> int:
        return len(self.alphabets)


@dataclass(frozen=True)
class Items:
    """Symbols in the order in which a coder writes them, each with its stream.

    `ends[b]` is the index of the first item after block b.
    """

    symbols: npt.NDArray[np.uint16]
    streams: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]


class Reader(Protocol):
    """Gives the symbols of one block; errors are those of spec/DCF.md, "Decoding a tensor"."""

    def next(self, stream: int) -> int: ...

    def many(self, count: int, streams: tuple[int, ...]) -> Planes: ...

    def finish(self) -> None: ...


def number_range(dtype: DType) -> tuple[int, int]:
    """Return the least and the greatest number of a type of width 1 (registry.md)."""
    if dtype is DType.BOOL:
        return 0, 1
    bits = BITS[dtype]
    if dtype in SIGNED:
        return -(1 << bits - 1), (1 << bits - 1) - 1
    return 0, (1 << bits) - 1


def read_narrow(fields: Fields, dtype: DType) -> tuple[tuple[int, ...], int]:
    """Return alphabets and base of a type: read for width 1, bytes for the others."""
    if WIDTH[dtype] > 1:
        return (256,) * WIDTH[dtype], 0
    alphabet, base = fields.u16(), fields.i16()
    low, high = number_range(dtype)
    good = 1 <= alphabet <= 256 and low <= base and base + alphabet - 1 <= high
    fields.need(good, f"{alphabet} symbols from {base} of {dtype.name}")
    return (alphabet,), base


def write_narrow(plan: Plan) -> bytes:
    """Return the fields that `read_narrow` reads."""
    return struct.pack("<Hh", plan.alphabets[0], plan.base) if WIDTH[plan.number] == 1 else b""


def split(numbers: Array, dtype: DType, base: int) -> Planes:
    """Return the symbols of `numbers` (n,) as (n, width)."""
    if WIDTH[dtype] == 1:
        narrow: Planes = numbers.view(np.uint8) - np.uint8(base & 0xFF)  # modulo 256
        return narrow.reshape(-1, 1)
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, WIDTH[dtype])


def join(planes: Planes, dtype: DType, base: int) -> Array:
    """Return the numbers (n,) of the symbols (n, width): the inverse of `split`."""
    if WIDTH[dtype] == 1:
        narrow = planes[:, 0].astype(np.int16) + base
        return narrow.astype(np.int8 if dtype in SIGNED else np.uint8).view(NUMPY[dtype])
    return np.ascontiguousarray(planes).view(NUMPY[dtype]).reshape(-1)


def narrowest(numbers: Array, dtype: DType) -> tuple[tuple[int, ...], int]:
    """Return the narrowest alphabets and base that hold `numbers`."""
    if WIDTH[dtype] > 1:
        return (256,) * WIDTH[dtype], 0
    if not numbers.size:
        return (1,), 0
    whole = numbers.view(np.int8 if dtype in SIGNED else np.uint8)
    low, high = int(whole.min()), int(whole.max())
    return (high - low + 1,), low


def read_scale(fields: Fields) -> npt.NDArray[np.float32]:
    """Return a f32, to the bit: a float of Python would quieten a signalling NaN."""
    return np.frombuffer(fields.take(4), "<f4").reshape(())


def read_axis_id(fields: Fields, stored_shape: tuple[int, ...]) -> int | None:
    """Return a stored axis, or None for 0xFF."""
    axis = fields.u8()
    fields.need(axis == 0xFF or axis < len(stored_shape), f"axis {axis}")
    return None if axis == 0xFF else axis


def read_table(fields: Fields, tables: list[object], kind: type[_Table]) -> tuple[int, _Table]:
    """Return the index that stands here and the entry of TABLES that it names.

    STRUCTURE where there is none or it is not of `kind`, UNSUPPORTED where nobody knows its kind.
    """
    index = fields.u16()
    fields.need(index < len(tables), f"table {index} of {len(tables)}")
    table = tables[index]
    if table is None:
        raise error_of(Code.UNSUPPORTED, f"table {index} is of an unknown kind", fields.place)
    if not isinstance(table, kind):
        raise error_of(Code.STRUCTURE, f"table {index} is not a {kind.__name__}", fields.place)
    return index, table


def need_real(fields: Fields, dtype: DType) -> None:
    """Check that a scaled tensor is of a floating-point type that scales make sense for."""
    fields.need(dtype in REAL, f"scaled values of type {dtype.name}", Code.STRUCTURE)


def check_end(spare: int, bits: int, place: str) -> None:
    """Check the end of a block: `spare` bits are left over, and `bits` is their value."""
    if spare >= 8:
        raise error_of(Code.STRUCTURE, f"{spare // 8} unused bytes in the block", place)
    if bits:
        raise error_of(Code.PADDING, "spare bits of the block not zero", place)
