"""spec/encodings/values_affine.md, byte by byte."""

from __future__ import annotations

import struct

from byhand import error, read, record
from handmade import file_of

from dcformat.errors import Code
from dcformat.file import File

NUMBERS = bytes([1, 2, 10, 13])


def affine(words: str, parameters: str, size: int, numbers: bytes = NUMBERS) -> bytes:
    """Return a record of shape (2, 2) with values AFFINE; `words` is its length in words."""
    return record(
        f"{words} 01 02 01",  # FLOAT, rank 2, one row axis
        "00 02 00 00",  # DENSE, AFFINE, PACKED, no flags
        "CRC",
        f"{size:02x} 00 00 00",
        "02 00 00 00 02 00 00 00",
        parameters,
        numbers=numbers,
    )


#: UINT8, no axis, ZERO_POINTS; alphabet 256, base 0; scale 0.5; zero point 1
TENSOR = affine("0a", "02 ff 01 00 00 01 00 00 00 00 00 3f 01 00 00 00", 4)


def test_a_number_q_means_its_distance_from_the_zero_point_times_the_scale() -> None:
    assert read(TENSOR, NUMBERS) == [1, 2, 10, 13]
    assert File(file_of([TENSOR], NUMBERS))["#0"].tolist() == [[0.0, 0.5], [4.5, 6.0]]


def test_scales_and_zero_points_per_axis_stand_before_the_blocks() -> None:
    # UINT8, axis 0, ZERO_POINTS; alphabet 256, base 0
    tensor = affine("08", "02 00 01 00 00 01 00 00", 14)
    payload = struct.pack("<ff", 0.5, 2.0) + bytes([0, 10]) + NUMBERS
    assert File(file_of([tensor], payload))["#0"].tolist() == [[0.5, 1.0], [0.0, 6.0]]


def test_blocks_of_an_axis_have_scales_of_their_own() -> None:
    # UINT8, axis 1, BLOCKED; alphabet 256, base 0; blocks of one
    tensor = affine("09", "02 01 02 00 00 01 00 00 01 00 00 00", 20)
    payload = struct.pack("<4f", 1, 2, 3, 4) + NUMBERS
    assert File(file_of([tensor], payload))["#0"].tolist() == [[1.0, 4.0], [30.0, 52.0]]


def test_parameters_are_checked() -> None:
    words = ("08", "00 01 00 00")
    assert error(affine(words[0], f"06 00 00 00 {words[1]}", 12), bytes(12)) == Code.STRUCTURE
    assert error(affine(words[0], f"02 02 00 00 {words[1]}", 12), bytes(12)) == Code.STRUCTURE
    assert error(affine(words[0], f"02 00 04 00 {words[1]}", 12), bytes(12)) == Code.STRUCTURE
    assert error(affine(words[0], f"02 00 00 01 {words[1]}", 12), bytes(12)) == Code.PADDING
    no_axis = affine("09", f"02 ff 02 00 {words[1]} 01 00 00 00", 4)
    assert error(no_axis, NUMBERS) == Code.STRUCTURE
    no_block = affine("09", f"02 00 02 00 {words[1]} 00 00 00 00", 4)
    assert error(no_block, NUMBERS) == Code.STRUCTURE
    assert error(affine(words[0], f"02 00 00 00 {words[1]}", 7), bytes(7)) == Code.TRUNCATED
