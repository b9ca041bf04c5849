"""Levels for an entropy coder: what is promised of bits and error, and C against NumPy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import weights

from dcformat import kernels
from dcformat.compress import entropy
from dcformat.compress.codebook import best_cells
from dcformat.compress.points import Cells, Points, indices_of, points_of
from dcformat.compress.prune import prune
from dcformat.compress.refine import (
    GAP_TABLE_BITS,
    LEVEL_BITS,
    TABLE_BITS,
    Steps,
    log2,
    numpy_refine,
    refine,
)

F64 = npt.NDArray[np.float64]


def made(kind: str, seed: int) -> F64:
    rng = np.random.default_rng(seed)
    data = {
        "laplace": lambda: rng.laplace(size=700),
        "pruned": lambda: np.where(rng.random(900) < 0.8, 0.0, rng.normal(size=900)),
        "lattice": lambda: rng.integers(-5, 6, 300) * 0.25,
        "positive": lambda: rng.integers(1, 9, 200) * 1.0,
        "heavy": lambda: rng.standard_t(1, size=600),
        "one": lambda: np.array([0.5, 0.0][: 1 + seed % 2]),
    }[kind]()
    return np.asarray(data)


def same(a: Cells | None, b: Cells | None) -> bool:
    if a is None or b is None:
        return a is b
    lists = a.starts.tolist() == b.starts.tolist() and a.levels.tobytes() == b.levels.tobytes()
    return lists and (a.zero, a.error, a.bits) == (b.zero, b.error, b.bits)


KINDS = st.sampled_from(["laplace", "pruned", "lattice", "positive", "heavy", "one"])


@pytest.mark.skipif(not kernels.NATIVE, reason="the extension is not built")
@given(
    KINDS,
    st.integers(0, 2**32),
    st.floats(-9, 2),
    st.sampled_from([0.0, 0.05, 0.3, 3.0]),
    st.sampled_from([0.0, 0.25, 0.5, -0.25]),
    st.booleans(),
    st.booleans(),
)
def test_c_and_numpy_find_the_same_cells_to_the_bit(
    kind: str, seed: int, width: float, worth: float, shift: float, sparse: bool, salient: bool
) -> None:
    data = made(kind, seed)
    saliency = np.random.default_rng(seed).random(data.shape) if salient else None
    points = points_of(data, saliency)
    if not points.values.size:
        return
    step = points.largest * 2.0**width
    steps = Steps(step, 0.0 if points.zeros else shift)
    asked = points, steps, worth * step * step, sparse, 5
    assert same(refine(*asked), numpy_refine(*asked))


@pytest.mark.skipif(not kernels.NATIVE, reason="the extension is not built")
def test_the_extension_stays_inside_its_buffers() -> None:
    column, counts = np.arange(4.0), np.arange(4)
    good = [np.arange(3.0), counts, column, column, column, 0, 0.5, 0.0, 0.1, 0, 2]
    assert kernels._core.quantize_refine(*good) is not None
    bad = {0: np.zeros(0), 1: counts[:3], 2: column[:3], 3: np.arange(5.0), 4: column[:1], 5: -1,
           6: 0.0, 8: -1.0}  # fmt: skip
    for place, value in bad.items():
        with pytest.raises(ValueError, match="expected values"):
            kernels._core.quantize_refine(*good[:place], value, *good[place + 1 :])
    odd = np.array([np.nan, -1.0, np.inf])
    for values in (odd, np.zeros(3), -np.arange(3.0)):
        kernels._core.quantize_refine(values, *good[1:])


@given(st.floats(1e-12, 1e12))
def test_logarithms_are_right(x: float) -> None:
    assert log2(x) == pytest.approx(math.log2(x), rel=1e-14, abs=1e-14)


def bits_of(points: Points, cells: Cells) -> int:
    """Return the bits of dense Huffman indices."""
    counts = kernels.histogram(indices_of(points, cells)[1].reshape(-1))
    return int((counts * kernels.code_lengths(counts).astype(np.int64)).sum())


def test_bits_and_error_are_those_of_the_indices() -> None:
    data = weights(60, 50).astype(np.float64)
    points = points_of(data)
    cells = refine(points, Steps(points.largest / 20), 1e-4, False, 6)
    assert cells is not None
    levels, indices = indices_of(points, cells)
    error = float(np.square(data - levels[indices]).sum())
    assert points.unscaled(cells.error) == pytest.approx(error, rel=1e-9)
    assert cells.bits == bits_of(points, cells) + TABLE_BITS + LEVEL_BITS * levels.size
    assert np.all(np.diff(levels) > 0)
    assert levels[levels == 0].size == 1


def test_bits_of_gaps_are_near_to_what_gaps_take() -> None:
    rng = np.random.default_rng(3)
    for share in (0.05, 0.2, 0.5):
        data = np.where(rng.random(20000) < share, rng.choice([-1.0, 1.0], 20000), 0.0)
        points = points_of(data)
        cells = refine(points, Steps(0.5), 0.0, True, 0)
        assert cells is not None
        gaps = np.diff(np.flatnonzero(data), prepend=-1) - 1
        symbols = np.concatenate([gaps % 63, np.full(int((gaps // 63).sum()), 63)])
        counts = np.bincount(symbols, minlength=64)
        real = int((counts * kernels.code_lengths(counts).astype(np.int64)).sum())
        values = np.count_nonzero(data)
        told = cells.bits - TABLE_BITS - GAP_TABLE_BITS - LEVEL_BITS * cells.levels.size
        assert told == pytest.approx(real + values, rel=0.02)


@pytest.mark.parametrize("ratio", [0.0, 0.7])
def test_the_error_that_was_asked_for_is_used_and_kept(ratio: float) -> None:
    data = prune(weights(100, 120).astype(np.float64), ratio)
    points = points_of(data)
    for share in (0.3, 0.1, 0.01, 0.001):
        error = share * float(points.sums[2][-1])
        cells = entropy.at_error(points, error)
        assert 0.98 * error < cells.error <= error
        levels, indices = indices_of(points, cells)
        assert not levels[indices][data == 0].any()


def test_an_error_that_256_levels_cannot_have_gives_the_finest_steps() -> None:
    data = np.random.default_rng(5).standard_t(1, size=5000)
    points = points_of(data)
    cells = entropy.at_error(points, 0.0)
    assert 128 < cells.levels.size <= 256
    few = points_of(np.array([0.0, 1.0, 2.5, 7.0]))
    assert entropy.at_error(few, 0.0).error == 0.0


def test_a_higher_price_buys_fewer_bits_and_no_way_is_better_for_its_price() -> None:
    points = points_of(weights(100, 120).astype(np.float64))
    prices = np.geomspace(1e-7, 1e-2, 12) * float(points.sums[2][-1]) / 100
    found = [entropy.at_price(points, price) for price in prices]
    bits, errors = [c.bits for c in found], [c.error for c in found]
    assert bits == sorted(bits, reverse=True)
    assert errors == sorted(errors)
    for price, cells in zip(prices, found, strict=True):
        if cells.levels.size > 200:
            continue  # there are no levels left to buy
        best = best_cells(points, cells.levels.size)
        kmeans = bits_of(points, best) + TABLE_BITS + LEVEL_BITS * best.levels.size
        assert cells.error + price * cells.bits <= best.error + price * kmeans
    assert entropy.at_price(points, 0.0).levels.size > 200


def test_levels_of_few_weights_do_not_cost_more_than_they_save() -> None:
    points = points_of(weights(10, 12).astype(np.float64))
    error = best_cells(points, 8).error
    assert entropy.at_error(points, error).levels.size <= 20
