"""Files of an ONNX model, read in pieces: what is not asked for is never in memory.

Spec: spec/SECURITY.md, S3 and S6. Sister files: read_onnx.py, onnx_external.py, onnx_lazy.py.
Nothing is mapped: mapped pages count as memory, and a file that is cut while it is mapped ends
the program.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dcformat.errors import ConvertError

_WINDOW = 1 << 14
_PIECE = 1 << 20


@dataclass(frozen=True)
class Stored:
    """A regular file as it was when it was first looked at; `shown` is its name in errors."""

    path: Path
    shown: str
    size: int
    stamp: tuple[int, ...]

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file again; ConvertError where it is not, or ceases to be, what it was."""
        try:
            with _open(self.path) as stream:
                self._check(stream)
                yield stream
                self._check(stream)
        except OSError as error:
            raise ConvertError(f"{self.shown}: {error.strerror}") from error

    def _check(self, stream: BinaryIO) -> None:
        if _stamp(os.fstat(stream.fileno())) != self.stamp:
            raise ConvertError(f"{self.shown} has changed since it was first read")


def look_at(path: Path, shown: str) -> Stored:
    """Return the file at `path`; OSError where there is none, ConvertError if it is not regular."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ConvertError(f"{shown} is not a regular file")
    return Stored(path.absolute(), shown, status.st_size, _stamp(status))


def _open(path: Path) -> BinaryIO:
    # Not blocking: what was a file when it was looked at may be a pipe now.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags), "rb", buffering=0)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_into(stream: BinaryIO, offset: int, room: memoryview) -> None:
    """Fill `room`, of bytes, with what stands at `offset`; ConvertError where the file ends."""
    stream.seek(offset)
    done = 0
    while done < len(room):
        size = stream.readinto(room[done:])  # type: ignore[attr-defined]
        if not size:
            raise ConvertError("the file ends before its data does")
        done += size


def read_at(stream: BinaryIO, offset: int, size: int) -> bytearray:
    """Return `size` bytes at `offset`."""
    data = bytearray(size)
    read_into(stream, offset, memoryview(data))
    return data


def read_strips(stream: BinaryIO, offsets: Sequence[int], size: int) -> bytes:
    """Return the `size` bytes at each offset, one after the other."""
    pread = getattr(os, "pread", None)
    if pread is None:  # on Windows
        return b"".join([bytes(read_at(stream, offset, size)) for offset in offsets])
    number = stream.fileno()
    data = b"".join([pread(number, size, offset) for offset in offsets])
    if len(data) != size * len(offsets):
        raise ConvertError("the file ends before its data does")
    return data


class FileBytes:
    """The bytes of an open file, to be sliced like `bytes`."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._start = 0
        self._window = b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        if stop - start > _WINDOW:
            return bytes(read_at(self._stream, start, stop - start))
        if not self._start <= start <= stop <= self._start + len(self._window):
            size = min(_WINDOW, self._size - start)
            self._start, self._window = start, bytes(read_at(self._stream, start, size))
        return self._window[start - self._start : stop - self._start]

    def digest(self) -> bytes:
        """Return the SHA-256 of the file, read piece by piece."""
        state = hashlib.sha256()
        for start in range(0, len(self), _PIECE):
            state.update(self[start : start + _PIECE])
        return state.digest()
