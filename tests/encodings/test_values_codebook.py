"""spec/encodings/values_codebook.md, byte by byte."""

from __future__ import annotations

import struct

from byhand import error, read, record
from handmade import file_of, unhex

from dcformat.errors import Code
from dcformat.file import File

#: kind CODEBOOK, level type FLOAT, three levels: -1.0, 0.0, 1.5
LEVELS = unhex("03 01 02", "00 00 80 bf", "00 00 00 00", "00 00 c0 3f")
#: kind CODEBOOK, level type INT8, three levels: -1, 0, 1
TERNARY = unhex("03 03 02", "ff 00 01")
PAYLOAD = bytes([0b01_10_01_00, 0b01])  # indices 0, 1, 2, 1, 1


def codebook(parameters: str, numbers: bytes, words: str = "06", dtype: str = "01") -> bytes:
    """Return a record of five elements with values CODEBOOK."""
    return record(
        f"{words} {dtype} 01 00",  # FLOAT, rank 1, no row axes
        "00 03 00 00",  # DENSE, CODEBOOK, PACKED, no flags
        "CRC",
        "02 00 00 00",  # payload size
        "05 00 00 00",  # dims
        parameters,  # table, scale kind, detail
        numbers=numbers,
    )


REAL = struct.pack("<5f", -1, 0, 1.5, 0, 0)
SMALL = bytes([0xFF, 0, 1, 0, 0])


def test_a_symbol_is_an_index_into_the_levels() -> None:
    tensor = codebook("00 00 00 00", REAL)
    assert read(tensor, PAYLOAD, LEVELS) == [0xBF800000, 0, 0x3FC00000, 0, 0]


def test_integer_levels_have_a_scale_or_a_fraction_length() -> None:
    scaled = codebook("00 00 01 00 00 00 80 3e", SMALL, "07")  # TENSOR: 0.25
    assert File(file_of([scaled], PAYLOAD, [TERNARY]))["#0"].tolist() == [-0.25, 0, 0.25, 0, 0]
    fraction = codebook("00 00 03 fe", SMALL)  # FRACTION: n = -2
    assert File(file_of([fraction], PAYLOAD, [TERNARY]))["#0"].tolist() == [-4, 0, 4, 0, 0]


def test_an_index_past_the_levels_is_out_of_range() -> None:
    assert error(codebook("00 00 00 00", REAL), bytes([0b11, 0]), LEVELS) == Code.RANGE


def test_parameters_are_checked() -> None:
    plain = "00 00 00 00"
    assert error(codebook("01 00 00 00", REAL), PAYLOAD, LEVELS) == Code.STRUCTURE  # no table 1
    assert error(codebook(plain, REAL), PAYLOAD, unhex("02 00 01")) == Code.STRUCTURE  # Huffman
    assert error(codebook("00 00 04 00", REAL), PAYLOAD, LEVELS) == Code.STRUCTURE  # scale kind
    assert error(codebook("00 00 02 01", REAL), PAYLOAD, TERNARY) == Code.STRUCTURE  # axis 1
    assert error(codebook("00 00 00 01", REAL), PAYLOAD, LEVELS) == Code.STRUCTURE  # detail
    assert error(codebook("00 00 03 00", REAL), PAYLOAD, LEVELS) == Code.STRUCTURE  # FLOAT scaled
    assert error(codebook(plain, REAL), PAYLOAD, TERNARY) == Code.STRUCTURE  # INT8 for FLOAT
    assert error(codebook("00 00 03 00", REAL, dtype="07"), PAYLOAD, TERNARY) == Code.STRUCTURE


def test_a_table_is_checked_when_the_file_is_opened() -> None:
    short = unhex("03 01 02", "00 00 80 bf")
    assert error(codebook("00 00 00 00", REAL), PAYLOAD, short) == Code.STRUCTURE
    four_bits = unhex("03 16 00", "08")  # INT4 has no 8
    assert error(codebook("00 00 00 00", REAL), PAYLOAD, four_bits) == Code.STRUCTURE


def test_unknown_tables_make_the_tensor_unsupported() -> None:
    tensor = codebook("00 00 00 00", REAL)
    assert error(tensor, PAYLOAD, unhex("7f 00 00")) == Code.UNSUPPORTED
    assert error(tensor, PAYLOAD, unhex("03 7f 00 00")) == Code.UNSUPPORTED
