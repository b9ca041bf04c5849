"""Writing files whole or not at all (spec/SECURITY.md, S8)."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import ConvertError
from .ids import MAGIC

HEADER_BYTES = 48  #: of spec/DCF.md, "Header"
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_UNDO: dict[object, Callable[[], object]] = {}


@contextlib.contextmanager
def undone(undo: Callable[[], object]) -> Iterator[None]:
    """Undo what the block made when it ends, however it ends; see also `undo_all`."""
    key = object()
    _UNDO[key] = undo
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            undo()
        del _UNDO[key]


def undo_all() -> None:
    """Undo what every open `undone` block made: for a process that ends without unwinding."""
    for undo in reversed(list(_UNDO.values())):
        with contextlib.suppress(OSError):
            undo()


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a temporary folder that is gone after the block."""
    try:
        name = tempfile.mkdtemp(prefix="dcformat-")
    except OSError as error:
        raise ConvertError(f"cannot make a temporary folder: {error.strerror}") from error
    with undone(lambda: shutil.rmtree(name, ignore_errors=True)):
        yield Path(name)


@contextlib.contextmanager
def atomic_output(path: str | Path) -> Iterator[BinaryIO]:
    """Open `path` for binary writing; it changes only when the block ends without an error.

    The bytes go to a temporary file in the same folder (`.dcformat-*.part`), are flushed to the
    disk, and the file is renamed: whatever happens, even a power cut, the old file is there or
    the new one. A symbolic link stays, and what it names is written. `-` is standard output.
    That, pipes and devices are written at the end in one go. Raises ConvertError naming the file
    where it cannot be written; BrokenPipeError where nobody reads what is written.
    """
    with _spooled(path) if _is_special(path) else _replaced(Path(path)) as stream:
        yield stream


def write_if_changed(path: Path, data: bytes) -> bool:
    """Write `data` to `path`, whole or not at all; tell whether there was anything to change.

    A file that holds `data` already is not touched: whoever looks at its time sees no change.
    """
    try:
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return False
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=str(path)) from error
    with atomic_output(path) as stream:
        stream.write(data)
    return True


def _is_special(path: str | Path) -> bool:
    """Tell whether `path` is `-`, or is there and neither a file nor a folder."""
    if str(path) == "-":
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    """Give a new file that takes the place of `path` after the block."""
    try:
        target = _target(path)
        part = target.with_name(f".dcformat-{secrets.token_hex(8)}.part")
        with undone(part.unlink):
            with os.fdopen(os.open(part, _NEW, 0o666), "wb+") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if target.exists():
                os.chmod(part, stat.S_IMODE(target.stat().st_mode))
            os.replace(part, target)
            _sync_folder(target.parent)
    except OSError as error:
        raise ConvertError(f"cannot write: {error.strerror}", place=str(path)) from error


@contextlib.contextmanager
def _spooled(path: str | Path) -> Iterator[BinaryIO]:
    """Give a temporary file without a name, which is poured to `path` after the block."""
    place = "standard output" if str(path) == "-" else str(path)
    try:
        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            _pour(spool, Path(path), place)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = f"cannot write a temporary file: {error.strerror}"
        raise ConvertError(reason, place=place) from error


def _pour(source: BinaryIO, target: Path, place: str) -> None:
    """Copy `source` to standard output (`-`), a pipe or a device, which stays what it is."""
    try:
        if str(target) == "-":
            _copy(source, sys.stdout.buffer)
        else:
            with target.open("wb") as sink:
                _copy(source, sink)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConvertError(f"cannot write: {error.strerror}", place=place) from error


def _copy(source: BinaryIO, sink: BinaryIO) -> None:
    shutil.copyfileobj(source, sink, 1 << 20)
    sink.flush()


def _target(path: Path) -> Path:
    """Return the file to replace, a link followed; OSError where it must not be replaced."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise ConvertError("cannot write: a symbolic link that leads nowhere", place=str(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return target


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders, some file systems refuse
        folder_fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(folder_fd)
        finally:
            os.close(folder_fd)


@contextlib.contextmanager
def _source(path: str | Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as stream:
        yield stream


def read_container(path: str | Path) -> bytes:
    """Return the bytes of a `.dcf`: no more than one above the size that its header states.

    `-` is standard input. An endless source gives an error of its header, not of memory. Raises
    ConvertError where the file cannot be read.
    """
    try:
        with _source(path) as stream:
            head = stream.read(HEADER_BYTES)
            if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
                return head
            left = int.from_bytes(head[16:24], "little") - len(head) + 1
            pieces = [head]
            while left > 0 and (piece := stream.read(min(left, 1 << 24))):
                pieces.append(piece)
                left -= len(piece)
            return b"".join(pieces)
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=str(path)) from error
