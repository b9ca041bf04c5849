"""From bytes to text."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..container import ENTRY_BYTES, HEADER_BYTES, Entry
from ..fields import Fields, align
from ..ids import MAGIC, Section
from . import frame
from .fields import Reader
from .lines import FIRST_LINE, Node, data_node, print_lines
from .numbers import numbers_crcs
from .payload import Allowance, alignment, allowance, read_payload, unpacked
from .records import Auto, Tensor, read_record, split_records
from .sections import READERS, read_names
from .tables import read_tables

NOTHING = memoryview(b"")


def dump_file(data: bytes | memoryview, full: bool = False) -> Iterator[str]:
    """Yield the lines of the text form of any bytes; `full` adds lines for what is `auto`."""
    yield FIRST_LINE + "\n"
    view = memoryview(data)
    if _has_header(view):
        yield from print_lines(_file(view, full))
    else:
        yield from print_lines([data_node("hex", view)])


def _has_header(data: memoryview) -> bool:
    """Tell whether bytes are like a file in magic or in the size of the header."""
    if len(data) < HEADER_BYTES:
        return False
    size = int.from_bytes(data[12:14], "little")
    return data[:8] == MAGIC or HEADER_BYTES <= size <= frame.MAX_HEADER


@dataclass(frozen=True)
class Stored:
    """A section as it stands, and its content: None where it has no lines of its own.

    That is so of the second section of a type, and of a frame that would not be made again.
    """

    entry: Entry
    pad: memoryview
    stored: memoryview
    content: memoryview | None


@dataclass(frozen=True)
class Payload:
    """A payload as it stands: the padding before it, its bytes, their lines."""

    pad: memoryview = NOTHING
    raw: memoryview = NOTHING
    lines: list[Node] = field(default_factory=list)
    offset_width: int = 1


@dataclass
class Model:
    """What sections need to know of each other: the first of each type counts."""

    full: bool
    names: list[str] = field(default_factory=list)
    tables: list[bytes] = field(default_factory=list)
    records: list[memoryview] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    payloads: dict[int, Payload] = field(default_factory=dict)
    rest: memoryview = NOTHING


def _file(data: memoryview, full: bool) -> Iterator[Node]:
    reader = Reader(Fields(data[:HEADER_BYTES], "header"))
    says = frame.header_fields(reader, frame.HeaderAuto())
    size = says.header_size
    known = HEADER_BYTES <= size <= frame.MAX_HEADER and size <= len(data)
    start = size if known else HEADER_BYTES
    entries = frame.entries_of(data, start, says)
    end = start + len(entries) * ENTRY_BYTES
    auto = frame.HeaderAuto(
        start,
        len(entries),
        len(data),
        zlib.crc32(data[start:end]),
        frame.header_crc(data[:HEADER_BYTES], data[HEADER_BYTES:start]),
    )
    yield _header(data, start, auto, full)
    places = frame.places_of(data, entries, end)
    allowed = allowance(len(data))
    sections = _sections(data, entries, places, allowed)
    model = _model(sections, allowed, full)
    for section, place in zip(sections, places, strict=True):
        yield _section(section, place, model)
    tail = data[places[-1].stop if places else end :]
    if tail != frame.TAIL:
        yield data_node("tail", tail)


def _header(data: memoryview, start: int, auto: frame.HeaderAuto, full: bool) -> Node:
    reader = Reader(Fields(data[:start], "header"), [], full)
    frame.header_fields(reader, auto)
    reader.rest("extra")
    return Node("header", reader.out)


def _sections(
    data: memoryview, entries: list[Entry], places: list[frame.Place], allowed: Allowance
) -> list[Stored]:
    seen: set[int] = set()
    found = []
    for entry, place in zip(entries, places, strict=True):
        stored = data[place.start : place.stop]
        content: memoryview | None = stored
        if entry.type in seen or entry.type not in set(Section):
            content = None
        elif frame.is_compressed(entry.type, entry.codec):
            raw = unpacked(stored, allowed)
            content = None if raw is None else memoryview(raw)
        seen.add(entry.type)
        found.append(Stored(entry, data[place.pad : place.start], stored, content))
    return found


def _model(sections: list[Stored], allowed: Allowance, full: bool) -> Model:
    """Part RECORDS and PAYLOAD, whose lines depend on each other."""
    content = {s.entry.type: s.content for s in sections if s.content is not None}
    model = Model(full)
    names = read_names(content.get(Section.NAMES, NOTHING), False)
    model.names = [node.value for node in names if node.key == "name"]
    tables = read_tables(content.get(Section.TABLES, NOTHING), False)
    model.tables = tables[1] if tables else []
    records = split_records(content.get(Section.RECORDS, NOTHING))
    model.records = records[0] if records else []
    model.tensors = [read_record(record, Auto())[1] for record in model.records]
    for section in sections:
        if section.entry.type == Section.PAYLOAD and section.content is not None:
            _part_payload(model, section.content, section.entry.align_log2, allowed)
    return model


def _part_payload(model: Model, content: memoryview, align_log2: int, allowed: Allowance) -> None:
    """Find each record's payload, as the records say where they stand."""
    end = 0
    for index, t in enumerate(model.tensors):
        start = min(align(end, alignment(t, t.payload_size, align_log2)), len(content))
        stop = min(start + t.payload_size, len(content))
        if stop > end:
            raw = content[start:stop]
            lines, width = read_payload(raw, t, allowed, model.full)
            model.payloads[index] = Payload(content[end:start], raw, lines, width)
        end = stop
    model.rest = content[end:]


def _section(section: Stored, place: frame.Place, model: Model) -> Node:
    entry = section.entry
    nodes = None if section.content is None else _content(section.content, section, model)
    size = len(section.stored)
    decoded = size if nodes is None or section.content is None else len(section.content)
    auto = Entry(
        entry.type,
        frame.auto_flags(entry.type),
        0,
        frame.auto_align(entry.type),
        zlib.crc32(section.stored),
        place.start,
        size,
        decoded,
    )
    reader = Reader(Fields(memoryview(_entry_bytes(entry)), "entry"), [], model.full)
    frame.entry_fields(reader, auto)
    zeros = frame.aligned(place.pad, entry.align_log2) - place.pad
    if section.pad != bytes(zeros):
        reader.out.append(data_node("pad", section.pad))
    body = [data_node("hex", section.stored)] if nodes is None else nodes
    return Node(f"section {frame.SECTION.show(entry.type)}", reader.out + body)


def _entry_bytes(entry: Entry) -> bytes:
    return frame.pack_entry(entry)[1:]


def _content(content: memoryview, section: Stored, model: Model) -> list[Node] | None:
    kind = section.entry.type
    if kind == Section.RECORDS:
        return _records(content, model)
    if kind == Section.TABLES:
        tables = read_tables(content, model.full)
        return tables[0] if tables else None
    if kind == Section.PAYLOAD:
        return _payloads(model, section.entry.align_log2)
    return READERS[Section(kind)](content, model.full)


def _records(content: memoryview, model: Model) -> list[Node] | None:
    found = split_records(content)
    if found is None:
        return None
    reader = Reader(Fields(content, "RECORDS"), [], model.full)
    reader.number("count", "I", auto=len(model.records))
    payloads = [model.payloads.get(index, Payload()) for index in range(len(model.records))]
    crcs = numbers_crcs(model.records, [payload.raw for payload in payloads], model.tables)
    for index, payload in enumerate(payloads):
        auto = Auto(crcs[index], len(payload.raw), payload.offset_width)
        node, _ = read_record(model.records[index], auto, model.full)
        node.comment = _label(index, model)
        reader.out.append(node)
    if found[1]:
        reader.out.append(data_node("rest", found[1]))
    return reader.out


def _label(index: int, model: Model) -> str:
    name = f" {model.names[index]}" if index < len(model.names) else ""
    return f"{index}{name}"


def _payloads(model: Model, align_log2: int) -> list[Node]:
    nodes = []
    end = 0
    for index, payload in model.payloads.items():
        node = Node(f"payload {index}", payload.lines)
        node.comment = model.names[index] if index < len(model.names) else ""
        size = len(payload.raw)
        zeros = align(end, alignment(model.tensors[index], size, align_log2)) - end
        if payload.pad != bytes(zeros):
            node.children.insert(0, data_node("pad", payload.pad))
        nodes.append(node)
        end += len(payload.pad) + size
    if model.rest:
        nodes.append(data_node("rest", model.rest))
    return nodes
