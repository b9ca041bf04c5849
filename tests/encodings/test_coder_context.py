"""spec/encodings/coder_context.md, byte by byte."""

from __future__ import annotations

import numpy as np
import pytest
from byhand import error, read, record
from cases import raw, sparse, stored
from handmade import file_of_form

from dcformat import decode, kernels, native
from dcformat.encodings import coder_context
from dcformat.encodings.coder_context import Context, Extents, Key
from dcformat.errors import Code
from dcformat.forms_context import context_form, context_forms
from dcformat.ids import DType
from dcformat.scratch import Scratch

NATIVE = pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")


def vector(
    alphabet: int, numbers: bytes, size: int, centre: int = 0, axes: int = 0, zero: int = 0
) -> bytes:
    """Return a record of UINT8 numbers from 0 with the coder CONTEXT."""
    return record(
        "07 02 01 00 00 00 03 00 CRC",  # UINT8, rank 1; DENSE, RAW, CONTEXT
        f"{size:02x} 00 00 00 {len(numbers):02x} 00 00 00",
        f"{alphabet & 0xFF:02x} {alphabet >> 8:02x} 00 00",
        f"{centre:02x} {axes:02x} {zero:02x} 00",
        numbers=numbers,
    )


def test_one_decision_is_told_by_half_the_range() -> None:
    # t = floor((2^32 - 1) / 4096) * 2048 = 0x7ffff800; 1 if code is below it, which is the
    # magnitude 1 of an alphabet of two: its side is not told
    assert read(vector(2, bytes([1]), 1), bytes([0x00])) == [1]
    assert read(vector(2, bytes([0]), 1), bytes([0x80])) == [0]


def test_another_last_byte_than_the_writers_is_no_code() -> None:
    for byte in (0x01, 0x7F, 0x81, 0xFF):
        assert error(vector(2, bytes([byte < 0x80]), 1), bytes([byte])) == Code.CODE


def test_a_block_has_just_the_bytes_of_its_decisions() -> None:
    assert error(vector(2, bytes([0]), 0), b"") == Code.TRUNCATED
    assert error(vector(2, bytes([0]), 2), bytes([0x80, 0])) == Code.STRUCTURE
    assert error(vector(1, bytes(3), 0), b"") == Code.TRUNCATED
    assert error(vector(1, bytes(3), 2), bytes(2)) == Code.STRUCTURE
    assert error(vector(1, bytes(3), 1), bytes([1])) == Code.CODE
    assert read(vector(1, bytes(3), 1), bytes(1)) == [0, 0, 0]


def test_fields_are_checked_in_order() -> None:
    assert error(vector(2, bytes([0]), 1, centre=2, zero=1), b"\x80") == Code.STRUCTURE
    assert error(vector(2, bytes([0]), 1, axes=8, zero=1), b"\x80") == Code.STRUCTURE
    assert error(vector(2, bytes([0]), 1, zero=1), b"\x80") == Code.PADDING
    wide = record("06 04 01 00 00 00 03 00 CRC", "01 00 00 00 01 00 00 00", "00 00 00 00",
                  numbers=bytes(2))  # fmt: skip
    assert error(wide, bytes(1)) == Code.STRUCTURE  # UINT16: two symbols an element


def test_a_magnitude_that_the_alphabet_lacks_is_out_of_range() -> None:
    key = Key(8, Context(0, 0), Extents(1, 1, 1))  # lengths of up to three digits, as with six
    block, _ = coder_context.encode(np.array([[7]], np.uint8), np.array([1]), key)
    assert read(vector(8, bytes([7]), len(block)), block) == [7]
    assert error(vector(6, bytes([7]), len(block)), block) == Code.RANGE


def test_what_is_behind_the_block_is_missed_before_its_symbol_is_judged() -> None:
    codes = {error(vector(200, bytes(9), 2, centre=90), bytes([a, 0])) for a in range(256)}
    assert Code.TRUNCATED in codes
    assert codes <= {Code.TRUNCATED, Code.STRUCTURE, Code.CODE, Code.RANGE, Code.CHECKSUM}


def keys() -> list[Key]:
    """Return alphabets of every depth, centres at both ends and inside, and all axes."""
    alphabets = (1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 256)
    pairs = sorted({(a, c) for a in alphabets for c in (0, a // 3, a - 1)})
    found = [Key(a, Context(c, 5), Extents(2, 3, 4)) for a, c in pairs]
    return found + [Key(7, Context(3, axes), Extents(3, 2, 5)) for axes in range(8)]


@NATIVE
@pytest.mark.parametrize("key", keys(), ids=str)
def test_both_encoders_write_the_same_bytes(key: Key) -> None:
    rng = np.random.default_rng(key.alphabet)
    count = 7 * key.extents.columns
    for spread in (0.3, 100.0):
        far = np.round(rng.standard_normal(count) * spread).astype(np.int64) + key.context.centre
        planes = np.clip(far, 0, key.alphabet - 1).astype(np.uint8).reshape(-1, 1)
        for rows in (1, 3, 7):
            ends = np.minimum(np.arange(1, -(-7 // rows) + 1) * rows, 7) * key.extents.columns
            data, stops = coder_context.encode(planes, ends, key)
            again, theirs = coder_context.plain_encode(planes, ends, key)
            assert data == again
            assert stops.tolist() == theirs.tolist()


def test_long_blocks_and_certain_decisions_come_back() -> None:
    rng = np.random.default_rng(3)
    rare = (rng.random(6000) < 0.001).astype(np.uint8)
    for numbers in (np.zeros(6000, np.uint8), rare, np.arange(6000, dtype=np.uint8)):
        (form,) = context_forms(stored(raw("w", numbers.reshape(60, 100), DType.UINT8)), False,
                                Scratch())  # fmt: skip
        opened = decode.open_file(file_of_form(form))
        assert decode.decode_numbers(opened, 0).tolist() == numbers.tolist()
    assert form.context is not None


def test_chances_stay_inside_of_their_range() -> None:
    for bit in (0, 1):
        chances = coder_context._Chances()
        for _ in range(3000):
            chances.learn(0, bit)
            assert 1 <= chances.of(0) <= 4095


def test_rows_are_read_from_their_block() -> None:
    numbers = sparse(np.random.default_rng(1), (12, 5, 3), 0.5)
    form = context_form(stored(raw("w", numbers, DType.INT8)), Context(60, 2), 4)
    data = file_of_form(form)
    for decoder in [decode, native] if native.AVAILABLE else [decode]:
        opened = decoder.open_file(data)
        part = decoder.decode_rows(opened, 0, 3, 9)
        assert part.tolist() == numbers[3:9].reshape(-1).tolist()


@pytest.mark.skipif(not kernels.NATIVE, reason="the C extension is not built")
def test_the_kernel_refuses_what_are_no_rows() -> None:
    with pytest.raises(ValueError, match="below"):
        kernels.context_encode(np.array([2], np.uint8), (1, 1, 1), 2, (0, 0), 1)
    with pytest.raises(ValueError, match="rows"):
        kernels.context_encode(np.zeros(5, np.uint8), (1, 1, 2), 2, (0, 0), 1)
    with pytest.raises(ValueError, match="rows"):
        kernels.context_encode(np.zeros(4, np.uint8), (1, 1, 2), 2, (2, 0), 1)
