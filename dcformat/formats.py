"""Readers and writers of foreign formats, found by entry point.

A converter package declares objects in the group `dcformat.converters`; the names are
`read-<format>` and `write-<format>`, `take-<framework>` for what takes a model out of a running
program, and `shrink-<graph>` for what takes filters of zeros out of a graph. Nothing is imported
until a file of that kind is met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ConvertError
from .ids import GraphFormat
from .model import Model

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .coded import CodedModel

GROUP = "dcformat.converters"


@dataclass(frozen=True)
class Reader:
    """`accepts` looks at the first bytes of a file; `read` raises ConvertError.

    `suffixes` are ends of file names, in small letters. `explain` says what a file seems to be
    that was not accepted; empty where it does not know. `options` are names that `read` takes.
    """

    format: str
    suffixes: tuple[str, ...]
    accepts: Callable[[bytes], bool]
    read: Callable[..., Model]
    explain: Callable[[bytes], str] = lambda _: ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """The files that a writer made, and what there is to say of them.

    `stored` is what they take in flash, 0 where that is not known; `rows` are labels and texts for
    people, `facts` the same for --json.
    """

    files: tuple[Path, ...]
    stored: int = 0
    rows: tuple[tuple[str, str], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Writer:
    """`write(model, path)` writes the whole file or nothing; `options` are names of its own.

    `remarks` says, in lines, what of a model a file of this format does not tell. With `coded` it
    takes a CodedModel, `settings` of the encoder and `progress`, and returns what it Made; with
    `scaled` the Model that it takes may hold integers with scales. `beside(path)` are the other
    files that it may write.
    """

    format: str
    suffixes: tuple[str, ...]
    write: Callable[..., Made | None]
    options: tuple[str, ...] = ()
    remarks: Callable[[Model], tuple[str, ...]] = lambda _: ()
    coded: bool = False
    scaled: bool = False
    beside: Callable[[Path], Sequence[Path]] = lambda _: ()


@dataclass(frozen=True)
class Shrunk:
    """A smaller model, and what is not in it any more.

    `filters` were zero everywhere, `channels` nobody took; `bytes` are those of weights and biases
    in the source's types. `staying` counts the filters of zeros that are still there, by reason.
    """

    coded: CodedModel
    filters: int = 0
    channels: int = 0
    layers: int = 0
    bytes: int = 0
    staying: Mapping[str, int] = field(default_factory=dict)


Kind = TypeVar("Kind", Reader, Writer)


def known(verb: str) -> dict[str, EntryPoint]:
    """Return the entry points of `verb` ("read" or "write") by format, names sorted."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - a third of importing dcformat

    found = {e.name: e for e in entry_points(group=GROUP) if e.name.startswith(f"{verb}-")}
    return {name.split("-", 1)[1]: found[name] for name in sorted(found)}


def reader_for(path: Path, format: str | None = None) -> Reader:
    """Return the reader named `format`, or the one for the suffix of `path`."""
    return _pick("read", path, format, Reader)


def writer_for(path: Path, format: str | None = None) -> Writer:
    """Return the writer named `format`, or the one for the suffix of `path`."""
    return _pick("write", path, format, Writer)


def can_write(path: Path) -> bool:
    """Tell whether a writer is for files that end as `path` does."""
    try:
        writer_for(path)
    except ConvertError:
        return False
    return True


def taker_for(framework: str) -> Callable[..., Model]:
    """Return the function that takes a model out of a running program of `framework`."""
    names = known("take")
    if framework not in names:
        raise ConvertError(f"no converter takes models of {framework}")
    taker: Callable[..., Model] = names[framework].load()
    return taker


def shrink(coded: CodedModel) -> Shrunk:
    """Return a coded model without the filters and channels that its graph can do without.

    Raises ConvertError where it has no graph of a kind that a converter knows.
    """
    if coded.graph is None:
        raise ConvertError("has no graph, which is what filters are taken out of")
    name = GraphFormat(coded.graph.format).name.lower()
    names = known("shrink")
    if name not in names:
        raise ConvertError(f"no converter takes filters out of graphs of {name}")
    shrinker: Callable[[CodedModel], Shrunk] = names[name].load()
    return shrinker(coded)


def _pick(verb: str, path: Path, format: str | None, kind: type[Kind]) -> Kind:
    names = known(verb)
    if format is not None:
        if format not in names:
            raise ConvertError(
                f"unknown format {format!r}; can {verb}: {', '.join(names)}", place=str(path)
            )
        named: Kind = names[format].load()
        return named
    name = path.name.lower()
    for entry in names.values():
        converter = entry.load()
        if isinstance(converter, kind) and name.endswith(converter.suffixes):
            return converter
    shown = f"*{path.suffix.lower()}" if path.suffix else path.name.lower()
    raise ConvertError(
        f"no converter can {verb} files named {shown}; can {verb}: {', '.join(names)}",
        place=str(path),
    )
