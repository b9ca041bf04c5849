"""Header, section table and sections of a file (spec/DCF.md); knows no room.

Sisters: dcformat/records.py (records), dcformat/sections.py (names, metadata, layers),
dcformat/c/dcf_open.c.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from . import frames
from .errors import Code, error_of
from .fields import Fields, align, all_zero
from .ids import (
    MAGIC,
    MAJOR,
    MAX_ALIGN_LOG2,
    MAX_GRAPH_BYTES,
    MAX_META_BYTES,
    MAX_RATIO,
    MAX_SECTIONS,
    MINOR,
    RATIO_SLACK,
    TAIL_BYTES,
    Incompat,
    Section,
    SectionCodec,
    SectionFlag,
)

HEADER_BYTES = 48
ENTRY_BYTES = 32

FLAGS: dict[Section, SectionFlag] = {
    section: SectionFlag.CRITICAL
    if section in (Section.RECORDS, Section.TABLES, Section.PAYLOAD)
    else SectionFlag.SAFE_TO_COPY
    for section in Section
}
COMPRESSIBLE = (Section.NAMES, Section.META, Section.GRAPH)
MAX_DECODED = {int(Section.META): MAX_META_BYTES, int(Section.GRAPH): MAX_GRAPH_BYTES}
_HEADER = struct.Struct("<8sHHHHQIIIIII")
_ENTRY = struct.Struct("<BBBBIQQQ")


@dataclass(frozen=True)
class Entry:
    """One row of the section table."""

    type: int
    flags: int
    codec: int
    align_log2: int
    crc: int
    offset: int
    stored_size: int
    decoded_size: int


@dataclass(frozen=True)
class Container:
    """A checked file: its bytes and where its sections are."""

    data: memoryview
    entries: Mapping[int, Entry]
    ro_compat: int = 0

    def stored(self, section: int) -> memoryview:
        """Return the stored bytes of a section; empty if it is missing."""
        entry = self.entries.get(section)
        if entry is None:
            return self.data[:0]
        return self.data[entry.offset : entry.offset + entry.stored_size]

    def has(self, section: int) -> bool:
        """Tell whether a section is there; one that decodes to no bytes reads as missing."""
        entry = self.entries.get(section)
        return entry is not None and entry.decoded_size > 0

    def check_crc(self, section: int) -> None:
        """Compare the CRC of a section's stored bytes, else CHECKSUM."""
        entry = self.entries.get(section)
        if entry is not None and zlib.crc32(self.stored(section)) != entry.crc:
            raise error_of(Code.CHECKSUM, "stored bytes changed", section_name(section))

    def content(self, section: int) -> memoryview:
        """Return the checked and decompressed bytes of a section."""
        self.check_crc(section)
        entry = self.entries.get(section)
        stored = self.stored(section)
        if entry is None or entry.codec == SectionCodec.STORED:
            return stored
        return memoryview(frames.decompress(stored, entry.decoded_size, section_name(section)))


def section_name(section: int) -> str:
    """Return what messages call a section."""
    try:
        return f"section {Section(section).name}"
    except ValueError:
        return f"section {section}"


def parse_container(data: bytes | memoryview) -> Container:
    """Check header and section table in the order of the page.

    Raises DcfError with the code of the first check that fails.
    """
    view = memoryview(data).cast("B")
    header_size, count, ro_compat = _parse_header(view)
    end = header_size + count * ENTRY_BYTES
    entries: dict[int, Entry] = {}
    previous = -1
    for i in range(count):
        start = header_size + i * ENTRY_BYTES
        entry = Entry(*_ENTRY.unpack(view[start : start + ENTRY_BYTES]))
        end = _check_entry(view, entry, previous, end)
        previous = entry.type
        entries[entry.type] = entry
    if len(view) - end != TAIL_BYTES:
        raise error_of(Code.STRUCTURE, f"{len(view) - end} bytes after the last section", "tail")
    if not all_zero(view[end:]):
        raise error_of(Code.PADDING, "not zero", "tail")
    container = Container(view, entries, ro_compat)
    container.check_crc(Section.RECORDS)
    container.check_crc(Section.TABLES)
    return container


def _parse_header(view: memoryview) -> tuple[int, int, int]:
    """Return header_size, section_count and ro_compat."""
    fields = Fields(view, "header")
    fields.need(len(view) >= len(MAGIC), "shorter than the magic", Code.TRUNCATED)
    fields.need(bytes(view[:8]) == MAGIC, "not a .dcf file", Code.MAGIC)
    fields.need(len(view) >= HEADER_BYTES, "ends inside the header", Code.TRUNCATED)
    (_, major, minor, size, count, file_size, incompat, ro_compat, _, table_crc, reserved, crc) = (
        _HEADER.unpack(view[:HEADER_BYTES])
    )
    fields.need(
        (major, minor) == (MAJOR, MINOR),
        f"version {major}.{minor}; this reader knows {MAJOR}.{MINOR}",
        Code.VERSION,
    )
    fields.need(HEADER_BYTES <= size <= 64 and size % 4 == 0, f"header_size {size}")
    fields.need(len(view) >= size, "ends inside the header", Code.TRUNCATED)
    own = zlib.crc32(view[HEADER_BYTES:size], zlib.crc32(view[: HEADER_BYTES - 4]))
    fields.need(own == crc, "header changed", Code.CHECKSUM)
    fields.need(
        file_size <= len(view), f"file ends at {len(view)} of {file_size} bytes", Code.TRUNCATED
    )
    fields.need(file_size == len(view), f"{len(view) - file_size} bytes after the file's end")
    unknown = incompat & ~int(Incompat.DRAFT)
    fields.need(not unknown, f"unknown incompat flags {unknown:#x}", Code.FEATURE)
    fields.need(bool(incompat & Incompat.DRAFT), "major version 0 without the draft flag")
    fields.need(count <= MAX_SECTIONS, f"{count} sections", Code.LIMIT)
    fields.need(reserved == 0, "reserved field not zero", Code.PADDING)
    end = size + count * ENTRY_BYTES
    fields.need(end <= len(view), "ends inside the section table", Code.TRUNCATED)
    fields.need(zlib.crc32(view[size:end]) == table_crc, "section table changed", Code.CHECKSUM)
    return size, count, ro_compat


def _check_entry(view: memoryview, entry: Entry, previous: int, end: int) -> int:
    """Check one entry; return where its section ends."""
    fields = Fields(view, section_name(entry.type))
    fields.need(entry.type > previous, "sections out of order")
    known = entry.type in set(Section)
    fields.need(not entry.flags & ~int(SectionFlag.CRITICAL | SectionFlag.SAFE_TO_COPY), "flags")
    if known:
        fields.need(entry.flags == FLAGS[Section(entry.type)], f"flags {entry.flags}")
    critical = bool(entry.flags & SectionFlag.CRITICAL)
    fields.need(known or not critical, "unknown critical section", Code.FEATURE)
    fields.need(entry.align_log2 <= MAX_ALIGN_LOG2, f"align {entry.align_log2}", Code.LIMIT)
    fields.need(entry.type != Section.PAYLOAD or entry.align_log2 >= 4, "align below 16")
    fields.need(entry.offset == align(end, 1 << entry.align_log2), f"offset {entry.offset}")
    room = len(view) - TAIL_BYTES - entry.offset
    fields.need(entry.stored_size <= room, "past the end of the file", Code.TRUNCATED)
    fields.need(all_zero(view[end : entry.offset]), "padding before it not zero", Code.PADDING)
    _check_codec(fields, entry, known)
    return entry.offset + entry.stored_size


def _check_codec(fields: Fields, entry: Entry, known: bool) -> None:
    most = MAX_DECODED.get(entry.type, entry.decoded_size)
    fields.need(entry.decoded_size <= most, f"{entry.decoded_size} bytes", Code.LIMIT)
    if entry.codec == SectionCodec.STORED:
        fields.need(entry.decoded_size == entry.stored_size, "decoded size of a stored section")
        return
    allowed = entry.codec == SectionCodec.ZSTD and entry.type in COMPRESSIBLE
    fields.need(allowed or not known, f"codec {entry.codec}", Code.FEATURE)
    bound = MAX_RATIO * (entry.stored_size + RATIO_SLACK)
    if entry.codec == SectionCodec.ZSTD:
        fields.need(entry.decoded_size <= bound, "decoded size", Code.LIMIT)


class Front:
    """All that stands before the payload's bytes; its size does not depend on their CRC.

    `sections` maps types other than PAYLOAD to their content, empty ones are left out;
    `payload_size` and `align_log2` are those of PAYLOAD. NAMES, META and GRAPH are compressed
    where that makes them smaller.
    """

    def __init__(
        self, sections: Mapping[Section, bytes], payload_size: int, align_log2: int
    ) -> None:
        present = [(s, sections[s]) for s in Section if sections.get(s)]
        self._bodies = [(s, len(c), *smaller(s, c)) for s, c in present]
        self._payload_size = payload_size
        self._align_log2 = align_log2
        count = len(present) + (payload_size > 0)
        self._start = HEADER_BYTES + ENTRY_BYTES * count
        self._end = self._start + sum(len(stored) for *_, stored in self._bodies)
        self.size = align(self._end, 1 << align_log2) if payload_size else self._end

    @property
    def sizes(self) -> dict[Section, int]:
        """The stored size of each section that is there."""
        sizes = {section: len(stored) for section, _, _, stored in self._bodies}
        return sizes | ({Section.PAYLOAD: self._payload_size} if self._payload_size else {})

    def written(self, payload_crc: int) -> bytes:
        """Return header, section table, sections and the padding before the payload."""
        table, offset = [], self._start
        for section, decoded, codec, stored in self._bodies:
            entry = (section, FLAGS[section], codec, 0, zlib.crc32(stored), offset)
            table.append(_ENTRY.pack(*entry, len(stored), decoded))
            offset += len(stored)
        if self._payload_size:
            kind, log2 = Section.PAYLOAD, self._align_log2
            entry = (kind, FLAGS[kind], SectionCodec.STORED, log2, payload_crc, self.size)
            table.append(_ENTRY.pack(*entry, self._payload_size, self._payload_size))
        header = _header(b"".join(table), self.size + self._payload_size + TAIL_BYTES)
        bodies = [stored for *_, stored in self._bodies]
        return b"".join([header, *table, *bodies, bytes(self.size - self._end)])


def write_container(sections: Mapping[Section, bytes], align_log2: int) -> list[bytes]:
    """Return the pieces of a file in order; empty sections are left out.

    `sections` maps a type to its content; `align_log2` is the alignment of PAYLOAD.
    """
    payload = sections.get(Section.PAYLOAD, b"")
    others = dict(sections)
    others.pop(Section.PAYLOAD, None)
    front = Front(others, len(payload), align_log2)
    return [front.written(zlib.crc32(payload)), payload, bytes(TAIL_BYTES)]


def smaller(
    section: Section, content: bytes | memoryview
) -> tuple[SectionCodec, bytes | memoryview]:
    """Return codec and stored bytes of a section: a frame where that is smaller."""
    if section in COMPRESSIBLE:
        frame = frames.compress(content)
        if len(frame) < len(content):
            return SectionCodec.ZSTD, frame
    return SectionCodec.STORED, content


def _header(table: bytes, file_size: int) -> bytes:
    count = len(table) // ENTRY_BYTES
    head = _HEADER.pack(
        MAGIC, MAJOR, MINOR, HEADER_BYTES, count, file_size,
        Incompat.DRAFT, 0, 0, zlib.crc32(table), 0, 0,
    )  # fmt: skip
    return head[:-4] + struct.pack("<I", zlib.crc32(head[:-4]))
