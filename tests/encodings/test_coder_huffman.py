"""spec/encodings/coder_huffman.md, byte by byte."""

from __future__ import annotations

import numpy as np
import pytest
from byhand import error, read, record
from handmade import unhex
from hypothesis import given
from hypothesis import strategies as st

from dcformat.encodings import coder_huffman
from dcformat.errors import Code, DcfError
from dcformat.ids import TableKind


def huffman(count: int, size: int, numbers: bytes, tables: str = "00 00 00 00") -> bytes:
    """Return a record of UINT8 numbers from 0, alphabet 4, with the coder HUFFMAN."""
    return record(
        "07 02 01 00 00 00 01 00 CRC",  # UINT8, rank 1; DENSE, RAW, HUFFMAN
        f"{size:02x} 00 00 00 {count:02x} 00 00 00",
        "04 00 00 00",  # values_raw: alphabet 4, base 0
        tables,
        numbers=numbers,
    )


#: lengths 1, 2, 3, 3 for the symbols 0 to 3: codes 0, 10, 110, 111
NIBBLES = unhex("00 00 03", "21 33")
NUMBERS = [0, 1, 2, 3, 0, 0]
PAYLOAD = bytes([0b0_10_110_11, 0b1_0_0_00000])


def test_codes_stand_most_significant_bit_first() -> None:
    assert read(huffman(6, 2, bytes(NUMBERS)), PAYLOAD, NIBBLES) == NUMBERS


def test_differences_of_lengths_give_the_same_table() -> None:
    # start 1: same (1); +1, v = 2 (011); +1 (011); same (1)
    delta = unhex("01 00 03", "01", "b7")
    assert bytes([0b1_011_011_1]) == delta[-1:]
    assert read(huffman(6, 2, bytes(NUMBERS)), PAYLOAD, delta) == NUMBERS


def test_a_flat_table_has_no_data() -> None:
    flat = unhex("02 00 03")  # four symbols of two bits
    assert read(huffman(4, 1, bytes([3, 2, 1, 0])), bytes([0b11_10_01_00]), flat) == [3, 2, 1, 0]


def test_one_symbol_takes_no_bits() -> None:
    assert read(huffman(3, 0, bytes([2, 2, 2])), b"", unhex("02 02 00")) == [2, 2, 2]


def test_the_block_has_just_the_bits_of_its_codes() -> None:
    tensor = huffman(6, 1, bytes(NUMBERS))
    assert error(tensor, PAYLOAD[:1], NIBBLES) == Code.TRUNCATED
    assert error(huffman(6, 3, bytes(NUMBERS)), PAYLOAD + b"\0", NIBBLES) == Code.STRUCTURE
    spare = bytes([PAYLOAD[0], PAYLOAD[1] | 1])
    assert error(huffman(6, 2, bytes(NUMBERS)), spare, NIBBLES) == Code.PADDING


def test_two_classes_choose_the_table_of_a_block() -> None:
    tensor = record(
        "09 02 02 01 00 00 01 04 CRC",  # UINT8, rank 2, a row axis; BLOCKED
        "04 00 00 00 02 00 00 00 04 00 00 00",  # four bytes; 2 x 4
        "01 00 00 04",  # one row a block, offsets of one byte, two classes
        "04 00 00 00",
        "00 00 01 00",  # class 0: table 0; class 1: table 1
        numbers=bytes([0, 1, 0, 1, 2, 3, 3, 2]),
    )
    low, high = unhex("02 00 01"), unhex("02 02 01")  # one bit each: 0 and 1; 2 and 3
    # block 1 starts at 1; classes 0 and 1; the blocks
    payload = bytes([1, 0b0100, 0b0101_0000, 0b0110_0000])
    assert read(tensor, payload, low, high) == [0, 1, 0, 1, 2, 3, 3, 2]
    assert error(tensor, bytes([1, 0b1000, 0x50, 0x60]), low, high) == Code.STRUCTURE  # class 2
    assert error(tensor, bytes([1, 0b10100, 0x50, 0x60]), low, high) == Code.PADDING
    assert error(tensor, bytes([3, 0b0100, 0x50, 0x60]), low, high) == Code.STRUCTURE  # offset


BAD_TABLES = {
    "00 00": Code.TRUNCATED,
    "00 ff 01 11": Code.STRUCTURE,  # symbols 255 and 256
    "00 00 03 21": Code.TRUNCATED,  # half of the lengths
    "00 00 03 21 33 00": Code.STRUCTURE,  # a byte too many
    "00 00 03 2d 33": Code.CODE,  # length 13
    "00 00 02 21 12": Code.PADDING,  # spare half byte
    "00 00 01 22": Code.CODE,  # half of the codes are missing
    "00 00 02 11 01": Code.CODE,  # too many codes
    "00 00 00 01": Code.CODE,  # one symbol of one bit
    "00 00 01 00": Code.CODE,  # no symbol at all
    "01 00 03 00 b7": Code.CODE,  # start 0
    "01 00 03 0d b7": Code.CODE,  # start 13
    "01 00 03 01": Code.TRUNCATED,
    "01 00 03 01 00": Code.CODE,  # five zero bits
    "01 00 01 01 c1": Code.PADDING,
    "01 00 01 01 c0 00": Code.STRUCTURE,
    "01 00 01 01 90": Code.CODE,  # 1, then 00100 (v = 3): one less than 1
    "02 00 02": Code.CODE,  # three symbols
    "02 00 01 00": Code.STRUCTURE,
}


@pytest.mark.parametrize("table", BAD_TABLES)
def test_a_bad_table_is_found_when_the_file_is_opened(table: str) -> None:
    assert error(huffman(1, 1, bytes(1)), b"\0", unhex(table)) == BAD_TABLES[table]


def test_a_table_that_knows_more_symbols_than_the_alphabet_is_refused() -> None:
    five = unhex("00 00 04 33 32 02")  # lengths 3, 3, 2, 3, 2 … does not fill the code
    with pytest.raises(DcfError):
        coder_huffman.parse_table(memoryview(five), "")
    eight = unhex("02 00 07")
    assert error(huffman(1, 1, bytes(1)), b"\0", eight) == Code.STRUCTURE


def test_table_references_are_checked() -> None:
    assert error(huffman(1, 1, bytes(1), "01 00 00 00"), b"\0", NIBBLES) == Code.STRUCTURE
    assert error(huffman(1, 1, bytes(1), "00 00 01 00"), b"\0", NIBBLES) == Code.PADDING
    assert error(huffman(1, 1, bytes(1)), b"\0", unhex("03 02 00 00")) == Code.STRUCTURE
    assert error(huffman(1, 1, bytes(1)), b"\0", unhex("7f")) == Code.UNSUPPORTED


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=256))
def test_every_table_is_read_back_and_is_the_smallest_of_its_kinds(counts: list[int]) -> None:
    full = np.zeros(256, np.int64)
    full[: len(counts)] = counts
    full[0] += not any(counts)
    table = coder_huffman.table_of(full)
    entry = coder_huffman.write_table(table)
    again = coder_huffman.parse_table(memoryview(entry), "")
    assert again.lengths.tolist() == table.lengths.tolist()
    assert table.entry_size == len(entry)
    used = table.lengths[table.lengths != coder_huffman.UNUSED]
    assert len(entry) <= 3 + (int(np.ptp(np.flatnonzero(full))) + 2) // 2
    assert len(used) == np.count_nonzero(full)


@pytest.mark.parametrize("first", range(1, 13))
def test_the_size_of_a_table_counts_every_step_from_length_to_length(first: int) -> None:
    for second in range(1, 13):
        lengths = np.full(256, coder_huffman.UNUSED, np.uint8)
        lengths[5:45], lengths[50:80] = first, second
        table = coder_huffman.Table(lengths, 79)
        entry = coder_huffman.write_table(table)
        assert entry[0] == TableKind.HUFFMAN_DELTA
        assert table.entry_size == len(entry)
