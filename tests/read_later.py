"""Sections that a file is opened without: what is wrong with one is found when it is read.

Names are `<SECTION>-<CODE>-<diagnosis>`: CODE is the error that reading that section gives.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

from handmade import file_of, joined, resealed, taken_apart, unhex
from invalid import BODY, FLOATS, PLAIN, TIED, WIDE, entry

from dcformat import frames
from dcformat.ids import Section

NAMES = [unhex("01 00 61"), unhex("01 00 62"), unhex("01 00 63")]
#: weight 0, no bias; fractions 1, 2, 3, 0, so that the shifts are 3 and 0
LAYER = unhex("00 00 00 00 ff ff ff ff 01 08 02 08 03 08 00 08 03 00 00 00 00 00 00 00")
HOLE = unhex("04 00 00 00 00 00 00 00 09")


#: two rows of two UINT8 numbers, 1 2 and 10 13, with scales 0.5 and 2.0 and zero points 0 and 10
BY_ROW = unhex(
    "08 01 02 01 00 02 00 00 20 f8 22 1e 0c 00 00 00",
    "02 00 00 00 02 00 00 00 02 00 01 00 0d 00 01 00",
)
BY_ROW_BODY = unhex("00 00 00 3f 00 00 00 40 00 0a 10 c9")
#: the same with an infinite scale
ENDLESS_BODY = unhex("00 00 80 7f 00 00 00 40 00 0a 10 c9")
#: at byte 6 of the data, behind no holes and two letters: the scales of tensor 0, times 1.0
VECTOR = unhex("06 00 00 00 00 00 00 00 00 00 00 80 3f")


def files() -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes)."""
    yield from _names()
    yield from _hashes()
    yield from _layers()
    yield from _metadata()
    yield from _graph()
    yield from _predicted()
    yield from _frames()


def with_section(section: Section, content: bytes, codec: int = 0, decoded: int = 0) -> bytes:
    """Return a file of three tensors with this section; of a frame `decoded` is its size."""
    header, parts = taken_apart(file_of([PLAIN, WIDE, TIED], BODY + bytes(15) + FLOATS))
    row = struct.pack("<BBBBIQQQ", section, 2, codec, 0, 0, 0, 0, decoded)
    parts.append((bytearray(row), bytearray(content)))
    return joined(header, sorted(parts, key=lambda part: part[0][0]))


def _wrong_crc(data: bytes, section: Section) -> bytes:
    at = entry(data, section) + 4
    return resealed(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def _names() -> Iterator[tuple[str, bytes]]:
    def names(*raw: bytes) -> bytes:
        return with_section(Section.NAMES, b"".join(raw))

    a, b, c = NAMES
    yield "NAMES-OK-three", names(a, b, c)
    yield "NAMES-OK-no_bytes", names()
    yield "NAMES-CHECKSUM-changed", _wrong_crc(names(a, b, c), Section.NAMES)
    long = names(bytes(3 * 4098 + 1))
    yield "NAMES-LIMIT-size_before_checksum", _wrong_crc(long, Section.NAMES)
    yield "NAMES-TRUNCATED-length", names(a, b, b"\1")
    yield "NAMES-TRUNCATED-name", names(a, b, c[:2])
    yield "NAMES-TRUNCATED-long_name_before_its_limit", names(a, b, b"\xff\xff")
    yield "NAMES-LIMIT-name_of_no_bytes", names(a, b"\0\0", c)
    yield "NAMES-LIMIT-name_of_4097_bytes", names(a, struct.pack("<H", 4097) + b"b" * 4097, c)
    yield "NAMES-STRUCTURE-not_utf8", names(a, b"\1\0\xff", c)
    yield "NAMES-STRUCTURE-surrogate", names(a, b"\3\0\xed\xa0\x80", c)
    yield "NAMES-STRUCTURE-nul", names(a, b"\2\0b\0", c)
    yield "NAMES-STRUCTURE-not_utf8_before_the_cut", names(b"\1\0\xff", b"\1")
    yield "NAMES-STRUCTURE-byte_left_over", names(a, b, c, b"\0")
    yield "NAMES-STRUCTURE-two_equal", names(a, b, a)
    yield "NAMES-TRUNCATED-cut_before_two_equal", names(a, a, c[:1])


def _hashes() -> Iterator[tuple[str, bytes]]:
    for name, size in {
        "OK-no_bytes": 0,
        "OK-three": 12,
        "STRUCTURE-two_of_three": 8,
        "STRUCTURE-byte_left_over": 13,
    }.items():
        yield f"HASHES-{name}", with_section(Section.HASHES, bytes(size))


def _layers() -> Iterator[tuple[str, bytes]]:
    def layers(at: int = 0, new: bytes = b"", tail: bytes = b"\1\0l") -> bytes:
        row = LAYER[:at] + new + LAYER[at + len(new) :]
        return with_section(Section.FIXED, b"\1\0\0\0" + row + tail)

    yield "FIXED-OK-one", layers()
    yield "FIXED-OK-no_name", layers(tail=b"\0\0")
    yield "FIXED-OK-count_0", with_section(Section.FIXED, bytes(4))
    yield "FIXED-TRUNCATED-count", with_section(Section.FIXED, bytes(3))
    yield "FIXED-TRUNCATED-entries", with_section(Section.FIXED, b"\2\0\0\0" + LAYER + bytes(23))
    yield "FIXED-STRUCTURE-weight_3_of_3", layers(0, b"\3")
    yield "FIXED-STRUCTURE-bias_3_of_3", layers(4, b"\3\0\0\0")
    yield "FIXED-STRUCTURE-shift", layers(16, b"\2")
    yield "FIXED-STRUCTURE-bias_shift", layers(18, b"\1")
    yield "FIXED-STRUCTURE-rounding_3", layers(20, b"\3")
    yield "FIXED-PADDING-last_bytes", layers(23, b"\1")
    yield "FIXED-STRUCTURE-rounding_before_padding", layers(20, b"\3\1")
    yield "FIXED-TRUNCATED-name", layers(tail=b"\2\0l")
    yield "FIXED-STRUCTURE-name_not_utf8", layers(tail=b"\1\0\xff")
    yield "FIXED-STRUCTURE-nul_in_name", layers(tail=b"\1\0\0")
    yield "FIXED-STRUCTURE-byte_left_over", layers(tail=b"\1\0l\0")


def _metadata() -> Iterator[tuple[str, bytes]]:
    for name, content in {
        "OK-unknown_key": "63 01 00 00 00 78",
        "OK-value_of_no_bytes": "01 00 00 00 00",
        "TRUNCATED-length": "01 01 00",
        "TRUNCATED-value": "01 02 00 00 00 78",
        "STRUCTURE-key_twice": "01 00 00 00 00 01 00 00 00 00",
        "STRUCTURE-key_order_before_the_cut": "05 00 00 00 00 01",
        "TRUNCATED-digest_before_its_size": "02 1f 00 00 00 78",
        "STRUCTURE-digest_of_1_byte": "02 01 00 00 00 78",
    }.items():
        yield f"META-{name}", with_section(Section.META, unhex(content))


def _graph() -> Iterator[tuple[str, bytes]]:
    def holes(count: int, *raw: bytes, form: bytes = b"\1") -> bytes:
        content = form + struct.pack("<I", count) + b"".join(raw)
        return with_section(Section.GRAPH, content)

    def one(at: int, new: bytes) -> bytes:
        return holes(1, HOLE[:at] + new + HOLE[at + len(new) :], b"skeleton")

    yield "GRAPH-OK-one_hole", one(0, b"")
    yield "GRAPH-UNSUPPORTED-format_9", with_section(Section.GRAPH, b"\x09abc")
    yield "GRAPH-TRUNCATED-hole_count", with_section(Section.GRAPH, b"\1\0\0")
    yield "GRAPH-TRUNCATED-holes", holes(1, HOLE[:-1])
    yield "GRAPH-TRUNCATED-hole_list_before_its_limit", holes(0xFFFFFFFF)
    yield "GRAPH-OK-hole_at_the_end", one(0, b"\x08")
    yield "GRAPH-STRUCTURE-hole_behind_the_end", one(0, b"\x09")
    yield "GRAPH-STRUCTURE-two_holes_at_one_place", holes(2, HOLE, HOLE, b"skeleton")
    yield "GRAPH-STRUCTURE-tensor_3_of_3", one(4, b"\3")
    yield "GRAPH-STRUCTURE-field_6", one(8, b"\6")
    tflite = partial(holes, form=b"\2")
    int4, later, no_type = HOLE[:8] + b"\x16", b"\5" + HOLE[1:], HOLE[:8] + b"\x08"
    yield "GRAPH-OK-tflite_two_holes_at_one_place", tflite(2, HOLE, int4, b"skeleton")
    yield "GRAPH-STRUCTURE-tflite_holes_in_turned_order", tflite(2, later, HOLE, b"skeleton")
    yield "GRAPH-STRUCTURE-tflite_type_8", tflite(1, no_type, b"skeleton")
    yield "GRAPH-STRUCTURE-tflite_hole_behind_the_end", tflite(1, HOLE, b"ske")
    yield "GRAPH-TRUNCATED-tflite_holes", tflite(2, HOLE)


def _predicted() -> Iterator[tuple[str, bytes]]:
    def predicted(
        *vectors: bytes,
        count: int | None = None,
        form: bytes = b"\2",
        body: bytes = BY_ROW_BODY,
        data: bytes = bytes(4) + b"ab" + bytes(8),
    ) -> bytes:
        number = len(vectors) if count is None else count
        content = b"\3" + form + struct.pack("<I", number) + b"".join(vectors) + data
        header, parts = taken_apart(file_of([BY_ROW, WIDE, TIED], body + bytes(4) + FLOATS))
        row = struct.pack("<BBBBIQQQ", Section.GRAPH, 2, 0, 0, 0, 0, 0, 0)
        parts.append((bytearray(row), bytearray(content)))
        return joined(header, sorted(parts, key=lambda part: part[0][0]))

    def one(at: int, new: str, **other: bytes) -> bytes:
        raw = unhex(new)
        return predicted(VECTOR[:at] + raw + VECTOR[at + len(raw) :], **other)

    yield "GRAPH-OK-predicted_scales", predicted(VECTOR)
    yield "GRAPH-OK-predicted_nothing", predicted()
    yield "GRAPH-OK-predicted_least", one(8, "01")
    yield "GRAPH-OK-predicted_most", one(8, "02")
    yield "GRAPH-UNSUPPORTED-predicted_format_3", predicted(VECTOR, form=b"\3")
    yield "GRAPH-UNSUPPORTED-predicted_format_before_its_list", predicted(count=9, form=b"\0")
    yield "GRAPH-TRUNCATED-predicted_vectors", predicted(VECTOR, count=9)
    yield "GRAPH-TRUNCATED-predicted_list_before_its_limit", predicted(count=0xFFFFFFFF)
    yield "GRAPH-STRUCTURE-predicted_twice", predicted(VECTOR, VECTOR)
    yield "GRAPH-STRUCTURE-predicted_behind_the_end", one(0, "07")
    yield "GRAPH-STRUCTURE-predicted_by_tensor_3_of_3", one(4, "03")
    yield "GRAPH-STRUCTURE-predicted_by_a_tied_tensor", one(4, "02")
    yield "GRAPH-STRUCTURE-predicted_by_a_tensor_without_scales", one(4, "01")
    yield "GRAPH-STRUCTURE-predicted_in_way_3", one(8, "03")
    yield "GRAPH-STRUCTURE-predicted_times_0", one(9, "00 00 00 80")
    yield "GRAPH-STRUCTURE-predicted_times_infinity", one(9, "00 00 80 7f")
    yield "GRAPH-STRUCTURE-predicted_by_an_infinite_scale", predicted(VECTOR, body=ENDLESS_BODY)
    yield "GRAPH-CHECKSUM-predicted_by_other_numbers", one(8, "01", body=BY_ROW_BODY[:-1] + b"\xc8")


def _frames() -> Iterator[tuple[str, bytes]]:
    """A frame of no bytes is checked, and then the section reads as a missing one."""
    nothing = unhex("28 b5 2f fd 20 00 01 00 00")
    summed = unhex("28 b5 2f fd 24 00 01 00 00 99 e9 d8 51")
    for section in (Section.NAMES, Section.META, Section.GRAPH):
        for name, content in {
            "OK-frame_of_nothing": nothing,
            "OK-frame_of_nothing_with_checksum": summed,
            "CODE-no_frame": b"",
            "CODE-frame_of_nothing_cut": nothing[:-1],
            "CODE-frame_of_nothing_and_a_byte": nothing + b"\0",
            "CODE-frame_of_nothing_with_content": unhex("28 b5 2f fd 20 00 09 00 00 78"),
            "CODE-frame_of_nothing_with_wrong_checksum": summed[:-1] + b"\0",
        }.items():
            yield f"{section.name}-{name}", with_section(section, content, 1)
    names = b"".join(NAMES)
    frame = frames.compress(names)
    yield "NAMES-OK-frame", with_section(Section.NAMES, frame, 1, len(names))
    yield "NAMES-CODE-frame_of_another_size", with_section(Section.NAMES, frame, 1, len(names) - 1)
    long = with_section(Section.NAMES, b"?", 1, 3 * 4098 + 1)
    yield "NAMES-LIMIT-size_before_the_frame", long
