"""The three encodings of TFLite Micro: there and back, their bytes, and what is damaged."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from tflite_files import int8_weights
from tflm_published import ENCODED, NARROW_TABLE, TEXT, WIDE_TABLE

from dcformat.converters.tflm_codes import (
    HEAD,
    HUFFMAN,
    LUT,
    PRUNE,
    Coded,
    huffman,
    lut,
    lut_by_channel,
    prune,
)
from dcformat.converters.tflm_decode import Output, decode
from dcformat.errors import CorruptError

KINDS = ("few", "zeros", "skewed")
SIZES = (1, 2, 31, 64, 3001)


def again(coded: Coded, kind: str, count: int, channels: int = 1) -> bytes:
    return decode(coded.encoded, coded.ancillary, Output(kind, count, channels)).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_encoding_gives_the_numbers_back(kind: str, size: int) -> None:
    numbers = int8_weights(kind, size)
    for coded in (lut(numbers, False), lut(numbers, True), huffman(numbers), prune(numbers)):
        if coded is not None:
            assert len(coded.ancillary) >= HEAD
            assert again(coded, "i1", size) == numbers.tobytes()


@pytest.mark.parametrize("value", [0, -128, 127])
def test_a_lone_value_is_a_code_of_one_bit(value: int) -> None:
    numbers = np.full(40, value, "i1")
    coded = huffman(numbers)
    assert coded is not None
    assert len(coded.encoded) == 8 + 4
    assert len(coded.ancillary) == HEAD + 2 * 2
    assert again(coded, "i1", 40) == numbers.tobytes()


@pytest.mark.parametrize("kind", ["<f4", "<i2", "i1"])
def test_tables_and_bitmaps_keep_every_bit_of_other_types(kind: str) -> None:
    numbers = np.random.default_rng(2).choice(np.array([-3, 0, 5, 77], kind), 500)
    for coded in (lut(numbers, False), prune(numbers)):
        assert coded is not None
        assert again(coded, kind, 500) == numbers.tobytes()
    if kind == "<f4":
        zeros = np.array([0.0, -0.0, 1.0, np.nan], "<f4")
        assert again(prune(zeros), kind, 4) == zeros.tobytes()


def test_the_bytes_are_those_of_the_page() -> None:
    """Four values in two bits each, most significant first; what stands in the first 16 bytes."""
    coded = lut(np.array([1, 2, 3, 4, 4], "i1"), False)
    assert coded is not None
    assert coded.encoded == bytes([0b00011011, 0b11000000])
    assert coded.ancillary == bytes([LUT, 1, 0, 0, 1, 15 << 4 | 2, 4] + [0] * 9 + [1, 2, 3, 4])
    shared = lut(np.array([1, 2], "i1"), True)
    assert shared is not None
    assert shared.ancillary[6] == 0  # runtimes do not step to another table
    pruned = prune(np.array([0, 5, 0, 6], "i1"))
    assert pruned.encoded == bytes([0b01010000])
    assert pruned.ancillary == bytes([PRUNE, 1, 0, 0, 1, 0, 0] + [0] * 9 + [5, 6])
    coded = huffman(np.array([7, 7, 7, 9], "i1"))
    assert coded is not None
    assert coded.encoded == bytes([0b00010000, 0, 0, 0, 0, 0, 0, 0])
    assert coded.ancillary[:7] == bytes([HUFFMAN, 1, 0, 0, 1, 0, 0])
    assert coded.ancillary[HEAD:] == bytes([7, 0x88, 9, 0x88])


@pytest.mark.parametrize("kind", ["i1", "<i2"])
@pytest.mark.parametrize("wide", [False, True])
def test_the_vector_that_the_runtime_tests_itself_with(kind: str, wide: bool) -> None:
    """Its stream ends with its last code, so nothing is asked to stand behind it."""
    table = struct.pack("<24I", *WIDE_TABLE) if wide else struct.pack("<24H", *NARROW_TABLE)
    head = bytes([HUFFMAN, 1, 0, 0, 1, 2 << 4 | wide]) + bytes(10)
    output = Output(kind, len(TEXT))
    if kind == "<i2" and not wide:
        with pytest.raises(CorruptError, match="not of <i2"):
            decode(ENCODED, head + table, output, spare=0)
        return
    found = decode(ENCODED, head + table, output, spare=0)
    assert found.dtype == np.dtype(kind)
    assert found.tolist() == list(TEXT)
    for left in range(len(ENCODED)):
        with pytest.raises(CorruptError, match=r"inside a code|bytes encoded for"):
            decode(ENCODED[:left], head + table, output, spare=0)


def test_huffman_codes_of_16_bits_have_wide_tables() -> None:
    numbers = int8_weights("skewed", 5000).astype("<i2") * 200
    coded = huffman(numbers)
    assert coded is not None
    assert coded.ancillary[5] & 1
    assert len(coded.encoded) < 2 * 5000 * 0.35
    assert again(coded, "<i2", 5000) == numbers.tobytes()
    assert huffman(np.arange(257, dtype="<i2")) is None


@pytest.mark.parametrize("kind", ["i1", "<i2", "<f4"])
@pytest.mark.parametrize("axis", [0, 2])
def test_a_table_for_each_channel(kind: str, axis: int) -> None:
    rng = np.random.default_rng(8)
    numbers = np.stack([rng.choice(rng.integers(-99, 99, 6), (5, 7)) for _ in range(40)], axis)
    numbers = numbers.astype(kind)
    coded = lut_by_channel(numbers, axis)
    assert coded is not None
    assert coded.ancillary[5] == axis << 4 | 3
    assert coded.ancillary[6] <= 6
    output = Output(kind, numbers.size, 40, bool(axis))
    assert decode(coded.encoded, coded.ancillary, output).tobytes() == numbers.tobytes()
    cut = coded.ancillary[: -numbers.itemsize * 6]
    with pytest.raises(CorruptError, match="into a table of"):
        decode(coded.encoded, cut, output)
    with pytest.raises(CorruptError, match="41 scales of"):
        decode(coded.encoded, coded.ancillary, Output(kind, numbers.size, 41))


def test_more_than_128_values_have_no_table() -> None:
    assert lut(np.arange(129, dtype="<i2"), False) is None
    assert lut(np.arange(128, dtype="<i2"), False) is not None


def test_huffman_codes_come_near_the_entropy() -> None:
    numbers = int8_weights("skewed", 20000)
    counts = np.bincount(numbers.view(np.uint8), minlength=256)
    share = counts[counts > 0] / numbers.size
    coded = huffman(numbers)
    assert coded is not None
    assert len(coded.encoded) * 8 / numbers.size < -np.sum(share * np.log2(share)) + 0.06
    assert len(coded.ancillary) < 700


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e, a: (e, a[:15]), "first 16 bytes"),
        (lambda e, a: (e, bytes([3]) + a[1:]), "kind 3"),
        (lambda e, a: (e, a[:1] + b"\2" + a[2:]), "versions 2 and 1"),
        (lambda e, a: (e[:-4], a), "looks ahead"),
        (lambda e, a: (e[: len(e) // 2], a), "inside a code|for 3000 values"),
        (lambda e, a: (e, a[:HEAD]), "entry 0 of a table of 0|entry . of a table of 0"),
        (lambda e, a: (e, a[:HEAD] + bytes(len(a) - HEAD)), "leads to itself"),
        (lambda e, a: (e, a[:HEAD] + b"\0\x80" * 999), "takes 0 bits"),
    ],
)
def test_damaged_huffman_codes_are_refused(change: object, words: str) -> None:
    coded = huffman(int8_weights("few", 3000))
    assert coded is not None
    encoded, ancillary = change(coded.encoded, coded.ancillary)  # type: ignore[operator]
    with pytest.raises(CorruptError, match=words):
        decode(encoded, ancillary, Output("i1", 3000))


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_gives_numbers_or_a_reason(seed: int) -> None:
    rng = random.Random(seed)
    verdicts = set()
    for _ in range(250):
        numbers = int8_weights(rng.choice(KINDS), 200)
        coded = rng.choice(
            [lut(numbers, False) or prune(numbers), huffman(numbers), prune(numbers)]
        )
        assert coded is not None
        parts = [bytearray(coded.encoded), bytearray(coded.ancillary)]
        part = rng.choice(parts)
        part[rng.randrange(len(part))] = rng.randrange(256)
        if rng.random() < 0.3:
            del part[rng.randrange(len(part)) :]
        try:
            found = decode(bytes(parts[0]), bytes(parts[1]), Output("i1", 200))
            assert found.shape == (200,)
            verdicts.add("numbers")
        except CorruptError:
            verdicts.add("refused")
    assert verdicts == {"numbers", "refused"}
