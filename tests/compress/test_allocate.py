"""Steps for all layers from one number, and the search for that number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcformat.compress.allocate import (
    LEANS,
    Part,
    coarsest_that_holds,
    finest_that_fits,
    shape_of,
)

PARTS = (
    Part("quiet", 1000, 0.5, 2.0, 1.0),
    Part("loud", 1000, 0.5, 2.0, 100.0),
    Part("mute", 10, 0.1, 0.4, 0.0),
)


def test_a_layer_that_makes_more_noise_has_a_finer_step():
    steps = shape_of(PARTS[:2], 1.0).steps(1e-2)
    assert steps["quiet"] == pytest.approx(10 * steps["loud"])  # the same noise of both


def test_without_sensitivities_the_spread_decides():
    shape = shape_of(PARTS, 0.0)
    assert shape.base["quiet"] == shape.base["loud"] == pytest.approx(5 * shape.base["mute"])


@given(st.sampled_from(LEANS), st.floats(1e-9, 1e9))
def test_steps_stay_between_8_bits_and_zeros_only(lean, coarseness):
    steps = shape_of(PARTS, lean).steps(coarseness)
    for part in PARTS:
        assert part.largest / 127 <= steps[part.name] <= part.largest * 2.1


@pytest.mark.parametrize("lean", LEANS)
def test_the_ends_are_reached(lean):
    shape = shape_of(PARTS, lean)
    assert shape.steps(shape.low) == pytest.approx(shape.finest)
    assert shape.steps(shape.high) == pytest.approx(shape.coarsest)


@given(st.integers(100, 10_000))
def test_the_finest_that_fits_is_found(budget):
    shape = shape_of(PARTS, 1.0)

    def size(coarseness: float) -> int:
        return int(8000 - 500 * np.log2(coarseness / shape.low))

    found = finest_that_fits(shape, size, budget, 0.001)
    if budget >= 8000:
        assert found == shape.low
    elif size(shape.high) > budget:
        assert found is None
    else:
        assert size(found) <= budget
        assert size(found * 1.002**-1) > budget or size(found) >= budget * 0.999


@given(st.floats(1.0, 100.0))
def test_the_coarsest_that_holds_is_found(limit):
    found = coarsest_that_holds(1.0, 100.0, lambda m: m <= limit, 20)
    assert found <= limit
    assert limit / found < 1.001
