"""Header and section table in both directions, and where sections stand (spec/DCF.md)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..container import COMPRESSIBLE, ENTRY_BYTES, FLAGS, HEADER_BYTES, Entry
from ..fields import align
from ..ids import (
    MAGIC,
    MAJOR,
    MAX_ALIGN_LOG2,
    MINOR,
    TAIL_BYTES,
    Incompat,
    Section,
    SectionCodec,
    SectionFlag,
)
from .fields import HEX, Io, flags_of, one_of

SECTION = one_of(Section)
CODEC = one_of(SectionCodec)
SECTION_FLAGS = flags_of(SectionFlag)
INCOMPAT = flags_of(Incompat)
MAX_HEADER = 64
PAYLOAD_ALIGN_LOG2 = 4
TAIL = bytes(TAIL_BYTES)
_ENTRY = struct.Struct("<BBBBIQQQ")


@dataclass(frozen=True)
class HeaderAuto:
    """What a header says where no line says otherwise."""

    header_size: int = HEADER_BYTES
    section_count: int = 0
    file_size: int = 0
    table_crc: int = 0
    header_crc: int = 0


@dataclass(frozen=True)
class HeaderSays:
    """What the rest of the file is read by."""

    header_size: int
    section_count: int
    table_crc: int


def header_fields(io: Io, auto: HeaderAuto) -> HeaderSays:
    """Take the 48 bytes of every header in either direction."""
    io.fixed("magic", MAGIC)
    io.number("major", "H", auto=MAJOR)
    io.number("minor", "H", auto=MINOR)
    size = io.number("header_size", "H", auto=auto.header_size)
    count = io.number("section_count", "H", auto=auto.section_count)
    io.number("file_size", "Q", auto=auto.file_size)
    io.number("incompat", "I", INCOMPAT, Incompat.DRAFT)
    io.number("ro_compat", "I", HEX, 0)
    io.number("compat", "I", HEX, 0)
    crc = io.number("table_crc", "I", HEX, auto.table_crc)
    io.number("reserved", "I", HEX, 0)
    io.number("header_crc", "I", HEX, auto.header_crc)
    return HeaderSays(size, count, crc)


def header_crc(header: bytes | bytearray | memoryview, extra: bytes | memoryview) -> int:
    """Return the CRC of a header whose last field is its CRC."""
    return zlib.crc32(extra, zlib.crc32(header[: HEADER_BYTES - 4]))


def entry_fields(io: Io, auto: Entry) -> None:
    """Take an entry of the section table, without its type, in either direction."""
    io.number("flags", "B", SECTION_FLAGS, auto.flags)
    io.number("codec", "B", CODEC, auto.codec)
    io.number("align_log2", "B", auto=auto.align_log2)
    io.number("crc", "I", HEX, auto.crc)
    io.number("offset", "Q", auto=auto.offset)
    io.number("stored_size", "Q", auto=auto.stored_size)
    io.number("decoded_size", "Q", auto=auto.decoded_size)


def auto_flags(kind: int) -> int:
    """Return the flags that a section of this type has."""
    return int(FLAGS[Section(kind)]) if kind in set(Section) else 0


def auto_align(kind: int) -> int:
    """Return the alignment that a section of this type has."""
    return PAYLOAD_ALIGN_LOG2 if kind == Section.PAYLOAD else 0


def is_compressed(kind: int, codec: int) -> bool:
    """Tell whether the stored bytes of a section are a frame."""
    return codec == SectionCodec.ZSTD and kind in set(COMPRESSIBLE)


def aligned(end: int, align_log2: int) -> int:
    """Return where a section after `end` starts."""
    return align(end, 1 << align_log2) if align_log2 <= MAX_ALIGN_LOG2 else end


def entries_of(data: memoryview, start: int, says: HeaderSays) -> list[Entry]:
    """Return the entries of the section table: as many as the header counts, or its CRC covers."""
    most = max(0, len(data) - start) // ENTRY_BYTES
    count = min(says.section_count, most)
    stated = data[start : start + count * ENTRY_BYTES]
    if says.section_count > most or zlib.crc32(stated) != says.table_crc:
        count = _covered(data, start, most, says.table_crc, count)
    rows = (start + i * ENTRY_BYTES for i in range(count))
    return [Entry(*_ENTRY.unpack(data[at : at + ENTRY_BYTES])) for at in rows]


def _covered(data: memoryview, start: int, most: int, crc: int, otherwise: int) -> int:
    """Return how many entries have the CRC of the table, `otherwise` where no number has."""
    own = 0
    for count in range(min(most, 0xFFFF) + 1):
        if own == crc and count:
            return count
        at = start + count * ENTRY_BYTES
        own = zlib.crc32(data[at : at + ENTRY_BYTES], own)
    return otherwise


@dataclass(frozen=True)
class Place:
    """Where a section stands: the bytes from `pad` to `start` are before it."""

    pad: int
    start: int
    stop: int


def places_of(data: memoryview, entries: Sequence[Entry], end: int) -> list[Place]:
    """Return where sections stand that follow each other, as well as their entries tell."""
    found = []
    for i, entry in enumerate(entries):
        place = _place(data, entry, entries[i + 1 : i + 2], end)
        found.append(place)
        end = place.stop
    return found


def _place(data: memoryview, entry: Entry, after: Sequence[Entry], end: int) -> Place:
    start = min(aligned(end, entry.align_log2), len(data))
    if entry.offset != start and end <= entry.offset <= len(data):
        stop = start + entry.stored_size
        if stop > len(data) or zlib.crc32(data[start:stop]) != entry.crc:
            start = entry.offset
    stop = start + entry.stored_size
    if stop > len(data):  # its size is wrong: it ends where the next one or the tail begins
        stop = after[0].offset if after else len(data) - TAIL_BYTES
        stop = min(max(stop, start), len(data))
    return Place(end, start, stop)


def pack_entry(entry: Entry) -> bytes:
    """Return the bytes of an entry."""
    return _ENTRY.pack(
        entry.type,
        entry.flags,
        entry.codec,
        entry.align_log2,
        entry.crc,
        entry.offset,
        entry.stored_size,
        entry.decoded_size,
    )
