"""Magnitude pruning: how many, which ones, and ties."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from nets import weights

from dcformat.compress.prune import prune


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60), st.floats(0, 0.999))
def test_exactly_the_ratio_becomes_zero_and_the_smallest_go_first(
    values: list[int], ratio: float
) -> None:
    data = np.array(values, np.float64)
    out = prune(data, ratio)
    zeros = max(round(ratio * data.size), int((data == 0).sum()))
    assert (out == 0).sum() == zeros
    assert np.array_equal(out[out != 0], data[out != 0])
    if zeros < data.size and (out == 0).any():
        assert np.abs(data[out == 0]).max() <= np.abs(out[out != 0]).min()


def test_of_equal_magnitudes_the_lowest_indices_are_kept() -> None:
    assert prune(np.array([1.0, -1.0, 1.0, -1.0, 3.0]), 0.6).tolist() == [1.0, 0, 0, 0, 3.0]


def test_zeros_that_are_there_count_and_lose_their_sign() -> None:
    out = prune(np.array([0.0, -0.0, 5.0, 4.0]), 0.5)
    assert out.tolist() == [0.0, 0.0, 5.0, 4.0]
    assert not np.signbit(out[:2]).any()


def test_shape_stays_and_the_argument_is_not_touched() -> None:
    data = weights(6, 4, 3, 3).astype(np.float64)
    before = data.copy()
    assert prune(data, 0.5).shape == data.shape
    assert np.array_equal(data, before)
