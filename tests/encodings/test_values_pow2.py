"""spec/encodings/values_pow2.md, byte by byte."""

from __future__ import annotations

import numpy as np
import pytest
from byhand import error, read, record
from handmade import file_of

from dcformat.errors import Code
from dcformat.file import File


def pow2(parameters: str, numbers: bytes, dtype: str = "01") -> bytes:
    """Return a record with values POW2 of shape (count,)."""
    return record(
        f"07 {dtype} 01 00",  # 28 bytes, FLOAT, rank 1, no row axes
        "00 04 00 00",  # DENSE, POW2, PACKED, no flags
        "CRC",
        f"{len(numbers):02x} 00 00 00",  # payload size
        f"{len(numbers):02x} 00 00 00",  # dims
        parameters,
        "00 01 80 ff",  # alphabet 256, base -128: eight bits each
        numbers=numbers,
    )


NUMBERS = bytes([4, 0xFD, 0, 1])
PAYLOAD = bytes(n + 128 & 0xFF for n in NUMBERS)


def test_a_number_counts_from_its_base() -> None:
    assert read(pow2("03 ff 03 00", NUMBERS), PAYLOAD) == [4, -3, 0, 1]


def test_a_number_says_which_power_of_two_and_its_sign() -> None:
    file = File(file_of([pow2("03 ff 03 00", NUMBERS)], PAYLOAD))
    assert file["#0"].tolist() == [1.0, -0.5, 0.0, 0.125]
    assert not np.signbit(file["#0"][2])
    file = File(file_of([pow2("03 ff fe 00", NUMBERS)], PAYLOAD))
    assert file["#0"].tolist() == [32.0, -16.0, 0.0, 4.0]


@pytest.mark.parametrize(
    ("n", "number", "meaning"),
    [
        ("7f", 1, 2.0**-127),
        ("7f", 0x7F, 0.5),
        ("80", 0, 0.0),
        ("80", 1, float("inf")),
        ("81", 1, 2.0**127),
        ("00", 0x80, -(2.0**127)),
        ("ff", 0x80, float("-inf")),
    ],
)
def test_the_ends_of_binary32(n: str, number: int, meaning: float) -> None:
    file = File(file_of([pow2(f"03 ff {n} 00", bytes([number]))], bytes([number ^ 0x80])))
    assert file["#0"].tolist() == [meaning]


def test_fraction_lengths_per_axis_stand_before_the_blocks() -> None:
    per_axis = record(
        "07 01 01 00 00 04 00 00 CRC 03 00 00 00 02 00 00 00",
        "03 00 00 00",  # INT8, axis 0, no fraction length here
        "02 00 01 00",  # alphabet 2, base 1: one bit each
        numbers=bytes([1, 2]),
    )
    # n is 4 and -1 for the two elements; the bits 0 and 1 are the numbers 1 and 2
    payload = bytes([4, 0xFF, 0b10])
    assert File(file_of([per_axis], payload))["#0"].tolist() == [1 / 16, 4.0]


def test_parameters_are_checked() -> None:
    assert error(pow2("02 ff 05 00", NUMBERS), PAYLOAD) == Code.STRUCTURE  # UINT8
    assert error(pow2("05 ff 05 00", NUMBERS), PAYLOAD) == Code.STRUCTURE  # INT16
    assert error(pow2("03 01 00 00", NUMBERS), PAYLOAD) == Code.STRUCTURE  # axis 1 of rank 1
    assert error(pow2("03 00 05 00", NUMBERS), PAYLOAD) == Code.STRUCTURE  # n beside an axis
    assert error(pow2("03 ff 05 01", NUMBERS), PAYLOAD) == Code.PADDING
    assert error(pow2("03 ff 05 00", NUMBERS, "06"), PAYLOAD) == Code.STRUCTURE  # INT32
