"""Ternary, binary, fixed point and affine numbers: what each stage promises of its values."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import CONV, DENSE, bfloat16, tensor, weights

from dcformat.coded import Affine, Codebook, CodedModel, CodedTensor, Fixed, expand_tensor
from dcformat.compress import Settings, compress_tensor
from dcformat.compress.affine import quantize_affine
from dcformat.compress.binary import quantize_binary
from dcformat.compress.fixed import quantize_fixed
from dcformat.compress.pow2 import quantize_pow2
from dcformat.compress.quantized import Quantized, by_channel, spread
from dcformat.compress.ternary import quantize_ternary, quantize_ternary_fitted
from dcformat.encode import encode_model
from dcformat.errors import ConvertError
from dcformat.file import File
from dcformat.ids import DType
from dcformat.model import Use

F64 = npt.NDArray[np.float64]
WEIGHTS = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=40).map(np.array)
AXES = [None, 0, 1, 2]


def made() -> F64:
    return weights(6, 5, 4).astype(np.float64)


def test_ternary_by_hand() -> None:
    data = np.array([[1.0, -2.0, 0.1, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    # first row: mean magnitude 1.22, threshold 0.854; 1, -2 and 3 stay, their mean is 2
    found = quantize_ternary(data, 0)
    assert found.symbols.tolist() == [[2, 0, 1, 1, 2], [1, 1, 1, 1, 1]]
    assert found.reals().tolist() == [[2.0, -2.0, 0.0, 0.0, 2.0], [0.0] * 5]
    # together: mean 0.61, threshold 0.427
    assert quantize_ternary(data, None).reals()[0].tolist() == [2.0, -2.0, 0.0, 0.0, 2.0]
    saliency = np.array([[1.0, 1.0, 1.0, 1.0, 2.0], [1.0] * 5])
    assert quantize_ternary(data, None, saliency).reals()[0, 0] == 2.25


@given(WEIGHTS)
def test_fitted_levels_are_the_best_of_all(data: F64) -> None:
    found = quantize_ternary_fitted(data)
    best = np.square(data).sum()
    cuts = [np.inf, *np.unique(np.abs(data))]
    for low, high in product(cuts, cuts):
        back = np.zeros(data.size)
        for side in (data >= high) & (data > 0), (data <= -low) & (data < 0):
            if side.any():
                back[side] = data[side].mean()
        best = min(best, np.square(data - back).sum())
    assert found.error(data) <= best * (1 + 1e-4) + 1e-7
    assert set(np.unique(found.symbols)) <= {0, 1, 2}
    assert not found.reals()[data == 0].any()


def test_fitted_levels_follow_the_saliency() -> None:
    data = np.array([1.0, 2.0, -1.0, 0.0])
    plain = quantize_ternary_fitted(data).reals()
    assert plain.tolist() == pytest.approx([1.5, 1.5, -1.0, 0.0], rel=1e-4)
    salient = quantize_ternary_fitted(data, np.array([1.0, 1e6, 1.0, 1.0])).reals()
    assert salient[1] == pytest.approx(2.0, rel=1e-4)
    with pytest.raises(ConvertError, match="saliency of shape"):
        quantize_ternary_fitted(data, np.ones(3))


@pytest.mark.parametrize("axis", AXES)
def test_binary_scales_are_the_mean_magnitudes(axis: int | None) -> None:
    data = made()
    found = quantize_binary(data, axis)
    assert isinstance(found.values, Codebook)
    means = np.abs(by_channel(data, axis)).mean(axis=1)
    assert np.allclose(np.ravel(found.values.scale), means)
    assert np.array_equal(np.sign(found.reals()), np.sign(data))
    for factor in (0.99, 1.01):
        assert found.error(data) < float(np.square(data - factor * found.reals()).sum())


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("axis", AXES)
def test_fixed_point_does_not_overflow_and_one_more_bit_would(bits: int, axis: int | None) -> None:
    data = made()
    data[:, 1] = 0.0
    found = quantize_fixed(data, bits, axis)
    assert isinstance(found.values, Fixed)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    assert found.symbols.min() >= low
    assert found.symbols.max() <= high
    fractions = np.atleast_1d(found.values.fraction)
    for row, n in zip(by_channel(data, axis), fractions.tolist(), strict=True):
        longer = np.rint(row * 2.0 ** (n + 1))
        assert longer.max() > high or longer.min() < low or not row.any()
    assert np.abs(found.reals() - data).max() <= 0.5 * 2.0 ** -float(fractions.min())


@given(WEIGHTS, st.sampled_from([4, 8, 16]))
def test_no_fraction_length_without_overflow_has_less_error(data: F64, bits: int) -> None:
    found = quantize_fixed(data, bits, None)
    for n in range(-12, 40):
        numbers = np.rint(np.ldexp(data, n))
        if numbers.min() >= -(1 << (bits - 1)) and numbers.max() < 1 << (bits - 1):
            error = np.square(data - np.ldexp(numbers, -n)).sum()
            assert found.error(data) <= error * (1 + 1e-6) + 1e-30


@pytest.mark.parametrize(
    ("value", "bits", "fraction", "number"),
    [
        (-1.0, 8, 7, -128),
        (1.0, 8, 6, 64),
        (127.4, 8, 0, 127),
        (127.6, 8, -1, 64),
        (-7.0, 4, 0, -7),
        (1e-30, 16, 114, 20769),
        (1e-44, 16, 127, 0),
        (0.0, 8, 0, 0),
    ],
)
def test_fraction_lengths_by_hand(value: float, bits: int, fraction: int, number: int) -> None:
    found = quantize_fixed(np.array([value]), bits, None)
    assert isinstance(found.values, Fixed)
    assert (int(found.values.fraction), found.symbols.tolist()) == (fraction, [number])


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("zero_point", [False, True])
def test_affine_errors_are_half_a_step_and_zero_is_exact(
    bits: int, axis: int | None, zero_point: bool
) -> None:
    data = made() + 0.02
    data[0] = 0.0
    found = quantize_affine(data, bits, axis, zero_point)
    assert isinstance(found.values, Affine)
    most = (1 << (bits - 1)) - 1
    assert -most - zero_point <= found.symbols.min()
    assert found.symbols.max() <= most
    assert found.reals()[0].tolist() == data[0].tolist()
    steps = spread(found.values.scale.astype(np.float64), 3, axis)
    assert np.all(np.abs(found.reals() - data) <= steps * (0.5 + 1e-6))


def test_a_zero_point_halves_the_step_of_weights_of_one_sign() -> None:
    data = np.linspace(0, 1, 50)
    with_point, without = (quantize_affine(data, 4, None, z) for z in (True, False))
    assert isinstance(with_point.values, Affine)
    assert int(with_point.values.zero_point) == -8
    assert with_point.error(data) < without.error(data) / 3


def test_powers_of_two_by_hand() -> None:
    data = np.array([1.0, -0.8, 0.74, 0.3, 0.2, -0.1, 0.07, 0.05, 0.0, 1.4, 1.45])
    nearest = quantize_pow2(data, 3, None)
    # 3 exponents below the one of 1.45, 0: 1, 0.5, 0.25; nearer to zero than 0.25 is below 0.125
    assert nearest.reals().tolist() == [1, -1, 0.5, 0.25, 0.25, 0, 0, 0, 0, 1, 1]
    # 1.45 is above sqrt(2): 2, 1, 0.5
    logs = quantize_pow2(data, 3, None, "log2")
    assert logs.reals().tolist() == [1, -1, 1, 0.5, 0.5, -0.5, 0.5, 0.5, 0, 1, 2]


@given(WEIGHTS, st.sampled_from([2, 3, 4, 5, 8]), st.booleans())
def test_powers_of_two_are_the_nearest(data: F64, bits: int, channels: bool) -> None:
    rows = np.stack([data, data[::-1] * 3])
    found = quantize_pow2(rows, bits, 0 if channels else None).reals()
    for row, back in zip(rows, found, strict=True) if channels else [(rows, found)]:
        top = np.floor(np.log2(np.abs(row).max() * 4 / 3)) if row.any() else 0.0
        powers = 2.0 ** (max(top - (2 ** (bits - 1) - 2), -126) + np.arange(2 ** (bits - 1) - 1))
        levels = np.concatenate([-powers, [0.0], powers])
        best = np.abs(row[..., None] - levels).min(axis=-1)
        assert np.array_equal(np.abs(row - back), best)


@pytest.mark.parametrize(("bits", "rule"), [(1, "nearest"), (9, "nearest"), (4, "floor")])
def test_powers_of_two_that_do_not_exist_are_refused(bits: int, rule: str) -> None:
    with pytest.raises(ConvertError, match=f"bits = {bits} and quantizer = '{rule}'"):
        quantize_pow2(made(), bits, None, rule)


@pytest.mark.parametrize("axis", [None, 0])
def test_zeros_and_tiny_weights_make_no_scale_of_zero(axis: int | None) -> None:
    for data in (np.zeros((2, 3)), np.array([[1e-44, 0.0], [0.0, 0.0]])):
        for found in (
            quantize_ternary(data, axis),
            quantize_ternary_fitted(data),
            quantize_affine(data, 8, axis, True),
            quantize_affine(data, 8, axis, False),
            quantize_fixed(data, 8, axis),
            quantize_pow2(data, 4, axis),
            quantize_pow2(data, 4, axis, "log2"),
        ):
            assert np.all(np.isfinite(found.reals()))
            scale = getattr(found.values, "scale", np.ones(()))
            assert np.all(scale >= np.finfo(np.float32).tiny)


def test_bits_that_do_not_exist_are_refused() -> None:
    for bits in (1, 9):
        with pytest.raises(ConvertError, match=f"bits = {bits}"):
            quantize_affine(made(), bits, None, False)
    with pytest.raises(ConvertError, match="bits = 5"):
        quantize_fixed(made(), 5, None)
    with pytest.raises(ConvertError, match="too large"):
        quantize_fixed(np.array([1e300]), 8, None)


def test_the_error_is_weighed_by_the_saliency() -> None:
    data, saliency = np.array([1.0, 3.0]), np.array([2.0, 0.5])
    found = quantize_binary(data, None)
    assert found.reals().tolist() == [2.0, 2.0]
    assert found.error(data) == 2.0
    assert found.error(data, saliency) == 2.5


STAGES: dict[str, Settings] = {
    "affine of 4 bits": Settings("affine", bits=4),
    "affine with a zero point": Settings("affine", zero_point=True, scales="tensor"),
    "fixed point of 4 bits": Settings("fixed", bits=4),
    "fixed point of 16 bits": Settings("fixed", bits=16, scales="tensor"),
    "ternary": Settings("ternary"),
    "fitted ternary": Settings("ternary", quantizer="fitted"),
    "pruned ternary": Settings("ternary", prune=0.6, scales="tensor"),
    "binary": Settings("binary"),
    "powers of two": Settings("pow2"),
    "logarithms": Settings("pow2", bits=5, quantizer="log2", scales="tensor"),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("use", [CONV, DENSE])
@pytest.mark.parametrize("dtype", [DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE])
def test_stages_of_a_recipe_come_back_out_of_a_file(stage: str, use: Use, dtype: DType) -> None:
    data = weights(12, 8, 3, 3) if use is CONV else weights(40, 30)
    given_tensor = tensor(bfloat16(data) if dtype is DType.BFLOAT16 else data, dtype=dtype)
    coded = compress_tensor(given_tensor, use, STAGES[stage])
    assert not coded.exact
    file = File(encode_model(CodedModel((coded,))))
    (back,) = file.coded_model().tensors
    assert back == coded
    assert expand_tensor(back).dtype == given_tensor.data.dtype
    most = round((0.4 if "pruned" in stage else 1) * data.size)
    assert np.count_nonzero(expand_tensor(back)) <= most


def test_the_axis_of_scales_is_the_output_channels() -> None:
    stages: list[Callable[[], CodedTensor]] = [
        lambda: compress_tensor(tensor(weights(40, 30)), DENSE, Settings("binary")),
        lambda: compress_tensor(tensor(weights(12, 8, 3, 3)), CONV, Settings("affine", bits=4)),
        lambda: compress_tensor(tensor(weights(12, 8, 3, 3)), None, Settings("affine", bits=4)),
    ]
    assert [getattr(stage().values, "axis", None) for stage in stages] == [1, 0, None]


def test_quantized_knows_levels_without_a_scale() -> None:
    book = Codebook(DType.FLOAT, np.array([-1.5, 2.5], np.float32))
    found = Quantized(np.array([0, 1], np.uint8), book)
    assert found.reals().tolist() == [-1.5, 2.5]
