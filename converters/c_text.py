"""Lines of C: literals, macros, arrays of a fixed width; ASCII, and the same everywhere.

Spec: C99 6.4.4 (constants), and what C++11 shares of it.
Sister: write_c.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError

WIDTH = 100
_BYTES_A_LINE = 16
_HEX = tuple(f"0x{byte:02x}" for byte in range(256))


def unsigned(value: int) -> str:
    """Return a literal that `#if` and every compiler take as it is."""
    return f"{value}U"


def integer(value: int) -> str:
    """Return a literal for a macro: in parentheses where it has a sign."""
    return f"({value})" if value < 0 else str(value)


def single(value: float) -> str:
    """Return a literal of the float `value`: nine digits give the same 32 bits back."""
    if math.isnan(value):
        raise ConvertError("a NaN, for which C has no literal")
    if math.isinf(value):
        return "-INFINITY" if value < 0 else "INFINITY"
    return f"{_pointed(f'{value:.9g}')}F"


def double(value: float) -> str:
    """Return a literal of the double `value`: seventeen digits give the same 64 bits back."""
    if math.isnan(value):
        raise ConvertError("a NaN, for which C has no literal")
    if math.isinf(value):
        return "-INFINITY" if value < 0 else "INFINITY"
    return _pointed(f"{value:.17g}")


def _pointed(digits: str) -> str:
    """Return digits that are a floating literal: with a point or an exponent."""
    return digits if "." in digits or "e" in digits else f"{digits}.0"


def define(name: str, value: str, remark: str = "") -> str:
    line = f"#define {name} {value}"
    return f"{line} /* {remark} */" if remark else line


def byte_rows(data: bytes) -> Iterator[str]:
    """Yield the lines of an initializer of bytes."""
    for start in range(0, len(data), _BYTES_A_LINE):
        row = data[start : start + _BYTES_A_LINE]
        yield f"    {', '.join([_HEX[byte] for byte in row])},"


def filled_rows(items: Iterable[str]) -> Iterator[str]:
    """Yield the lines of an initializer of literals, as many on each as fit."""
    row: list[str] = []
    width = 3
    for item in items:
        if row and width + len(item) + 2 > WIDTH:
            yield f"    {', '.join(row)},"
            row, width = [], 3
        row.append(item)
        width += len(item) + 2
    if row:
        yield f"    {', '.join(row)},"


def remark(text: str) -> list[str]:
    """Return a comment of safe words, broken at blanks to fit the width."""
    words, lines = text.split(" "), [""]
    for word in words:
        full = len(lines[-1]) + 1 + len(word) > WIDTH - 6
        if lines[-1] and full and not lines[-1].endswith("\\"):  # that would splice two lines
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    if len(lines) == 1:
        return [f"/* {lines[0]} */"]
    return [f"/* {lines[0]}", *(f" * {line}" for line in lines[1:-1]), f" * {lines[-1]} */"]


def literals(array: npt.NDArray[np.generic]) -> Iterator[str]:
    """Yield the literals of an array in row-major order."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    flat = array.reshape(-1).tolist()
    if kind == "f":
        yield from (map(single, flat) if size <= 4 else map(double, flat))
    elif size == 8:
        yield from map(_wide_unsigned if kind == "u" else _wide, flat)
    elif size == 4:
        yield from map(unsigned if kind == "u" else _long, flat)
    else:
        yield from (str(int(value)) for value in flat)


def _long(value: int) -> str:
    return "(-2147483647 - 1)" if value == -(1 << 31) else str(value)


def _wide(value: int) -> str:
    if value == -(1 << 63):
        return "(-INT64_C(9223372036854775807) - 1)"
    return f"-INT64_C({-value})" if value < 0 else f"INT64_C({value})"


def _wide_unsigned(value: int) -> str:
    return f"UINT64_C({value})"
