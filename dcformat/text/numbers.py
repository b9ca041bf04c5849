"""The CRCs of decoded numbers, of tensors that may be malformed and in company that is."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

from .. import decode, native
from ..container import Container, Entry, write_container
from ..errors import DcfError
from ..fields import Fields, align
from ..ids import MAX_TABLES, WIDTH, Coder, Section
from ..model import Array
from ..plain import plain_entry
from ..records import parse_head, payload_align
from .payload import allowance
from .tables import decoded_tables, offsets_of

Raw = Union[bytes, bytearray, memoryview]
ALIGN_LOG2 = 4
UNKNOWN = b"\xff"  #: an entry of TABLES that no tensor can use


def numbers_crcs(records: Sequence[Raw], payloads: Sequence[Raw], tables: list[bytes]) -> list[int]:
    """Return the CRC-32 of what each record's payload decodes to; 0 where it does not.

    What is beyond the allowance of the payloads counts as not decoded.
    """
    allowed = allowance(sum(map(len, payloads)))
    parsed = decoded_tables(tables)
    tensors = [_parse(*pair, parsed) for pair in zip(records, payloads, strict=True)]
    chosen = [t if t is not None and allowed.take(t.size) else None for t in tensors]
    decodable = [t for t in chosen if t is not None]
    core = _core(decodable, tables, parsed)
    crcs = iter([_crc(t, i, parsed, core) for i, t in enumerate(decodable)])
    return [0 if t is None else next(crcs) for t in chosen]


@dataclass(frozen=True)
class _Tensor:
    """A record that is well formed, with a payload of the size that it states."""

    raw: Raw
    payload: Raw
    record: decode.Record
    size: int  #: bytes of its numbers


def _parse(raw: Raw, payload: Raw, tables: list[object]) -> _Tensor | None:
    """Return a tensor that may be decoded, None where its record says that it cannot be."""
    try:
        head, fields = parse_head(Fields(memoryview(raw), "record"), 0, [])
        record = decode.parse_rooms(0, head, fields, tables)
    except DcfError:
        return None
    if record.plan is None or head.payload_size != len(payload):
        return None
    return _Tensor(raw, payload, record, head.elements * WIDTH[record.plan.number])


def _crc(tensor: _Tensor, index: int, tables: list[object], core: native.Opened | None) -> int:
    try:
        if core is not None and tensor.record.head.coder != Coder.ZSTD:
            numbers = native.decode_numbers(core, index, check=False)
        else:
            numbers = _decode(tensor, tables)
    except DcfError:
        return 0
    return zlib.crc32(numbers.tobytes())


def _decode(tensor: _Tensor, tables: list[object]) -> Array:
    view = memoryview(tensor.payload)
    entry = Entry(Section.PAYLOAD, 0, 0, 0, 0, 0, len(view), len(view))
    container = Container(view, {Section.PAYLOAD: entry})
    opened = decode.Opened(container, tables, [], [tensor.record])
    return decode.decode_numbers(opened, 0, check=False)


def _core(
    tensors: list[_Tensor], tables: list[bytes], parsed: list[object]
) -> native.Opened | None:
    """Open the tensors in the C core, which is faster: a file of their own, all well formed."""
    if not native.AVAILABLE or not tensors:
        return None
    good = [
        UNKNOWN if table is None else plain_entry(raw, table)
        for raw, table in zip(tables, parsed, strict=True)
    ]
    content = {
        Section.RECORDS: struct.pack("<I", len(tensors)) + b"".join(t.raw for t in tensors),
        Section.TABLES: _tables(good[:MAX_TABLES]),
        Section.PAYLOAD: _payloads(tensors),
    }
    try:
        return native.open_file(b"".join(write_container(content, ALIGN_LOG2)))
    except DcfError:  # more tensors than a file may have
        return None


def _tables(entries: list[bytes]) -> bytes:
    numbers = [len(entries), *offsets_of(entries)]
    return struct.pack(f"<{len(numbers)}I", *numbers) + b"".join(entries) if entries else b""


def _payloads(tensors: list[_Tensor]) -> bytes:
    """Return PAYLOAD with each payload where its record has it."""
    out = bytearray()
    for tensor in tensors:
        step = payload_align(tensor.record.head, 1 << ALIGN_LOG2)
        out += bytes(align(len(out), step) - len(out))
        out += tensor.payload
    return bytes(out)
