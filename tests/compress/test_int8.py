"""Symmetric int8: scales by channel, plain rounding, and when one scale serves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from nets import CONV, DENSE, LSTM, bfloat16, tensor, weights

from dcformat.coded import Affine, CodedTensor, expand_tensor
from dcformat.compress import Settings, compress_tensor
from dcformat.compress.int8 import I8, quantize_int8
from dcformat.compress.reals import reals_of
from dcformat.ids import DType
from dcformat.model import Use

F64 = npt.NDArray[np.float64]


def plain_per_channel(data: F64, axis: int) -> F64:
    """The textbook: round(w / s) * s with s = max|w| / 127 for each channel."""
    others = tuple(i for i in range(data.ndim) if i != axis)
    scale = np.abs(data).max(axis=others, keepdims=True) / 127
    return np.asarray(np.rint(data / scale) * scale)


def quantize(weights: F64, axis: int | None) -> tuple[I8, Affine]:
    """Return all numbers at once."""
    numbers = np.zeros(weights.shape, np.int8)
    affine = quantize_int8(lambda w: weights[w].copy(), weights.shape, axis, numbers.__setitem__)
    return numbers, affine


def squared(wrong: F64) -> float:
    return float((wrong * wrong).sum())


@pytest.mark.parametrize(
    ("shape", "use"),
    [
        ((24, 8, 3, 3), CONV),
        ((96, 40), DENSE),
        ((1, 64, 32), LSTM),
        ((300, 8), Use("g", "Gather", "weight", 0)),
    ],
)
def test_error_is_that_of_plain_rounding_per_channel(shape: tuple[int, ...], use: Use) -> None:
    data = tensor(weights(*shape))
    assert use.out_axis is not None
    coded = compress_tensor(data, use, Settings("int8"))
    assert isinstance(coded.values, Affine)
    assert (coded.values.number, coded.values.axis) == (DType.INT8, use.out_axis)
    assert coded.values.scale.shape == (shape[use.out_axis],)
    assert not coded.exact
    assert coded.order == use.order
    exact = data.data.astype(np.float64)
    back = expand_tensor(coded).astype(np.float64)
    plain = squared(exact - plain_per_channel(exact, use.out_axis))
    assert squared(exact - back) <= 1.0001 * plain


def test_each_error_is_at_most_half_a_step() -> None:
    data = weights(16, 40).astype(np.float64)
    numbers, affine = quantize(data, 0)
    scale = affine.scale.astype(np.float64)[:, None]
    assert np.all(np.abs(data - numbers * scale) <= scale * 0.50001)
    assert np.array_equal(np.abs(numbers.astype(int)).max(axis=1), np.full(16, 127))


def test_a_channel_of_zeros_has_scale_one() -> None:
    data = weights(4, 100).astype(np.float64)
    data[2] = 0
    numbers, affine = quantize(data, 0)
    assert affine.scale[2] == 1
    assert not numbers[2].any()


def test_one_scale_serves_where_no_channel_loses_by_it() -> None:
    row = weights(1, 300).astype(np.float64)
    _, affine = quantize(np.repeat(row, 3, axis=0), 0)
    assert affine.axis is None
    assert affine.scale.shape == ()
    _, quiet = quantize(np.concatenate([row, row / 2]), 0)
    assert quiet.axis == 0


def test_without_an_axis_there_is_one_scale() -> None:
    _, affine = quantize(weights(8, 90).astype(np.float64), None)
    assert (affine.axis, affine.scale.shape, affine.zero_point.shape) == (None, (), ())


def test_values_too_small_for_a_float32_scale_become_zero() -> None:
    numbers, affine = quantize(np.full((1, 300), 1e-44), 0)
    assert affine.scale.item() == np.finfo(np.float32).tiny
    assert not numbers.any()


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE])
def test_other_float_types_keep_their_type(dtype: DType) -> None:
    data = weights(16, 60)
    given_tensor = tensor(bfloat16(data) if dtype is DType.BFLOAT16 else data, dtype=dtype)
    coded = compress_tensor(given_tensor, CONV, Settings("int8"))
    assert isinstance(coded, CodedTensor)
    assert coded.dtype == dtype
    back = reals_of(expand_tensor(coded), dtype)
    step = np.abs(data).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(back - reals_of(given_tensor.data, dtype)) <= step)


def test_pruned_weights_stay_zero() -> None:
    coded = compress_tensor(tensor(weights(16, 60)), CONV, Settings("int8", prune=0.5))
    assert np.count_nonzero(expand_tensor(coded)) <= 480
    assert isinstance(coded.values, Affine)
