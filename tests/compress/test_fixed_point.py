"""Layers in fixed point: shifts and rounding as the registry says, fraction lengths by trying."""

from __future__ import annotations

import json
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import tensor, weights

from dcformat.coded import CodedModel
from dcformat.compress import Gram, Recipe, Rule, compress, recipe_from_json
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
from dcformat.encode import Settings, encode_model
from dcformat.errors import ConvertError
from dcformat.file import File
from dcformat.ids import DType, Meta, Rounding
from dcformat.model import LayerFormat, Model, Use


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


def one_layer(recipe: Recipe) -> CodedModel:
    """A dense layer with a bias, as `recipe` wants it."""
    uses = {"w": Use("fc", "Gemm", "weight", 0), "b": Use("fc", "Gemm", "bias")}
    model = Model((tensor(weights(8, 20), "w"), tensor(weights(8, seed=2), "b")), uses=uses)
    return compress(model, recipe)


def layer_rules(**of_weight: Any) -> tuple[Rule, ...]:
    fixed = {"method": "fixed", "bits": 8, "fraction": 5}
    return Rule("w", fixed | of_weight), Rule("b", fixed | {"fraction": 6})


def test_a_recipe_states_a_layer_in_fixed_point() -> None:
    said = {"input": [4, 8], "output": [3, 8], "bias": "b"}
    coded = one_layer(Recipe(method="exact", rules=layer_rules(**said)))
    assert coded.layers == (LayerFormat("fc", "w", "b", 4, 8, 5, 8, 6, 8, 3, 8, 1),)
    w, b = coded.tensors
    np.testing.assert_array_equal(w.symbols, to_fixed(weights(8, 20), 5, 8))
    np.testing.assert_array_equal(b.symbols, to_fixed(weights(8, seed=2), 6, 8))
    again = recipe_from_json(coded.metadata[Meta.RECIPE].decode())
    assert one_layer(again).layers == coded.layers


def test_fractions_without_a_layer_make_no_format_and_those_at_the_ends_are_held() -> None:
    assert one_layer(Recipe(method="exact", rules=layer_rules())).layers == ()
    said = {"input": [127, 8], "output": [-128, 32], "fraction": 127}
    coded = one_layer(Recipe(method="exact", rules=layer_rules(**said)))
    (layer,) = coded.layers
    assert (layer.bias, layer.bias_fraction, layer.bias_shift, layer.shift) == (None, 127, 127, 382)
    assert File(encode_model(coded, Settings())).layers == coded.layers


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"fraction": 3}, "fraction for method = 'int8': fixed has one"),
        ({"method": "fixed", "fraction": 128}, "fraction = 128: expected a whole number from -128"),
        ({"method": "fixed", "input": [3, 8]}, "input is for a weight with a fraction"),
        ({"method": "fixed", "fraction": 3, "input": [3, 8]}, "input and output of a layer go"),
        ({"method": "fixed", "fraction": 3, "output": [3, 1]}, r"output = \[3, 1\]: expected"),
        ({"method": "fixed", "feedback": True}, "feedback is for a step or a fraction"),
    ],
)
def test_what_a_recipe_cannot_say(rule: dict[str, Any], problem: str) -> None:
    text = json.dumps({"preset": "int8", "layers": [{"match": "w", **rule}]})
    with pytest.raises(ConvertError, match=problem):
        one_layer(recipe_from_json(text))


def test_a_bias_needs_a_fraction_and_feedback_data() -> None:
    said = {"input": [4, 8], "output": [3, 8], "bias": "b"}
    rules = layer_rules(**said)
    with pytest.raises(ConvertError, match="w: its bias 'b' has no fraction"):
        one_layer(Recipe(method="exact", rules=rules[:1]))
    fed = (Rule("w", {**rules[0].settings, "feedback": True}), rules[1])
    with pytest.raises(ConvertError, match="w: the recipe rounds it with error feedback"):
        one_layer(Recipe(method="exact", rules=fed))


def test_feedback_keeps_to_the_bits() -> None:
    data, moments = 500 * weights(6, 5).astype(np.float64), np.eye(5) + 0.8
    gram = Gram((0, 1), 1, (moments[None],), np.zeros((1, 5)))
    for bits, kind in ((4, np.int8), (16, np.int16)):
        found = fixed_tensor(data, bits - 3, bits, gram).symbols
        low, high = bounds(bits)
        assert found.dtype == kind
        assert (found.min(), found.max()) == (low, high)
