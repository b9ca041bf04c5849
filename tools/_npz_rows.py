"""Arrays of an .npz file, read some rows at a time: a calibration set may be larger than memory.

Spec: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
Sister: tools/_activations_run.py, which asks.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError


class Rows:
    """One array of an .npz file: its shape and type, and its rows in order."""

    def __init__(self, archive: zipfile.ZipFile, member: str) -> None:
        self._archive = archive
        self._member = member
        self.name = member.removesuffix(".npy")
        with archive.open(member) as stream:
            self.shape, self.dtype = _header(stream, self.name)

    def whole(self) -> npt.NDArray[Any]:
        """Return all of the array."""
        with self._archive.open(self._member) as stream:
            _header(stream, self.name)
            return self._read(stream, self.shape)

    def pieces(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        """Yield `rows` rows at a time, the last piece with what is left."""
        with self._archive.open(self._member) as stream:
            _header(stream, self.name)
            for start in range(0, self.shape[0], rows):
                yield self._read(stream, (min(rows, self.shape[0] - start), *self.shape[1:]))

    def _read(self, stream: IO[bytes], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        size = prod(shape) * self.dtype.itemsize
        try:
            data = stream.read(size)
        except (EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ConvertError(f"array {self.name!r} is damaged: {error}") from error
        if len(data) != size:
            raise ConvertError(f"array {self.name!r} ends before its numbers do")
        return np.frombuffer(data, self.dtype).reshape(shape)


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = reader(stream)
    except (ValueError, KeyError, EOFError) as error:
        raise ConvertError(f"array {name!r} is not in NumPy's format") from error
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ConvertError(f"array {name!r} does not hold numbers")
    if fortran and len(shape) > 1:
        raise ConvertError(f"array {name!r} is in Fortran order: save np.ascontiguousarray of it")
    return shape, dtype


def open_arrays(path: Path) -> dict[str, Rows]:
    """Return the arrays of an .npz file by name. Raises ConvertError."""
    try:
        archive = zipfile.ZipFile(path)
        members = [n for n in archive.namelist() if n.endswith(".npy")]
        return {rows.name: rows for rows in (Rows(archive, member) for member in members)}
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=str(path)) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ConvertError(f"not an .npz file: {error}", place=str(path)) from error
