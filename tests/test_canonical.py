"""What the canonical form fixes, what it takes from the file, and what it does not look at."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from handmade import crc, file_of, joined, tables_of, taken_apart, unhex
from invalid import BODY, PLAIN

from dcformat.canonical import faults
from dcformat.file import File
from dcformat.ids import Section
from dcformat.verify import FAILED, verify

FLAT = {count: bytes([2, 0, count - 1]) for count in (1, 2)}


def with_entry(section: int, content: bytes = b"", flags: int = 2, log2: int = 0) -> bytes:
    """Return a plain file with one more section."""
    header, parts = taken_apart(file_of([PLAIN], BODY))
    row = struct.pack("<BBBBIQQQ", section, flags, 0, log2, 0, 0, 0, 0)
    parts.append((bytearray(row), bytearray(content)))
    return joined(header, sorted(parts, key=lambda part: part[0][0]))


def in_classes(named: bytes, classes: int, offset_bytes: int = 1) -> bytes:
    """Return two blocks of one row, 0 1 0 1 and 0 0 0 0, in two classes or tables `named`."""
    numbers = bytes([0, 1, 0, 1, 0, 0, 0, 0])
    head = unhex("09 02 02 01 00 00 01 04") + crc(numbers)
    body = struct.pack("<I", offset_bytes + 1 + 1 + (named[2] == named[0] or classes == 0))
    body += unhex("02 00 00 00 04 00 00 00") + bytes([1, 0, 0, 4 | offset_bytes - 1])
    body += unhex("02 00 00 00") + named
    bits = b"\x50" + (b"\0" if named[2] == named[0] or classes == 0 else b"")
    payload = (1).to_bytes(offset_bytes, "little") + bytes([classes]) + bits
    tables = [FLAT[2], FLAT[1]] if named != bytes(4) else [FLAT[2]]
    return file_of([head + body], payload, tables)


def affine(flags: int, tail: str) -> bytes:
    """Return the numbers 1 to 4 with the scale 1."""
    head = unhex("00 01 01 00 00 02 00 00") + crc(bytes([1, 2, 3, 4]))
    body = unhex("01 00 00 00 04 00 00 00 02 ff") + bytes([flags, 0]) + unhex("04 00 01 00", tail)
    return file_of([bytes([(len(head + body)) // 4]) + head[1:] + body], BODY)


def wide() -> bytes:
    """Return a record with a payload size of 64 bits that 32 would hold."""
    record = b"\x07" + PLAIN[1:7] + b"\x08" + PLAIN[8:16] + bytes(4) + PLAIN[16:]
    return file_of([record], BODY)


def levels(*values: int) -> bytes:
    """Return the numbers 1, 2, 3, 3 with these levels."""
    head = unhex("06 02 01 00 00 03 00 00") + crc(bytes([1, 2, 3, 3]))
    symbols = [values.index(number) for number in (1, 2, 3, 3)]
    payload = bytes([sum(s << 2 * i for i, s in enumerate(symbols))])
    book = bytes([3, 2, len(values) - 1, *values])
    return file_of([head + unhex("01 00 00 00 04 00 00 00 00 00 00 00")], payload, [book])


FIXED = {
    "section RECORDS: there, but empty": file_of([], sections={Section.RECORDS: bytes(4)}),
    "section TABLES: there, but empty": file_of(
        [PLAIN], BODY, sections={Section.TABLES: tables_of([])}
    ),
    "section FIXED: there, but empty": with_entry(Section.FIXED, bytes(4)),
    "section META: there, but empty": with_entry(Section.META),
    "section META: aligned": with_entry(Section.META, b"\1\0\0\0\0", log2=3),
    "section 200: not known": with_entry(200, b"abc"),
    "#0: record: not written": wide(),
    "#0: record: not": affine(1, "00 00 80 3f 00 00 00 00"),
    "#0: record:": in_classes(unhex("00 00 01 00"), 4, offset_bytes=2),
    "#0: a class of 2 that no block has": in_classes(unhex("00 00 01 00"), 0),
}
TAKEN = {
    "a signalling scale": affine(0, "01 00 80 7f"),
    "a zero point": affine(1, "00 00 80 3f 01 00 00 00"),
    "levels in any order": levels(3, 1, 2),
    "levels not in use": levels(1, 9, 2, 3),
    "tables that a foreign tensor may use": file_of(
        [PLAIN[:4] + b"\x09" + PLAIN[5:]], BODY, [FLAT[2]]
    ),
    "unknown metadata": with_entry(Section.META, unhex("63 01 00 00 00 78")),
    "classes": in_classes(unhex("00 00 01 00"), 4),
    "classes with one table": in_classes(bytes(4), 4),
}


@pytest.mark.parametrize("fault", FIXED)
def test_what_the_content_fixes_is_compared(fault: str) -> None:
    assert any(found.startswith(fault) for found in faults(File(FIXED[fault])))


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_writer_may_choose_is_taken_from_the_file(name: str) -> None:
    assert list(faults(File(TAKEN[name]))) == []


@pytest.mark.parametrize("name", [*FIXED, *TAKEN])
def test_verify_answers_and_does_not_raise(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.dcf"
    path.write_bytes((FIXED | TAKEN)[name])
    failed = {check.name for check in verify(path).checks if check.status == FAILED}
    assert failed == ({"canonical"} if name in FIXED else set())
