"""spec/encodings/coder_packed.md, byte by byte."""

from __future__ import annotations

from byhand import error, read, record

from dcformat.errors import Code


def packed(alphabet: int, count: int, size: int, numbers: bytes) -> bytes:
    """Return a record of UINT8 numbers from 0 with the coder PACKED."""
    return record(
        "06 02 01 00 00 00 00 00 CRC",  # UINT8, rank 1; DENSE, RAW, PACKED
        f"{size:02x} 00 00 00 {count:02x} 00 00 00",
        f"{alphabet & 0xFF:02x} {alphabet >> 8:02x} 00 00",
        numbers=numbers,
    )


def test_the_first_symbol_has_the_least_significant_bits() -> None:
    # three bits each: 0, 1, 2, 3, 4 and a spare bit
    payload = (0 | 1 << 3 | 2 << 6 | 3 << 9 | 4 << 12).to_bytes(2, "little")
    assert read(packed(5, 5, 2, bytes(range(5))), payload) == [0, 1, 2, 3, 4]


def test_four_bits_stand_low_half_first() -> None:
    assert read(packed(16, 2, 1, bytes([1, 2])), bytes([0x21])) == [1, 2]


def test_one_symbol_takes_no_bits() -> None:
    assert read(packed(1, 3, 0, bytes(3))) == [0, 0, 0]


def test_a_symbol_past_the_alphabet_is_out_of_range() -> None:
    assert error(packed(5, 1, 1, bytes(1)), bytes([5])) == Code.RANGE


def test_the_block_has_just_the_bits_of_its_symbols() -> None:
    assert error(packed(256, 2, 1, bytes(2)), bytes(1)) == Code.TRUNCATED
    assert error(packed(256, 2, 3, bytes(2)), bytes(3)) == Code.STRUCTURE
    assert error(packed(5, 1, 1, bytes(1)), bytes([0x08])) == Code.PADDING
