"""The part of a tensor record that every room shares (spec/DCF.md, section RECORDS).

Rooms read and write their parameters themselves; C: dcformat/c/dcf_open.c.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

from .errors import Code
from .fields import Fields, align
from .ids import MAX_ELEMENTS, MAX_RANK, Coder, Layout, RecordFlag, ValuesId

KNOWN_FLAGS = int(RecordFlag.TIED | RecordFlag.PERMUTED | RecordFlag.BLOCKED | RecordFlag.WIDE)
# integers: flags are tested for every record, and enum's operators are slow
_TIED, _PERMUTED = int(RecordFlag.TIED), int(RecordFlag.PERMUTED)
_BLOCKED, _WIDE = int(RecordFlag.BLOCKED), int(RecordFlag.WIDE)


@dataclass(frozen=True)
class Blocks:
    """How a payload is cut: rows per block, bytes of an offset, number of table classes."""

    rows: int
    offset_width: int = 1
    classes: int = 1


def offset_width(last: int) -> int:
    """Return the bytes that the last block offset takes."""
    return max(1, (last.bit_length() + 7) // 8)


@dataclass(frozen=True)
class Head:
    """The fixed fields of a record; `tied` is the index of the record it is another name of."""

    dtype: int = 0
    shape: tuple[int, ...] = ()
    row_axes: int = 0
    layout: int = 0
    values: int = 0
    coder: int = 0
    numbers_crc: int = 0
    payload_size: int = 0
    order: tuple[int, ...] = ()
    blocks: Blocks | None = None
    tied: int | None = None
    stored_shape: tuple[int, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        order = self.order or tuple(range(len(self.shape)))
        object.__setattr__(self, "stored_shape", tuple(self.shape[i] for i in order))

    @property
    def rows(self) -> int:
        return math.prod(self.stored_shape[: self.row_axes])

    @property
    def columns(self) -> int:
        return math.prod(self.stored_shape[self.row_axes :])

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def block_count(self) -> int:
        return 1 if self.blocks is None else -(-self.rows // self.blocks.rows)

    @property
    def block_rows(self) -> int:
        return self.rows if self.blocks is None else self.blocks.rows

    @property
    def classes(self) -> int:
        return 1 if self.blocks is None else self.blocks.classes

    def elements_of(self, block: int) -> int:
        """Return the number of elements of a block."""
        return min(self.block_rows, self.rows - block * self.block_rows) * self.columns


def parse_head(section: Fields, index: int, tied_to: list[bool]) -> tuple[Head, Fields]:
    """Return a record's head and a cursor over its parameters (checks 1 to 8 of the page).

    `tied_to[i]` tells whether record i, an earlier one, is itself tied.
    """
    section.need(section.left >= 12, f"record {index} ends the section", Code.TRUNCATED)
    size = 4 * section.data[section.pos]
    section.need(size >= 12, f"record {index} of {size} bytes")
    section.need(size <= section.left, f"record {index} of {size} bytes", Code.TRUNCATED)
    fields = Fields(section.take(size), f"tensor {index} / record")
    fields.u8()
    dtype, rank, row_axes = fields.u8(), fields.u8(), fields.u8()
    layout, values, coder, flags = fields.u8(), fields.u8(), fields.u8(), fields.u8()
    fields.need(not flags & ~KNOWN_FLAGS, f"flags {flags:#x}")
    if flags & _TIED:
        return _parse_tied(fields, size, flags, tied_to), fields
    fields.need(rank <= MAX_RANK, f"rank {rank}", Code.LIMIT)
    fields.need(row_axes <= rank, f"{row_axes} row axes of {rank}")
    crc = fields.u32()
    payload_size = fields.u64() if flags & _WIDE else fields.u32()
    shape = tuple(fields.u32() for _ in range(rank))
    order = tuple(fields.take(align(rank, 4))) if flags & _PERMUTED else ()
    word = fields.u32() if flags & _BLOCKED else 0
    fields.need(math.prod(max(n, 1) for n in shape) <= MAX_ELEMENTS, "elements", Code.LIMIT)
    _check_order(fields, order, rank, bool(flags & _PERMUTED))
    blocks = _blocks(fields, word) if flags & _BLOCKED else None
    head = Head(
        dtype, shape, row_axes, layout, values, coder, crc, payload_size, order[:rank], blocks
    )
    return head, fields


def _parse_tied(fields: Fields, size: int, flags: int, tied_to: list[bool]) -> Head:
    fields.need(size == 12 and flags == RecordFlag.TIED, "tied record with more than an index")
    fields.need(not any(fields.data[1:7]), "tied record with a field", Code.PADDING)
    index = fields.u32()
    fields.need(index < len(tied_to) and not tied_to[index], f"tied to tensor {index}")
    return Head(tied=index)


def _check_order(fields: Fields, order: tuple[int, ...], rank: int, permuted: bool) -> None:
    if not permuted:
        return
    identity = list(range(rank))
    good = sorted(order[:rank]) == identity and list(order[:rank]) != identity
    fields.need(good, f"axis order {order[:rank]}")
    fields.need(not any(order[rank:]), "padding of the axis order", Code.PADDING)


def _blocks(fields: Fields, word: int) -> Blocks:
    fields.need(word >> 28 == 0, "block word", Code.PADDING)
    fields.need(word & 0xFFFFFF > 0, "blocks of no rows")
    return Blocks(word & 0xFFFFFF, (word >> 24 & 3) + 1, (word >> 26 & 3) + 1)


def write_record(head: Head, parameters: bytes) -> bytes:
    """Return the bytes of a record; `parameters` are those of layout, values and coder."""
    if head.tied is not None:
        return struct.pack("<BBBBBBBBI", 3, 0, 0, 0, 0, 0, 0, RecordFlag.TIED, head.tied)
    rank = len(head.shape)
    wide = head.payload_size >> 32 != 0
    flags = RecordFlag.WIDE if wide else RecordFlag(0)
    tail = struct.pack("<Q" if wide else "<I", head.payload_size)
    tail += struct.pack(f"<{rank}I", *head.shape)
    if head.order:
        flags |= RecordFlag.PERMUTED
        tail += bytes(head.order) + bytes(align(rank, 4) - rank)
    if head.blocks:
        flags |= RecordFlag.BLOCKED
        b = head.blocks
        tail += struct.pack("<I", b.rows | b.offset_width - 1 << 24 | b.classes - 1 << 26)
    tail += parameters
    start = (head.dtype, rank, head.row_axes, head.layout, head.values, head.coder, flags)
    return struct.pack("<8BI", (12 + len(tail)) // 4, *start, head.numbers_crc) + tail


def is_plain(head: Head) -> bool:
    """Tell whether a payload is the numbers as they stand: DENSE, RAW, PACKED."""
    rooms = (head.layout, head.values, head.coder)
    return rooms == (Layout.DENSE, ValuesId.RAW, Coder.PACKED)


def payload_align(head: Head, section_align: int) -> int:
    """Return the alignment of a payload (spec/DCF.md, "Payload")."""
    if not is_plain(head) or head.payload_size == 0:
        return 1
    if head.payload_size >= 64:
        return section_align
    return next(step for step in (4, 2, 1) if head.payload_size % step == 0)
