"""Files with two faults, of which one is met first, and files at the very edge of a rule.

What is named OK is read without an error: a reader that takes the rule otherwise refuses it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from handmade import crc, file_of, fix_crcs, joined, resealed, tables_of, taken_apart, unhex
from invalid import BODY, FLAT, FLOATS, HEAD, PLAIN, WIDE, change, entry, start, whole

from dcformat.container import write_container
from dcformat.ids import Section

#: FLOAT of shape (0,), DENSE, RAW, PACKED: a payload of size 0
EMPTY = unhex("05 01 01 00 00 00 00 00") + bytes(12)
MIB = 1 << 20


def files() -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes)."""
    yield from _header()
    yield from _sections()
    yield from _checks()
    yield from _alignment()
    yield from _tables()
    yield from _parameters()
    yield from _sizes()
    yield from _runs()
    yield from _frames()


def with_entry(kind: int, codec: int, decoded: int, content: bytes = b"", log2: int = 0) -> bytes:
    """Return a valid file with one more section, whatever its entry says."""
    header, parts = taken_apart(file_of([PLAIN], BODY))
    row = struct.pack("<BBBBIQQQ", kind, 2, codec, log2, 0, 0, 0, decoded)
    parts.append((bytearray(row), bytearray(content)))
    return joined(header, sorted(parts, key=lambda part: part[0][0]))


def _header() -> Iterator[tuple[str, bytes]]:
    good = whole()
    many = good[:14] + b"\x41" + good[15:]
    yield "STRUCTURE-no_draft_bit_before_65_sections", resealed(many[:24] + b"\0" + many[25:])
    yield "LIMIT-65_sections_before_reserved_field", resealed(many[:40] + b"\1" + many[41:])
    alone = joined(bytearray(good[:48]), [(bytearray([9, 0, *bytes(30)]), bytearray())])
    cut = alone[:16] + struct.pack("<Q", len(alone) - 4) + alone[24:-4]
    yield "TRUNCATED-section_table_ends_in_the_tail", fix_crcs(cut)
    far = cut[:56] + struct.pack("<Q", 1 << 63) + cut[64:]
    yield "STRUCTURE-section_offset_before_its_size", fix_crcs(far)


def _sections() -> Iterator[tuple[str, bytes]]:
    yield "OK-section_0_of_unknown_codec", with_entry(0, 77, (1 << 64) - 1, b"abc")
    yield "LIMIT-unknown_section_of_zstd", with_entry(9, 1, 16 * 65536 + 1)
    yield "OK-unknown_section_of_zstd", with_entry(9, 1, 17 * 65536, b"?")
    good = with_entry(Section.META, 0, 0)
    big = struct.pack("<Q", 16 * MIB + 1)
    yield "LIMIT-metadata_size_before_its_codec", change(good, entry(good, Section.META) + 24, big)
    for section in (Section.RECORDS, Section.TABLES):
        name = section.name.lower()
        empty = b"".join(write_container({}, 4))
        row = bytearray([section, 1, *bytes(30)])
        there = joined(bytearray(empty[:48]), [(row, bytearray())])
        yield f"OK-{name}_of_no_bytes", there
        yield f"CHECKSUM-{name}_of_no_bytes", resealed(there[:52] + b"\1" + there[53:])
    yield "OK-count_of_records_alone", file_of([], sections={Section.RECORDS: bytes(4)})
    yield "STRUCTURE-payload_without_records", file_of([], BODY)


def _checks() -> Iterator[tuple[str, bytes]]:
    """The order of the full check: CRCs, padding, numbers."""
    wrong = PLAIN[:8] + b"\0\0\0\0" + PLAIN[12:]
    sections = {Section.META: b"\1\1\0\0\0x"}
    good = file_of([wrong, WIDE], BODY + bytes(15) + FLOATS, sections=sections)
    padded = change(good, start(good, Section.PAYLOAD) + 1, b"\1")
    yield "PADDING-between_payloads_before_numbers", padded
    meta = change(padded, start(good, Section.META) + 5, b"y", False)
    yield "CHECKSUM-metadata_before_padding", meta


def _alignment() -> Iterator[tuple[str, bytes]]:
    """A payload of size 0 stands right behind the one before, whatever its tensor."""
    numbers = bytes([5, 6, 7])
    three = unhex("06 02 01 00 00 00 00 00") + crc(numbers)
    three += unhex("03 00 00 00 03 00 00 00 00 01 00 00")
    equal = unhex("06 02 01 00 00 00 00 00") + crc(bytes([9, 9]))
    equal += unhex("00 00 00 00 02 00 00 00 01 00 09 00")
    unknown = EMPTY[:1] + b"\x63" + EMPTY[2:]
    for name, record in {"numbers": EMPTY, "bits": equal}.items():
        yield f"OK-payload_without_{name}", file_of([three, record], numbers)
        yield f"STRUCTURE-payload_without_{name}_aligned", file_of([three, record], numbers + b"\0")
    yield "UNSUPPORTED-payload_without_bytes", file_of([three, unknown], numbers)
    yield "OK-payloads_of_3_0_64", file_of([three, EMPTY, WIDE], numbers + bytes(13) + FLOATS)
    two = unhex("06 02 01 00 00 00 00 00") + crc(numbers[:2])
    two += unhex("02 00 00 00 02 00 00 00 00 01 00 00")
    yield "OK-payload_of_2_aligned_to_2", file_of([three, two], numbers + b"\0" + numbers[:2])
    yield "STRUCTURE-payload_of_2_aligned_to_4", file_of([two, two], numbers[:2] * 2 + bytes(2))


def _tables() -> Iterator[tuple[str, bytes]]:
    def with_table(raw: str) -> bytes:
        return file_of([PLAIN], BODY, sections={Section.TABLES: tables_of([unhex(raw)])})

    yield "CODE-nibble_13_before_the_end", with_table("00 00 07 d1")
    yield "PADDING-half_byte_before_completeness", with_table("00 00 00 f1 00")
    yield "CODE-flat_of_3_before_its_end", with_table("02 00 02 09")
    book = unhex("06 01 01 00 00 03 00 00") + bytes(8) + unhex("01 00 00 00 00 00 ee ee")
    yield "UNSUPPORTED-levels_of_type_8", file_of([book], tables=[unhex("03 08 c8")])


def _parameters() -> Iterator[tuple[str, bytes]]:
    """Tables and types against the rest of a record's fields."""

    def narrow(tail: str) -> bytes:
        head = unhex("07 02 01 00 00 00 01 00") + bytes(4) + unhex("00 00 00 00 04 00 00 00")
        return file_of([head + unhex("03 00 00 00", tail)], tables=[unhex("02 03 00")])

    def gaps(tail: str, more: str) -> bytes:
        body = unhex("00 00 00 00 04 00 00 00 01 00 00 00", tail)
        head = bytes([(12 + len(body)) // 4]) + unhex("04 01 00 01 00 01 00") + bytes(4)
        return file_of([head + body], tables=[unhex("02 02 00"), unhex(more)])

    yield "STRUCTURE-table_range_before_padding", narrow("00 00 07 00")
    yield "STRUCTURE-table_range_before_the_next_index", gaps("00 00 01 00", "02 00 00")
    unknown = gaps("00 00 01 00 01 00 00 00", "c8")
    yield "STRUCTURE-table_range_before_an_unknown_table", unknown
    affine = unhex("08 03 01 00 00 02 00 00") + bytes(4) + unhex("00 00 00 00 04 00 00 00")
    scale = unhex("03 ff 01 00 02 00 00 00 00 00 80 3f")
    yield "TRUNCATED-zero_point_before_the_type", file_of([affine + scale])
    run = unhex("07 05 01 00 02 00 01 00") + bytes(4) + unhex("00 00 00 00 02 00 00 00")
    both = run + unhex("00 00 01 00 00 00 00 00")
    yield "PADDING-run_field_before_its_alphabet", file_of([both], tables=[FLAT])


def _sizes() -> Iterator[tuple[str, bytes]]:
    wide = unhex("07 02 01 00 00 00 00 08") + bytes(4) + b"\xff" * 8
    yield "STRUCTURE-dense_of_2_64_bytes", file_of([wide + unhex("04 00 00 00 02 00 00 00")])
    coded = unhex("08 02 01 00 00 00 01 08") + bytes(4) + b"\xff" * 8
    coded += unhex("04 00 00 00 04 00 00 00 00 00 00 00")
    yield "TRUNCATED-huffman_of_2_64_bytes", file_of([PLAIN, coded], BODY, [FLAT])
    for name, last in {"OK-dims_of_2_40_and_0": 1, "LIMIT-dims_of_2_41_and_0": 2}.items():
        dims = struct.pack("<4I", 0, 1 << 20, 1 << 20, last)
        head = unhex("09 02 04 00 00 00 00 00") + bytes(8)
        yield name, file_of([head + dims + unhex("01 00 00 00")])
    for name, count in {"OK-ratio_of_65536": MIB, "LIMIT-ratio_above_65536": MIB + 1}.items():
        head = unhex("06 02 01 00 00 00 00 00") + crc(bytes(count)) + bytes(4)
        yield name, file_of([head + struct.pack("<I", count) + unhex("01 00 00 00")])


def _runs() -> Iterator[tuple[str, bytes]]:
    """Symbols of no bits: run digit 2 alone covers 2, 6, 14 ..., gap 2 alone an even number."""
    for name, count in {"OK-digits_of_no_bits": 14, "RANGE-digits_of_no_bits": 13}.items():
        head = unhex("08 02 01 00 02 00 01 00") + crc(bytes([9]) * count) + bytes(4)
        tail = unhex("00 00 00 00 01 00 09 00 00 00 00 00")
        yield name, file_of([head + struct.pack("<I", count) + tail], tables=[unhex("02 02 00")])
    for name, count in {"OK-fillers_of_no_bits": 8, "RANGE-fillers_of_no_bits": 9}.items():
        head = unhex("08 03 01 00 01 00 01 00") + crc(b"\xfe" * count) + bytes(4)
        tail = unhex("02 00 00 00 01 00 fe ff 00 00 01 00")
        tables = [unhex("02 02 00"), unhex("02 00 00")]
        yield name, file_of([head + struct.pack("<I", count) + tail], tables=tables)


def _frames() -> Iterator[tuple[str, bytes]]:
    """Frames whose header asks for a dictionary or a window."""
    numbers = bytes([0, 1, 2, 3])
    block = unhex("21 00 00") + numbers

    def tensor(frame: bytes, count: int = 4) -> bytes:
        sizes = struct.pack("<II", len(frame), count)
        alphabet = unhex("04 00 00 00")
        head = unhex("06 02 01 00 00 00 02 00") + HEAD[8:]
        return file_of([head + sizes + alphabet], frame)

    magic, size = unhex("28 b5 2f fd"), struct.pack("<I", 4)
    yield "OK-frame_of_dictionary_0", tensor(magic + unhex("21 00 04") + block)
    yield "OK-frame_window_8_MiB", tensor(magic + unhex("80 68") + size + block)
    yield "CODE-frame_window_9_MiB", tensor(magic + unhex("80 69") + size + block)
    same = unhex("02 00 10 00") * 71 + unhex("03 00 10 00")  # blocks of 128 KiB zeros
    whole = magic + unhex("a0") + struct.pack("<I", 9 * MIB) + same
    yield "CODE-frame_of_9_MiB_in_one_segment", tensor(whole, 9 * MIB)
