"""Read .safetensors: the library checks the header, the numbers stay where they are.

Format: https://huggingface.co/docs/safetensors: u64 length, a JSON header with type, shape and
byte range of each tensor, then the numbers, little-endian, in row-major order, without holes or
overlaps. So an offset is the sum of the sizes before it. Tied weights cannot be said: they stand
there twice. The library lets a name stand in the header twice and takes the last one; that is
refused here, as the format says. It gives NumPy no bfloat16 or float8, so that numbers are read by
offset.

Sister files: write_safetensors.py (the inverse), shards.py (models of more than one file),
onnx_lazy.py (reading by offset).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

from dcformat.errors import ConvertError
from dcformat.formats import Reader
from dcformat.ids import MAX_TENSORS, DType, Meta
from dcformat.model import Model, Source, Tensor

from . import onnx_other
from .onnx_data import stored_bytes
from .onnx_files import FileBytes, Stored, look_at, read_at
from .onnx_lazy import Packed
from .safetensors_types import DTYPES, LENGTH_BYTES, MAX_HEADER, METADATA
from .strict_json import MAX_TEXTS, count, parse
from .weights import Keeper, check_dims, check_name, shown

_MAX_METADATA = 1 << 23  # bytes of them as JSON; a .dcf has twice as many for all that it says


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tensor as the library tells of it; `size` is its bytes."""

    name: str
    dtype: DType
    dims: tuple[int, ...]

    @property
    def size(self) -> int:
        return stored_bytes(self.dtype, prod(self.dims))


def accepts(head: bytes) -> bool:
    """Tell whether the first bytes of a file can begin a safetensors file."""
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    begins = head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{"
    return begins and length <= MAX_HEADER


def explain(head: bytes) -> str:
    """Say what a file seems to be that was not accepted; empty where that is not known."""
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    if head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{":
        return f"its header should have {length} bytes, more than {MAX_HEADER}"
    return onnx_other.explain(head)


def read(path: Path, digest: bool = True) -> Model:
    """Return the tensors of the file `path` in the order of their bytes.

    Large tensors are read when they are asked for. What the header says beside the tensors
    (`__metadata__`) is kept as SOURCE_METADATA. Without `digest` the model does not tell the
    source's SHA-256, which takes reading all of it. Raises ConvertError in one line.
    """
    try:
        return _read(Path(path), digest)
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__


def _read(path: Path, digest: bool) -> Model:
    file = _look_at(path)
    header = _header(file)
    with file.open():  # what the library opens is this file
        entries, metadata = _checked(path, header)
    start = LENGTH_BYTES + len(header)
    tensors = tuple(_tensors(file, start, entries, Keeper(str(path))))
    if start + sum(entry.size for entry in entries) != file.size:
        raise ConvertError("its tensors do not fill the file")
    return Model(
        tensors,
        source=Source("safetensors", file.size, _digest(file) if digest else b""),
        metadata={Meta.SOURCE_METADATA: metadata} if metadata else {},
    )


def _look_at(path: Path) -> Stored:
    try:
        if path.is_dir():
            raise ConvertError("is a directory, not a safetensors file")
        return look_at(path, "the file")
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}") from error


def _header(file: Stored) -> bytes:
    """Return the header; ConvertError where it is longer than the file or than readers take."""
    with file.open() as stream:
        head = bytes(read_at(stream, 0, min(file.size, 64)))
        if not accepts(head):
            words = explain(head)
            raise ConvertError(
                f"not a safetensors file: {words or 'it does not begin with the size of a header'}"
            )
        length = int.from_bytes(head[:LENGTH_BYTES], "little")
        if length > file.size - LENGTH_BYTES:
            raise ConvertError(
                f"its header should have {length} bytes, the file has {file.size}: it is cut short"
            )
        return bytes(read_at(stream, LENGTH_BYTES, length))


def _checked(path: Path, header: bytes) -> tuple[list[_Entry], bytes]:
    """Return what the header says, of tensors and beside them."""
    texts = _said(header).get(METADATA)
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - see tests/test_imports.py

    try:
        with safe_open(path, framework="np") as opened:
            entries = [_entry(opened, name) for name in opened.offset_keys()]
    except SafetensorError as error:
        reason = _fault(_said(header)) or f"not valid: {_reason(error)}"
        raise ConvertError(reason) from error
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror or error}") from error
    return _in_order(entries), _metadata(texts)


def _said(header: bytes) -> dict[str, Any]:
    """Return the header's object, in which no key stands twice."""
    try:
        _check_counts(header)
        said: dict[str, Any] = parse(header)
    except ConvertError as error:
        raise ConvertError(f"the JSON of its header is refused: {error.message}") from error
    return said


def _in_order(entries: list[_Entry]) -> list[_Entry]:
    """Return entries that are sorted by offset so that those of one offset are sorted, too.

    Tensors without elements may share a place with others; the library gives them as they come.
    """
    starts = accumulate((entry.size for entry in entries), initial=0)
    keyed = [(start, e.size > 0, e.name, e) for start, e in zip(starts, entries, strict=False)]
    return [entry for *_, entry in sorted(keyed, key=lambda key: key[:3])]


def _check_counts(header: bytes) -> None:
    """Refuse what no header of tensors has, and what would take far more memory than it has."""
    found = count(header)
    tensors = found.objects
    if tensors > MAX_TENSORS + 2:
        raise ConvertError(f"more than {MAX_TENSORS} tensors")
    if found.lists > 2 * tensors or found.commas > 16 * tensors + MAX_TEXTS:
        raise ConvertError("it says more than types, shapes and offsets")


def _entry(opened: Any, name: str) -> _Entry:
    try:
        part = opened.get_slice(name)
        dtype, dims = part.get_dtype(), part.get_shape()
        if dtype not in DTYPES:
            raise ConvertError(f"a .dcf has no element type {dtype}")
        return _Entry(check_name(name), DTYPES[dtype], check_dims(dims))
    except ConvertError as error:
        raise error.at(f"tensor {shown(name)}") from None


def _fault(said: dict[str, Any]) -> str:
    """Name the first tensor of a header that is wrong by itself; the library seldom does."""
    for name, entry in said.items():
        reason = _entry_fault(entry) if name != METADATA else ""
        if reason:
            return f"tensor {shown(name)}: {reason}"
    return ""


def _entry_fault(entry: Any) -> str:
    if not isinstance(entry, dict):
        return "not an object of dtype, shape and data_offsets"
    dtype, dims, span = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str):
        return "no dtype"
    if not _whole_numbers(dims):
        return "no shape of whole numbers"
    if not _whole_numbers(span) or len(span) != 2:
        return "no data_offsets of two whole numbers"
    if dtype not in DTYPES:
        return f"unknown element type {shown(dtype)}"
    needed, found = stored_bytes(DTYPES[dtype], prod(dims)), span[1] - span[0]
    return "" if found == needed else f"{found} bytes where its shape and type need {needed}"


def _whole_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 64 for n in value)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).removeprefix("Error while deserializing header: ")
    return text if len(text) <= 200 else f"{text[:197]}..."


def _metadata(texts: dict[str, str] | None) -> bytes:
    """Return the header's texts as JSON, in their order; empty where there are none."""
    if not texts:
        return b""
    if len(texts) > MAX_TEXTS:
        raise ConvertError(f"{len(texts)} entries of metadata, more than {MAX_TEXTS}")
    written = json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode()
    if len(written) > _MAX_METADATA:
        raise ConvertError(f"{len(written)} bytes of metadata, more than {_MAX_METADATA}")
    return written


def _tensors(file: Stored, start: int, entries: list[_Entry], keeper: Keeper) -> Iterator[Tensor]:
    for entry in entries:
        region = Packed(file, start, entry.dtype, entry.dims)
        try:
            yield keeper.tensor(entry.name, entry.dtype, entry.dims, region)
        except ConvertError as error:
            raise error.at(f"tensor {shown(entry.name)}") from error.__cause__
        start += entry.size


def _digest(file: Stored) -> bytes:
    """Return the SHA-256 of the file, read piece by piece."""
    with file.open() as stream:
        return FileBytes(stream, file.size).digest()


READER = Reader("safetensors", (".safetensors",), accepts, read, explain)
