"""Symbols by their frequencies: with and without the extension, near the entropy, and damaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcformat import kernels, rans
from dcformat.encodings.coder_zstd import Reader, encode
from dcformat.errors import Code, DcfError
from dcformat.ids import MAX_SYMBOLS

KINDS = ("<u2", "<u4", "<u8")


def table(raw: bytes) -> tuple[int, int, np.ndarray, int]:
    return rans._read_table(memoryview(raw))


def drawn(seed: int, size: int, spread: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.geometric(1 / spread, size) % 200).astype(np.uint8) + np.uint8(40)


@given(seed=st.integers(0, 999), size=st.integers(1, 3000), spread=st.integers(1, 30))
def test_symbols_come_back_and_both_ways_write_the_same(seed: int, size: int, spread: int) -> None:
    symbols = drawn(seed, size, spread)
    coded = rans.encode(symbols)
    if coded is None:
        assert len(np.unique(symbols)) > 32
        return
    assert rans.decode(memoryview(coded), size, "") == symbols.tobytes()
    bits, lanes, frequencies, at = table(coded)
    assert rans.plain_write(symbols, frequencies, bits, lanes) == coded[at:]
    body = memoryview(coded)[at:]
    assert rans.plain_read(body, size, frequencies, bits, lanes) == symbols.tobytes()


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_lanes_take_turns(lanes: int) -> None:
    symbols = drawn(1, 1001, 5)
    frequencies = rans.normalised(np.bincount(symbols, minlength=MAX_SYMBOLS), 10)
    coded = rans.plain_write(symbols, frequencies, 10, lanes)
    if kernels.NATIVE:
        assert kernels._core.rans_write(symbols, frequencies, 10, lanes) == coded
        found = kernels._core.rans_read(coded, symbols.size, frequencies, 10, lanes)
        assert found == symbols.tobytes()
    got = rans.plain_read(memoryview(coded), symbols.size, frequencies, 10, lanes)
    assert got == symbols.tobytes()


@given(counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=30), bits=st.integers(6, 12))
def test_frequencies_sum_up_and_leave_nothing_out(counts: list[int], bits: int) -> None:
    padded = np.zeros(MAX_SYMBOLS, np.int64)
    padded[: len(counts)] = counts
    if not padded.any():
        return
    found = rans.normalised(padded, bits)
    assert int(found.sum()) == 1 << bits
    assert ((found > 0) == (padded > 0)).all()


def test_what_is_known_takes_what_it_says_and_no_more() -> None:
    symbols = drawn(2, 100_000, 4)
    counts = np.bincount(symbols)
    shares = counts[counts > 0] / symbols.size
    entropy = -(shares * np.log2(shares)).sum() * symbols.size / 8
    coded = rans.encode(symbols)
    assert coded is not None
    assert entropy < len(coded) < 1.003 * entropy + 64


@given(seed=st.integers(0, 999), data=st.data())
def test_changed_bytes_are_an_error_or_other_symbols(seed: int, data: st.DataObject) -> None:
    symbols = drawn(seed, 300, 6)
    coded = bytearray(rans.encode(symbols) or b"")
    at = data.draw(st.integers(0, len(coded) - 1))
    coded[at] ^= data.draw(st.integers(1, 255))
    code = Code.OK
    try:
        found = rans.decode(memoryview(bytes(coded)), symbols.size, "here")
    except DcfError as error:
        code, found = error.code, bytes(symbols.size)
    assert code in (Code.OK, Code.CODE)
    assert len(found) == symbols.size


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 9, 50])
def test_cut_bytes_are_an_error(cut: int) -> None:
    coded = rans.encode(drawn(3, 300, 6)) or b""
    with pytest.raises(DcfError, match=r"here: not (a table|300 symbols)"):
        rans.decode(memoryview(coded)[:cut], 300, "here")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_numbers_of_every_width_come_back_rotated_or_not(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    width = np.dtype(kind).itemsize
    real = {2: np.float16, 4: np.float32, 8: np.float64}[width]
    for numbers in (
        rng.normal(0, 0.02, 500).astype(real),
        np.append(rng.normal(0, 1, 40).astype(real), [np.nan, -0.0, np.inf, -np.inf]).astype(real),
        rng.integers(0, 9, 500).astype(kind),
    ):
        planes = np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, width)
        body, ends = encode(planes, np.array([len(planes)]))
        reader = Reader(memoryview(body), (256,) * width, "")
        assert reader.many(len(planes), tuple(range(width))).tobytes() == planes.tobytes()
        assert ends.tolist() == [len(body)]


def test_the_exponents_of_weights_get_a_plane_of_their_own() -> None:
    weights = np.random.default_rng(1).normal(0, 0.02, 20_000).astype(np.float32)
    body, _ = encode(weights.view(np.uint8).reshape(-1, 4), np.array([weights.size]))
    assert body[:2] == bytes([0x11, 0b10_00_00_00])  # only the last plane by frequencies
    assert len(body) < 0.847 * weights.nbytes
