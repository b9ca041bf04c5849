"""Writing files whole or not at all (spec/SECURITY.md, S8)."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import ConvertError
from .ids import MAGIC

HEADER_BYTES = 48  #: of spec/DCF.md, "Header"


@contextlib.contextmanager
def atomic_output(path: str | Path) -> Iterator[BinaryIO]:
    """Open `path` for binary writing; it changes only when the block ends without an error.

    The bytes go to a temporary file in the same folder, renamed at the end; `-` is standard
    output. That, pipes and devices are written at the end in one go. Raises ConvertError naming
    the file where it cannot be written; BrokenPipeError where nobody reads standard output.
    """
    target = Path(path)
    if str(path) == "-" or (target.exists() and not target.is_file() and not target.is_dir()):
        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            _pour(spool, target)
        return
    temporary = _create_beside(target)
    try:
        with os.fdopen(temporary[0], "wb+") as stream:
            yield stream
        os.chmod(temporary[1], _mode(target))
        os.replace(temporary[1], target)
    except OSError as error:
        raise ConvertError(f"cannot write: {error.strerror}", place=str(path)) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary[1])


def _create_beside(target: Path) -> tuple[int, str]:
    if target.is_dir():
        raise ConvertError("cannot write: is a directory", place=str(target))
    try:
        return tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise ConvertError(f"cannot write: {error.strerror}", place=str(target)) from error


def _mode(target: Path) -> int:
    """Return the mode an ordinary open() would leave: mkstemp's 0600 would surprise."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _pour(source: BinaryIO, target: Path) -> None:
    """Copy `source` to standard output (`-`), a pipe or a device, which stays what it is."""
    standard = str(target) == "-"
    try:
        if standard:
            _copy(source, sys.stdout.buffer)
        else:
            with target.open("wb") as sink:
                _copy(source, sink)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = "standard output" if standard else str(target)
        raise ConvertError(f"cannot write: {error.strerror}", place=place) from error


def _copy(source: BinaryIO, sink: BinaryIO) -> None:
    while piece := source.read(1 << 20):
        sink.write(piece)
    sink.flush()


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
