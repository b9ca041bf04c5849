"""Decoding through tables of several symbols: the numbers and the errors of the plain decoder.

Long bytes are compared outside of `assert`, which would take minutes to show how they differ.
"""

from __future__ import annotations

import numpy as np
import pytest
import tables
from comparing import packs_levels

from dcformat import decode, native
from dcformat.errors import Code, DcfError

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")


def verdict(decoder: object, data: bytes) -> tuple[Code, bytes]:
    """Return the error of opening and decoding without a CRC, and the numbers."""
    try:
        opened = decoder.open_file(data)  # type: ignore[attr-defined]
        return Code.OK, decoder.decode_numbers(opened, 0, False).tobytes()  # type: ignore[attr-defined]
    except DcfError as error:
        return error.code, b""


def test_every_shape_of_code_and_block_gives_its_numbers() -> None:
    for name, data, numbers in tables.files():
        opened = native.open_file(data)
        same = native.decode_numbers(opened, 0).tobytes() == numbers
        assert same, name


def test_rows_of_whole_blocks_and_of_parts_are_those_of_the_tensor() -> None:
    rng = np.random.default_rng(5)
    for name, data, numbers in tables.files():
        opened = native.open_file(data)
        rows = decode.open_file(data).record(0).head.rows
        row = len(numbers) // rows
        for start, stop in np.sort(rng.integers(0, rows + 1, (3, 2))).tolist():
            got = native.decode_rows(opened, 0, start, stop).tobytes()
            same = got == numbers[start * row : stop * row]
            assert same, (name, start, stop)


@pytest.mark.parametrize("shape", tables.SHAPES)
def test_large_tensors_have_tables_of_whole_prefixes(shape: str) -> None:
    symbols = tables.stream(shape, 1 << 18).reshape(-1, 16)
    for form in tables.forms(symbols, None, 40):
        opened = native.open_file(tables.written(form))
        same = native.decode_numbers(opened, 0).tobytes() == symbols.tobytes()
        assert same, (form.layout, form.params)


@pytest.mark.parametrize("seed", range(4))
def test_damage_gets_the_verdict_of_the_reference_decoder(seed: int) -> None:
    codes = set()
    for data in tables.damaged(150, seed):
        mine, theirs = verdict(native, data), verdict(decode, data)
        same = mine == theirs or packs_levels(data)  # of which the C core looks at the kind only
        assert same, (mine[0], theirs[0])
        codes.add(mine[0])
    assert {Code.OK, Code.TRUNCATED, Code.STRUCTURE} <= codes


def payload_of(data: bytes) -> int:
    """Return where PAYLOAD begins, the last section."""
    count = int.from_bytes(data[14:16], "little")
    entry = 48 + 32 * (count - 1)
    return int.from_bytes(data[entry + 8 : entry + 16], "little")


@pytest.mark.parametrize("shape", ["ternary", "sixteen", "sparse"])
def test_every_bit_of_a_payload_can_be_wrong(shape: str) -> None:
    """A flipped bit moves codes, run digits and gaps anywhere, past the end of a block too."""
    symbols = tables.stream(shape, 2100).reshape(700, 3)
    rng = np.random.default_rng(len(shape))
    for form in tables.forms(symbols, None, 90):
        data = tables.written(form)
        start = payload_of(data)
        for bit in rng.integers(8 * start, 8 * (len(data) - 8), 40).tolist():
            bad = bytearray(data)
            bad[bit >> 3] ^= 1 << (bit & 7)
            same = verdict(native, bytes(bad)) == verdict(decode, bytes(bad))
            assert same, (form.params, bit)
