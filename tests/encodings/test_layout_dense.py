"""spec/encodings/layout_dense.md, byte by byte."""

from __future__ import annotations

from byhand import error, read, record

from dcformat.errors import Code

RECORD = record(
    "06",  # 24 bytes
    "02 01 00",  # UINT8, rank 1, no row axes
    "00 00 00 00",  # DENSE, RAW, PACKED, no flags
    "CRC",
    "01 00 00 00",  # payload of one byte
    "04 00 00 00",  # dims: 4
    "04 00 00 00",  # values_raw: alphabet 4, base 0: two bits each
    numbers=bytes([0, 1, 2, 3]),
)


def test_every_element_stands_in_stored_order() -> None:
    assert read(RECORD, bytes([0b11_10_01_00])) == [0, 1, 2, 3]


def test_rows_follow_the_stored_axis_order() -> None:
    permuted = record(
        "08 02 02 01 00 00 00 02",  # 32 bytes, UINT8, rank 2, one row axis, PERMUTED
        "CRC",
        "06 00 00 00",  # payload size
        "02 00 00 00 03 00 00 00",  # dims: 2 x 3, logical
        "01 00 00 00",  # stored axis 0 is logical axis 1, and the other way round; padding
        "00 01 00 00",  # values_raw: alphabet 256: eight bits each
        numbers=bytes([1, 4, 2, 5, 3, 6]),
    )
    assert read(permuted, bytes([1, 4, 2, 5, 3, 6])) == [1, 4, 2, 5, 3, 6]


def test_a_changed_number_is_known_by_its_crc() -> None:
    assert error(RECORD, bytes([0b11_10_01_01])) == Code.CHECKSUM


def test_a_dense_packed_tensor_is_never_cut_into_blocks() -> None:
    cut = record(
        "07 02 01 01 00 00 00 04",  # 28 bytes, rank 1, one row axis, BLOCKED
        "CRC 02 00 00 00 04 00 00 00",
        "02 00 00 00",  # two rows per block
        "04 00 00 00",
        numbers=bytes(4),
    )
    assert error(cut, bytes(2)) == Code.STRUCTURE
