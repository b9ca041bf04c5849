"""The encoder's kernels: what they promise, and that C and NumPy give the same bits."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcformat import kernels, kmeans

Points = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

counts = st.lists(
    st.one_of(st.integers(0, 5), st.integers(0, 2000), st.integers(0, 2**40)), max_size=256
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    """Codes of 0 to 16 bits, cut into blocks, some of them empty."""
    widths = np.array(draw(st.lists(st.integers(0, 16), max_size=60)), np.uint8)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = (1 << widths.astype(np.int64)) - 1
    items = (rng.integers(0, 1 << 16, widths.size) & mask).astype(np.uint16)
    cuts = draw(st.lists(st.integers(0, widths.size), max_size=5))
    return items, widths, np.array([*sorted(cuts), widths.size], np.int64)


@st.composite
def points(draw: st.DrawFn, most: int = 24) -> Points:
    """Distinct sorted values, often with equal distances, and small weights."""
    whole = draw(st.lists(st.integers(-40, 40), min_size=1, max_size=most, unique=True))
    step = draw(st.sampled_from([1.0, 0.1, 1e-30, 3e30]))
    weights = draw(st.lists(st.integers(1, 9), min_size=len(whole), max_size=len(whole)))
    return np.array(sorted(whole), np.float64) * step, np.array(weights, np.float64)


def pack_by_bit(items: Any, widths: Any, ends: Any, msb: bool) -> tuple[bytes, list[int]]:
    out, offsets, start = bytearray(), [], 0
    for end in ends:
        bits = ""
        for item, width in zip(items[start:end], widths[start:end], strict=True):
            text = f"{item:016b}"[16 - width :]
            bits += text if msb else text[::-1]
        bits += "0" * (-len(bits) % 8)
        octets = [bits[i : i + 8] for i in range(0, len(bits), 8)]
        out += bytes(int(o if msb else o[::-1], 2) for o in octets)
        offsets.append(len(out))
        start = end
    return bytes(out), offsets


def huffman_bits(counts: list[int]) -> int:
    """Total length of an unlimited Huffman code."""
    heap, total = [c for c in counts if c], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        total += both
        heapq.heappush(heap, both)
    return total


def error_of(values: Any, weights: Any, levels: Any, starts: Any) -> float:
    cluster = np.searchsorted(starts, np.arange(values.size), side="right") - 1
    return float((weights * (values - levels[cluster]) ** 2).sum())


def error_by_brute_force(values: Any, weights: Any, k: int) -> float:
    """The O(k n^2) dynamic program."""
    sums = kmeans.Sums(*(s.tolist() for s in kmeans.prefix_sums(values, weights)))
    n = values.size
    best = [0.0] + [sums.cost(0, j) for j in range(1, n + 1)]
    for m in range(2, k + 1):
        best = [
            min((best[i] + sums.cost(i, j) for i in range(m - 1, j)), default=np.inf)
            for j in range(n + 1)
        ]
    return float(best[n])


def error_of_lloyd(values: Any, weights: Any, k: int) -> float:
    """Lloyd's iterations from levels at equal distances, as Deep Compression starts."""
    levels = np.linspace(values[0], values[-1], k)
    for _ in range(100):
        nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
        mass = np.bincount(nearest, weights, k)
        total = np.bincount(nearest, weights * values, k)
        levels = np.sort(np.where(mass > 0, total / np.maximum(mass, 1e-300), levels))
    nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
    return float((weights * (values - levels[nearest]) ** 2).sum())


@given(counts)
def test_code_lengths_are_a_complete_code_of_at_most_12_bits(given_counts: list[int]) -> None:
    array = np.array(given_counts, np.int64)
    lengths = kernels.code_lengths(array).astype(np.int64)
    used = array > 0
    if used.sum() < 2:
        assert not lengths.any()
        return
    assert np.array_equal(lengths > 0, used)
    assert lengths.max() <= 12
    assert (1 << (12 - lengths[used])).sum() == 4096
    bits = sum(c * int(n) for c, n in zip(given_counts, lengths, strict=True))
    assert bits >= huffman_bits(given_counts)
    assert bits == huffman_bits(given_counts) or lengths.max() == 12


@given(counts)
def test_a_symbol_is_never_longer_than_a_rarer_or_equal_later_one(given_counts: list[int]) -> None:
    array = np.array(given_counts, np.int64)
    used = np.flatnonzero(array)
    order = used[np.lexsort((used, -array[used]))]
    lengths = kernels.code_lengths(array)[order].astype(int)
    assert np.all(np.diff(lengths) >= 0)


def test_code_lengths_of_fibonacci_counts_stop_at_12_bits() -> None:
    fibonacci = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987]
    expected = [12, 12, 11, 10, 9, 8, 7, 6, 5, 4, 4, 4, 3, 3, 2, 2]
    assert kernels.code_lengths(np.array(fibonacci)).tolist() == expected


def test_codes_follow_length_and_then_symbol() -> None:
    lengths = np.array([2, 0, 3, 1, 3], np.uint8)
    assert kernels.canonical_codes(lengths).tolist() == [0b10, 0, 0b110, 0b0, 0b111]


@given(streams())
def test_packers_write_each_bit_where_the_spec_says(stream: tuple[Any, Any, Any]) -> None:
    for pack, msb in ((kernels.pack_msb, True), (kernels.pack_lsb_mixed, False)):
        data, offsets = pack(*stream)
        assert (data, offsets.tolist()) == pack_by_bit(*stream, msb)


@given(streams(), st.integers(1, 3))
def test_numpy_packers_do_not_depend_on_their_chunks(
    stream: tuple[Any, Any, Any], eighths: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_CHUNK", 8 * eighths)
        for pack, msb in ((kernels.pack_msb, True), (kernels.pack_lsb_mixed, False)):
            data, offsets = pack(*stream)
            assert (data, offsets.tolist()) == pack_by_bit(*stream, msb)


@given(st.lists(st.integers(0, 65535), max_size=40), st.integers(0, 16))
def test_fixed_width_symbols_start_at_the_low_bits(symbols: list[int], bits: int) -> None:
    items = np.array(symbols, np.uint16) & np.uint16((1 << bits) - 1)
    expected, _ = pack_by_bit(items, [bits] * items.size, [items.size], False)
    assert kernels.pack_lsb(items, bits) == expected
    if bits <= 8:
        assert kernels.pack_lsb(items.astype(np.uint8), bits) == expected


def test_two_nibbles_stand_in_a_byte_the_first_in_the_low_half() -> None:
    assert kernels.pack_lsb(np.array([1, 2, 3], np.uint8), 4) == b"\x21\x03"


@given(st.binary(max_size=100))
def test_histogram_counts_each_byte(data: bytes) -> None:
    counted = kernels.histogram(np.frombuffer(data, np.uint8))
    assert counted.tolist() == [data.count(b) for b in range(256)]


BLOCKS = st.tuples(st.integers(1, 40), st.integers(1, 300), st.sampled_from([2, 40_000, 2**32]))


def blocks_of(shape: tuple[int, int, int]) -> kernels.U32:
    """Counts below the last of `shape`; some are zero, and a row of them is the largest."""
    rng = np.random.default_rng(shape)
    counts = rng.integers(0, shape[2], shape[:2], np.uint32) * (rng.random(shape[:2]) < 0.7)
    counts[rng.integers(shape[0])] = shape[2] - 1
    return counts.astype(np.uint32)


@given(BLOCKS, st.integers(1, 4))
@example((1, 256, 2**15), 1)
@example((1, 257, 2**15), 1)
@example((2, 256, 2**15 + 1), 2)
def test_blocks_are_priced_and_summed_exactly(shape: tuple[int, int, int], lists: int) -> None:
    blocks, rng = blocks_of(shape), np.random.default_rng(lists)
    prices = rng.integers(0, 256, (lists, shape[1]))
    prices[0] = 255
    exact = blocks.astype(object) @ prices.T.astype(object)
    assert kernels.price_blocks(blocks, prices).tolist() == exact.tolist()
    assert kernels.numpy_price_blocks(blocks, prices).tolist() == exact.tolist()
    classes = rng.integers(0, lists, shape[0]).astype(np.uint8)
    sums = [blocks[classes == c].sum(axis=0, dtype=object) for c in range(lists)]
    expected = [[int(n) for n in np.broadcast_to(row, shape[1])] for row in sums]
    assert kernels.sum_blocks(blocks, classes, lists).tolist() == expected
    assert kernels.numpy_sum_blocks(blocks, classes, lists).tolist() == expected


@pytest.mark.skipif(not kernels.NATIVE, reason="the extension is not built")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("price_blocks", (0, np.zeros(3, np.int16))),
        ("price_blocks", (-1, np.zeros(3, np.int16))),
        ("price_blocks", (4, np.zeros(4, np.int16))),
        ("price_blocks", (2**62, np.zeros(4, np.int16))),
        ("price_blocks", (3, np.zeros(4, np.int16))),
        ("sum_blocks", (3, np.zeros(1, np.uint8), 2)),
        ("sum_blocks", (3, np.array([0, 2], np.uint8), 2)),
        ("sum_blocks", (3, np.zeros(2, np.uint8), 0)),
        ("sum_blocks", (4, np.zeros(1, np.uint8), 1)),
    ],
)
def test_counts_of_blocks_stay_inside_their_buffers(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected rows|a class"):
        getattr(kernels._core, f"kernel_{name}")(np.zeros(6, np.uint32), *arguments)


@pytest.mark.parametrize(
    "call",
    [
        lambda: kernels.code_lengths(np.array([3, -1])),
        lambda: kernels.code_lengths(np.ones(257)),
        lambda: kernels.canonical_codes(np.array([1, 1, 1], np.uint8)),
        lambda: kernels.canonical_codes(np.array([13], np.uint8)),
        lambda: kernels.pack_msb(np.zeros(3), np.zeros(3), np.array([2])),
        lambda: kernels.pack_msb(np.zeros(3), np.zeros(2), np.array([3])),
        lambda: kernels.pack_msb(np.zeros(3), np.full(3, 17), np.array([3])),
        lambda: kernels.pack_msb(np.zeros(3), np.zeros(3), np.array([2, 1, 3])),
        lambda: kernels.pack_lsb(np.array([4], np.uint8), 2),
        lambda: kernels.pack_lsb(np.array([4], np.uint8), 9),
        lambda: kernels.histogram(np.zeros((2, 2), np.uint8)),
        lambda: kernels.optimal_kmeans(np.array([1.0, 1.0]), np.ones(2), 1),
        lambda: kernels.optimal_kmeans(np.array([1.0, np.nan]), np.ones(2), 1),
        lambda: kernels.optimal_kmeans(np.array([1.0, 2.0]), np.zeros(2), 1),
        lambda: kernels.optimal_kmeans(np.array([1.0, 2.0]), np.ones(2), 0),
    ],
)
def test_arguments_that_make_no_sense_are_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        call()


@given(points(), st.integers(1, 12))
def test_kmeans_is_as_good_as_brute_force(given_points: Points, k: int) -> None:
    values, weights = given_points
    levels, starts = kernels.optimal_kmeans(values, weights, k)
    assert levels.size == starts.size == min(k, values.size)
    assert starts[0] == 0
    assert np.all(np.diff(starts) > 0)
    scale = float(np.abs(values).max()) or 1.0
    best = error_by_brute_force(values / scale, weights, min(k, values.size))
    got = error_of(values / scale, weights, levels / scale, starts)
    assert got == pytest.approx(best, rel=1e-9, abs=1e-13)


def test_kmeans_of_many_equal_distances_has_exactly_k_clusters() -> None:
    values = np.arange(200.0)
    for k in range(1, 201):
        levels, starts = kernels.optimal_kmeans(values, np.ones(200), k)
        sizes = np.diff(starts, append=200)
        assert levels.size == k
        assert set(sizes.tolist()) <= {200 // k, 200 // k + 1}


def test_kmeans_is_never_worse_than_lloyd() -> None:
    values = np.unique(np.random.default_rng(7).laplace(size=3000).astype(np.float32))
    for k in (2, 4, 16, 64, 256):
        points = values.astype(np.float64)
        weights = np.ones(points.size)
        levels, starts = kernels.optimal_kmeans(points, weights, k)
        best = error_of(points, weights, levels, starts)
        assert best <= error_of_lloyd(points, weights, k)


def test_kmeans_of_large_doubles_does_not_overflow() -> None:
    values = np.array([-1e308, -0.9e308, 0.0, 1e308])
    levels, starts = kernels.optimal_kmeans(values, np.ones(4), 3)
    assert starts.tolist() == [0, 2, 3]
    assert np.all(np.isfinite(levels))


needs_core = pytest.mark.skipif(not kernels.NATIVE, reason="the C extension is not built")


@needs_core
@given(counts)
def test_c_and_numpy_give_the_same_codes(given_counts: list[int]) -> None:
    array = np.array(given_counts, np.int64)
    lengths = kernels.code_lengths(array)
    assert lengths.tobytes() == kernels.numpy_code_lengths(array).tobytes()
    codes = kernels.canonical_codes(lengths)
    assert codes.tobytes() == kernels.numpy_canonical_codes(lengths).tobytes()


@needs_core
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 400))
def test_c_and_python_find_the_same_clusters_to_the_bit(seed: int, k: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.unique(rng.laplace(size=n).astype(np.float32)).astype(np.float64)
    weights = rng.integers(1, 4, values.size).astype(np.float64)
    native = kernels.optimal_kmeans(values, weights, k)
    plain = kernels.numpy_optimal_kmeans(values, weights, k)
    assert native[0].tobytes() == plain[0].tobytes()
    assert native[1].tolist() == plain[1].tolist()


@needs_core
@given(st.binary(max_size=2000))
def test_c_and_numpy_count_the_same(data: bytes) -> None:
    symbols = np.frombuffer(data, np.uint8)
    assert np.array_equal(kernels.histogram(symbols), kernels.numpy_histogram(symbols))
