"""The archives of torch.export.save: the tables of their weights, and the program as JSON.

    <root>/models/<name>.json                            the program
    <root>/data/weights/<name>_weights_config.json       name, type, shape, strides, file
    <root>/data/weights/weight_<n>                       the numbers, little-endian
    <root>/data/constants/<name>_constants_config.json   the same of constants
    <root>/data/weights/<name>.pt, constants/<name>.pt   instead of these in PyTorch 2.8
    serialized_exported_program.json, serialized_state_dict.pt, serialized_constants.pt
                                                         instead of all until 2.7

Sister files: read_pt2.py, pt2_checks.py (what is believed of the JSON), read_torch.py (numbers in
the `.pt` files, and of all views).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from dcformat.errors import ConvertError
from dcformat.ids import WIDTH, DType

from .onnx_files import FileBytes, Stored
from .pt2_checks import PAYLOADS, Payload
from .read_torch import Place, Storages, root_of
from .strict_json import parse
from .torch_names import Named
from .torch_pickle import unpickle
from .torch_values import Storage, Table, View
from .torch_views import reach
from .torch_words import TorchWords
from .torch_zip import STORED, Archive, open_archive
from .weights import check_dims, check_name, shown

_MAX_JSON = 1 << 26  # bytes; in memory they are some twenty times as many
_MAX_PICKLE = 1 << 28

#: torch's ScalarType by its number in the schema, and as a .dcf has it.
DTYPES = {
    1: DType.UINT8,
    2: DType.INT8,
    3: DType.INT16,
    4: DType.INT32,
    5: DType.INT64,
    6: DType.FLOAT16,
    7: DType.FLOAT,
    8: DType.DOUBLE,
    10: DType.COMPLEX64,
    11: DType.COMPLEX128,
    12: DType.BOOL,
    13: DType.BFLOAT16,
    28: DType.UINT16,
    29: DType.FLOAT8E4M3FN,
    30: DType.FLOAT8E5M2,
    31: DType.FLOAT8E4M3FNUZ,
    32: DType.FLOAT8E5M2FNUZ,
    33: DType.FLOAT8E8M0,
    34: DType.UINT32,
    35: DType.UINT64,
}
_STRIDED = 7  # torch's Layout
_OLD = "serialized_exported_program.json"


@dataclass(frozen=True)
class Contents:
    """What an archive holds: views of the weights and then of the constants, by name.

    `places` are where their storages are. `program` is the parsed JSON.
    """

    weights: list[Named]
    constants: list[Named]
    places: Callable[[str], Place]
    program: Any


class Part:
    """Some bytes of a file as a source of their own: an archive inside of an archive."""

    def __init__(self, source: FileBytes, start: int, size: int) -> None:
        self._source, self._start, self._size = source, start, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        return self._source[self._start + start : self._start + stop]


def contents(source: FileBytes, file: Stored) -> Contents:
    """Return what the archive in `source` holds; ConvertError where it is none of torch.export."""
    archive = open_archive(source)
    if _OLD in archive.members:
        return _old(archive, file)
    root, name = _find(archive)
    order = f"{root}/byteorder"
    if order in archive.members and archive.read(order, 64) != b"little":
        raise ConvertError("its numbers are not little-endian, as those of torch.export are")
    reader = _Reader(archive, file)
    return Contents(
        reader.named(f"{root}/data/weights", name, "weights"),
        reader.named(f"{root}/data/constants", name, "constants"),
        reader.place,
        _json(archive, f"{root}/models/{name}.json"),
    )


def _old(archive: Archive, file: Stored) -> Contents:
    reader = _Reader(archive, file)
    return Contents(
        reader.pickled("serialized_state_dict.pt"),
        reader.pickled("serialized_constants.pt"),
        reader.place,
        _json(archive, _OLD),
    )


def _find(archive: Archive) -> tuple[str, str]:
    """Return the root folder of an archive and the name of its program."""
    found = [m for n in archive.members if (m := re.fullmatch(r"([^/]+)/models/([^/]+)\.json", n))]
    for match in found:
        if match[2] == "model" or len(found) == 1:
            return match[1], match[2]
    if found:
        names = ", ".join(shown(match[2]) for match in found[:4])
        raise ConvertError(f"it holds {len(found)} programs ({names}), and none is named 'model'")
    if any("/data/aotinductor/" in name for name in archive.members):
        raise ConvertError("a compiled package (AOTInductor): its weights are inside of a library")
    raise ConvertError("a zip archive that torch.export did not write: it has no models/*.json")


def _json(archive: Archive, name: str) -> Any:
    try:
        member = archive.members.get(name)
        if member is not None and member.method != STORED:  # so that it is as small as the file
            raise ConvertError("it is compressed: pack the archive without compression (zip -0)")
        return parse(archive.read(name, _MAX_JSON))
    except ConvertError as error:
        raise error.at(name) from error.__cause__


@dataclass
class _Reader:
    """Finds views and storages; a storage's key says which member it is, and of which archive.

    `inner` are the archives in the archive, each with its start; `stores` the folders of both.
    """

    archive: Archive
    file: Stored
    inner: dict[str, tuple[Archive, int]] = field(default_factory=dict)
    stores: dict[str, Storages] = field(default_factory=dict)

    def named(self, folder: str, name: str, kind: str) -> list[Named]:
        """Return what the table of a folder says or, in archives of 2.8, its `.pt`."""
        table, pickled = f"{folder}/{name}_{kind}_config.json", f"{folder}/{name}.pt"
        if table not in self.archive.members and pickled in self.archive.members:
            return self.pickled(pickled)
        try:
            config = PAYLOADS(_json(self.archive, table)).get("config", {})
        except RecursionError:
            raise ConvertError(f"{table}: nested too deeply") from None
        return [self._view(folder, key, payload) for key, payload in config.items()]

    def _view(self, folder: str, name: str, payload: Payload) -> Named:
        try:
            check_name(name)
            return name, self._checked(folder, payload)
        except ConvertError as error:
            raise error.at(f"tensor {shown(name)}") from error.__cause__

    def _checked(self, folder: str, payload: Payload) -> View:
        meta = payload.get("tensor_meta")
        if payload.get("use_pickle") or meta is None:
            raise ConvertError("it is a pickled object, which is code")
        if meta.get("layout") != _STRIDED or meta.get("dtype") not in DTYPES:
            kinds = f"type {meta.get('dtype')} and layout {meta.get('layout')}"
            raise ConvertError(f"a .dcf has no tensors of {kinds}")
        dtype = DTYPES[meta["dtype"]]
        sizes, strides = _numbers(meta, "sizes"), _numbers(meta, "strides")
        (offset,) = _numbers({"o": [meta.get("storage_offset", {"as_int": 0})]}, "o")
        if len(sizes) != len(strides):
            raise ConvertError(f"it has {len(sizes)} axes and {len(strides)} strides")
        check_dims(sizes)
        key = f"{folder}/{payload.get('path_name', '')}"
        size = self._member_size(key)
        elements = size // WIDTH[dtype]
        storage = Storage(key, dtype, elements, WIDTH[dtype], "cpu", elements)
        if size % WIDTH[dtype]:
            raise ConvertError(f"{shown(key)} has {size} bytes, which are no {dtype.name}")
        if offset + reach(sizes, strides) > elements:
            raise ConvertError(f"it ends behind the {elements} elements of {shown(key)}")
        return View(storage, offset, sizes, strides, dtype)

    def _member_size(self, name: str) -> int:
        if name not in self.archive.members:
            raise ConvertError(f"the archive has no member {shown(name)}")
        return self.archive.members[name].size

    def place(self, key: str) -> Place:
        """Return where the numbers of a storage are."""
        outer, inside, name = key.partition("!")
        if not inside:
            folder, _, name = key.rpartition("/")
            return self._store(folder, self.archive, folder).place(name)
        archive, start = self._inner(outer)
        found = self._store(outer, archive, f"{root_of(archive)}/data").place(name)
        moves = found.file is self.file  # what was deflated is in memory now
        return replace(found, start=start + found.start) if moves else found

    def _store(self, key: str, archive: Archive, folder: str) -> Storages:
        return self.stores.setdefault(key, Storages(archive, self.file, folder))

    def pickled(self, name: str) -> list[Named]:
        """Return the tensors of a state dict that torch.save wrote into the archive."""
        if name not in self.archive.members:
            raise ConvertError(f"the archive has no member {shown(name)}")
        if not self.archive.members[name].size:
            return []
        try:
            return list(self._pickled(name))
        except ConvertError as error:
            raise error.at(name) from error.__cause__

    def _pickled(self, name: str) -> Iterator[Named]:
        archive, _ = self._inner(name)
        data = archive.read(f"{root_of(archive)}/data.pkl", _MAX_PICKLE)
        value, end = unpickle(data, TorchWords(), 0, "data.pkl")
        if end != len(data) or not isinstance(value, Table):
            raise ConvertError("it holds no dict of tensors")
        for key, view in value.items:
            if not isinstance(key, str) or not isinstance(view, View):
                raise ConvertError(f"{shown(str(key))} is no tensor")
            storage = replace(view.storage, key=f"{name}!{view.storage.key}")
            yield check_name(key), replace(view, storage=storage)

    def _inner(self, name: str) -> tuple[Archive, int]:
        """Open an archive inside of this one, once."""
        if name not in self.inner:
            start, member = self.archive.start(name), self.archive.members[name]
            if member.method != STORED:
                raise ConvertError(f"{shown(name)} is compressed")
            part = Part(self.archive.source, start, member.size)
            self.inner[name] = open_archive(part), start  # type: ignore[arg-type]
        return self.inner[name]


def _numbers(meta: Payload, key: str) -> tuple[int, ...]:
    found = tuple(item.get("as_int", -1) for item in meta.get(key, ()))
    if any(not 0 <= n < 1 << 62 for n in found):
        raise ConvertError(f"its {'offset' if key == 'o' else key} are no sizes")
    return found
