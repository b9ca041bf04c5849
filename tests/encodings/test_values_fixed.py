"""spec/encodings/values_fixed.md, byte by byte."""

from __future__ import annotations

from byhand import error, read, record
from handmade import file_of

from dcformat.errors import Code
from dcformat.file import File


def fixed(parameters: str, numbers: bytes, dtype: str = "01") -> bytes:
    """Return a record with values FIXED of shape (count,)."""
    return record(
        f"07 {dtype} 01 00",  # 28 bytes, FLOAT, rank 1, no row axes
        "00 01 00 00",  # DENSE, FIXED, PACKED, no flags
        "CRC",
        f"{len(numbers):02x} 00 00 00",  # payload size
        f"{len(numbers):02x} 00 00 00",  # dims
        parameters,
        "00 01 80 ff",  # alphabet 256, base -128: eight bits each
        numbers=numbers,
    )


NUMBERS = bytes([32, 0xF0, 8])
PAYLOAD = bytes(n + 128 & 0xFF for n in NUMBERS)


def test_a_number_counts_from_its_base() -> None:
    assert read(fixed("03 ff 05 00", NUMBERS), PAYLOAD) == [32, -16, 8]


def test_a_number_q_means_q_times_a_power_of_two() -> None:
    file = File(file_of([fixed("03 ff 05 00", NUMBERS)], PAYLOAD))
    assert file["#0"].tolist() == [1.0, -0.5, 0.25]
    file = File(file_of([fixed("03 ff fe 00", NUMBERS)], PAYLOAD))
    assert file["#0"].tolist() == [128.0, -64.0, 32.0]


def test_fraction_lengths_per_axis_stand_before_the_blocks() -> None:
    per_axis = record(
        "07 01 01 00 00 01 00 00 CRC 03 00 00 00 02 00 00 00",
        "03 00 00 00",  # INT8, axis 0, no fraction length here
        "02 00 01 00",  # alphabet 2, base 1: one bit each
        numbers=bytes([1, 2]),
    )
    # fraction lengths 4 and -1 for the two elements, then the bits 0 and 1
    payload = bytes([4, 0xFF, 0b10])
    assert File(file_of([per_axis], payload))["#0"].tolist() == [1 / 16, 4.0]


def test_parameters_are_checked() -> None:
    assert error(fixed("02 ff 05 00", NUMBERS), PAYLOAD) == Code.STRUCTURE  # UINT8
    assert error(fixed("03 01 00 00", NUMBERS), PAYLOAD) == Code.STRUCTURE  # axis 1 of rank 1
    assert error(fixed("03 00 05 00", NUMBERS), PAYLOAD) == Code.STRUCTURE  # n beside an axis
    assert error(fixed("03 ff 05 01", NUMBERS), PAYLOAD) == Code.PADDING
    assert error(fixed("03 ff 05 00", NUMBERS, "06"), PAYLOAD) == Code.STRUCTURE  # INT32
