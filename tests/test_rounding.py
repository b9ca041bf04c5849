"""Looking at weights, rounding them and what that loses: as promised, alike in C and in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcformat import kernels
from dcformat.rounding import (
    Floats,
    largest_error,
    numpy_largest_error,
    numpy_squared_errors,
    numpy_survey,
    numpy_to_int8,
    squared_errors,
    survey,
    to_int8,
)

SHAPES = [(), (1,), (7,), (0, 3), (5, 1), (1, 5), (33, 20), (4, 3, 3, 5), (2, 300)]


def axes(shape: tuple[int, ...]) -> list[int | None]:
    return [None, *range(len(shape))]


def made(shape: tuple[int, ...], kind: str, seed: int) -> Floats:
    """Weights with zeros, ties, subnormal numbers and large ones."""
    rng = np.random.default_rng(seed)
    odd = np.array([0.0, -0.0, 0.5, -1.5, 2.5, 1e-40, -126.5, 127.0, 3e38])
    data = np.where(
        rng.random(shape) < 0.3, rng.choice(odd, shape), rng.standard_normal(shape) * 100
    )
    weights: Floats = np.asarray(data, kind)
    return weights


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_survey_gives_the_largest_magnitudes_and_counts_zeros(
    shape: tuple[int, ...], kind: str
) -> None:
    for axis in axes(shape):
        weights = made(shape, kind, 1)
        peaks, zeros = survey(weights, axis)
        others = tuple(i for i in range(len(shape)) if i != axis)
        assert peaks.dtype == weights.dtype
        assert np.array_equal(peaks, np.abs(weights).max(axis=others, initial=0.0))
        assert zeros == (weights == 0).sum()


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("odd", [np.nan, -np.nan, np.inf, -np.inf])
def test_a_maximum_is_finite_only_where_all_elements_are(kind: str, odd: float) -> None:
    for place in np.ndindex(6, 5):
        weights = made((6, 5), kind, 2)
        weights[place] = odd
        assert not np.isfinite(survey(weights, None)[0])
        finite = np.isfinite(survey(weights, 0)[0])
        assert finite.tolist() == [row != place[0] for row in range(6)]


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_are_the_nearest_ties_to_even(shape: tuple[int, ...], kind: str) -> None:
    for axis in axes(shape):
        weights = made(shape, kind, 3)
        scale = np.linspace(0.5, 3, shape[axis]) if axis is not None else np.asarray(0.7)
        beside = [-1 if i == axis else 1 for i in range(len(shape))] if axis is not None else ()
        exact = [round(float(q)) for q in (weights / scale.reshape(beside)).reshape(-1)]
        expected = [max(-127, min(127, q)) for q in exact]
        numbers = to_int8(weights, scale, axis)
        assert (numbers.dtype, numbers.shape) == (np.int8, shape)
        assert numbers.reshape(-1).tolist() == expected


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_squared_errors_are_added_one_by_one(shape: tuple[int, ...], kind: str) -> None:
    for axis in range(len(shape)):
        weights = made(shape, kind, 4)
        scale = np.linspace(0.5, 3, shape[axis])
        found = squared_errors(weights, scale, axis)
        assert found.shape == (shape[axis],)
        for channel in range(shape[axis]):
            mine, total = np.take(weights, channel, axis), 0.0
            for w in mine.reshape(-1).tolist():
                q = max(-127, min(127, round(w / scale[channel])))
                total += (w - q * float(scale[channel])) ** 2
            assert found[channel] == total


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_largest_error_is_that_of_the_float32_product(
    shape: tuple[int, ...], kind: str
) -> None:
    rng = np.random.default_rng(5)
    for axis in axes(shape):
        weights = made(shape, kind, 5)
        numbers = rng.integers(-127, 128, shape).astype(np.int8)
        scale = rng.random(() if axis is None else shape[axis]).astype(np.float32)
        spread = scale
        if axis is not None:
            spread = scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        back = (numbers.astype(np.float32) * spread).astype(np.float64)
        expected = np.abs(weights.astype(np.float64) - back).max(initial=0.0)
        assert largest_error(weights, numbers, scale, axis) == expected


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_an_infinite_error(kind: str, odd: float) -> None:
    numbers = np.zeros((3, 11), np.int8)
    for place in np.ndindex(3, 11):
        weights = np.ones((3, 11), kind)
        weights[place] = odd
        assert largest_error(weights, numbers, np.ones(11, np.float32), 1) == np.inf
    huge = np.full((3, 11), 127, np.int8)
    scale = np.asarray(3e38, np.float32)
    assert largest_error(np.zeros((3, 11), kind), huge, scale, None) == np.inf


@pytest.mark.skipif(not kernels.NATIVE, reason="the extension is not built")
@given(st.sampled_from(SHAPES), st.sampled_from(["f4", "f8"]), st.integers(0, 2**32), st.data())
def test_c_and_numpy_agree(shape: tuple[int, ...], kind: str, seed: int, data: Any) -> None:
    weights = made(shape, kind, seed)
    turned = np.asarray(weights.T)  # not in the order of memory
    axis = data.draw(st.sampled_from(axes(turned.shape)))
    scale = np.random.default_rng(seed).random(() if axis is None else turned.shape[axis]) + 1e-3
    mine, theirs = survey(turned, axis), numpy_survey(turned, axis)
    assert mine[0].tobytes() == theirs[0].tobytes()
    assert mine[1] == theirs[1]
    numbers, narrow = to_int8(turned, scale, axis), scale.astype(np.float32)
    assert np.array_equal(numbers, numpy_to_int8(turned, scale, axis))
    given_back = (turned, numbers, narrow, axis)
    assert largest_error(*given_back) == numpy_largest_error(*given_back)
    if axis is not None:
        squares = squared_errors(turned, scale, axis)
        assert squares.tobytes() == numpy_squared_errors(turned, scale, axis).tobytes()


@pytest.mark.skipif(not kernels.NATIVE, reason="the extension is not built")
@pytest.mark.parametrize(
    "view",
    [(4, 1, 2, 3), (4, 2, 3, 1, 7), (3, 1, 1, 8), (4, -1, 1, -6), (4, 1, 0, 6), (4, 2**62, 4, 1)],
)
def test_the_extension_stays_inside_its_buffers(view: tuple[int, ...]) -> None:
    core, data = kernels._core, np.zeros(7, np.float32)
    with pytest.raises(ValueError, match="expected an array"):
        core.rounding_survey(data, *view[:4])
    with pytest.raises(ValueError, match="expected an array"):
        core.rounding_int8(data, *view[:4], np.zeros(2))
    with pytest.raises(ValueError, match="expected an array"):
        core.rounding_squares(data, *view[:4], np.zeros(2))
    with pytest.raises(ValueError, match="expected an array"):
        core.rounding_worst(data, *view[:4], np.zeros(7, np.int8), np.zeros(2, np.float32))


@pytest.mark.skipif(not kernels.NATIVE, reason="the extension is not built")
def test_numbers_and_scales_are_as_many_as_the_weights_ask_for() -> None:
    core, data = kernels._core, np.zeros(6, np.float32)
    for numbers, scales in ((5, 2), (7, 2), (6, 1), (6, 3)):
        with pytest.raises(ValueError, match="expected an array"):
            core.rounding_worst(
                data, 4, 1, 2, 3, np.zeros(numbers, np.int8), np.zeros(scales, np.float32)
            )
