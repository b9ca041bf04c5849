"""Codebooks: three ways to choose levels, zero's place, and the types of levels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import CONV, DENSE, bfloat16, tensor, weights

from dcformat import kernels
from dcformat.coded import Affine, Codebook, expand_tensor
from dcformat.compress import Settings, compress_tensor
from dcformat.compress.codebook import quantize_codebook, type_levels
from dcformat.compress.prune import prune
from dcformat.ids import DType

F64 = npt.NDArray[np.float64]
QUANTIZERS = ("entropy", "uniform", "kmeans", "linear")
AIM = ("entropy", "uniform")  # at the error of kmeans, with as many levels as that takes


def squared(data: F64, levels: F64, indices: npt.NDArray[np.uint8]) -> float:
    wrong = data - levels[indices]
    return float((wrong * wrong).sum())


def huffman_bits(indices: npt.NDArray[np.uint8]) -> int:
    counts = kernels.histogram(indices.reshape(-1))
    return int((counts * kernels.code_lengths(counts).astype(np.int64)).sum())


@given(
    st.lists(st.floats(-1e300, 1e300).map(float), min_size=1, max_size=80),
    st.integers(1, 8),
    st.sampled_from(QUANTIZERS),
)
def test_indices_name_levels_that_ascend(values: list[float], bits: int, quantizer: str) -> None:
    data = np.array(values)
    levels, indices = quantize_codebook(data, bits, quantizer)
    assert indices.shape == data.shape
    assert np.all(np.diff(levels) > 0)
    assert np.array_equal(np.unique(indices), np.arange(levels.size))
    assert levels.size <= (256 if quantizer in AIM else 1 << bits)
    assert np.all(np.isfinite(levels))


@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=80),
    st.integers(2, 4),
    st.sampled_from(QUANTIZERS),
)
def test_zero_stays_exactly_zero(values: list[int], bits: int, quantizer: str) -> None:
    data = np.array(values, np.float64) / 7
    levels, indices = quantize_codebook(data, bits, quantizer)
    assert not levels[indices][data == 0].any()
    if quantizer not in AIM:
        assert np.array_equal(levels[indices] == 0, data == 0)


@pytest.mark.parametrize("ratio", [0.0, 0.6])
@pytest.mark.parametrize("bits", [3, 4, 5])
@pytest.mark.parametrize("quantizer", AIM)
def test_the_error_is_that_of_kmeans_in_fewer_bits(ratio: float, bits: int, quantizer: str) -> None:
    data = prune(weights(100, 120).astype(np.float64), ratio)
    best = quantize_codebook(data, bits, "kmeans")
    even = quantize_codebook(data, bits, quantizer)
    assert best[0].size == 1 << bits
    assert squared(data, *even) == pytest.approx(squared(data, *best), rel=0.01)
    assert squared(data, *even) <= squared(data, *best) * (1 + 1e-9)
    assert huffman_bits(even[1]) < 0.98 * huffman_bits(best[1])


def test_kmeans_is_better_than_linear_levels() -> None:
    data = weights(100, 50).astype(np.float64)
    for bits in (2, 4, 6):
        best, linear = (quantize_codebook(data, bits, q) for q in ("kmeans", "linear"))
        assert squared(data, *best) < squared(data, *linear)


def test_linear_levels_are_the_means_of_their_cells() -> None:
    data = weights(40, 50).astype(np.float64)
    levels, indices = quantize_codebook(data, 3, "linear")
    means = [data[indices == i].mean() for i in range(levels.size)]
    assert np.allclose(levels, means)
    nearest = np.abs(data[..., None] - levels).argmin(axis=-1)
    assert np.array_equal(nearest, indices)


def test_uniform_of_8_bits_uses_at_most_256_levels_and_most_of_them() -> None:
    data = weights(200, 100).astype(np.float64)
    levels, indices = quantize_codebook(data, 8, "uniform")
    assert 250 <= levels.size <= 256
    assert indices.dtype == np.uint8
    signal = float((data * data).sum())
    assert squared(data, levels, indices) < signal * 1e-3


def test_an_outlier_costs_a_level_and_not_the_resolution() -> None:
    for quantizer in AIM:
        data = weights(100, 100).astype(np.float64)
        clean = squared(data, *quantize_codebook(data, 4, quantizer))
        data[3, 3] = 100.0
        assert squared(data, *quantize_codebook(data, 4, quantizer)) < 1.5 * clean


def test_few_distinct_values_are_their_own_levels() -> None:
    data = np.array([0.5, -1.0, 0.5, 2.0])
    for quantizer in QUANTIZERS:
        levels, indices = quantize_codebook(data, 2, quantizer)
        assert levels[indices].tolist() == data.tolist()


@pytest.mark.parametrize("kind", ["int8", "int16", "float", "auto"])
def test_types_of_levels(kind: str) -> None:
    data = prune(weights(60, 60).astype(np.float64), 0.3)
    levels, indices = quantize_codebook(data, 5, "kmeans")
    book = type_levels(data, levels, indices, DType.FLOAT, kind)
    wanted = {"int8": DType.INT8, "int16": DType.INT16, "float": DType.FLOAT}
    assert book.level == wanted.get(kind, book.level)
    assert (book.scale is None) == (kind == "float")
    real = book.levels.astype(np.float64) * (1.0 if book.scale is None else float(book.scale))
    assert real[levels == 0].tolist() == [0.0]
    worse = squared(data, real, indices) / squared(data, levels, indices)
    assert worse <= {"int8": 1.2, "int16": 1.0001, "float": 1.0001, "auto": 1.001}[kind]


def test_tiny_levels_do_not_divide_by_zero() -> None:
    data = np.array([1e-44, 2e-44, -1e-44] * 10)
    levels, indices = quantize_codebook(data, 1, "kmeans")
    assert not type_levels(data, levels, indices, DType.FLOAT, "int16").levels.any()


def test_dense_layers_get_5_bits_and_host_files_float_levels() -> None:
    data = tensor(weights(96, 100))
    coded = compress_tensor(data, DENSE, Settings("codebook", quantizer="kmeans", levels="float"))
    assert isinstance(coded.values, Codebook)
    assert coded.values.levels.size == 32
    assert coded.values.level is DType.FLOAT
    assert coded.values.scale is None


def test_large_convolutions_get_8_bits_and_small_ones_scales() -> None:
    large = compress_tensor(tensor(weights(128, 64, 3, 3)), CONV, Settings("codebook"))
    small = compress_tensor(tensor(weights(16, 4, 3, 3)), CONV, Settings("codebook"))
    asked = compress_tensor(tensor(weights(16, 4, 3, 3)), CONV, Settings("codebook", bits=8))
    assert isinstance(large.values, Codebook)
    assert large.values.levels.size > 200
    assert isinstance(small.values, Affine)
    assert isinstance(asked.values, Codebook)


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE])
@pytest.mark.parametrize("levels", ["auto", "float"])
def test_other_float_types_keep_their_type(dtype: DType, levels: str) -> None:
    data = weights(96, 40)
    given_tensor = tensor(bfloat16(data) if dtype is DType.BFLOAT16 else data, dtype=dtype)
    coded = compress_tensor(given_tensor, DENSE, Settings("codebook", levels=levels))
    assert isinstance(coded.values, Codebook)
    assert coded.dtype == dtype
    assert expand_tensor(coded).dtype == given_tensor.data.dtype
    assert (coded.values.level is dtype) == (levels == "float")


def test_pruned_weights_stay_zero() -> None:
    coded = compress_tensor(tensor(weights(96, 40)), DENSE, Settings("codebook", prune=0.7))
    assert np.count_nonzero(expand_tensor(coded)) <= round(0.3 * 96 * 40)
