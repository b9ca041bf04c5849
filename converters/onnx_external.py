"""External data of an ONNX model: read only inside the model's folder, checked before it is read.

Spec: spec/SECURITY.md, S3 and S7. Sister file: read_onnx.py.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from dcformat.errors import ConvertError

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass
class ExternalFiles:
    """Reads pieces of the files beside a model; each piece and each file once."""

    folder: Path
    sizes: dict[Path, int] = field(default_factory=dict)
    used: dict[Path, int] = field(default_factory=dict)
    pieces: dict[tuple[Path, int, int], bytes] = field(default_factory=dict)

    @property
    def used_bytes(self) -> int:
        """How many bytes were read."""
        return sum(self.used.values())

    def read(self, entries: Mapping[str, str], needed: int) -> bytes:
        """Return the `needed` bytes that a tensor's external_data `entries` point to.

        Raises ConvertError with the reason where they point outside the folder, to something that
        is no regular file, or to other than `needed` bytes.
        """
        path = self._resolve(entries.get("location", ""))
        offset = _number(entries, "offset", 0)
        length = _number(entries, "length", needed)
        if length != needed:
            raise ConvertError(f"its external data has {length} bytes, its shape needs {needed}")
        size = self.sizes.setdefault(path, _regular_size(path))
        if offset + length > size:
            raise ConvertError(
                f"external data file {path.name!r} has {size} bytes, "
                f"{offset + length} are needed: it is cut short"
            )
        return self._piece(path, offset, length)

    def _piece(self, path: Path, offset: int, length: int) -> bytes:
        key = (path, offset, length)
        if key not in self.pieces:
            # Overlapping pieces could otherwise ask for far more memory than the files have.
            self.used[path] = self.used.get(path, 0) + length
            if self.used[path] > self.sizes[path]:
                raise ConvertError(f"tensors overlap in external data file {path.name!r}")
            self.pieces[key] = _read_piece(path, offset, length)
        return self.pieces[key]

    def _resolve(self, location: str) -> Path:
        reason = _refusal(location)
        if reason:
            raise ConvertError(f"external data {_shown(location)} {reason}")
        folder = self.folder.resolve()
        try:
            path = (folder / location).resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before 3.13
            reason = getattr(error, "strerror", None) or "a loop of links"
            raise ConvertError(f"external data {_shown(location)}: {reason}") from error
        if not path.is_relative_to(folder):
            raise ConvertError(
                f"external data {_shown(location)} is refused: a link leads out of the "
                "model's folder"
            )
        return path


def _refusal(location: str) -> str:
    if not location:
        return "has no location"
    windows = PureWindowsPath(location)
    if PurePosixPath(location).is_absolute() or windows.drive or windows.root:
        return "is refused: its path is absolute"
    if ".." in PurePosixPath(location).parts or ".." in windows.parts:
        return "is refused: its path leaves the model's folder"
    if "\0" in location:
        return "is refused: its path holds a NUL"
    return ""


def _shown(location: str) -> str:
    return repr(location if len(location) <= 100 else location[:97] + "...")


def _number(entries: Mapping[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise ConvertError(f"the {key} of its external data is not a number: {_shown(text)}")
    return int(text)


def _regular_size(path: Path) -> int:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ConvertError(f"external data {path.name!r} is not a regular file")
    return status.st_size


def _read_piece(path: Path, offset: int, length: int) -> bytes:
    try:
        # Not blocking: what was a file when it was looked at may be a pipe now.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as stream:
            stream.seek(offset)
            data = stream.read(length)
    except OSError as error:
        raise ConvertError(f"external data {path.name!r}: {error.strerror}") from error
    if len(data) != length:
        raise ConvertError(f"external data file {path.name!r} changed while it was read")
    return data
