"""Read what torch.save and torch.jit.save write, without torch and without running the pickle.

A `.pt`, `.pth`, `.th` or `.bin` file is a zip archive (torch 1.6 and later):

    <root>/data.pkl     the saved value; tensors in it refer to storages
    <root>/data/<key>   the bytes of a storage
    <root>/byteorder    "little" or "big"; little where it is missing
    <root>/code/...     of TorchScript: the source of its classes (torch_script.py)

or has the legacy layout (torch_legacy.py). Which tensors are taken, and under which names, says
torch_names.py. Tensors that are the same view of the same storage are tied (`Model.ties`); other
views of one storage are tensors of their own. The file has no graph.

Spec: spec/SECURITY.md (S3 to S6).    Sisters: torch_*.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from dcformat.errors import ConvertError
from dcformat.formats import Reader
from dcformat.ids import WIDTH
from dcformat.model import Array, LazyTensor, Model, Source, Tensor

from . import onnx_other
from .onnx_files import FileBytes, Stored, look_at
from .torch_legacy import read_legacy
from .torch_names import Named, fault_of, model_of
from .torch_pickle import unpickle
from .torch_script import Classes, parameters
from .torch_values import Storage, Unreadable, Value, View
from .torch_views import Held, Opens, Reading, Strided, reach
from .torch_words import TorchWords
from .torch_zip import DEFLATED, Archive, open_archive
from .weights import check_dims, shown

_ZIP, _PICKLE = b"PK\x03\x04", re.compile(rb"\x80[\x02-\x05]")
_MAX_HELD = 1 << 28  # bytes of a pickle, of all sources, of all storages that are deflated
_AT_ONCE, _TOGETHER = 1 << 16, 1 << 26  # bytes of a tensor that is kept in memory, and of all
_TIMES, _FREE = 100, 1 << 22  # what a byte of the file may become, and a file of any size


def accepts(head: bytes) -> bool:
    """Tell whether a file that begins with `head` can be torch's: a zip archive or a pickle."""
    return head.startswith(_ZIP) or _PICKLE.match(head) is not None


def explain(head: bytes) -> str:
    """Say what a file seems to be that was not accepted; empty where that is not known."""
    if head[257:262] == b"ustar":
        return "a tar archive, as torch wrote before 0.1.10: load it with torch and save it again"
    if head[:4] in (b"lmgg", b"ggml", b"tjgg"):
        return "a ggml file (whisper.cpp, llama.cpp)"
    if head[:2] == b"\x1f\x8b":
        return "a gzip file: unpack it first"
    return onnx_other.explain(head)


def read(path: Path) -> Model:
    """Return the model in the file `path`.

    Large tensors are read when they are asked for. `notes` says what was taken and left out.
    Raises ConvertError, in one line, where the file is damaged, holds something else than numbers
    and containers of them, or is not torch's.
    """
    try:
        return _read(Path(path))
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__


def _read(path: Path) -> Model:
    try:
        file = look_at(path, "the file")
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}") from error
    with file.open() as stream:
        source = FileBytes(stream, file.size)
        head = source[:4096]
        if not accepts(head):
            raise ConvertError(f"not a file of torch.save: {explain(head) or 'unknown content'}")
        layout = _zip if head.startswith(_ZIP) else _legacy
        found = layout(source, file)
        maker = Maker(file, str(path), found.place, found.big)
        tensors = tuple(maker.tensors(found.named))
        origin = Source("torch", file.size, source.digest())
        return Model(tensors=tensors, source=origin, notes=tuple(found.notes), ties=maker.ties)


@dataclass(frozen=True)
class Place:
    """Where the bytes of a storage are."""

    file: Opens
    start: int
    size: int


@dataclass(frozen=True)
class Found:
    """What a file holds: the model's views by name, and where each storage is."""

    named: list[Named]
    notes: list[str]
    place: Callable[[str], Place]
    big: bool = False


def _legacy(source: FileBytes, file: Stored) -> Found:
    value, storages = read_legacy(source)

    def place(key: str) -> Place:
        if key not in storages:
            raise ConvertError(f"the file has no storage {shown(key)}")
        return Place(file, *storages[key])

    return Found(*model_of(value), place)


def _zip(source: FileBytes, file: Stored) -> Found:
    archive = open_archive(source)
    root = root_of(archive)
    big = _is_big(archive, root)
    if f"{root}/constants.pkl" in archive.members:
        named, notes, folder = _script(archive, root)
    else:
        value = _unpickled(archive, f"{root}/data.pkl", TorchWords())
        (named, notes), folder = model_of(value), "data"
    return Found(named, notes, Storages(archive, file, f"{root}/{folder}").place, big)


def root_of(archive: Archive) -> str:
    """Return the folder of an archive that has data.pkl; ConvertError where there is not one."""
    roots = [n.split("/")[0] for n in archive.members if re.fullmatch(r"[^/]+/data\.pkl", n)]
    if len(roots) == 1:
        return roots[0]
    if roots:
        raise ConvertError(f"the archive has {len(roots)} data.pkl, and only one can be the model")
    raise ConvertError(f"a zip archive that torch.save did not write: {_contents(archive)}")


def _contents(archive: Archive) -> str:
    """Say what an archive without data.pkl may be."""
    names = list(archive.members)
    if any(name.endswith("/archive_format") for name in names):
        return "it is one of torch.export (.pt2)"
    if any(name.endswith("/model.json") for name in names):
        return "it is TorchScript of a torch before 1.4: load it with torch and save it again"
    nested = [n for n in names if n.endswith((".pt", ".pth", ".th", ".bin", ".jit"))]
    if nested:
        return f"it holds {shown(nested[0])}: unpack it first"
    return f"it holds {', '.join(shown(n) for n in names[:3]) or 'nothing'}"


def _is_big(archive: Archive, root: str) -> bool:
    name = f"{root}/byteorder"
    order = archive.read(name, 64) if name in archive.members else b"little"
    if order not in (b"little", b"big"):
        raise ConvertError(f"its byte order is {order!r}, neither 'little' nor 'big'")
    return order == b"big"


def _unpickled(archive: Archive, name: str, words: TorchWords) -> Value:
    data, short = archive.read(name, _most(archive)), name.rpartition("/")[2]
    value, end = unpickle(data, words, 0, short, len(archive.source) + _FREE // 16)
    if end != len(data):
        raise ConvertError(f"{len(data) - end} bytes behind the end of {short}")
    return value


def _most(archive: Archive) -> int:
    """Return how many bytes may be inflated: more than weights of any kind need."""
    return min(_MAX_HELD, _TIMES * len(archive.source) + _FREE)


def _script(archive: Archive, root: str) -> tuple[list[Named], list[str], str]:
    """Return tensors of TorchScript, notes, and the folder of their storages."""
    module = _unpickled(archive, f"{root}/data.pkl", TorchWords(scripts=True))
    named, others = parameters(module, Classes(_sources(archive, root)))
    values = _unpickled(archive, f"{root}/constants.pkl", TorchWords(scripts=True))
    if not isinstance(values, tuple):
        raise ConvertError("constants.pkl holds no tuple")
    constants: list[Named] = [
        (f"CONSTANTS.c{number}", value)
        for number, value in enumerate(values)
        if isinstance(value, (View, Unreadable))
    ]
    if named:
        for name, _ in constants:
            others.add(name)
        return named, [str(others)] if others.count else [], "data"
    if not constants:
        raise ConvertError("it has no parameters, buffers or constants")
    return constants, ["it has no parameters: the constants of its code are taken"], "constants"


def _sources(archive: Archive, root: str) -> Callable[[str], str]:
    left = _most(archive)

    def source(name: str) -> str:
        nonlocal left
        data = archive.read(f"{root}/{name}", left)
        left -= len(data)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ConvertError(f"{shown(name)} is not UTF-8") from error

    return source


@dataclass
class Storages:
    """Finds the storages of an archive, each looked at once."""

    archive: Archive
    file: Stored
    folder: str
    found: dict[str, Place] = field(default_factory=dict)
    held: int = 0

    def place(self, key: str) -> Place:
        """Return where storage `key` is; its CRC is checked, and what is deflated is inflated."""
        if key not in self.found:
            self.found[key] = self._place(f"{self.folder}/{key}")
        return self.found[key]

    def _place(self, name: str) -> Place:
        start = self.archive.start(name)
        member = self.archive.members[name]
        if member.method != DEFLATED:
            self.archive.check_crc(name)
            return Place(self.file, start, member.size)
        self.held += member.size
        if self.held > _most(self.archive):
            most = f"{self.held} bytes of storages are compressed in the archive, or more"
            raise ConvertError(f"{most}: unpack it and pack it without compression (zip -0)")
        return Place(Held(self.archive.read(name, member.size)), 0, member.size)


@dataclass
class Maker:
    """Makes tensors of views; equal views share their numbers."""

    file: Stored
    path: str
    place: Callable[[str], Place]
    big: bool
    shared: dict[Strided, tuple[str, Array | Reading]] = field(default_factory=dict)
    ties: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    kept: int = 0

    def tensors(self, named: list[Named]) -> Iterator[Tensor]:
        """Yield the tensors; ConvertError names the one that cannot be had."""
        for name, view in named:
            try:
                yield self._tensor(name, view)
            except ConvertError as error:
                raise error.at(f"tensor {shown(name)}") from error.__cause__

    def _tensor(self, name: str, view: View | Unreadable) -> Tensor:
        if isinstance(view, Unreadable):
            raise ConvertError(view.reason)
        region = self._region(view)
        if region in self.shared:
            self.ties[name] = self.shared[region][0]
        else:
            self.shared[region] = name, self._numbers(name, region)
        _, numbers = self.shared[region]
        if isinstance(numbers, Reading):
            return LazyTensor(name, region.dtype, region.dims, numbers)
        return Tensor(name, region.dtype, numbers)

    def _region(self, view: View) -> Strided:
        """Return where the view's numbers are, after every check on them."""
        storage, width = view.storage, WIDTH[view.dtype]
        fault = fault_of(storage)
        if fault:
            raise ConvertError(fault)
        check_dims(view.size)
        place = self.place(storage.key)
        _check_size(storage, place)
        first = storage.first * storage.width + view.offset * width
        if first + reach(view.size, view.stride) * width > storage.end * storage.width:
            count = storage.end - storage.first
            raise ConvertError(
                f"it ends behind its storage {shown(storage.key)} of {count} elements"
            )
        start = place.start + first
        return Strided(place.file, start, view.dtype, view.size, view.stride, self.big)

    def _numbers(self, name: str, region: Strided) -> Array | Reading:
        size = prod(region.dims) * WIDTH[region.dtype]
        self.bytes += max(size, region.reach * WIDTH[region.dtype])
        if self.bytes > _TIMES * self.file.size + _FREE:
            raise ConvertError("the tensors repeat their numbers too often for the file's size")
        if size <= _AT_ONCE and self.kept + size <= _TOGETHER:
            self.kept += size
            return region.read()
        region.check()
        return Reading(region, f"{self.path} / tensor {shown(name)}")


def _check_size(storage: Storage, place: Place) -> None:
    """Compare the elements that a storage has by the pickle with the bytes that are there."""
    stated = storage.elements * storage.width
    if not stated <= place.size < stated + storage.width:
        raise ConvertError(
            f"its storage {shown(storage.key)} has {place.size} bytes, the pickle says {stated}"
        )


READER = Reader(
    "torch", (".pt", ".pth", ".th", ".bin", ".jit", ".ckpt", ".pth.tar"), accepts, read, explain
)
