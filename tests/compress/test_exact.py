"""The lossless stage: every bit comes back, and few distinct values become symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import bfloat16, tensor, weights

from dcformat.coded import Codebook, Raw, expand_tensor, same_bits
from dcformat.compress.exact import code_exactly, count_distinct, distinct
from dcformat.ids import NUMPY, WIDTH, DType
from dcformat.model import Tensor


@given(st.sampled_from(list(DType)), st.integers(0, 2**32), st.integers(0, 600), st.booleans())
def test_every_type_comes_back_to_the_bit(dtype: DType, seed: int, n: int, few: bool) -> None:
    rng = np.random.default_rng(seed)
    top = 2 if dtype is DType.BOOL else 256
    data = rng.integers(0, top, n * WIDTH[dtype], dtype=np.uint8).view(NUMPY[dtype])
    if few and n:
        data = data[rng.integers(0, min(n, 9), n)]
    given_tensor = Tensor("t", dtype, data)
    coded = code_exactly(given_tensor)
    assert coded.exact
    assert same_bits(expand_tensor(coded), data)


def test_negative_zero_and_nan_payloads_are_values_of_their_own() -> None:
    bits = np.array([0, 1 << 31, 0x7FC00001, 0x7FC00002, 0xFFC00000] * 50, np.uint32)
    found = distinct(Tensor("t", DType.FLOAT, bits.view(np.float32)))
    assert found is not None
    levels, index = found
    assert levels.view(np.uint32).tolist() == [0xFFC00000, 1 << 31, 0, 0x7FC00001, 0x7FC00002]
    assert levels.view(np.uint32)[index(())].tolist() == bits.tolist()


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        (DType.FLOAT, [-np.inf, -1.5, -0.0, 0.0, 1e-40, 2.0, np.inf]),
        (DType.DOUBLE, [-1e300, -1.0, 0.0, 1e-300, 3.0]),
        (DType.FLOAT16, [-2.0, -0.5, 0.25, 1.0]),
        (DType.INT16, [-300, -1, 0, 5, 1000]),
        (DType.INT64, [-(2**62), -1, 0, 1]),
        (DType.UINT32, [0, 1, 2**31, 2**32 - 1]),
    ],
)
def test_levels_are_sorted_by_number(dtype: DType, data: list[Any]) -> None:
    mixed = np.array(data * 3, NUMPY[dtype])[::-1]
    found = distinct(Tensor("t", dtype, mixed))
    assert found is not None
    assert same_bits(found[0], np.array(data, NUMPY[dtype]))


def test_bfloat16_levels_are_sorted_by_number_not_by_bits() -> None:
    data = [-3.0, -0.5, 0.25, 8.0]
    found = distinct(tensor(bfloat16(data * 2), dtype=DType.BFLOAT16))
    assert found is not None
    assert same_bits(found[0], bfloat16(data))


def test_257_distinct_values_are_too_many() -> None:
    assert count_distinct(tensor(np.arange(256).repeat(100))) == 256
    assert count_distinct(tensor(np.arange(257).repeat(100))) is None
    late = np.concatenate([np.zeros(20000), np.arange(300)])
    assert count_distinct(tensor(late)) is None


def test_a_codebook_is_taken_only_where_it_is_smaller() -> None:
    clustered = np.round(weights(64, 64) * 40) / 40
    assert isinstance(code_exactly(tensor(clustered)).values, Codebook)
    assert isinstance(code_exactly(tensor(weights(64, 64))).values, Raw)
    assert isinstance(code_exactly(tensor(weights(4, 4))).values, Raw)


def test_the_cost_that_is_given_decides() -> None:
    data = tensor(np.round(weights(64, 64) * 40))
    coded = code_exactly(data, cost=lambda c: isinstance(c.values, Codebook))
    assert isinstance(coded.values, Raw)


def test_types_of_one_byte_stay_as_they_are() -> None:
    data = tensor(np.zeros(1000), dtype=DType.INT8)
    assert isinstance(code_exactly(data).values, Raw)


def test_the_kernels_order_is_handed_on() -> None:
    assert code_exactly(tensor(weights(8, 8)), (1, 0)).order == (1, 0)
