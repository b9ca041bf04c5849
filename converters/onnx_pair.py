"""A model and the file of its numbers: where in that file they stand, and both written or neither.

Spec: https://onnx.ai/onnx/repo-docs/ExternalData.html; spec/SECURITY.md, S8. Sister file:
write_onnx.py.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dcformat.errors import ConvertError
from dcformat.files import atomic_output, undone

from .onnx_external import refusal
from .onnx_wire import BYTES, DATA_LOCATION, EXTERNAL_DATA, VARINT, varint

MIN_OUTSIDE = 1024  # bytes of a tensor: smaller ones may be shapes, which runtimes look at early
_PAGE = 4096  # so that a page can be mapped
_LINE = 64
_LARGE = 1 << 16  # bytes of a tensor that begins with a page


def data_path(path: Path) -> Path:
    """Return where the numbers of the model at `path` are; ConvertError where they cannot be."""
    data = path.with_name(f"{path.name}.data")
    try:
        data.name.encode()
    except UnicodeEncodeError as error:
        raise ConvertError(
            "its name is not UTF-8, and a model refers to its data by name"
        ) from error
    if refusal(data.name):
        raise ConvertError(f"no model can refer to its data in {data.name!r}")
    for place in (path, data):
        if place.is_symlink() or (place.exists() and not place.is_file()):
            raise ConvertError(f"{place.name!r} is there, and is not a plain file")
    return data


def aligned(end: int, size: int) -> int:
    """Return the offset of `size` bytes that follow what ends at `end`."""
    step = _PAGE if size >= _LARGE else _LINE
    return -(-end // step) * step


def reference(location: str, offset: int, size: int) -> bytes:
    """Return the fields of a TensorProto that say where its numbers are."""
    entries = (("location", location), ("offset", str(offset)), ("length", str(size)))
    fields = b"".join(
        _field(EXTERNAL_DATA, _field(1, key.encode()) + _field(2, value.encode()))
        for key, value in entries
    )
    return fields + varint(DATA_LOCATION << 3 | VARINT) + varint(1)


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(content)) + content


@contextmanager
def atomic_pair(path: Path, data: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a model and its data for writing; both change when the block ends, or neither.

    The data is renamed first. Where the model then cannot be, the old data comes back.
    """
    with (
        _put_back(data, path),
        atomic_output(path) as model,
        atomic_output(data) as numbers,
    ):
        yield model, numbers


@contextmanager
def _put_back(path: Path, model: Path) -> Iterator[None]:
    """Give `path` its old content again, or none, unless `model` was replaced as well."""
    before, was = _identity(model), _identity(path)
    old = path.with_name(f".dcformat-{secrets.token_hex(8)}.part")

    def undo() -> None:
        if _identity(model) == before and _identity(path) != was:
            if was is None:
                path.unlink()
            else:
                old.replace(path)
        old.unlink(missing_ok=True)

    with undone(undo):
        if was is not None:
            _keep(path, old)
        yield


def _keep(path: Path, old: Path) -> None:
    try:
        os.link(path, old)
    except OSError as error:
        reason = f"cannot keep it while it is written again: {error.strerror}; remove it first"
        raise ConvertError(reason, place=str(path)) from error


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from the one that replaces it; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
