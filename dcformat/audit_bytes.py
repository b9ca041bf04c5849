"""Whose is each byte of a file: extents that tile it, each with an owner and a purpose.

Spec: spec/DCF.md. Sister: dcformat/audit_blocks.py, which says what the bits of blocks are for.
What this module does not know by the pages' structure it does not guess: the payload of a tensor
in an unknown room is one extent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .container import ENTRY_BYTES, Entry
from .decode import Opened, Record, front_sizes
from .ids import Section, TableKind

HEADER = "header"
SECTION_TABLE = "section_table"
COUNTS = "counts"  #: how many records and how many tables there are
RECORD = "record"
HUFFMAN = "huffman"  #: a Huffman table, with its offset in TABLES
CODEBOOK = "codebook"  #: the levels, with their offset in TABLES
UNKNOWN = "unknown"  #: sections and tables of kinds that this reader does not know
SCALES = "scales"  #: values parameters per axis: scales, zero points, fraction lengths
OFFSETS = "offsets"  #: of blocks
CLASSES = "classes"  #: of blocks
BLOCKS = "blocks"  #: never reported: audit_blocks.py says what the bits are for
PADDING = "padding"
TAIL = "tail"

_WHOLE = {
    Section.NAMES: "names",
    Section.HASHES: "hashes",
    Section.FIXED: "fixed",
    Section.META: "metadata",
    Section.GRAPH: "graph",
}


class Extent(NamedTuple):
    """Bytes `start` to `stop` - 1 of a file; `tensor` or `table` or `section` is whose they are.

    Padding before a payload is the tensor's, padding before a section the section's.
    """

    start: int
    stop: int
    purpose: str
    tensor: int | None = None
    table: int | None = None
    section: int | None = None

    @property
    def size(self) -> int:
        return self.stop - self.start


def extents_of(opened: Opened) -> list[Extent]:
    """Return the extents of a file in the order of their bytes, none of them empty.

    Raises ValueError where they do not tile it, which would be a fault of this module.
    """
    found = [extent for extent in _extents(opened) if extent.size]
    check_tiling(found, len(opened.container.data))
    return found


def check_tiling(extents: Iterable[Extent], size: int) -> None:
    """Raise ValueError where a byte of a file of `size` bytes is in no extent, or in two."""
    end = 0
    for extent in extents:
        if extent.start != end or extent.stop < extent.start:
            raise ValueError(f"bytes {end} and {extent.start}: {extent.purpose} does not follow")
        end = extent.stop
    if end != size:
        raise ValueError(f"extents end at {end} of {size} bytes")


def _extents(opened: Opened) -> Iterator[Extent]:
    container = opened.container
    end = int.from_bytes(container.data[12:14], "little")
    yield Extent(0, end, HEADER)
    table = end + ENTRY_BYTES * len(container.entries)
    yield Extent(end, table, SECTION_TABLE)
    end = table
    for entry in container.entries.values():
        yield Extent(end, entry.offset, PADDING, section=entry.type)
        yield from _section(opened, entry)
        end = entry.offset + entry.stored_size
    yield Extent(end, len(container.data), TAIL)


def _section(opened: Opened, entry: Entry) -> Iterator[Extent]:
    if entry.type == Section.RECORDS:
        yield from _records(opened, entry)
    elif entry.type == Section.TABLES:
        yield from _tables(opened, entry)
    elif entry.type == Section.PAYLOAD:
        yield from _payload(opened, entry)
    else:
        known = entry.type in set(Section)
        purpose = _WHOLE[Section(entry.type)] if known else UNKNOWN
        stop = entry.offset + entry.stored_size
        yield Extent(entry.offset, stop, purpose, section=entry.type)


def _records(opened: Opened, entry: Entry) -> Iterator[Extent]:
    at = min(4, entry.stored_size)
    yield Extent(entry.offset, entry.offset + at, COUNTS, section=entry.type)
    section = opened.container.stored(entry.type)
    for index in range(len(opened.records)):
        stop = at + 4 * section[at]
        yield Extent(entry.offset + at, entry.offset + stop, RECORD, tensor=index)
        at = stop


def _tables(opened: Opened, entry: Entry) -> Iterator[Extent]:
    """The count, an offset for each table, the tables."""
    at = entry.offset + min(4, entry.stored_size)
    yield Extent(entry.offset, at, COUNTS, section=entry.type)
    kinds = [table_purpose(raw[0]) for raw in opened.table_entries]
    for index, kind in enumerate(kinds):
        yield Extent(at, at + 4, kind, table=index)
        at += 4
    for index, (kind, raw) in enumerate(zip(kinds, opened.table_entries, strict=True)):
        yield Extent(at, at + len(raw), kind, table=index)
        at += len(raw)


def table_purpose(kind: int) -> str:
    """Return what an entry of TABLES of this kind is for."""
    if kind not in set(TableKind):
        return UNKNOWN
    return CODEBOOK if kind in (TableKind.CODEBOOK, TableKind.CODEBOOK_SORTED) else HUFFMAN


def _payload(opened: Opened, entry: Entry) -> Iterator[Extent]:
    end = entry.offset
    for index, record in enumerate(opened.records):
        if record.head.tied is None:
            start = entry.offset + record.offset
            yield Extent(end, start, PADDING, tensor=index)
            yield from _of_tensor(record, index, start)
            end = start + record.head.payload_size


def _of_tensor(record: Record, index: int, start: int) -> Iterator[Extent]:
    """The parts of a payload, which nobody knows of a tensor in an unknown room."""
    stop = start + record.head.payload_size
    front = (record.plan.axis_bytes, *front_sizes(record.head)) if record.plan else (0, 0, 0)
    at = start
    for size, purpose in zip(front, (SCALES, OFFSETS, CLASSES), strict=True):
        yield Extent(at, at + size, purpose, tensor=index)
        at += size
    yield Extent(at, stop, BLOCKS, tensor=index)


def users_of(opened: Opened) -> list[list[int]]:
    """Return the records that use each table; a tied one is not counted again."""
    users: list[list[int]] = [[] for _ in opened.tables]
    for index, record in enumerate(opened.records):
        if record.head.tied is None:
            book = record.plan.table if record.plan else None
            for table in {*record.tables, *(() if book is None else (book,))}:
                users[table].append(index)
    return users


def share_out(total: int, weights: list[int]) -> list[int]:
    """Return `total` in whole parts in proportion to `weights`, by the largest remainder.

    Ties go to the earlier part; where all weights are 0 they count as equal.
    """
    weights = weights if any(weights) else [1] * len(weights)
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    rests = [total * weight % whole for weight in weights]
    order = sorted(range(len(parts)), key=lambda i: (-rests[i], i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts
