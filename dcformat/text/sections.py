"""NAMES, HASHES, FIXED, META and GRAPH in both directions."""

from __future__ import annotations

import struct
from enum import IntEnum

from ..errors import ConvertError
from ..fields import Fields
from ..ids import NO_TENSOR, DType, GraphFormat, Meta, Rounding, Section
from .fields import HEX, Io, Kind, Reader, Writer, one_of, or_none
from .lines import Node, data_node, data_of, quote, unquote

KEY = one_of(Meta)
FORMAT = one_of(GraphFormat)
ROUNDING = one_of(Rounding)
INDEX = or_none(NO_TENSOR)
MAX_QUOTED = 4096  #: bytes of metadata that stand in one line
_LENGTH = {"H": 2, "I": 4}


class TensorField(IntEnum):
    """Fields of a TensorProto that a hole may stand for (spec/DCF.md, "GRAPH")."""

    float_data = 4
    int32_data = 5
    int64_data = 7
    raw_data = 9
    double_data = 10
    uint64_data = 11


#: How the last number of a hole is written, by the graph's format.
FIELDS: dict[int, Kind] = {GraphFormat.ONNX: one_of(TensorField), GraphFormat.TFLITE: one_of(DType)}


def read_names(content: memoryview, full: bool) -> list[Node]:
    """Return the lines of NAMES; what is not a whole name is the rest."""
    reader = Reader(Fields(content, "NAMES"), [], full)
    while (raw := _take(reader, "H")) is not None:
        reader.out.append(Node(f"name {quote(raw)}"))
    reader.rest()
    return reader.out


def _take(reader: Reader, code: str) -> bytes | None:
    """Return bytes after their length, None where they are not all there."""
    fields, size = reader.data, _LENGTH[code]
    if fields.left < size:
        return None
    (length,) = struct.unpack("<" + code, fields.data[fields.pos : fields.pos + size])
    if fields.left < size + length:
        return None
    return bytes(fields.take(size + length)[size:])


def write_names(writer: Writer) -> None:
    """Write NAMES."""
    for node in writer.all("name"):
        _put(node, unquote(node, node.value), "H", writer.out)
    writer.rest()


def _put(node: Node, raw: bytes, code: str, out: bytearray) -> None:
    """Add bytes after their length, which a line `length` below may say otherwise."""
    length = Writer(node, out)
    length.number("length", code, auto=len(raw))
    length.done()
    out += raw


def read_hashes(content: memoryview, full: bool) -> list[Node]:
    """Return the lines of HASHES."""
    reader = Reader(Fields(content, "HASHES"), [], full)
    while reader.data.left >= 4:
        reader.number("hash", "I", HEX)
    reader.rest()
    return reader.out


def write_hashes(writer: Writer) -> None:
    """Write HASHES."""
    for node in writer.all("hash"):
        Writer(Node("", [node], node.number), writer.out).number("hash", "I", HEX)
    writer.rest()


def _layer(io: Io) -> None:
    io.number("weight", "I", INDEX)
    io.number("bias", "I", INDEX)
    values = {}
    for name in ("input", "weight", "bias", "output"):
        values[name] = io.number(f"{name}_fraction", "b")
        io.number(f"{name}_bits", "B")
    both = values["input"] + values["weight"]
    io.number("shift", "h", auto=both - values["output"])
    io.number("bias_shift", "h", auto=both - values["bias"])
    io.number("rounding", "B", ROUNDING)
    io.fixed("zero", bytes(3))


def read_layers(content: memoryview, full: bool) -> list[Node] | None:
    """Return the lines of FIXED, None where the entries are not all there."""
    (count,) = struct.unpack("<I", content[:4]) if len(content) >= 4 else (0,)
    if len(content) < 4 + 24 * count:
        return None
    reader = Reader(Fields(content, "FIXED"), [], full)
    reader.number("count", "I", auto=count)
    nodes = []
    for _ in range(count):
        entry = Reader(reader.data, [], full)
        _layer(entry)
        nodes.append(Node("layer", entry.out))
    for node in nodes:
        name = _take(reader, "H")
        if name is None:
            break
        node.text = f"layer {quote(name)}"
    reader.out += nodes
    reader.rest()
    return reader.out


def write_layers(writer: Writer) -> None:
    """Write FIXED; a layer without a quoted name has no bytes for one, not even a length."""
    layers = writer.all("layer")
    writer.number("count", "I", auto=len(layers))
    names = bytearray()
    for node in layers:
        entry = Writer(node, writer.out)
        _layer(entry)
        if node.value:
            raw = unquote(node, node.value)
            Writer(Node("", entry.all("length"), node.number), names).number(
                "length", "H", auto=len(raw)
            )
            names += raw
        entry.done()
    writer.out += names
    writer.rest()


def read_meta(content: memoryview, full: bool) -> list[Node]:
    """Return the lines of META; what is not a whole entry is the rest."""
    reader = Reader(Fields(content, "META"), [], full)
    fields = reader.data
    while fields.left:
        key = fields.u8()
        raw = _take(reader, "I")
        if raw is None:
            fields.pos -= 1
            break
        reader.out.append(_meta_node(KEY.show(key), raw))
    reader.rest()
    return reader.out


def _meta_node(key: str, raw: bytes) -> Node:
    quoted = quote(raw) if len(raw) <= MAX_QUOTED else "\\x"
    if "\\x" not in quoted:
        return Node(f"entry {key} {quoted}")
    return Node(f"entry {key}", [data_node("bytes", raw)])


def write_meta(writer: Writer) -> None:
    """Write META."""
    for node in writer.all("entry"):
        key, _, text = node.value.partition(" ")
        number = KEY.parse(key)
        if number is None or not 0 <= number < 256:
            node.fail(f"{key[:40]!r} is not a key of metadata")
        writer.out.append(number)
        value = Writer(node, writer.out)
        given = value.one("bytes")
        raw = unquote(node, text.strip()) if given is None else data_of(given)
        if given is not None and text:
            node.fail("a value as text and another as bytes")
        value.number("length", "I", auto=len(raw))
        value.done()
        writer.out += raw
    writer.rest()


def read_graph(content: memoryview, full: bool) -> list[Node] | None:
    """Return the lines of GRAPH, None where it is empty."""
    if not len(content):
        return None
    reader = Reader(Fields(content, "GRAPH"), [], full)
    fields = reader.data
    field = FIELDS.get(reader.number("format", "B", FORMAT))
    if field and fields.left >= 4:
        (count,) = struct.unpack("<I", fields.data[1:5])
        whole = fields.left - 4 >= 9 * count
        reader.number("hole_count", "I", auto=count if whole else 0)
        for _ in range(count if whole else 0):
            position, tensor, name = struct.unpack("<IIB", fields.take(9))
            reader.out.append(Node(f"hole {position} {tensor} {field.show(name)}"))
        reader.rest("skeleton")
    elif field:
        reader.out.append(data_node("data", fields.take(fields.left)))
    reader.rest("data")
    return reader.out


def write_graph(writer: Writer) -> None:
    """Write GRAPH."""
    field = FIELDS.get(writer.number("format", "B", FORMAT))
    if field and writer.one("data") is None:
        holes = writer.all("hole")
        writer.number("hole_count", "I", auto=len(holes))
        for node in holes:
            writer.out += _hole(node, field)
        writer.rest("skeleton")
    writer.rest("data")


def _hole(node: Node, field: Kind) -> bytes:
    values = [field.parse(word) for word in node.value.split()]
    try:
        return struct.pack("<IIB", *values)
    except struct.error:
        raise ConvertError(
            "a hole is a position, a tensor and a field", place=f"line {node.number}"
        ) from None


READERS = {
    Section.NAMES: read_names,
    Section.HASHES: read_hashes,
    Section.FIXED: read_layers,
    Section.META: read_meta,
    Section.GRAPH: read_graph,
}
WRITERS = {
    Section.NAMES: write_names,
    Section.HASHES: write_hashes,
    Section.FIXED: write_layers,
    Section.META: write_meta,
    Section.GRAPH: write_graph,
}
