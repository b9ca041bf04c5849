"""Files that are wrong in one way each, named by the error they give and the diagnosis.

Each is a valid file with a few bytes changed and, but where CRCs are the point, with its CRCs
made right again: what is tested is the check behind them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from handmade import crc, file_of, fix_crcs, tables_of, unhex

from dcformat.container import ENTRY_BYTES, HEADER_BYTES
from dcformat.ids import Section
from dcformat.model import LayerFormat
from dcformat.sections import write_layers, write_meta, write_names

NUMBERS = bytes([0, 1, 2, 3])
#: UINT8 of shape (4,), DENSE, RAW, PACKED, alphabet 4
HEAD = unhex("06 02 01 00 00 00 00 00") + crc(NUMBERS)
PLAIN = HEAD + unhex("01 00 00 00 04 00 00 00 04 00 00 00")
BODY = bytes([0b11_10_01_00])
FLAT = unhex("02 00 03")
#: the same numbers as FLOAT with values RAW: payload at its alignment
FLOATS = struct.pack("<16f", *range(16))
WIDE = unhex("05 01 01 00 00 00 00 00") + crc(FLOATS) + unhex("40 00 00 00 10 00 00 00")
TIED = unhex("03 00 00 00 00 00 00 01 00 00 00 00")


def whole() -> bytes:
    """Return a valid file with every section, some padding and a tied tensor."""
    sections = {
        Section.NAMES: write_names(["a", "b", "c"]),
        Section.FIXED: write_layers(
            [LayerFormat("l", "a", None, 1, 8, 2, 8, 3, 8, 0, 8)], {"a": 0}, True
        ),
        Section.META: write_meta({}) or b"\x01\x01\0\0\0x",
        Section.GRAPH: b"\x01" + bytes(4) + b"skeleton",
    }
    return file_of([PLAIN, WIDE, TIED], BODY + bytes(15) + FLOATS, [FLAT], sections)


def change(data: bytes, at: int, new: bytes, fix: bool = True) -> bytes:
    """Return `data` with `new` at `at`."""
    out = data[:at] + new + data[at + len(new) :]
    return fix_crcs(out) if fix else out


def entry(data: bytes, section: Section) -> int:
    """Return where the table entry of a section stands."""
    count = struct.unpack_from("<H", data, 14)[0]
    return next(
        at
        for at in range(HEADER_BYTES, HEADER_BYTES + count * ENTRY_BYTES, ENTRY_BYTES)
        if data[at] == section
    )


def start(data: bytes, section: Section) -> int:
    """Return where a section starts."""
    return int(struct.unpack_from("<Q", data, entry(data, section) + 8)[0])


def files() -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes)."""
    yield from _header()
    yield from _sections()
    yield from _tables()
    yield from _records()
    yield from _payload()


def _header() -> Iterator[tuple[str, bytes]]:
    good = whole()
    yield "TRUNCATED-nothing", b""
    yield "TRUNCATED-inside_magic", good[:7]
    yield "MAGIC-text_mode_newline", good[:4] + b"\n\n" + good[6:]
    yield "MAGIC-other_file", b"\x89PNG\r\n\x1a\n" + good[8:]
    yield "TRUNCATED-inside_header", good[:40]
    yield "VERSION-major_1", change(good, 8, b"\x01")
    yield "VERSION-minor_2", change(good, 10, b"\x02")
    yield "STRUCTURE-header_size_44", change(good, 12, b"\x2c", False)
    yield "STRUCTURE-header_size_46", change(good, 12, b"\x2e", False)
    yield "STRUCTURE-header_size_68", change(good, 12, b"\x44", False)
    yield "TRUNCATED-header_size_64", change(good[:48], 12, b"\x40", False)
    yield "CHECKSUM-header", change(good, 32, b"\x01", False)
    yield "TRUNCATED-file_cut", good[:-1]
    yield "STRUCTURE-byte_after_the_end", good + b"\0"
    yield "FEATURE-incompat_bit_1", change(good, 24, b"\x03")
    yield "STRUCTURE-no_draft_bit", change(good, 24, b"\x00")
    yield "LIMIT-65_sections", _header_crc(change(good, 14, b"\x41", False))
    yield "PADDING-reserved_header_field", change(good, 40, b"\x01")
    cut = change(good[:60], 16, struct.pack("<Q", 60))
    yield "TRUNCATED-inside_section_table", _header_crc(cut)
    yield "CHECKSUM-section_table", _header_crc(change(good, 49, b"\x02", False))


def _header_crc(data: bytes) -> bytes:
    """Return `data` with the header's CRC alone made right."""
    return data[:44] + struct.pack("<I", zlib.crc32(data[:44])) + data[48:]


def _sections() -> Iterator[tuple[str, bytes]]:
    good = whole()
    records, payload = entry(good, Section.RECORDS), entry(good, Section.PAYLOAD)
    meta, names = entry(good, Section.META), entry(good, Section.NAMES)
    yield "STRUCTURE-sections_out_of_order", change(good, names, b"\x02")
    yield "STRUCTURE-unknown_section_flag", change(good, meta + 1, b"\x06")
    yield "STRUCTURE-metadata_called_critical", change(good, meta + 1, b"\x01")
    yield "FEATURE-unknown_critical_section", change(good, payload, b"\x09\x01")
    yield "LIMIT-alignment_8192", change(good, payload + 3, b"\x0d")
    yield "STRUCTURE-payload_alignment_8", change(good, payload + 3, b"\x03")
    yield "STRUCTURE-hole_before_section", change(good, meta + 8, bytes([good[meta + 8] + 1]))
    yield "TRUNCATED-section_past_the_end", change(good, payload + 16, b"\xff")
    yield "TRUNCATED-section_of_2_64_bytes", change(good, payload + 16, b"\xff" * 8)
    yield "PADDING-before_section", change(good, start(good, Section.PAYLOAD) - 1, b"\x01")
    yield "STRUCTURE-decoded_size_of_stored", change(good, records + 24, b"\x01")
    yield "FEATURE-compressed_records", change(good, records + 2, b"\x01")
    yield "FEATURE-unknown_codec", change(good, names + 2, b"\x02")
    huge = change(good, names + 2, b"\x01")
    yield "LIMIT-zstd_bomb", change(huge, names + 24, b"\xff" * 7)
    yield "TRUNCATED-tail_too_short", _tail(good, -1)
    yield "STRUCTURE-tail_too_long", _tail(good, 1)
    yield "PADDING-tail", change(good, len(good) - 1, b"\x01")
    at = start(good, Section.RECORDS)
    yield "CHECKSUM-records", change(good, at + 8, b"\x05", False)
    yield "CHECKSUM-tables", change(good, start(good, Section.TABLES) + 4, b"\x05", False)
    yield "CHECKSUM-graph", change(good, start(good, Section.GRAPH) + 6, b"\x05", False)
    yield "CHECKSUM-payload", change(good, start(good, Section.PAYLOAD), b"\x05", False)


def _tail(data: bytes, more: int) -> bytes:
    size = len(data) + more
    out = data[:16] + struct.pack("<Q", size) + data[24:]
    return fix_crcs((out + b"\0" * max(0, more))[:size])


def _tables() -> Iterator[tuple[str, bytes]]:
    def tables(content: bytes) -> bytes:
        return file_of([PLAIN], BODY, sections={Section.TABLES: content})

    yield "TRUNCATED-table_count", tables(bytes(3))
    yield "LIMIT-65537_tables", tables(struct.pack("<I", 65537) + bytes(8))
    yield "TRUNCATED-table_offsets", tables(struct.pack("<II", 2, 12))
    yield "STRUCTURE-first_table_offset", tables(struct.pack("<II", 1, 9) + FLAT)
    yield "STRUCTURE-table_offset_repeated", tables(struct.pack("<III", 2, 12, 12) + FLAT)
    yield "STRUCTURE-table_offset_past_end", tables(struct.pack("<III", 2, 12, 15) + FLAT)
    yield "OK-count_of_tables_alone", tables(struct.pack("<I", 0))
    yield "STRUCTURE-no_tables_but_bytes", tables(struct.pack("<I", 0) + b"\0")
    for name, entry_bytes in {
        "TRUNCATED-huffman_header": "00 00",
        "STRUCTURE-huffman_symbol_256": "02 ff 01",
        "CODE-huffman_incomplete": "00 00 01 22",
        "CODE-huffman_oversubscribed": "00 00 02 11 01",
        "CODE-huffman_length_13": "00 00 01 d1",
        "PADDING-huffman_half_byte": "00 00 02 21 12",
        "CODE-huffman_delta_start_0": "01 00 01 00 c0",
        "TRUNCATED-huffman_delta": "01 00 03 01",
        "PADDING-huffman_delta_spare": "01 00 01 01 c1",
        "CODE-huffman_flat_of_3": "02 00 02",
        "STRUCTURE-codebook_size": "03 01 01 00 00 00 00",
        "STRUCTURE-codebook_level_range": "03 16 00 08",
        "TRUNCATED-codebook_header": "03 01",
    }.items():
        yield name, tables(tables_of([unhex(entry_bytes)]))


def _records() -> Iterator[tuple[str, bytes]]:
    def records(*content: bytes, payload: bytes = BODY, tables: list[bytes] | None = None) -> bytes:
        return file_of(list(content), payload, tables)

    def plain(at: int, *new: int) -> bytes:
        return records(PLAIN[:at] + bytes(new) + PLAIN[at + len(new) :])

    good = records(PLAIN)
    at = start(good, Section.RECORDS)
    yield "LIMIT-tensor_count", change(good, at, struct.pack("<I", (1 << 20) + 1))
    yield "TRUNCATED-tensor_count_2", change(good, at, b"\x02")
    yield "STRUCTURE-tensor_count_0", change(good, at, b"\x00")
    yield "STRUCTURE-record_of_8_bytes", plain(0, 2)
    yield "TRUNCATED-record_past_section", plain(0, 7)
    yield "TRUNCATED-record_ends_in_dims", records(b"\x04" + PLAIN[1:16])
    yield "STRUCTURE-bytes_after_parameters", records(b"\x07" + PLAIN[1:] + bytes(4))
    yield "STRUCTURE-unknown_record_flag", plain(7, 0x10)
    yield "LIMIT-rank_9", plain(2, 9)
    yield "STRUCTURE-row_axes_above_rank", plain(3, 2)
    yield "STRUCTURE-illegal_combination", plain(4, 2)
    yield "STRUCTURE-empty_tensor_with_payload", plain(16, 0)
    yield "TRUNCATED-payload_past_section", records(WIDE, payload=FLOATS[:60])
    yield "STRUCTURE-payload_left_over", records(PLAIN, payload=BODY + b"\0")
    yield "STRUCTURE-alphabet_0", plain(20, 0)
    yield "STRUCTURE-base_below_type", plain(22, 0xFF, 0xFF)
    yield "STRUCTURE-tied_to_itself", records(TIED)
    yield "STRUCTURE-tied_to_tied", records(PLAIN, TIED, TIED[:8] + b"\x01\0\0\0")
    yield "PADDING-tied_with_rank", records(PLAIN, TIED[:2] + b"\x01" + TIED[3:])
    yield "STRUCTURE-tied_with_more", records(PLAIN, b"\x04" + TIED[1:] + bytes(4))
    yield from _long_records()


def _long_records() -> Iterator[tuple[str, bytes]]:
    """Records with a permutation, with blocks, and with impossible sizes."""

    def matrix(flags: int, extra: str, coder: int = 0, tail: str = "") -> bytes:
        body = unhex("02 00 00 00 02 00 00 00", extra, "04 00 00 00", tail)
        size = (16 + len(body)) // 4
        head = bytes([size, 2, 2, 1, 0, 0, coder, flags]) + crc(NUMBERS)
        return file_of([head + unhex("01 00 00 00") + body], BODY, [FLAT])

    yield "STRUCTURE-order_is_identity", matrix(2, "00 01 00 00")
    yield "STRUCTURE-order_repeats", matrix(2, "00 00 00 00")
    yield "PADDING-order_padding", matrix(2, "01 00 01 00")
    yield "STRUCTURE-dense_packed_in_blocks", matrix(4, "01 00 00 00")
    yield "PADDING-block_word", matrix(4, "01 00 00 10", 1, "00 00 00 00")
    yield "STRUCTURE-blocks_of_no_rows", matrix(4, "00 00 00 00", 1, "00 00 00 00")
    yield "STRUCTURE-one_block", matrix(4, "02 00 00 00", 1, "00 00 00 00")
    yield "TRUNCATED-block_offsets", matrix(4, "01 00 00 03", 1, "00 00 00 00")
    yield "PADDING-huffman_parameters", matrix(0, "", 1, "00 00 01 00")
    yield "STRUCTURE-huffman_table_1", matrix(0, "", 1, "01 00 00 00")
    bomb = unhex("06 02 01 00 00 00 00 00 00 00 00 00 00 00 00 00 ff ff ff 00 01 00 00 00")
    yield "LIMIT-decodes_to_far_more", file_of([bomb])
    vast = unhex("07 02 02 00 00 00 00 00 00 00 00 00 01 00 00 00", "ff" * 8, "01 00 00 00")
    yield "LIMIT-elements", file_of([vast], b"\0")
    yield "UNSUPPORTED-layout_9", file_of([PLAIN[:4] + b"\x09" + PLAIN[5:]], BODY)
    yield "UNSUPPORTED-type_99", file_of([PLAIN[:1] + b"\x63" + PLAIN[2:]], BODY)


def _payload() -> Iterator[tuple[str, bytes]]:
    yield "CHECKSUM-numbers", file_of([PLAIN], bytes([BODY[0] ^ 1]))
    good = file_of([PLAIN, WIDE], BODY + bytes(15) + FLOATS)
    yield "PADDING-between_payloads", change(good, start(good, Section.PAYLOAD) + 1, b"\x01")
    three = PLAIN[:20] + b"\x03" + PLAIN[21:]
    yield "RANGE-symbol_past_alphabet", file_of([three], BODY)
    five = HEAD + unhex("01 00 00 00 03 00 00 00 04 00 00 00")
    yield "PADDING-spare_bits", file_of([five], BODY)
    long = PLAIN[:12] + b"\x02" + PLAIN[13:]
    yield "STRUCTURE-unused_byte", file_of([long], BODY + b"\0")
    short = PLAIN[:16] + b"\x05" + PLAIN[17:]
    yield "TRUNCATED-block", file_of([short], BODY)
    head = unhex("07 02 01 00 01 00 00 00") + crc(NUMBERS)
    gap = head + unhex("01 00 00 00 04 00 00 00 07 00 00 00 04 00 00 00")
    yield from _frames()
    yield from _classes()
    yield from _decisions()
    yield "RANGE-gap_past_the_end", file_of([gap], bytes([0b101]))


def _frames() -> Iterator[tuple[str, bytes]]:
    """Payloads of a zstd tensor; their content is four bytes."""
    head = unhex("06 02 01 00 00 00 02 00") + crc(NUMBERS)
    #: magic, single segment of four bytes, one raw last block of four bytes
    good = unhex("28 b5 2f fd", "20 04", "21 00 00") + NUMBERS

    def tensor(frame: bytes) -> bytes:
        size = struct.pack("<I", len(frame))
        return file_of([head + size + unhex("04 00 00 00 04 00 00 00")], frame)

    yield "OK-frame", tensor(good)
    yield "CODE-frame_cut", tensor(good[:-1])
    yield "CODE-frame_and_a_byte", tensor(good + b"\0")
    yield "CODE-frame_of_three_bytes", tensor(unhex("28 b5 2f fd 20 03 19 00 00 00 01 02"))
    yield "CODE-skippable_frame", tensor(unhex("50 2a 4d 18 04 00 00 00") + NUMBERS)
    yield "CODE-no_frame", tensor(NUMBERS)
    yield "CODE-frame_without_size", tensor(unhex("28 b5 2f fd 00 00 21 00 00") + NUMBERS)
    yield "CODE-frame_wants_dictionary", tensor(unhex("28 b5 2f fd 21 07 04 21 00 00") + NUMBERS)
    yield "RANGE-frame_symbol", tensor(good[:-1] + b"\x04")
    yield from ((name, tensor(unhex(block))) for name, block in APART.items())


#: 0 1 2 3 by frequencies: each has one slot of four, and the state gives all four without a word
APART = {
    "OK-planes_plain": "01 00 00 01 02 03",
    "OK-planes_frame": "01 01 0d 28 b5 2f fd 20 04 21 00 00 00 01 02 03",
    "CODE-planes_of_no_ways": "01",
    "CODE-planes_cut": "01 00 00 01 02",
    "CODE-planes_and_a_byte": "01 00 00 01 02 03 00",
    "CODE-planes_spare_bits": "01 04 00 01 02 03",
    "CODE-planes_way_3": "01 03 04 00 01 02 03",
    "CODE-planes_unknown_form": "21 00 00 01 02 03",
    "CODE-planes_rotated_bytes": "11 00 00 01 02 03",
    "CODE-planes_no_size": "01 01",
    "CODE-planes_size_of_six_bytes": "01 01 80 80 80 80 80 00",
    "CODE-planes_frame_cut": "01 01 0d 28 b5 2f fd 20 04 21 00 00 00 01 02",
    "CODE-planes_frame_of_three": "01 01 0c 28 b5 2f fd 20 03 19 00 00 00 01 02",
    "RANGE-planes_symbol": "01 00 00 01 02 04",
    "OK-frequencies": "01 02 09 02 00 03 11 11 e4 00 00 01",
    "CODE-frequencies_cut": "01 02 08 02 00 03 11 11 e4 00 00",
    "CODE-frequencies_of_no_slots": "01 02 09 00 00 03 11 11 e4 00 00 01",
    "CODE-frequencies_of_13_bits": "01 02 09 0d 00 03 11 11 e4 00 00 01",
    "CODE-frequencies_of_16_lanes": "01 02 09 42 00 03 11 11 e4 00 00 01",
    "CODE-frequencies_that_are_too_few": "01 02 09 03 00 03 11 11 e4 00 00 01",
    "CODE-frequencies_beyond_the_last_byte": "01 02 09 02 fd 03 11 11 e4 00 00 01",
    "CODE-frequencies_that_begin_with_0": "01 02 0a 02 00 04 10 11 01 e4 00 00 01",
    "CODE-frequencies_that_end_with_0": "01 02 0a 02 00 04 11 11 00 e4 00 00 01",
    "CODE-frequencies_with_a_spare_bit": "01 02 09 02 00 02 22 22 e4 00 00 01",
    "CODE-frequencies_low_state": "01 02 09 02 00 03 11 11 e4 00 00 00",
    "CODE-frequencies_another_end": "01 02 09 02 00 03 11 11 e4 01 00 01",
    "CODE-frequencies_word_left": "01 02 0b 02 00 03 11 11 e4 00 00 01 00 00",
    "CODE-frequencies_byte_left": "01 02 0a 02 00 03 11 11 e4 00 00 01 00",
}


def _decisions() -> Iterator[tuple[str, bytes]]:
    """A number of an alphabet of two with the coder CONTEXT: one decision of one byte."""

    def tensor(block: bytes, number: int = 0, fields: str = "00 00 00 00") -> bytes:
        head = (
            unhex("07 02 01 00 00 00 03 00") + crc(bytes([number])) + bytes([len(block), 0, 0, 0])
        )
        return file_of([head + unhex("01 00 00 00 02 00 00 00", fields)], block)

    yield "OK-decision", tensor(b"\x80")
    yield "OK-decision_at_the_edge", tensor(b"\0", 1)
    yield "CODE-decision_ends_too_high", tensor(b"\x01", 1)
    yield "TRUNCATED-decision_without_bytes", tensor(b"")
    yield "STRUCTURE-decision_and_a_byte", tensor(b"\x80\0")
    yield "STRUCTURE-centre_past_the_alphabet", tensor(b"\x80", 0, "02 00 00 00")
    yield "STRUCTURE-context_axes_8", tensor(b"\x80", 0, "00 08 01 00")
    yield "PADDING-context_fields", tensor(b"\x80", 0, "00 00 01 00")
    gaps = unhex("08 02 01 00 01 00 03 00") + crc(b"\0") + unhex("01 00 00 00 01 00 00 00")
    gaps += unhex("07 00 00 00 02 00 00 00", "00 00 00 00")
    yield "STRUCTURE-gaps_of_decisions", file_of([gaps], b"\x80")


def _classes() -> Iterator[tuple[str, bytes]]:
    """Two blocks of one row in two classes: UINT8 of shape (2, 4), alphabet 4."""
    numbers = bytes([0, 1, 0, 1, 2, 3, 3, 2])
    head = unhex("09 02 02 01 00 00 01 04") + crc(numbers)
    head += unhex("04 00 00 00 02 00 00 00 04 00 00 00", "01 00 00 04", "04 00 00 00 00 00 01 00")
    tables = [unhex("02 00 01"), unhex("02 02 01")]
    for name, payload in {
        "OK-classes": bytes([1, 0b0100, 0x50, 0x60]),
        "STRUCTURE-class_2_of_2": bytes([1, 0b1000, 0x50, 0x60]),
        "PADDING-spare_bits_of_classes": bytes([1, 0b10100, 0x50, 0x60]),
        "STRUCTURE-block_offset_past_the_end": bytes([3, 0b0100, 0x50, 0x60]),
        "TRUNCATED-block_without_bytes": bytes([0, 0b0100, 0x50, 0x60]),
    }.items():
        yield name, file_of([head], payload, tables)
