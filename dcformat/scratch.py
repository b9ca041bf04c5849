"""Bytes put aside until they are needed again, in memory while few and then in a file."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .errors import ConvertError
from .model import Array, Window

IN_MEMORY = 1 << 20  #: bytes held before a temporary file is made
_POSITIONED = hasattr(os, "pwrite")  # not on Windows
MAPPED_MOST = 1 << 24  #: bytes that a thread keeps mapped: each page is asked for once


class Scratch:
    """A temporary file without a name that grows; it goes when nothing refers to it any more."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self._mapped = threading.local()
        self._number: int | None = None  # of the file, once there is one
        self._end = 0

    def keep(self, data: bytes | memoryview) -> int:
        """Put `data` aside; return the place at which `read` finds it."""
        flat = _flat(data)
        place = self.reserve(len(flat))
        self.write(place, flat)
        return place

    def reserve(self, size: int) -> int:
        """Return a place for `size` bytes."""
        with self._lock:
            place = self._end
            self._end += size
            return place

    def write(self, place: int, data: bytes | memoryview) -> None:
        """Write to a place that was reserved."""
        flat = _flat(data)
        with self._lock, _named():
            # else what was reserved before it would be filled in memory
            number = self._fileno() if place + len(flat) > IN_MEMORY else self._number
            if number is None or not _POSITIONED:
                self._file.seek(place)
                self._file.write(flat)
                self._file.flush()
                return
        with _named():
            _write_at(number, flat, place)

    def read(self, place: int, size: int) -> bytes:
        """Return `size` bytes from `place` on."""
        with self._lock, _named():
            if self._number is None or not _POSITIONED:
                self._file.seek(place)
                return self._file.read(size)
        with _named():
            return os.pread(self._number, size, place)

    def _fileno(self) -> int:
        """Return the number of the file, which is made now if it was not yet."""
        if self._number is None:
            self._number = self._file.fileno()
            self._file.flush()
        return self._number

    def window(
        self, place: int, shape: tuple[int, ...], kind: npt.DTypeLike, window: Window
    ) -> Array:
        """Return a window of the array of `shape` at `place`; large ones are not mapped whole."""
        with self._lock, _named():
            number = self._fileno()
        start = place // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        size = place - start + math.prod(shape) * np.dtype(kind).itemsize
        with _named(), self._pages(number, start, size) as pages:
            whole: Array = np.ndarray(shape, kind, pages, place - start)
            found: Array = np.array(whole[window])
            del whole
        return found

    @contextlib.contextmanager
    def _pages(self, number: int, start: int, size: int) -> Iterator[mmap.mmap]:
        """Map a part of the file; what is small stays mapped for the same thread's next window."""
        last: tuple[int, int, mmap.mmap] | None = getattr(self._mapped, "last", None)
        if last is not None and last[:2] == (start, size):
            yield last[2]
            return
        pages = mmap.mmap(number, size, access=mmap.ACCESS_READ, offset=start)
        if size <= MAPPED_MOST:
            self._mapped.last = start, size, pages
            yield pages
            return
        with pages:
            if hasattr(pages, "madvise"):
                pages.madvise(mmap.MADV_RANDOM)  # else neighbours are mapped in too
            yield pages


def _flat(data: bytes | memoryview) -> memoryview:
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")


def _write_at(number: int, data: memoryview, place: int) -> None:
    """Write all of `data`, and let other threads write elsewhere meanwhile."""
    while data:
        done = os.pwrite(number, data, place)
        data, place = data[done:], place + done


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConvertError(f"{error.strerror}", place="temporary file") from error
