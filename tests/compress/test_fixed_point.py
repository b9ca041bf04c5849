"""Layers in fixed point: shifts and rounding as the registry says, fraction lengths by trying."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcformat.compress.fixed_point import (
    bounds,
    finish,
    fixed_tensor,
    from_fixed,
    longest_fraction,
    shifted_left,
    shifted_right,
    to_fixed,
)
from dcformat.errors import ConvertError
from dcformat.ids import DType, Rounding
from dcformat.model import LayerFormat


def rounded(x: int, shift: int, rule: Rounding) -> int:
    """The registry's words, in exact arithmetic."""
    value = Fraction(x, 1 << shift)
    if rule is Rounding.HALF_UP:
        return floor(value + Fraction(1, 2))
    return round(value) if rule is Rounding.HALF_EVEN else floor(value)


@given(st.integers(-(1 << 40), 1 << 40), st.integers(1, 40), st.sampled_from(Rounding))
def test_shifts_round_as_the_registry_says(x: int, shift: int, rule: Rounding) -> None:
    found = shifted_right(np.array([x], np.int64), shift, rule)
    assert found.tolist() == [rounded(x, shift, rule)]


@pytest.mark.parametrize("rule", Rounding)
def test_ties_and_their_neighbours(rule: Rounding) -> None:
    numbers = np.arange(-64, 65, dtype=np.int64)
    for shift in (1, 2, 3):
        wanted = [rounded(int(x), shift, rule) for x in numbers]
        assert shifted_right(numbers, shift, rule).tolist() == wanted
    assert shifted_right(numbers, 0, rule).tolist() == numbers.tolist()
    assert shifted_right(numbers, -2, rule).tolist() == (numbers * 4).tolist()


def test_shifts_that_lose_bits_are_refused() -> None:
    one = np.ones(1, np.int64)
    for shift in (-1, 63):
        with pytest.raises(ConvertError, match="cannot be shifted left"):
            shifted_left(one, shift)
    assert shifted_left(one, 62).tolist() == [1 << 62]
    with pytest.raises(ConvertError, match="do not fit 64 bits"):
        shifted_left(2 * one, 62)
    with pytest.raises(ConvertError, match="cannot be shifted right"):
        shifted_right(one, 63, Rounding.FLOOR)


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.sampled_from([2, 4, 6, 8, 16]))
def test_the_longest_fraction_is_the_last_without_overflow(a: float, b: float, bits: int) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    if max(-low, high) < 1e-30:
        return
    fraction = longest_fraction(low, high, bits)
    least, most = bounds(bits)
    fits = [
        least <= np.rint(np.ldexp(low, n)) and np.rint(np.ldexp(high, n)) <= most
        for n in (fraction, fraction + 1)
    ]
    assert fits == [True, fraction == 127]


def test_fractions_of_zeros_and_of_what_has_none() -> None:
    assert longest_fraction(0.0, 0.0, 8) == 7
    assert [longest_fraction(-1.0, 0.9, 8), longest_fraction(-1.0, 1.0, 8)] == [7, 6]
    with pytest.raises(ConvertError, match="no infinities"):
        longest_fraction(0.0, np.inf, 8)
    with pytest.raises(ConvertError, match="2 to 16"):
        longest_fraction(0.0, 1.0, 17)
    with pytest.raises(ConvertError, match="too large"):
        longest_fraction(0.0, 1e60, 8)


def test_numbers_are_rounded_to_even_and_saturated() -> None:
    values = np.array([0.25, 0.75, -0.25, 100.0, -100.0, 1.2], np.float32)
    numbers = to_fixed(values, 1, 4)
    assert numbers.tolist() == [0, 2, 0, 7, -8, 2]
    assert from_fixed(numbers, 1).tolist() == [0, 1, 0, 3.5, -4, 1]
    made = fixed_tensor(values.astype(np.float64), 1, 4)
    assert (made.symbols.dtype, made.values.number) == (np.int8, DType.INT8)  # type: ignore[union-attr]
    assert made.reals().tolist() == [0, 1, 0, 3.5, -4, 1]


def test_a_layer_by_hand() -> None:
    """Products 2^-9, bias 5 * 2^-6 = 40 * 2^-9, output 2^-4: shift right by 5."""
    layer = LayerFormat("l", "w", "b", 4, 8, 5, 8, 6, 8, 4, 8, Rounding.HALF_EVEN)
    assert (layer.shift, layer.bias_shift) == (5, 3)
    products = np.array([[8, 40, 5000], [-56, 0, -5000]], np.int64)
    assert finish(products, np.array([5, 5, 5]), layer).tolist() == [[2, 2, 127], [0, 1, -128]]
    assert finish(products, None, layer).tolist() == [[0, 1, 127], [-2, 0, -128]]
