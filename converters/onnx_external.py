"""External data of an ONNX model: read only inside the model's folder, checked before it is read.

Spec: spec/SECURITY.md, S3 and S7. Sister files: read_onnx.py, onnx_files.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from dcformat.errors import ConvertError

from .onnx_files import Stored, look_at

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass
class ExternalFiles:
    """Finds pieces of the files beside a model; each file is looked at once."""

    folder: Path
    files: dict[Path, Stored] = field(default_factory=dict)
    used: dict[Path, int] = field(default_factory=dict)
    pieces: set[tuple[Path, int, int]] = field(default_factory=set)

    @property
    def used_bytes(self) -> int:
        """How many bytes of the files are tensors."""
        return sum(self.used.values())

    def locate(self, entries: Mapping[str, str], needed: int) -> tuple[Stored, int]:
        """Return file and offset of the `needed` bytes that external_data `entries` point to.

        Raises ConvertError with the reason where they point outside the folder, to something that
        is no regular file, or to other than `needed` bytes.
        """
        path = self._resolve(entries.get("location", ""))
        offset = _number(entries, "offset", 0)
        length = _number(entries, "length", needed)
        if length != needed:
            raise ConvertError(f"its external data has {length} bytes, its shape needs {needed}")
        file = self._file(path)
        if offset + length > file.size:
            raise ConvertError(
                f"{file.shown} has {file.size} bytes, {offset + length} are needed: it is cut short"
            )
        self._count(file, offset, length)
        return file, offset

    def _file(self, path: Path) -> Stored:
        if path not in self.files:
            shown = f"external data file {path.name!r}"
            try:
                self.files[path] = look_at(path, shown)
            except OSError as error:
                raise ConvertError(f"{shown}: {error.strerror}") from error
        return self.files[path]

    def _count(self, file: Stored, offset: int, length: int) -> None:
        """Overlapping pieces could otherwise ask for far more memory than the files have."""
        key = (file.path, offset, length)
        if key in self.pieces:
            return
        self.pieces.add(key)
        self.used[file.path] = self.used.get(file.path, 0) + length
        if self.used[file.path] > file.size:
            raise ConvertError(f"tensors overlap in {file.shown}")

    def _resolve(self, location: str) -> Path:
        reason = refusal(location)
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


def refusal(location: str) -> str:
    """Say why a model may not refer to `location`; empty where it may."""
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
