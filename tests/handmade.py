"""Files built by hand, section by section: what tests of readers start from."""

from __future__ import annotations

import struct
import zlib

from dcformat import frames
from dcformat.container import write_container
from dcformat.encode import write_tensors
from dcformat.forms import Form
from dcformat.ids import Coder, Meta, Section
from dcformat.sections import write_meta, write_names


def unhex(*lines: str) -> bytes:
    """Return the bytes of hexadecimal lines; text after `#` is a comment."""
    return bytes.fromhex(" ".join(line.split("#")[0] for line in lines))


def file_of(
    records: list[bytes],
    payload: bytes = b"",
    tables: list[bytes] | None = None,
    sections: dict[Section, bytes] | None = None,
) -> bytes:
    """Return a file with these records, entries of TABLES and PAYLOAD."""
    content = {Section.PAYLOAD: payload, **(sections or {})}
    if records:
        content[Section.RECORDS] = struct.pack("<I", len(records)) + b"".join(records)
    if tables:
        content[Section.TABLES] = tables_of(tables)
    return b"".join(write_container(content, 4))


def file_of_form(form: Form) -> bytes:
    """Return a file with one tensor, written in this form."""
    records, tables, payload = write_tensors([form], {}, 1, 4)
    sections = {
        Section.RECORDS: records,
        Section.TABLES: tables,
        Section.NAMES: write_names([form.stored.tensor.name]),
        Section.PAYLOAD: payload,
    }
    if form.coder is Coder.ZSTD:
        sections[Section.META] = write_meta({Meta.LIBZSTD: frames.VERSION.encode()})
    return b"".join(write_container(sections, 4))


def tables_of(entries: list[bytes]) -> bytes:
    """Return TABLES with these entries."""
    start = 4 + 4 * len(entries)
    offsets = [start + sum(map(len, entries[:i])) for i in range(len(entries))]
    return struct.pack(f"<I{len(entries)}I", len(entries), *offsets) + b"".join(entries)


def crc(numbers: bytes) -> bytes:
    """Return the field numbers_crc for these numbers."""
    return struct.pack("<I", zlib.crc32(numbers))


def fix_crcs(data: bytes) -> bytes:
    """Return `data` with every CRC of header, table and sections made right, where it can be."""
    out = bytearray(data)
    if len(out) < 48:
        return bytes(out)
    size, count = struct.unpack_from("<HH", out, 12)
    end = size + 32 * count
    if size < 48 or end > len(out):
        return bytes(out)
    for i in range(count):
        at = size + 32 * i
        offset, stored = struct.unpack_from("<QQ", out, at + 8)
        if offset + stored <= len(out):
            struct.pack_into("<I", out, at + 4, zlib.crc32(out[offset : offset + stored]))
    struct.pack_into("<I", out, 36, zlib.crc32(out[size:end]))
    head = zlib.crc32(out[48:size], zlib.crc32(out[:44]))
    struct.pack_into("<I", out, 44, head)
    return bytes(out)


def resealed(data: bytes) -> bytes:
    """Return `data` with the CRCs of the section table and the header alone made right."""
    size, count = struct.unpack_from("<HH", data, 12)
    table = zlib.crc32(data[size : size + 32 * count])
    head = data[:36] + struct.pack("<I", table) + data[40:44]
    crc = zlib.crc32(data[48:size], zlib.crc32(head))
    return head + struct.pack("<I", crc) + data[48:]


Part = tuple[bytearray, bytearray]  #: an entry of the section table, and the section's bytes


def taken_apart(data: bytes) -> tuple[bytearray, list[Part]]:
    """Return the header and the sections, as far as the section table can be followed."""
    size, count = struct.unpack_from("<HH", data, 12)
    end = size + 32 * count
    if not 48 <= size <= 64 or end > len(data):
        return bytearray(data), []
    parts = []
    for at in range(size, end, 32):
        offset, stored = struct.unpack_from("<QQ", data, at + 8)
        parts.append((bytearray(data[at : at + 32]), bytearray(data[offset : offset + stored])))
    return bytearray(data[:size]), parts


def joined(header: bytearray, parts: list[Part]) -> bytes:
    """Return a file of these sections: offsets, sizes and CRCs are made right."""
    if not parts:
        return bytes(header)
    end = len(header) + 32 * len(parts)
    body = bytearray()
    for entry, content in parts:
        pad = -end % (1 << (entry[3] & 15))
        struct.pack_into("<QQ", entry, 8, end + pad, len(content))
        if entry[2] == 0:
            struct.pack_into("<Q", entry, 24, len(content))
        body += bytes(pad) + content
        end += pad + len(content)
    struct.pack_into("<HQ", header, 14, len(parts), end + 8)
    table = b"".join(entry for entry, _ in parts)
    return fix_crcs(bytes(header) + table + bytes(body) + bytes(8))
