"""Payloads in both directions: parameters per axis, offsets, classes, blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from .. import frames
from ..errors import DcfError
from ..fields import Fields
from ..ids import MAX_ALIGN_LOG2, AffineFlag, Coder, DType, ScaleKind, ValuesId
from ..records import Head, payload_align
from .fields import DECIMAL, REAL, Io, Reader, Writer
from .lines import Node, data_node, data_of, words_node
from .records import Tensor, need

_POINTS = {DType.INT8: "b", DType.UINT8: "B", DType.INT16: "h", DType.UINT16: "H"}


@dataclass
class Allowance:
    """How many bytes may still be decompressed or decoded, so that little asks for little work."""

    left: int

    def take(self, size: int) -> bool:
        """Tell whether `size` more bytes are allowed, and count them."""
        if size > self.left:
            return False
        self.left -= size
        return True


def allowance(stored: int) -> Allowance:
    """Return what `stored` bytes may become: 4 MiB, and sixteen times themselves."""
    return Allowance((1 << 22) + 16 * stored)


def unpacked(frame: bytes | memoryview, allowed: Allowance) -> bytes | None:
    """Return what a zstd frame holds if compressing it gives the frame, else None."""
    size = frames.content_size(frame)
    if not allowed.take(size):
        return None
    try:
        content = frames.decompress(frame, size, "")
    except DcfError:
        return None
    return content if frames.compress(content) == frame else None


def read_payload(
    raw: memoryview, t: Tensor, allowed: Allowance, full: bool
) -> tuple[list[Node], int]:
    """Return the lines of a payload and the offset width that its blocks ask for."""
    reader = Reader(Fields(raw, "payload"), [], full)
    width = reader.attempt(lambda: _read(reader, t, allowed))
    return reader.out, width or 1


def _read(reader: Reader, t: Tensor, allowed: Allowance) -> int:
    _front(reader, t)
    count = t.block_count
    fields, width = reader.data, t.offset_width
    need((count - 1) * width <= fields.left, "offsets")
    table = fields.take(max(0, count - 1) * width)
    offsets = [int.from_bytes(table[i : i + width], "little") for i in range(0, len(table), width)]
    if count and t.classes > 1:
        _read_classes(reader, count)
    bounds = [0, *offsets, fields.left]
    blocks = fields.take(fields.left)
    if any(a > b for a, b in pairwise(bounds)):
        reader.out.append(words_node("offsets", [str(n) for n in offsets]))
        bounds = [0, len(blocks)]
    if len(bounds) > 2 or len(blocks):
        reader.out += [_read_block(blocks[a:b], t, allowed) for a, b in pairwise(bounds)]
    return offset_width(offsets)


def _read_classes(reader: Reader, count: int) -> None:
    packed = reader.data.take((2 * count + 7) // 8)
    classes = [packed[i // 4] >> 2 * (i % 4) & 3 for i in range(count)]
    reader.out.append(words_node("classes", [str(c) for c in classes]))
    spare = packed[-1] >> 2 * (count % 4) if count % 4 else 0
    if spare:
        reader.out.append(Node(f"spare {spare}"))


def _read_block(block: memoryview, t: Tensor, allowed: Allowance) -> Node:
    if t.coder == Coder.ZSTD:
        content = unpacked(block, allowed)
        if content is not None:
            return data_node("frame", content)
    return data_node("block", block)


def offset_width(offsets: list[int]) -> int:
    """Return the smallest width that holds every offset."""
    return max(1, (max(offsets, default=0).bit_length() + 7) // 8)


def write_payload(node: Node, t: Tensor, width: int | None) -> tuple[bytes, int]:
    """Return a payload and the width of its offsets; `width` None asks for the smallest."""
    writer = Writer(node)
    writer.one("pad")  # written by who knows where the payload stands
    found = writer.attempt(lambda: _write(writer, t, width))
    return bytes(writer.out), found or 1


def _write(writer: Writer, t: Tensor, width: int | None) -> int:
    _front(writer, t)
    blocks = [_write_block(node) for node in writer.node.children if node.key in ("block", "frame")]
    writer.all("block")
    writer.all("frame")
    node = writer.one("offsets")
    offsets = writer.words("offsets") if node else _offsets(blocks) if t.block_count else []
    width = min(4, offset_width(offsets)) if width is None else width
    for offset in offsets:
        if not 0 <= offset < 1 << 8 * width:
            (node or writer.node).fail(f"offset {offset} does not fit {width} bytes")
        writer.out += offset.to_bytes(width, "little")
    writer.out += _classes(writer)
    writer.out += b"".join(blocks)
    return offset_width(offsets)


def _offsets(blocks: list[bytes]) -> list[int]:
    at, offsets = 0, []
    for block in blocks[:-1]:
        at += len(block)
        offsets.append(at)
    return offsets


def _classes(writer: Writer) -> bytes:
    classes, spare = writer.words("classes"), writer.value("spare", 0)
    out = bytearray((2 * len(classes) + 7) // 8)
    for i, value in enumerate(classes):
        if not 0 <= value < 4:
            writer.node.fail(f"class {value}: a class has two bits")
        out[i // 4] |= value << 2 * (i % 4)
    if spare:
        if not 0 < spare < 1 << (-2 * len(classes) % 8):
            writer.node.fail("'spare' is what is left of the last byte of classes")
        out[-1] |= spare << 2 * (len(classes) % 4)
    return bytes(out)


def _write_block(node: Node) -> bytes:
    data = data_of(node)
    return frames.compress(data) if node.key == "frame" else data


def _front(io: Io, t: Tensor) -> None:
    """Parameters of the values room per axis."""
    dims = t.stored_dims
    if t.axis >= len(dims):
        return
    if t.values in (ValuesId.FIXED, ValuesId.POW2):
        io.numbers("fractions", "b", dims[t.axis])
    elif t.values == ValuesId.CODEBOOK and t.scale == ScaleKind.AXIS:
        io.numbers("scales", "I", dims[t.axis], REAL)
    elif t.values == ValuesId.AFFINE:
        count = dims[t.axis]
        if t.affine & AffineFlag.BLOCKED:
            need(t.block > 0, "blocks of no elements")
            count = math.prod(-(-n // t.block) if i == t.axis else n for i, n in enumerate(dims))
        io.numbers("scales", "I", count, REAL)
        code = _POINTS.get(DType(t.number)) if t.number in set(DType) else None
        if t.affine & AffineFlag.ZERO_POINTS and code:
            io.numbers("zero_points", code, count, DECIMAL)


def alignment(t: Tensor, size: int, align_log2: int) -> int:
    """Return the alignment of a payload of `size` bytes."""
    head = Head(layout=t.layout, values=t.values, coder=t.coder, payload_size=size)
    step: int = 1 << align_log2 if align_log2 <= MAX_ALIGN_LOG2 else 1
    return payload_align(head, step)
