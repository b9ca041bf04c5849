"""TABLES in both directions: Huffman code lengths and levels of codebooks."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np

from .. import ordered
from ..encodings import coder_huffman, values_codebook
from ..encodings.coder_huffman import UNUSED
from ..errors import CorruptError, DcfError
from ..fields import Fields
from ..ids import NUMPY, WIDTH, DType, TableKind
from ..plain import plain_entry
from .fields import (
    DECIMAL,
    DTYPE,
    HEX,
    REAL,
    Io,
    Kind,
    Reader,
    Writer,
    numbers_of,
    one_of,
    parse_int,
)
from .lines import Node, data_node, words_node

KIND = one_of(TableKind)
#: A symbol that is not in use is written as `-`; NIBBLES stores it as 0.
LENGTH = Kind(lambda n: str(n) if n else "-", lambda text: 0 if text == "-" else parse_int(text))
_LEVELS = {
    DType.FLOAT: ("I", REAL),
    DType.UINT8: ("B", DECIMAL),
    DType.INT8: ("b", DECIMAL),
    DType.UINT16: ("H", DECIMAL),
    DType.INT16: ("h", DECIMAL),
    DType.INT32: ("i", DECIMAL),
    DType.INT64: ("q", DECIMAL),
    DType.BOOL: ("B", DECIMAL),
    DType.UINT32: ("I", DECIMAL),
    DType.UINT64: ("Q", DECIMAL),
    DType.UINT4: ("B", DECIMAL),
    DType.INT4: ("b", DECIMAL),
    DType.UINT2: ("B", DECIMAL),
    DType.INT2: ("b", DECIMAL),
}


def level_code(level: int) -> tuple[str, Kind, int]:
    """Return how the levels of a type are written, and how many words each takes.

    Types of which there is no plain number are words of bits.
    """
    if level not in set(DType):
        return "B", HEX, 1
    width = WIDTH[DType(level)]
    code, kind = _LEVELS.get(DType(level), ({1: "B", 2: "H"}.get(width, "Q"), HEX))
    return code, kind, max(1, width // 8)


def split_tables(content: memoryview) -> tuple[list[int], list[memoryview]] | None:
    """Return offsets and entries; one entry with all there is where offsets do not part them."""
    if len(content) < 4:
        return None
    (count,) = struct.unpack("<I", content[:4])
    start = 4 + 4 * count
    if start > len(content):
        return [], [content[4:]] if len(content) > 4 else []
    offsets = list(struct.unpack(f"<{count}I", content[4:start]))
    bounds = [*offsets, len(content)]
    if bounds[0] == start and all(a < b for a, b in pairwise(bounds)):
        return offsets, [content[a:b] for a, b in pairwise(bounds)]
    return offsets, [content[start:]] if len(content) > start else []


def read_tables(content: memoryview, full: bool) -> tuple[list[Node], list[bytes]] | None:
    """Return the lines of TABLES and its entries, None where there is not even a count."""
    found = split_tables(content)
    if found is None:
        return None
    offsets, entries = found
    reader = Reader(Fields(content, "TABLES"), [], full)
    reader.number("count", "I", auto=len(entries))
    nodes = reader.out
    if offsets != offsets_of(entries):
        nodes.append(words_node("offsets", [str(n) for n in offsets]))
    for index, entry in enumerate(entries):
        node = _read_table(entry, full)
        node.comment = str(index)
        nodes.append(node)
    return nodes, [bytes(entry) for entry in entries]


def offsets_of(entries: list[bytes] | list[memoryview]) -> list[int]:
    """Return where entries stand that follow each other."""
    at, offsets = 4 + 4 * len(entries), []
    for entry in entries:
        offsets.append(at)
        at += len(entry)
    return offsets


def write_tables(writer: Writer) -> list[bytes]:
    """Write TABLES; return its entries."""
    entries = [_write_table(node) for node in writer.all("table")]
    writer.number("count", "I", auto=len(entries))
    node = writer.one("offsets")
    offsets = offsets_of(entries) if node is None else numbers_of(node)
    writer.out += _offsets_bytes(offsets, node or writer.node)
    writer.out += b"".join(entries)
    return entries


def _offsets_bytes(offsets: list[int], node: Node) -> bytes:
    if any(not 0 <= n < 1 << 32 for n in offsets):
        node.fail("an offset that does not fit 4 bytes")
    return struct.pack(f"<{len(offsets)}I", *offsets)


def _read_table(entry: memoryview, full: bool) -> Node:
    """Return a table's lines, as bytes where its fields do not give them back."""
    node = Node(f"table {KIND.show(entry[0])}")
    try:
        reader = Reader(Fields(_unpacked(entry), "table", 1), node.children, full)
        reader.attempt(lambda: _read_fields(reader, entry))
        if _write_table(node) == entry:
            return node
    except DcfError:  # parsed, but not what the fields say: a bug or a strange table
        pass
    return Node(node.text, [data_node("hex", entry[1:])])


def _unpacked(entry: memoryview) -> memoryview:
    """Return levels as they stand in a CODEBOOK, also where they are packed."""
    if entry[0] != TableKind.CODEBOOK_SORTED:
        return entry
    table = values_codebook.parse_sorted(entry, "table")
    return entry if table is None else memoryview(plain_entry(entry, table))


def _packed(writer: Writer) -> bytes:
    """Return the packed form of a table whose levels were written plainly."""
    level, raw, found = writer.out[1], bytes(writer.out[3:]), None
    if level in ordered.FLOATS and len(raw) % WIDTH[DType(level)] == 0:
        levels = np.frombuffer(raw, NUMPY[DType(level)])
        found = values_codebook.write_sorted(DType(level), levels)
    if found is None:
        writer.node.fail("levels of floating point in ascending order, no two equal, are packed")
    return found


def _read_fields(reader: Reader, entry: memoryview) -> None:
    if entry[0] in (TableKind.CODEBOOK, TableKind.CODEBOOK_SORTED):
        _read_codebook(reader)
    elif entry[0] == TableKind.HUFFMAN_FLAT:
        _flat(reader)
    elif entry[0] in set(TableKind):
        _read_lengths(reader, entry[0])
    else:
        reader.rest("hex")


def _flat(io: Io) -> None:
    io.number("first", "B")
    io.number("count", "B", bias=1)


def _read_lengths(reader: Reader, kind: int) -> None:
    fields = reader.data
    count = fields.data[2] + 1 if len(fields.data) > 2 else 0
    reader.number("first", "B")
    reader.number("count", "B", auto=count, bias=1)
    lengths = (
        _read_delta(reader, count)
        if kind == TableKind.HUFFMAN_DELTA
        else _read_nibbles(reader, count)
    )
    reader.out.append(words_node("lengths", [LENGTH.show(n) for n in lengths]))
    reader.rest()


def _read_nibbles(reader: Reader, count: int) -> list[int]:
    raw = reader.data.take((count + 1) // 2)
    lengths = [n for byte in raw for n in (byte & 15, byte >> 4)]
    if any(lengths[count:]):
        reader.out.append(Node(f"spare {lengths[count]}"))
    return lengths[:count]


def _read_delta(reader: Reader, count: int) -> list[int]:
    fields = reader.data
    start = fields.data[fields.pos] if fields.left else 0
    lengths = [0 if n == UNUSED else n for n in coder_huffman.parse_delta(fields, count)]
    if start != _start_of(lengths):
        reader.out.append(Node(f"start {start}"))
    return lengths


def _start_of(lengths: list[int]) -> int:
    return next((n for n in lengths if n), 0)


def _read_codebook(reader: Reader) -> None:
    fields = reader.data
    level = reader.number("type", "B", DTYPE)
    code, kind, words = level_code(level)
    count = fields.data[fields.pos] + 1 if fields.left else 0
    there = max(0, fields.left - 1)
    reader.number("count", "B", bias=1, auto=count if there == _size(code, words, count) else None)
    if there != _size(code, words, count):
        raise CorruptError("levels of another size")
    reader.numbers("levels", code, count * words, kind)


def _size(code: str, words: int, count: int) -> int:
    return struct.calcsize("<" + code) * words * count


def _write_table(node: Node) -> bytes:
    kind = KIND.parse(node.value)
    if kind is None or not 0 <= kind < 256:
        node.fail(f"{node.value[:40]!r} is not a kind of table")
    writer = Writer(node, bytearray([kind]))
    writer.attempt(lambda: _write_fields(writer, kind))
    return bytes(writer.out)


def _write_fields(writer: Writer, kind: int) -> None:
    if kind in (TableKind.CODEBOOK, TableKind.CODEBOOK_SORTED):
        level = writer.number("type", "B", DTYPE)
        code, shown, words = level_code(level)
        values = writer.words("levels", shown)
        if not values:
            writer.node.fail("a codebook without 'levels'")
        writer.number("count", "B", auto=-(-len(values) // words), bias=1)
        writer.numbers("levels", code, len(values), shown)
        if kind == TableKind.CODEBOOK_SORTED:
            writer.out[:] = _packed(writer)
    elif kind == TableKind.HUFFMAN_FLAT:
        _flat(writer)
    elif kind in set(TableKind):
        _write_lengths(writer, kind)
    else:
        writer.node.fail("a table of an unknown kind is written as hex")


def _write_lengths(writer: Writer, kind: int) -> None:
    lengths = writer.words("lengths", LENGTH)
    node = writer.one("lengths")
    if node is None or not lengths:
        writer.node.fail("a table without 'lengths'")
    if any(not 0 <= n < 16 for n in lengths):
        node.fail("a code length is 1 to 15, or - for a symbol that is not in use")
    writer.number("first", "B")
    writer.number("count", "B", auto=len(lengths), bias=1)
    if kind == TableKind.HUFFMAN_DELTA:
        _write_delta(writer, lengths)
    else:
        _write_nibbles(writer, lengths)
    writer.rest()


def _write_nibbles(writer: Writer, lengths: list[int]) -> None:
    spare = writer.value("spare", 0)
    if not 0 <= spare < 16 or (spare and len(lengths) % 2 == 0):
        writer.node.fail("'spare' is the half of a byte after an odd number of lengths")
    halves = [*lengths, spare][: len(lengths) + len(lengths) % 2]
    writer.out += bytes(a | b << 4 for a, b in zip(halves[::2], halves[1::2], strict=True))


def _write_delta(writer: Writer, lengths: list[int]) -> None:
    start = writer.value("start", _start_of(lengths))
    if not 0 <= start < 256:
        writer.node.fail(f"'start' cannot be {start}")
    writer.out += coder_huffman.write_delta([n or UNUSED for n in lengths], start)


def decoded_tables(entries: list[bytes]) -> list[object]:
    """Return tables as the decoder has them, None for those that it refuses."""
    return [_decoded(memoryview(entry)) for entry in entries]


def _decoded(entry: memoryview) -> object:
    try:
        if entry[0] == TableKind.CODEBOOK:
            return values_codebook.parse_table(entry, "table")
        if entry[0] == TableKind.CODEBOOK_SORTED:
            return values_codebook.parse_sorted(entry, "table")
        if entry[0] in set(TableKind):
            return coder_huffman.parse_table(entry, "table")
    except CorruptError:
        return None
    return None
