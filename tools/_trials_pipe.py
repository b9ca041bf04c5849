"""Messages between tools/_trials.py and its child: a line's worth of JSON, and arrays.

u32 length of the JSON · JSON `[header, [[name, dtype, shape] …]]` · the arrays' bytes in order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]
Message = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]

_MOST_TEXT = 1 << 26
_MOST_BYTES = 1 << 34
_LENGTH = struct.Struct("<I")
_PIECE = 1 << 20


class BrokenMessageError(Exception):
    """The other side is gone, or what came is no message."""


def send(stream: IO[bytes], header: Mapping[str, Any], arrays: Arrays | None = None) -> None:
    """Write a message."""
    held = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    described = [[name, array.dtype.str, array.shape] for name, array in held.items()]
    text = json.dumps([header, described]).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for array in held.values():
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> Message:
    """Read a message. Raises BrokenMessageError."""
    (size,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    if size > _MOST_TEXT:
        raise BrokenMessageError(f"a header of {size} bytes")
    try:
        header, described = json.loads(bytes(_read(stream, size)))
        wanted = [(str(n), np.dtype(t), tuple(map(int, s))) for n, t, s in described]
    except (ValueError, TypeError) as error:
        raise BrokenMessageError("a header that cannot be read") from error
    arrays = {}
    for name, dtype, shape in wanted:
        total = prod(shape) * dtype.itemsize
        if dtype.hasobject or not 0 <= total <= _MOST_BYTES:
            raise BrokenMessageError(f"array {name!r} of {total} bytes")
        arrays[name] = np.frombuffer(_read(stream, total), dtype).reshape(shape)
    return header, arrays


def _read(stream: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        got = stream.readinto(view[done : done + _PIECE])  # type: ignore[attr-defined]
        if not got:
            raise BrokenMessageError("the other side is gone")
        done += got
    return data
