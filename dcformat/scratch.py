"""Bytes put aside until they are needed again, in memory while few and then in a file."""

from __future__ import annotations

import contextlib
import math
import mmap
import tempfile
import threading
import weakref
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .errors import ConvertError
from .model import Array, Window

IN_MEMORY = 1 << 20  #: bytes held before a temporary file is made


class Scratch:
    """A temporary file without a name that grows; it goes when nothing refers to it any more."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self._end = 0

    def keep(self, data: bytes | memoryview) -> int:
        """Put `data` aside; return the place at which `read` finds it."""
        place = self.reserve(len(data))
        self.write(place, data)
        return place

    def reserve(self, size: int) -> int:
        """Return a place for `size` bytes."""
        with self._lock:
            place = self._end
            self._end += size
            return place

    def write(self, place: int, data: bytes | memoryview) -> None:
        """Write to a place that was reserved."""
        with self._lock, _named():
            if place + len(data) > IN_MEMORY:  # else what was reserved would be filled in memory
                self._file.rollover()
            self._file.seek(place)
            self._file.write(data)

    def read(self, place: int, size: int) -> bytes:
        """Return `size` bytes from `place` on."""
        with self._lock, _named():
            self._file.seek(place)
            return self._file.read(size)

    def window(
        self, place: int, shape: tuple[int, ...], kind: npt.DTypeLike, window: Window
    ) -> Array:
        """Return a window of the array of `shape` at `place`; only its pages are looked at."""
        with self._lock, _named():
            number = self._file.fileno()
            self._file.flush()
        start = place // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        size = place - start + math.prod(shape) * np.dtype(kind).itemsize
        with mmap.mmap(number, size, access=mmap.ACCESS_READ, offset=start) as pages:
            if hasattr(pages, "madvise"):
                pages.madvise(mmap.MADV_RANDOM)  # else neighbours are mapped in too
            whole: Array = np.ndarray(shape, kind, pages, place - start)
            found: Array = np.array(whole[window])
            del whole
        return found


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConvertError(f"{error.strerror}", place="temporary file") from error
