"""Records in both directions, and what a payload needs to know of its record."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

from ..errors import ConvertError, CorruptError
from ..fields import Fields, align
from ..ids import (
    NO_AXIS,
    WIDTH,
    AffineFlag,
    Coder,
    GapFlag,
    Layout,
    RecordFlag,
    ScaleKind,
    ValuesId,
)
from .fields import (
    DTYPE,
    HEX,
    REAL,
    Bits,
    Io,
    Reader,
    Writer,
    flags_of,
    one_of,
    or_none,
)
from .lines import Node, data_node, data_of

LAYOUT = one_of(Layout)
VALUES = one_of(ValuesId)
CODER = one_of(Coder)
SCALE_KIND = one_of(ScaleKind)
RECORD_FLAGS = flags_of(RecordFlag)
GAP_FLAGS = flags_of(GapFlag)
AFFINE_FLAGS = flags_of(AffineFlag)
AXIS = or_none(NO_AXIS)
FIRST_FIELDS = 12
CRC_AT = 8
_WIDTHS: dict[int | None, int] = {int(dtype): width for dtype, width in WIDTH.items()}


@dataclass(frozen=True)
class Parts:
    """Which of its optional parts a record has."""

    tied: bool = False
    wide: bool = False
    permuted: bool = False
    blocked: bool = False
    rank: int = 0

    @property
    def flags(self) -> int:
        return (
            RecordFlag.TIED * self.tied
            | RecordFlag.PERMUTED * self.permuted
            | RecordFlag.BLOCKED * self.blocked
            | RecordFlag.WIDE * self.wide
        )


@dataclass
class Tensor:
    """What a record says, as far as it could be read; `number` is None where that is unknown."""

    parts: Parts = field(default_factory=Parts)
    dtype: int = 0
    row_axes: int = 0
    layout: int = 0
    values: int = 0
    coder: int = 0
    payload_size: int = 0
    dims: list[int] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    number: int | None = None
    axis: int = NO_AXIS
    affine: int = 0
    block: int = 0
    scale: int = ScaleKind.NONE
    block_rows: int = 0
    offset_width: int = 1
    classes: int = 1

    @property
    def stored_dims(self) -> list[int]:
        if sorted(self.order) != list(range(len(self.dims))):
            return self.dims
        return [self.dims[i] for i in self.order]

    @property
    def block_count(self) -> int:
        """Blocks that the record asks for; 0 where it asks for none that can be counted."""
        if not self.parts.blocked or not self.block_rows:
            return 0
        return -(-math.prod(self.stored_dims[: self.row_axes]) // self.block_rows)


@dataclass(frozen=True)
class Auto:
    """What a record has to say of its payload where no line says otherwise."""

    numbers_crc: int = 0
    payload_size: int = 0
    offset_width: int = 1


def parts_of(record: memoryview) -> Parts | None:
    """Return the parts that fit into a record, None where not even its first fields do."""
    flags, left, rank = record[7], len(record) - FIRST_FIELDS, record[2]
    if flags & RecordFlag.TIED:
        return Parts(tied=True)
    wide = bool(flags & RecordFlag.WIDE) and left >= 8
    left -= 8 if wide else 4
    if left < 0:
        return None
    rank = rank if 4 * rank <= left else 0
    left -= 4 * rank
    permuted = bool(flags & RecordFlag.PERMUTED) and rank > 0 and align(rank, 4) <= left
    left -= align(rank, 4) if permuted else 0
    return Parts(False, wide, permuted, bool(flags & RecordFlag.BLOCKED) and left >= 4, rank)


def read_record(record: memoryview, auto: Auto, full: bool = False) -> tuple[Node, Tensor]:
    """Return a record's lines and what its payload needs to know of it."""
    parts = parts_of(record)
    if parts is None:
        return Node("record", [data_node("hex", record)]), Tensor()
    reader = Reader(Fields(record, "record"), [], full)
    return Node("record", reader.out), _record(reader, parts, auto, len(record) // 4)


def write_record(node: Node, auto: Auto) -> tuple[bytearray, Tensor]:
    """Return a record's bytes and what its payload needs to know of it."""
    writer = Writer(node)
    raw = writer.one("hex")
    if raw is not None:
        writer.out += data_of(raw)
        writer.done()
        return writer.out, Tensor()
    parts = Parts(
        tied=writer.one("tied") is not None,
        wide=writer.one("wide") is not None,
        permuted=writer.one("order") is not None,
        blocked=writer.one("blocks") is not None,
        rank=len(writer.words("dims")),
    )
    tensor = _record(writer, parts, auto, 0)
    writer.done()
    if writer.one("size") is None:
        _set_size(writer)
    return writer.out, tensor


def _set_size(writer: Writer) -> None:
    size, odd = divmod(len(writer.out), 4)
    if odd or size > 255:
        raise ConvertError(
            f"a record of {len(writer.out)} bytes: its size is a multiple of 4 up to 1020",
            place=f"line {writer.node.number}",
        )
    writer.out[0] = size


def _record(io: Io, parts: Parts, auto: Auto, size: int) -> Tensor:
    io.number("size", "B", auto=size)
    none = 0 if parts.tied else None
    t = Tensor(parts)
    t.dtype = io.number("dtype", "B", DTYPE, none)
    io.number("rank", "B", auto=parts.rank)
    t.row_axes = io.number("row_axes", "B", auto=none)
    t.layout = io.number("layout", "B", LAYOUT, none)
    t.values = io.number("values", "B", VALUES, none)
    t.coder = io.number("coder", "B", CODER, none)
    io.number("flags", "B", RECORD_FLAGS, parts.flags)
    if parts.tied:
        io.number("tied", "I")
        io.rest()
        return t
    io.number("numbers_crc", "I", HEX, auto.numbers_crc)
    io.given("wide", parts.wide)
    code = "Q" if parts.wide else "I"
    t.payload_size = io.number("payload_size", code, auto=auto.payload_size)
    t.dims = io.numbers("dims", "I", parts.rank)
    if parts.permuted:
        t.order = io.numbers("order", "B", parts.rank)
        io.fixed("order_padding", bytes(-len(t.order) % 4))
    if parts.blocked:
        _blocks(io, t, auto)
    _rooms(io, t)
    io.rest()
    return t


def _blocks(io: Io, t: Tensor, auto: Auto) -> None:
    io.given("blocks", True)
    inner = io.inside("blocks")
    t.block_rows, t.offset_width, t.classes, _ = inner.bits(
        "I",
        [
            Bits("rows", 24),
            Bits("offset_width", 2, 1, auto.offset_width),
            Bits("classes", 2, 1, 1),
            Bits("zero", 4, 0, 0),
        ],
    )
    if isinstance(inner, Writer):
        inner.done()


def _rooms(io: Io, t: Tensor) -> None:
    layout, values, coder = io.inside("layout"), io.inside("values"), io.inside("coder")
    layout.attempt(lambda: _layout(layout, t))
    values.attempt(lambda: _values(values, t))
    coder.attempt(lambda: _coder(coder, t))


def _layout(io: Io, t: Tensor) -> None:
    if t.layout == Layout.GAP:
        io.number("highest", "B")
        io.number("flags", "B", GAP_FLAGS, 0)
        io.number("background", "H")
    elif t.layout == Layout.RUN:
        io.number("background", "H")
        io.number("zero", "H", auto=0)


def _values(io: Io, t: Tensor) -> None:
    if t.values == ValuesId.RAW:
        t.number = t.dtype
        _narrow(io, t)
    elif t.values in (ValuesId.FIXED, ValuesId.POW2):
        t.number = io.number("number", "B", DTYPE)
        t.axis = io.number("axis", "B", AXIS)
        io.number("fraction", "b", auto=None if t.axis == NO_AXIS else 0)
        io.number("zero", "B", auto=0)
        _narrow(io, t)
    elif t.values == ValuesId.AFFINE:
        _affine(io, t)
    elif t.values == ValuesId.CODEBOOK:
        _codebook(io, t)


def _narrow(io: Io, t: Tensor) -> None:
    if _width(t.number) == 1:
        io.number("alphabet", "H")
        io.number("base", "h")


def _affine(io: Io, t: Tensor) -> None:
    t.number = io.number("number", "B", DTYPE)
    t.axis = io.number("axis", "B", AXIS)
    t.affine = io.number("flags", "B", AFFINE_FLAGS, 0)
    io.number("zero", "B", auto=0)
    _narrow(io, t)
    if t.axis == NO_AXIS:
        io.number("scale", "I", REAL)
        if t.affine & AffineFlag.ZERO_POINTS:
            io.number("zero_point", "i")
    if t.affine & AffineFlag.BLOCKED:
        t.block = io.number("block", "I")


def _codebook(io: Io, t: Tensor) -> None:
    io.number("table", "H")
    t.scale = io.number("scale_kind", "B", SCALE_KIND)
    if t.scale == ScaleKind.AXIS:
        t.axis = io.number("axis", "B")
    elif t.scale == ScaleKind.FRACTION:
        io.number("fraction", "b")
    else:
        io.number("zero", "B", auto=0)
    if t.scale == ScaleKind.TENSOR:
        io.number("scale", "I", REAL)


def _width(number: int | None) -> int:
    """Return the width of a type; 0 where it is not known."""
    return _WIDTHS.get(number, 0)


def _coder(io: Io, t: Tensor) -> None:
    if t.coder == Coder.HUFFMAN:
        streams = (_width(t.number) or 1) + (t.layout == Layout.GAP)
        found = io.numbers("tables", "H", streams * t.classes)
        io.fixed("zero", bytes(2 * (len(found) % 2)))
    elif t.coder == Coder.CONTEXT:
        io.number("centre", "B")
        io.number("axes", "B")
        io.number("zero", "H", auto=0)


def split_records(content: memoryview) -> tuple[list[memoryview], memoryview] | None:
    """Return the records of RECORDS and what is left, None where there is not even a count."""
    if len(content) < 4:
        return None
    (count,) = struct.unpack("<I", content[:4])
    records: list[memoryview] = []
    at = 4
    while len(records) < count and len(content) - at >= FIRST_FIELDS:
        size = 4 * content[at]
        if size < FIRST_FIELDS or size > len(content) - at:
            break
        records.append(content[at : at + size])
        at += size
    return records, content[at:]


def need(condition: bool, reason: str) -> None:
    """Raise CorruptError, for `Reader.attempt`, where `condition` is false."""
    if not condition:
        raise CorruptError(reason)
