"""The C decoder behind the functions of the reference decoder (spec/DCF.md).

Same signatures, numbers and error codes as dcformat/decode.py. The extension is optional:
`AVAILABLE` tells whether it is there. C: dcformat/c/dcf.h, dcformat/_native/glue.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from .errors import Code, DcfError, error_of
from .ids import NUMPY, DType, Section
from .model import Array

try:
    _core: Any = import_module("dcformat._core")
except ImportError:
    _core = None

AVAILABLE: bool = _core is not None

_PLACES = ("header", "section table", "table", "tensor")
_READ_AT_OPENING = ("section RECORDS", "section TABLES")
_NO_TENSOR = 0xFFFFFFFF

_MESSAGES = {
    Code.ARGUMENT: "there is no such tensor or row",
    Code.TRUNCATED: "ends inside a field or a symbol",
    Code.MAGIC: "not a .dcf file",
    Code.VERSION: "a version that this reader does not know",
    Code.CHECKSUM: "changed since it was written: the CRC differs",
    Code.STRUCTURE: "a field is impossible or contradicts another",
    Code.PADDING: "a reserved or padding bit is not zero",
    Code.RANGE: "a position or symbol is outside its tensor or alphabet",
    Code.CODE: "not a valid entropy code",
    Code.UNSUPPORTED: "uses a room or type that the C decoder lacks",
    Code.FEATURE: "an unknown incompat flag, critical section or codec",
    Code.LIMIT: "larger than a limit",
    Code.SPACE: "not enough memory",
}


@dataclass(frozen=True)
class Opened:
    """A file whose structure, records and tables are valid; it keeps the file's bytes in use."""

    handle: Any
    tensors: int


def open_file(data: bytes | memoryview) -> Opened:
    """Validate header, sections, tables and records of `data`, as decode.open_file does.

    Raises DcfError, whose place says which table, tensor or section is at fault.
    """
    _need_core()
    handle, status, place, item = _core.open_file(data)
    if status:
        raise _error(status, _place_of_opening(status, place, item))
    return Opened(handle, _core.tensor_count(handle))


def decode_numbers(opened: Opened, index: int, check: bool = True) -> Array:
    """Return the numbers of tensor `index` in stored order, shape (elements,).

    Raises DcfError; with `check`, CHECKSUM where the numbers are not those that were written.
    """
    return _decode(opened, index, 0, -1, check)


def decode_rows(opened: Opened, index: int, start: int, stop: int) -> Array:
    """Return the numbers of stored rows `start` to `stop` - 1, shape (rows * columns,)."""
    if not 0 <= start <= stop:
        raise error_of(Code.ARGUMENT, f"rows {start} to {stop}", _tensor(opened, index))
    return _decode(opened, index, start, stop, False)


def check_file(opened: Opened) -> None:
    """Read everything (spec/DCF.md, "Full check"); raises DcfError where something is wrong.

    Tensors that the C decoder lacks the room for are passed over.
    """
    status, index = _core.check_file(opened.handle)
    if status:
        raise _error(status, "sections" if index == _NO_TENSOR else _tensor(opened, index))


def _decode(opened: Opened, index: int, start: int, stop: int, check: bool) -> Array:
    if not 0 <= index < opened.tensors:
        raise error_of(Code.ARGUMENT, f"tensor {index} of {opened.tensors}")
    status, numbers, number = _core.decode(opened.handle, index, start, stop, check)
    if status:
        raise _error(status, _tensor(opened, index))
    return np.frombuffer(numbers, NUMPY[DType(number)])


def _need_core() -> None:
    if _core is None:
        raise error_of(Code.UNSUPPORTED, "the C extension is not installed", "dcformat._core")


def _error(status: int, place: str) -> DcfError:
    return error_of(status, _MESSAGES[Code(status)], place)


def _place_of_opening(status: int, place: int, item: int) -> str:
    """Return what `place` and `item` of dcf_model stand for."""
    if place == 0:
        return _PLACES[0]
    if place == 1 and status == Code.CHECKSUM:
        return _READ_AT_OPENING[item]
    if place == 4:
        return f"section {Section(item).name}"
    return f"{_PLACES[place]} / entry {item}" if place == 1 else f"{_PLACES[place]} {item}"


def _tensor(opened: Opened, index: int) -> str:
    """Return a tensor's name, escaped, or its number where the file has no plain names."""
    raw = _core.name(opened.handle, index)
    if raw is None:
        return f"tensor {index}"
    return f"tensor {index} {raw.decode(errors='replace')!r}"
