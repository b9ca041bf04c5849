"""spec/encodings/layout_run.md, byte by byte."""

from __future__ import annotations

from byhand import error, read, record
from handmade import unhex

from dcformat.errors import Code

#: symbols 0 to 3: two values, run digits 1 and 2; every code has two bits
FLAT = unhex("02 00 03")


def run(size: int, numbers: list[int], parameters: str = "00 00 00 00", symbols: int = 2) -> bytes:
    """Return a record of UINT8 numbers with layout RUN and the coder HUFFMAN."""
    return record(
        "08 02 01 00",  # 32 bytes, UINT8, rank 1, no row axes
        "02 00 01 00",  # RUN, RAW, HUFFMAN, no flags
        "CRC",
        f"{size:02x} 00 00 00",  # payload size
        f"{len(numbers):02x} 00 00 00",  # dims
        parameters,  # layout_run: background, zero
        f"{symbols:02x} 00 00 00",  # values_raw: alphabet, base 0
        "00 00 00 00",  # coder_huffman: table 0, padding
        numbers=bytes(numbers),
    )


def test_digits_are_bijective_base_two_with_the_least_first() -> None:
    # nine zeros: 1·1 + 2·2 + 1·4: digits 1, 2, 1 (symbols 2, 3, 2); then the value 1
    numbers = [0] * 9 + [1]
    assert read(run(1, numbers), bytes([0b10_11_10_01]), FLAT) == numbers


def test_a_value_ends_a_run() -> None:
    # digit 1, value 1, digit 1, value 1
    assert read(run(1, [0, 1, 0, 1]), bytes([0b10_01_10_01]), FLAT) == [0, 1, 0, 1]


def test_a_run_past_the_end_is_out_of_range() -> None:
    assert error(run(1, [0]), bytes([0b11_000000]), FLAT) == Code.RANGE


def test_the_background_is_the_one_that_the_record_names() -> None:
    numbers = [1, 1, 0, 1]
    assert read(run(1, numbers, "01 00 00 00"), bytes([0b11_00_10_00]), FLAT) == numbers


def test_parameters_are_checked() -> None:
    assert error(run(1, [0], "02 00 00 00"), b"\0", FLAT) == Code.STRUCTURE  # background 2 of 2
    assert error(run(1, [0], "00 00 01 00"), b"\0", FLAT) == Code.PADDING
    assert error(run(1, [0], symbols=255), b"\0", FLAT) == Code.STRUCTURE  # alphabet above 254
