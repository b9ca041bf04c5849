"""spec/encodings/values_raw.md, byte by byte."""

from __future__ import annotations

import struct

from byhand import error, read, record

from dcformat.errors import Code


def test_floats_are_kept_to_the_bit() -> None:
    payload = struct.pack("<3I", 0x7FC00001, 0x80000000, 0x3F800000)  # NaN with payload, -0.0, 1.0
    tensor = record(
        "05 01 01 00",  # 20 bytes, FLOAT, rank 1, no row axes
        "00 00 00 00",  # DENSE, RAW, PACKED: no parameters at all
        "CRC",
        "0c 00 00 00",  # payload size
        "03 00 00 00",  # dims
        numbers=payload,
    )
    assert read(tensor, payload) == [0x7FC00001, 0x80000000, 0x3F800000]


def narrow(dtype: str, parameters: str, numbers: list[int], size: int = 2) -> bytes:
    """Return a record of a type of width 1."""
    return record(
        f"06 {dtype} 01 00 00 00 00 00 CRC {size:02x} 00 00 00",
        f"{len(numbers):02x} 00 00 00",
        parameters,
        numbers=bytes(n & 0xFF for n in numbers),
    )


def test_small_integers_count_from_their_base() -> None:
    tensor = narrow("16", "10 00 f8 ff", [-8, 7, -1])  # INT4: alphabet 16, base -8
    assert read(tensor, bytes([0xF0, 0x07])) == [-8, 7, -1]


def test_the_alphabet_lies_in_the_range_of_the_type() -> None:
    assert error(narrow("16", "11 00 f8 ff", [0]), bytes(2)) == Code.STRUCTURE  # 17 from -8
    assert error(narrow("03", "00 01 81 ff", [0]), bytes(2)) == Code.STRUCTURE  # 256 from -127
    assert error(narrow("02", "02 00 ff ff", [0]), bytes(2)) == Code.STRUCTURE  # UINT8 from -1
    assert error(narrow("09", "03 00 00 00", [0]), bytes(2)) == Code.STRUCTURE  # BOOL with three
    assert error(narrow("02", "00 00 00 00", [0]), bytes(2)) == Code.STRUCTURE  # no symbols


def test_an_empty_tensor_stores_nothing() -> None:
    assert read(narrow("02", "01 00 00 00", [], 0)) == []
    assert error(narrow("02", "02 00 00 00", [], 0)) == Code.STRUCTURE
    assert error(narrow("02", "01 00 00 00", [], 1), b"\0") == Code.STRUCTURE


def test_an_unknown_type_makes_the_tensor_unsupported() -> None:
    assert error(narrow("7f", "10 00 f8 ff", [0]), bytes(2)) == Code.UNSUPPORTED
