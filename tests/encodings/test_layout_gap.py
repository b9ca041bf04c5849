"""spec/encodings/layout_gap.md, byte by byte."""

from __future__ import annotations

from byhand import error, read, record

from dcformat.errors import Code

NUMBERS = [0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0]


def gap(size: int, parameters: str, numbers: list[int]) -> bytes:
    """Return a record of UINT8 numbers 0 to 7 with layout GAP and the coder PACKED."""
    return record(
        "07 02 01 00",  # 28 bytes, UINT8, rank 1, no row axes
        "01 00 00 00",  # GAP, RAW, PACKED, no flags
        "CRC",
        f"{size:02x} 00 00 00",  # payload size
        f"{len(numbers):02x} 00 00 00",  # dims
        parameters,  # layout_gap: highest gap, flags, background
        "08 00 00 00",  # values_raw: alphabet 8, base 0: three bits each
        numbers=bytes(numbers),
    )


def packed(*fields: tuple[int, int]) -> bytes:
    """Return (value, bits) fields from the least significant bit up."""
    word, at = 0, 0
    for value, bits in fields:
        word |= value << at
        at += bits
    return word.to_bytes(-(-at // 8), "little")


def test_a_filler_skips_and_stores_nothing() -> None:
    # G = 3: filler, gap 0, 5; two fillers, gap 1, 6; gap 2 to the end
    payload = packed((3, 2), (0, 2), (5, 3), (3, 2), (3, 2), (1, 2), (6, 3), (2, 2))
    assert read(gap(len(payload), "03 00 00 00", NUMBERS), payload) == NUMBERS


def test_a_filler_of_the_paper_stores_a_background_element() -> None:
    # gap 3, 5; gap 3, 0 (four elements), gap 3, 6; gap 2 to the end
    payload = packed((3, 2), (5, 3), (3, 2), (0, 3), (3, 2), (6, 3), (2, 2))
    assert read(gap(len(payload), "03 01 00 00", NUMBERS), payload) == NUMBERS


def test_a_gap_that_ends_the_block_has_no_value() -> None:
    payload = packed((2, 2))
    assert read(gap(1, "03 00 00 00", [0, 0]), payload) == [0, 0]


def test_a_filler_that_ends_the_block_ends_it() -> None:
    payload = packed((3, 2))
    assert read(gap(1, "03 00 00 00", [0, 0, 0]), payload) == [0, 0, 0]


def test_a_gap_past_the_end_is_out_of_range() -> None:
    payload = packed((2, 2))
    assert error(gap(1, "03 00 00 00", [0]), payload) == Code.RANGE


def test_the_background_is_the_one_that_the_record_names() -> None:
    payload = packed((2, 2), (1, 3), (1, 2))
    assert read(gap(1, "03 00 04 00", [4, 4, 1, 4]), payload) == [4, 4, 1, 4]


def test_parameters_are_checked() -> None:
    assert error(gap(1, "00 00 00 00", [0]), b"\0") == Code.STRUCTURE  # no gaps
    assert error(gap(1, "03 02 00 00", [0]), b"\0") == Code.STRUCTURE  # unknown flag
    assert error(gap(1, "03 00 08 00", [0]), b"\0") == Code.STRUCTURE  # background of 8


def test_bits_that_are_missing_spare_or_left_over_are_known() -> None:
    numbers = [0, 0, 0, 5, 0]
    good = packed((3, 2), (0, 2), (5, 3), (1, 2))
    assert read(gap(2, "03 00 00 00", numbers), good) == numbers
    assert error(gap(1, "03 00 00 00", numbers), good[:1]) == Code.TRUNCATED
    assert error(gap(2, "03 00 00 00", numbers), bytes([good[0], 0x80])) == Code.PADDING
    assert error(gap(3, "03 00 00 00", numbers), good + b"\0") == Code.STRUCTURE
