"""Read a model in more than one file: an index of JSON beside its shards.

The index, `model.safetensors.index.json` or `pytorch_model.bin.index.json`, is an object with
`weight_map`, from the name of a tensor to the name of its shard, and `metadata`, which may state
`total_size`, the bytes of all tensors. Tensors stand in the order of their shards' names, and
inside a shard in the order that its reader gives. A shard is read only if it is inside the index's
folder, or, where it is a link, beside the file that a link to the index leads to: the cache of the
Hugging Face hub keeps both so. What the index says and what the shards hold must be the same.

Sister files: read_safetensors.py and read_torch.py, which read the shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dcformat import formats
from dcformat.errors import ConvertError
from dcformat.formats import Reader
from dcformat.ids import BITS, MAX_TENSORS, Meta
from dcformat.model import Model, Source, Tensor

from . import read_safetensors
from .onnx_external import refusal
from .onnx_files import look_at, read_at
from .onnx_other import explain
from .strict_json import count, parse
from .weights import shown

_MAX_BYTES = 100_000_000  # of an index, as of a header of safetensors
_MAX_NESTED = 64  # objects, lists, and commas that are not in weight_map
_MAX_SHARDS = 100_000
_NAMED = 5  # tensors that an error lists


def accepts(head: bytes) -> bool:
    """Tell whether the first bytes of a file can begin an object of JSON."""
    return head.lstrip(b" \t\r\n").startswith(b"{")


def read(path: Path) -> Model:
    """Return the tensors of all shards of the index `path`. Raises ConvertError in one line."""
    try:
        return _read(Path(path))
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__


def _read(path: Path) -> Model:
    text = _text(path)
    try:
        weight_map, total = _said(text)
    except ConvertError as error:
        raise ConvertError(f"not an index of shards: {error.message}") from error
    paths = {name: _resolve(path, name) for name in sorted(set(weight_map.values()))}
    models = {name: _shard(name, real) for name, real in paths.items()}
    _check_names(weight_map, models)
    tensors = tuple(tensor for model in models.values() for tensor in model.tensors)
    size = sum(model.source.file_bytes for model in models.values())
    metadata, notes = _metadata(models)
    return Model(
        tensors,
        source=Source("shards", len(text) + size, hashlib.sha256(text).digest()),
        metadata=metadata,
        notes=(*_notes(models), *notes, *_total(total, tensors)),
        files=tuple(paths.values()),
        ties={name: first for model in models.values() for name, first in model.ties.items()},
    )


def _text(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ConvertError("is a directory, not an index of shards")
        file = look_at(path, "the file")
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}") from error
    if file.size > _MAX_BYTES:
        raise ConvertError(f"{file.size} bytes, more than an index of shards has: {_MAX_BYTES}")
    with file.open() as stream:
        text = bytes(read_at(stream, 0, file.size))
    if not accepts(text):
        raise ConvertError(f"not an index of shards: {explain(text[:64]) or 'not JSON'}")
    return text


def _said(text: bytes) -> tuple[dict[str, str], object]:
    """Return the weight_map of an index, and what it says of the size of all."""
    found = count(text)
    if max(found.objects, found.lists, found.commas - MAX_TENSORS) > _MAX_NESTED:
        raise ConvertError("its JSON says more than weight_map and metadata")
    said = parse(text)
    weight_map = said.get("weight_map")
    if not isinstance(weight_map, dict):
        raise ConvertError("its JSON has no weight_map")
    for name, shard in weight_map.items():
        if not isinstance(shard, str):
            raise ConvertError(f"its weight_map gives no file name for tensor {shown(name)}")
    if len(set(weight_map.values())) > _MAX_SHARDS:
        raise ConvertError(f"it names more than {_MAX_SHARDS} shards")
    metadata = said.get("metadata")
    return weight_map, metadata.get("total_size") if isinstance(metadata, dict) else None


def _resolve(index: Path, name: str) -> Path:
    """Return the real path of a shard; ConvertError where it is not beside the index."""
    reason = refusal(name)
    if reason:
        raise ConvertError(f"the shard {shown(name)} {reason}")
    try:
        path = (index.parent / name).resolve(strict=True)
        folders = index.parent.resolve(), index.resolve().parent
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a lone surrogate
        reason = getattr(error, "strerror", None) or "cannot be found"
        raise ConvertError(f"the shard {shown(name)}: {reason}") from error
    if not any(path.is_relative_to(folder) for folder in folders):
        raise ConvertError(
            f"the shard {shown(name)} is refused: a link leads out of the index's folder"
        )
    return path


def _shard(name: str, path: Path) -> Model:
    """Read the shard `name`, which is at `path`: a link may lead to a file named otherwise."""
    try:
        reader = formats.reader_for(Path(name))
        if reader.format == READER.format:
            raise ConvertError("is an index again")
        if reader is read_safetensors.READER:  # the digest of the whole is that of the index
            return read_safetensors.read(path, digest=False)
        return reader.read(path)
    except ConvertError as error:
        for place in (str(path), name):
            error.place = error.place.removeprefix(place).removeprefix(" / ")
        raise error.at(f"shard {shown(name)}") from error.__cause__


def _check_names(weight_map: Mapping[str, str], models: Mapping[str, Model]) -> None:
    """Compare the index with its shards; neither may know of a tensor that the other does not."""
    held = {name: {tensor.name for tensor in model.tensors} for name, model in models.items()}
    for tensor, name in weight_map.items():
        if tensor not in held[name]:
            raise ConvertError(f"shard {shown(name)} has no tensor {shown(tensor)}, the index says")
    for name, tensors in held.items():
        strange = sorted(t for t in tensors if weight_map.get(t) != name)
        if strange:
            listed = ", ".join(shown(t) for t in strange[:_NAMED])
            more = f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else ""
            raise ConvertError(
                f"shard {shown(name)} has tensors that the index does not list there: "
                f"{listed}{more}"
            )


def _metadata(models: Mapping[str, Model]) -> tuple[dict[Meta, bytes], tuple[str, ...]]:
    """Return what all shards say of themselves, where that is the same, and a note elsewhere."""
    said = [model.metadata.get(Meta.SOURCE_METADATA, b"{}") for model in models.values()]
    if any(parse(text) != parse(said[0]) for text in said):  # which may be in another order
        return {}, ("the metadata of the shards are not all the same: left out",)
    return {Meta.SOURCE_METADATA: said[0]} if set(said) - {b"{}"} else {}, ()


def _notes(models: Mapping[str, Model]) -> Iterator[str]:
    for name, model in models.items():
        yield from (f"{name}: {note}" for note in model.notes)


def _total(stated: Any, tensors: tuple[Tensor, ...]) -> Iterator[str]:
    """Say where the index states another size than the tensors have; many of them do."""
    size = sum(-(-tensor.size * BITS[tensor.dtype] // 8) for tensor in tensors)
    if stated is not None and stated != size:
        text = str(stated)[:_MAX_NESTED]
        yield f"the index states a total_size of {text}, its tensors have {size} bytes"


READER = Reader("shards", (".index.json",), accepts, read, explain)
