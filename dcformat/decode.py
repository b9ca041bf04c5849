"""The reference decoder, in the order of spec/DCF.md.

It reads like the page and is as fast as Python allows; dcformat/native.py has the same
functions over the C core.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from .coded import Values, numbers_of
from .container import Container, parse_container
from .encodings import (
    CODERS,
    LAYOUTS,
    LEGAL,
    VALUES,
    coder_context,
    coder_huffman,
    coder_packed,
    values_codebook,
)
from .encodings.coder_context import Context
from .encodings.parts import Plan, Planes, Reader
from .errors import Code, DcfError, UnsupportedError, error_of
from .fields import Fields, align, all_zero
from .ids import (
    MAX_RATIO,
    MAX_TABLES,
    MAX_TENSORS,
    NUMPY,
    RATIO_SLACK,
    WIDTH,
    Coder,
    DType,
    Layout,
    Section,
    TableKind,
)
from .model import Array
from .records import Head, is_plain, parse_head, payload_align

_TYPES = frozenset(DType)  # made once, as every record asks


@dataclass(frozen=True)
class Record:
    """A checked record: how a tensor is stored and where.

    `unsupported` says why this reader cannot decode the tensor, "" if it can. A tied record has
    the plan of the record it names, and `index` is that record's.
    """

    index: int
    head: Head
    offset: int = 0
    plan: Plan | None = None
    layout: Any = None
    tables: tuple[int, ...] = ()
    context: Context | None = None
    unsupported: str = ""

    @property
    def coder_parameters(self) -> Context | tuple[int, ...]:
        """What the coder's `write_params` takes."""
        return self.tables if self.context is None else self.context


@dataclass(frozen=True)
class Opened:
    """A file whose structure, records and tables are valid."""

    container: Container
    tables: list[object]
    table_entries: list[memoryview]
    records: list[Record]

    def record(self, index: int) -> Record:
        """Return record `index`, or the one that it is tied to; ARGUMENT if there is none."""
        if not 0 <= index < len(self.records):
            raise error_of(Code.ARGUMENT, f"tensor {index} of {len(self.records)}")
        record = self.records[index]
        return record if record.head.tied is None else self.records[record.head.tied]


def open_file(data: bytes | memoryview) -> Opened:
    """Validate header, sections, tables and records of `data`.

    Raises DcfError with the code of the first check of the page that fails. Payloads are not
    read.
    """
    container = parse_container(data)
    entries = _table_entries(container)
    tables = [_parse_table(entry, i) for i, entry in enumerate(entries)]
    return Opened(container, tables, entries, _parse_records(container, tables))


def _table_entries(container: Container) -> list[memoryview]:
    fields = Fields(container.stored(Section.TABLES), "section TABLES")
    if not fields.left:
        return []
    count = fields.u32()
    fields.need(count <= MAX_TABLES, f"{count} tables", Code.LIMIT)
    fields.need(4 * count <= fields.left, f"{count} tables", Code.TRUNCATED)
    size = len(fields.data)
    offsets = [fields.u32() for _ in range(count)]
    first = 4 + 4 * count
    fields.need((offsets[0] if count else size) == first, "first table's offset")
    for before, offset in pairwise(offsets):
        fields.need(offset > before, f"table offset {offset}")
    for offset in offsets:
        fields.need(offset < size, f"table offset {offset}")
    return [fields.data[a:b] for a, b in pairwise([*offsets, size])]


def _parse_table(entry: memoryview, index: int) -> object:
    """Return a Huffman table, a codebook, or None for an entry of an unknown kind."""
    place = f"table {index}"
    if entry[0] == TableKind.CODEBOOK:
        return values_codebook.parse_table(entry, place)
    if entry[0] == TableKind.CODEBOOK_SORTED:
        return values_codebook.parse_sorted(entry, place)
    if entry[0] in set(TableKind):
        return coder_huffman.parse_table(entry, place)
    return None


def _parse_records(container: Container, tables: list[object]) -> list[Record]:
    section = Fields(container.stored(Section.RECORDS), "section RECORDS")
    payload = container.entries.get(Section.PAYLOAD)
    size = payload.decoded_size if payload else 0
    step = 1 << payload.align_log2 if payload else 1
    count = section.u32() if section.left else 0
    section.need(count <= MAX_TENSORS, f"{count} tensors", Code.LIMIT)
    records: list[Record] = []
    tied: list[bool] = []
    end = 0
    for index in range(count):
        head, fields = parse_head(section, index, tied)
        tied.append(head.tied is not None)
        if head.tied is None:
            record = parse_rooms(index, head, fields, tables)
            offset = align(end, payload_align(head, step))
            end = offset + head.payload_size
            fields.need(end <= size, "payload past the end of PAYLOAD", Code.TRUNCATED)
            record = replace(record, offset=offset)
        else:
            record = Record(head.tied, head)
        records.append(record)
    section.need(section.left == 0, "bytes after the last record")
    last = f"{size - end} bytes after the last payload"
    replace(section, place="section PAYLOAD").need(end == size, last)
    return records


def parse_rooms(index: int, head: Head, fields: Fields, tables: list[object]) -> Record:
    """Return a record with its rooms' parameters, its offset still 0 (checks 9 to 14)."""
    unknown = _unknown(head)
    if unknown:
        return Record(index, head, unsupported=unknown)
    fields.need((head.layout, head.coder) in LEGAL, "illegal combination of layout and coder")
    if head.elements == 0:
        empty = is_plain(head) and head.payload_size == 0 and head.blocks is None
        fields.need(empty, "no elements, but something stored")
    try:
        layout, plan, coder = _parse_parameters(head, fields, tables)
    except UnsupportedError as error:
        return Record(index, head, unsupported=str(error))
    _check_blocks(head, fields)
    decoded = head.elements * WIDTH[plan.number]
    bound = MAX_RATIO * (head.payload_size + RATIO_SLACK)
    fields.need(decoded <= bound, f"{decoded} bytes from {head.payload_size}", Code.LIMIT)
    front = plan.axis_bytes + sum(front_sizes(head))
    fields.need(front <= head.payload_size, "payload too short", Code.TRUNCATED)
    if head.layout == Layout.DENSE and head.coder == Coder.PACKED:
        left, bits = head.payload_size - front, sum(coder_packed.bits_of(a) for a in plan.alphabets)
        wanted = (head.elements * bits + 7) // 8
        fields.need(left >= wanted, f"{left} bytes of {wanted}", Code.TRUNCATED)
        fields.need(left == wanted, f"{left} bytes of {wanted}")
    if isinstance(coder, Context):
        return Record(index, head, 0, plan, layout, context=coder)
    return Record(index, head, 0, plan, layout, coder)


def _unknown(head: Head) -> str:
    for word, value, known in (
        ("type", head.dtype, _TYPES),
        ("layout", head.layout, LAYOUTS),
        ("values", head.values, VALUES),
        ("coder", head.coder, CODERS),
    ):
        if value not in known:
            return f"{word} {value} is not known"
    return ""


def _parse_parameters(
    head: Head, fields: Fields, tables: list[object]
) -> tuple[Any, Plan, Context | tuple[int, ...]]:
    """Check 11: parameters of layout, values room and coder."""
    room = LAYOUTS[head.layout]
    layout = room.read_params(fields)
    plan: Plan = VALUES[head.values].read_params(
        fields, DType(head.dtype), head.stored_shape, tables
    )
    room.check_params(fields, layout, plan)
    alphabets = room.alphabets(layout, plan)
    coder = CODERS[head.coder].read_params(fields, alphabets, head.classes, tables)
    fields.need(fields.left == 0, f"{fields.left} bytes after the parameters")
    if head.elements == 0 and plan.width == 1:
        fields.need((plan.alphabets, plan.base) == ((1,), 0), "alphabet without elements")
    return layout, plan, coder


def _check_blocks(head: Head, fields: Fields) -> None:
    """Check 12."""
    if head.blocks is None:
        return
    packed = head.layout == Layout.DENSE and head.coder == Coder.PACKED
    fields.need(not packed and head.block_count >= 2, "blocks where there is one")
    fields.need(head.classes == 1 or head.coder == Coder.HUFFMAN, "classes without tables")


def front_sizes(head: Head) -> tuple[int, int]:
    """Return the sizes of block offsets and block classes."""
    if head.blocks is None:
        return 0, 0
    count = head.block_count
    classes = (2 * count + 7) // 8 if head.classes > 1 else 0
    return (count - 1) * head.blocks.offset_width, classes


@dataclass(frozen=True)
class Front:
    """What stands before a payload's blocks, and the blocks."""

    values: Values
    blocks: list[memoryview]
    classes: list[int]


def read_values(opened: Opened, record: Record) -> Values:
    """Read values parameters (step 1 of "Decoding"); their axis is a stored axis."""
    return _read_values(opened, record)[1]


def _read_values(opened: Opened, record: Record) -> tuple[Fields, Values]:
    """Return the values, and a cursor over the rest of the payload."""
    head, plan = record.head, _plan(record)
    start = opened.container.stored(Section.PAYLOAD)[record.offset :]
    fields = Fields(start[: head.payload_size], f"tensor {record.index} / payload")
    axis = fields.take(plan.axis_bytes)
    return fields, VALUES[head.values].read_axis(plan, axis, head.stored_shape)


def read_front(opened: Opened, record: Record) -> Front:
    """Read values parameters, block offsets and classes (steps 1 to 3 of "Decoding")."""
    head = record.head
    fields, values = _read_values(opened, record)
    offset_bytes, class_bytes = front_sizes(head)
    table, packed = fields.take(offset_bytes), fields.take(class_bytes)
    blocks = _blocks(fields, head, table)
    classes = [packed[i // 4] >> (2 * (i % 4)) & 3 for i in range(len(blocks))] if packed else []
    fields.need(all(c < head.classes for c in classes), "table class")
    spare = 8 * class_bytes - 2 * len(classes)
    fields.need(not spare or not packed[-1] >> (8 - spare), "spare bits of classes", Code.PADDING)
    return Front(values, blocks, classes or [0] * len(blocks))


def _blocks(fields: Fields, head: Head, table: memoryview) -> list[memoryview]:
    body = fields.data[fields.pos :]
    width = head.blocks.offset_width if head.blocks else 1
    offsets = [int.from_bytes(table[i : i + width], "little") for i in range(0, len(table), width)]
    bounds = [0, *offsets, len(body)]
    for before, after in pairwise(bounds):
        fields.need(before <= after, f"block offset {before} of {len(body)}")
    return [body[a:b] for a, b in pairwise(bounds)]


def _plan(record: Record) -> Plan:
    if record.plan is None:
        raise error_of(Code.UNSUPPORTED, record.unsupported, f"tensor {record.index}")
    return record.plan


def decode_symbols(
    opened: Opened, index: int, first: int = 0, last: int | None = None
) -> tuple[Array, Values]:
    """Return the symbols of blocks `first` to `last` - 1 in stored order, and the values.

    The symbols are those of `CodedTensor.symbols`; the values' axis is a stored axis.
    """
    record = opened.record(index)
    plan, head = _plan(record), record.head
    front = read_front(opened, record)
    parts = []
    for number in range(first, len(front.blocks) if last is None else last):
        count = head.elements_of(number)
        try:
            parts.append(_decode_block(opened, record, front, number, count))
        except DcfError as error:
            raise error.at(f"tensor {record.index} / block {number}") from None
    planes = np.concatenate(parts) if parts else np.empty((0, plan.width), np.uint8)
    symbols: Array = VALUES[head.values].from_planes(plan, planes)
    return symbols, front.values


def _decode_block(opened: Opened, record: Record, front: Front, number: int, count: int) -> Planes:
    reader = block_reader(opened, record, front, number)
    planes: Planes = LAYOUTS[record.head.layout].decode(count, reader, record.layout, _plan(record))
    reader.finish()
    return planes


def block_reader(opened: Opened, record: Record, front: Front, number: int) -> Reader:
    """Return what gives the symbols of block `number`, as the record's coder has it."""
    head = record.head
    alphabets = LAYOUTS[head.layout].alphabets(record.layout, _plan(record))
    keys: Any = alphabets
    if head.coder == Coder.HUFFMAN:
        start = front.classes[number] * len(alphabets)
        keys = [opened.tables[i] for i in record.tables[start : start + len(alphabets)]]
    if record.context is not None:
        extents = coder_context.extents_of(head.stored_shape, head.row_axes)
        keys = coder_context.Key(alphabets[0], record.context, extents)
    reader: Reader = CODERS[head.coder].Reader(front.blocks[number], keys, "")
    return reader


def decode_numbers(opened: Opened, index: int, check: bool = True) -> Array:
    """Return the numbers of tensor `index` in stored order, shape (elements,).

    Raises DcfError; with `check`, CHECKSUM where the numbers are not those that were written.
    """
    symbols, values = decode_symbols(opened, index)
    numbers = numbers_of(symbols, values)
    record = opened.record(index)
    if check and zlib.crc32(numbers.tobytes()) != record.head.numbers_crc:
        raise error_of(Code.CHECKSUM, "numbers changed", f"tensor {record.index}")
    return numbers


def decode_rows(opened: Opened, index: int, start: int, stop: int) -> Array:
    """Return the numbers of stored rows `start` to `stop` - 1, shape (rows * columns,)."""
    record = opened.record(index)
    head = record.head
    if not 0 <= start <= stop <= head.rows:
        raise error_of(Code.ARGUMENT, f"rows {start} to {stop} of {head.rows}", f"tensor {index}")
    _plan(record)
    if start == stop or head.elements == 0:
        read_front(opened, record)
        return np.empty(0, NUMPY[_plan(record).number])
    if head.layout == Layout.DENSE and head.coder == Coder.PACKED:
        return _packed_rows(opened, record, start, stop)
    first, last = start // head.block_rows, -(-stop // head.block_rows)
    symbols, values = decode_symbols(opened, index, first, last)
    skip = (start - first * head.block_rows) * head.columns
    return numbers_of(symbols[skip : skip + (stop - start) * head.columns], values)


def _packed_rows(opened: Opened, record: Record, start: int, stop: int) -> Array:
    """Read rows that begin at known bits (layout_dense.md, "Rows")."""
    head, plan = record.head, _plan(record)
    front = read_front(opened, record)
    reader = coder_packed.Reader(front.blocks[0], plan.alphabets, f"tensor {record.index}")
    row = sum(coder_packed.bits_of(a) for a in plan.alphabets) * head.columns
    reader.seek(start * row)
    planes = LAYOUTS[head.layout].decode((stop - start) * head.columns, reader, None, plan)
    if stop == head.rows:
        reader.finish()
    return numbers_of(VALUES[head.values].from_planes(plan, planes), front.values)


def bad_padding(opened: Opened) -> Iterator[Record]:
    """Yield the records before whose payload a padding byte is not zero."""
    payload = opened.container.stored(Section.PAYLOAD)
    end = 0
    for record in opened.records:
        if record.head.tied is None:
            if not all_zero(payload[end : record.offset]):
                yield record
            end = record.offset + record.head.payload_size


def check_file(opened: Opened) -> None:
    """Read everything (spec/DCF.md, "Full check"); raises DcfError where something is wrong."""
    for section in opened.container.entries:
        opened.container.check_crc(section)
    for record in bad_padding(opened):
        raise error_of(Code.PADDING, "padding before it", f"tensor {record.index}")
    for index, record in enumerate(opened.records):
        if record.head.tied is None and not record.unsupported:
            decode_numbers(opened, index)
