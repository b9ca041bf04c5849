"""From text to bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from .. import frames
from ..container import ENTRY_BYTES, HEADER_BYTES, Entry
from ..fields import align
from ..ids import Section
from . import frame
from .fields import Writer, parse_int
from .lines import Node, data_of, parse_lines
from .numbers import numbers_crcs
from .payload import alignment, write_payload
from .records import CRC_AT, Auto, Tensor, write_record
from .sections import WRITERS
from .tables import write_tables


def build_file(lines: Iterable[bytes]) -> bytes:
    """Return the bytes that a text stands for. Raises ConvertError with the line."""
    root = Writer(Node("file", parse_lines(lines), 1))
    raw = root.one("hex")
    if raw is not None:
        root.done()
        return data_of(raw)
    return _file(root)


@dataclass
class Part:
    """A section before it has a place: its lines, its stored bytes, the size of its content."""

    kind: int
    writer: Writer
    stored: bytes = b""
    decoded_size: int = 0


@dataclass
class Model:
    """What sections need to know of each other."""

    tables: list[bytes] = field(default_factory=list)
    records: list[Node] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    payloads: dict[int, bytes] = field(default_factory=dict)
    widths: dict[int, int] = field(default_factory=dict)


def _file(root: Writer) -> bytes:
    parts = [_part(node) for node in root.all("section")]
    first: dict[int, Part] = {}
    for part in parts:
        other = first.setdefault(part.kind, part)
        if other is not part and part.writer.one("hex") is None:
            part.writer.node.fail("a second section of its type is written as hex")
    model = Model()
    for part in sorted(parts, key=_turn):
        _fill(part, model, first.get(Section.RECORDS))
    return _assemble(root, parts)


def _turn(part: Part) -> int:
    """Records come last: they tell of payloads, and of numbers, which need tables."""
    return 1 if part.kind == Section.RECORDS else 0


def _part(node: Node) -> Part:
    kind = frame.SECTION.parse(node.value)
    if kind is None or not 0 <= kind < 256:
        node.fail(f"{node.value[:40]!r} is not a section")
    return Part(kind, Writer(node))


def _fill(part: Part, model: Model, records: Part | None) -> None:
    """Write the content of a section."""
    writer = part.writer
    raw = writer.one("hex")
    if raw is not None:
        part.stored = data_of(raw)
        part.decoded_size = len(part.stored)
        return
    if part.kind == Section.TABLES:
        model.tables = write_tables(writer)
    elif part.kind == Section.RECORDS:
        _write_records(writer, model)
    elif part.kind == Section.PAYLOAD:
        _write_payloads(writer, model, records)
    elif part.kind in WRITERS:
        WRITERS[Section(part.kind)](writer)
    content = bytes(writer.out)
    part.decoded_size = len(content)
    part.stored = content
    if frame.is_compressed(part.kind, _stated(writer, "codec", 0)):
        part.stored = frames.compress(content)


def _stated(writer: Writer, name: str, auto: int) -> int:
    """Return a field of the section table before its place there is known."""
    probe = Writer(writer.node)
    kinds = {"codec": frame.CODEC}
    node = probe.one(name)
    if node is None:
        return auto
    value = kinds[name].parse(node.value) if name in kinds else parse_int(node.value)
    if value is None:
        node.fail(f"{name!r} cannot be {node.value[:40]!r}")
    return value


def _write_payloads(writer: Writer, model: Model, records: Part | None) -> None:
    """Write PAYLOAD; the records tell what stands in each payload."""
    if records is not None and records.writer.one("hex") is None:
        model.records = records.writer.all("record")
    model.tensors = [write_record(node, Auto())[1] for node in model.records]
    log2 = _stated(writer, "align_log2", frame.auto_align(Section.PAYLOAD))
    for node in writer.all("payload"):
        index = parse_int(node.value)
        if index is None or not 0 <= index < len(model.tensors) or index in model.payloads:
            node.fail(f"{node.value[:40]!r} is no record, or one with a payload above")
        _write_payload(writer, model, node, index, log2)
    writer.rest()


def _write_payload(writer: Writer, model: Model, node: Node, index: int, log2: int) -> None:
    t = model.tensors[index]
    stated = Writer(model.records[index]).inside("blocks").one("offset_width")
    raw, model.widths[index] = write_payload(node, t, t.offset_width if stated else None)
    model.payloads[index] = raw
    pad = Writer(node).one("pad")
    end = len(writer.out)
    zeros = align(end, alignment(t, len(raw), log2)) - end
    writer.out += bytes(zeros) if pad is None else data_of(pad)
    writer.out += raw


def _write_records(writer: Writer, model: Model) -> None:
    nodes = writer.all("record")
    writer.number("count", "I", auto=len(nodes))
    payloads = [model.payloads.get(index, b"") for index in range(len(nodes))]
    written = [
        write_record(node, Auto(0, len(payload), model.widths.get(index, 1)))
        for index, (node, payload) in enumerate(zip(nodes, payloads, strict=True))
    ]
    crcs = numbers_crcs([record for record, _ in written], payloads, model.tables)
    for node, (record, t), crc in zip(nodes, written, crcs, strict=True):
        if not t.parts.tied and _crc_is_auto(node):
            struct.pack_into("<I", record, CRC_AT, crc)
        writer.out += record
    writer.rest()


def _crc_is_auto(node: Node) -> bool:
    record = Writer(node)
    return record.one("hex") is None and record.one("numbers_crc") is None


def _assemble(root: Writer, parts: list[Part]) -> bytes:
    head = Writer(root.one("header") or Node("header", [], root.node.number))
    extra = head.one("extra")
    more = data_of(extra) if extra is not None else b""
    start = HEADER_BYTES + len(more)
    end = start + ENTRY_BYTES * len(parts)
    table, body = [], []
    for part in parts:
        entry, pad = _entry(part, end)
        table.append(entry)
        body += [pad, part.stored]
        end += len(pad) + len(part.stored)
    tail = root.one("tail")
    body.append(frame.TAIL if tail is None else data_of(tail))
    root.done()
    rows = b"".join(table)
    size = end + len(body[-1])
    auto = frame.HeaderAuto(start, len(parts), size, zlib.crc32(rows))
    return b"".join([_header(head, auto, more), more, rows, *body])


def _entry(part: Part, end: int) -> tuple[bytes, bytes]:
    """Return the entry of a section that follows `end`, and the bytes before the section."""
    writer = Writer(part.writer.node, bytearray([part.kind]), used=part.writer.used)
    log2 = _stated(writer, "align_log2", frame.auto_align(part.kind))
    given = writer.one("pad")
    pad = bytes(frame.aligned(end, log2) - end) if given is None else data_of(given)
    auto = Entry(
        part.kind,
        frame.auto_flags(part.kind),
        0,
        frame.auto_align(part.kind),
        zlib.crc32(part.stored),
        end + len(pad),
        len(part.stored),
        part.decoded_size,
    )
    frame.entry_fields(writer, auto)
    writer.done()
    return bytes(writer.out), pad


def _header(head: Writer, auto: frame.HeaderAuto, more: bytes) -> bytes:
    first = Writer(head.node)
    frame.header_fields(first, auto)
    crc = frame.header_crc(first.out, more)
    frame.header_fields(head, frame.HeaderAuto(*_values(auto)[:4], crc))
    head.done()
    return bytes(head.out)


def _values(auto: frame.HeaderAuto) -> tuple[int, int, int, int]:
    return auto.header_size, auto.section_count, auto.file_size, auto.table_crc
