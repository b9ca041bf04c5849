"""The distinct weights of a tensor, their sums, and saliency."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcformat.compress.codebook import best_cells, quantize_codebook
from dcformat.compress.points import cells_of, indices_of, points_of
from dcformat.errors import ConvertError

F64 = npt.NDArray[np.float64]
WEIGHTS = st.lists(st.integers(-9, 9), min_size=1, max_size=60)


@given(WEIGHTS)
def test_points_are_the_distinct_weights_but_zero(values: list[int]) -> None:
    data = np.array(values, np.float64) / 3
    points = points_of(data)
    distinct, counts = np.unique(data[data != 0], return_counts=True)
    assert np.array_equal(np.ldexp(points.values, points.exponent), distinct)
    assert np.diff(points.counts).tolist() == counts.tolist()
    assert points.zeros == (data == 0).sum()
    if distinct.size:
        levels, indices = indices_of(points, cells_of(points, np.arange(distinct.size)))
        assert np.array_equal(levels[indices], data)


def test_what_vanishes_beside_the_largest_is_zero() -> None:
    points = points_of(np.array([1e-300, 1e300, 0.0, -1e-320]))
    assert points.zeros == 3
    assert points.place.tolist() == [-1, 0, -1, -1]


@given(WEIGHTS.filter(any), st.integers(1, 4), st.integers(0, 2**32))
def test_saliency_weighs_like_repeated_weights(values: list[int], k: int, seed: int) -> None:
    data = np.array(values, np.float64)
    times = np.random.default_rng(seed).integers(1, 5, data.size)
    weighed = points_of(data, times.astype(np.float64))
    repeated = points_of(np.repeat(data, times))
    a, b = best_cells(weighed, k), best_cells(repeated, k)
    assert a.starts.tolist() == b.starts.tolist()
    assert np.array_equal(a.levels, b.levels)
    assert weighed.unscaled(a.error) == pytest.approx(repeated.unscaled(b.error), abs=1e-9)
    assert weighed.scaled(weighed.unscaled(a.error)) == a.error


def test_a_salient_weight_gets_a_level_of_its_own() -> None:
    data = np.array([1.0, 1.1, 1.2, 5.0, 5.4])
    plain = quantize_codebook(data, 1, "kmeans")
    assert plain[0].tolist() == pytest.approx([1.1, 5.2])
    saliency = np.array([1.0, 1e-9, 1e-9, 1.0, 1e9])
    levels, indices = quantize_codebook(data, 1, "kmeans", saliency)
    assert abs(levels[indices][4] - 5.4) < 1e-6


def test_saliency_of_nothing_still_makes_levels() -> None:
    levels, indices = quantize_codebook(np.array([1.0, 2.0, 3.0]), 1, "kmeans", np.zeros(3))
    assert levels.size == 2
    assert indices.shape == (3,)


@pytest.mark.parametrize(
    ("saliency", "reason"),
    [
        (np.ones(2), r"saliency of shape \(2,\), weights of \(3,\)"),
        (np.array([1.0, -1.0, 1.0]), "negative or not finite"),
        (np.array([1.0, np.nan, 1.0]), "negative or not finite"),
        (np.array([1.0, np.inf, 1.0]), "negative or not finite"),
    ],
)
def test_saliency_that_makes_no_sense_is_refused(saliency: F64, reason: str) -> None:
    with pytest.raises(ConvertError, match=reason):
        points_of(np.array([1.0, 2.0, 3.0]), saliency)


def lloyd(data: F64, weights: F64, levels: F64) -> float:
    """Return the error of Lloyd's iterations from these levels."""
    for _ in range(60):
        nearest = np.abs(data[:, None] - levels).argmin(axis=1)
        mass = np.bincount(nearest, weights, levels.size)
        means = np.bincount(nearest, weights * data, levels.size) / np.where(mass > 0, mass, 1.0)
        moved = np.where(mass > 0, means, levels)
        if np.array_equal(moved, levels):
            break
        levels = moved
    nearest = np.abs(data[:, None] - levels).argmin(axis=1)
    return float((weights * np.square(data - levels[nearest])).sum())


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(2, 120))
def test_kmeans_never_loses_to_20_random_starts_of_lloyd(seed: int, k: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    data, weights = rng.laplace(size=n), rng.gamma(0.5, size=n) + 1e-3
    points = points_of(data, weights)
    best = points.unscaled(best_cells(points, k).error)
    starts = (rng.choice(data, min(k, n), replace=False) for _ in range(20))
    assert best <= min(lloyd(data, weights, levels) for levels in starts) * (1 + 1e-9) + 1e-12
