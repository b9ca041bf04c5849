"""Equal ranges between layers, and biases that make up for quantized weights."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import tensor, weights

from dcformat.coded import expand_tensor
from dcformat.compress import compress, preset_recipe, recipe_from_json, recipe_json, report
from dcformat.compress.affine import quantize_affine
from dcformat.compress.bias import corrected_bias
from dcformat.compress.equalize import equal_exponents, equalized, scaled
from dcformat.compress.feedback import Gram
from dcformat.errors import ConvertError
from dcformat.model import Feed, Model, Use

F64 = npt.NDArray[np.float64]
FIRST = Use("c1", "Conv", "weight", 0, (0, 2, 3, 1))
SECOND = Use("c2", "Conv", "weight", 0, (0, 2, 3, 1))
BIAS = Use("c1", "Conv", "bias")


def net(seed: int = 1) -> Model:
    """Two convolutions whose channels differ by a factor of thousands."""
    factors = np.geomspace(1e-2, 1e2, 12).astype(np.float32)
    first = weights(12, 3, 3, 3, seed=seed) * factors[:, None, None, None]
    second = weights(8, 12, 3, 3, seed=seed + 1) / factors[:, None, None]
    bias = weights(12, seed=seed + 2) * factors
    return Model(
        (tensor(first, "w1"), tensor(bias, "b1"), tensor(second, "w2")),
        uses={"w1": FIRST, "b1": BIAS, "w2": SECOND},
        feeds=(Feed("w1", "b1", "w2", 0, 1),),
    )


def outputs(model: Model, x: F64) -> F64:
    """Run the layers on pictures as large as the kernels, with a ReLU between."""
    w1, b1, w2 = (model[name].data.astype(np.float32) for name in ("w1", "b1", "w2"))
    hidden = np.maximum(np.einsum("oihw,nihw->no", w1, x.astype(np.float32)) + b1, 0)
    return np.asarray(np.einsum("oi,ni->no", w2[:, :, 1, 1], hidden), np.float64)


def ranges(model: Model) -> tuple[F64, F64]:
    w1, w2 = (np.abs(model[name].data.astype(np.float64)) for name in ("w1", "w2"))
    return w1.max(axis=(1, 2, 3)), w2.max(axis=(0, 2, 3))


def test_ranges_become_equal_and_the_network_stays_the_same_to_the_bit() -> None:
    model = net()
    equal = equalized(model)
    mine, theirs = ranges(equal)
    assert np.all(np.abs(np.log2(mine / theirs)) <= 1.0)
    assert not np.all(np.abs(np.log2(ranges(model)[0] / ranges(model)[1])) <= 1.0)
    x = np.random.default_rng(5).normal(size=(20, 3, 3, 3))
    assert outputs(equal, x).tolist() == outputs(model, x).tolist()
    assert [t.dtype for t in equal.tensors] == [t.dtype for t in model.tensors]
    again = equalized(equal)
    assert all(a is b for a, b in zip(again.tensors, equal.tensors, strict=True))


@given(st.lists(st.tuples(st.floats(1e-30, 1e30), st.floats(1e-30, 1e30)), min_size=1, max_size=9))
def test_factors_are_the_nearest_powers_of_two(pairs: list[tuple[float, float]]) -> None:
    first, second = (np.array(side)[:, None] for side in zip(*pairs, strict=True))
    exponents = equal_exponents(first, 0, second, 0)
    for (mine, theirs), exponent in zip(pairs, exponents.tolist(), strict=True):
        exact = (math.log2(mine) - math.log2(theirs)) / 2
        assert abs(exact - np.clip(exponent, -64, 64)) <= 0.5 + 1e-9 or abs(exact) > 64


def test_channels_of_zeros_keep_their_neighbours() -> None:
    first, second = np.array([[0.0, 0.0], [8.0, 0.0]]), np.array([[1.0, 0.5], [0.0, 0.0]])
    assert equal_exponents(first, 0, second, 0).tolist() == [0, 0]
    assert equal_exponents(first, 0, second, 1).tolist() == [0, 2]
    assert scaled(np.ones((2, 2)), np.array([1, -1]), 1).tolist() == [[2.0, 0.5], [2.0, 0.5]]
    with pytest.raises(ValueError, match="2 channels feed 3"):
        equal_exponents(first, 0, np.ones((3, 1)), 0)


def test_chains_come_to_rest() -> None:
    rng = np.random.default_rng(3)
    layers = [rng.normal(size=(6, 6)) * np.geomspace(1, 1e3, 6)[:, None] for _ in range(4)]
    feeds = tuple(Feed(f"w{i}", None, f"w{i + 1}", 0, 1) for i in range(3))
    model = Model(tuple(tensor(w, f"w{i}") for i, w in enumerate(layers)), feeds=feeds)
    equal = equalized(model)
    assert equalized(equal).tensors == equal.tensors


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_left_alone(bad: float) -> None:
    model = net()
    model["b1"].data[3] = bad  # type: ignore[call-overload]
    assert equalized(model).tensors == model.tensors


def test_a_recipe_equalizes_what_it_quantizes_and_loses_less() -> None:
    model = net()
    recipe = preset_recipe("int8", method="affine", scales="tensor", equalize=True)
    assert recipe_from_json(recipe_json(recipe)) == recipe
    x = np.random.default_rng(6).normal(size=(50, 3, 3, 3))
    wanted = outputs(model, x)
    errors = []
    for how in (recipe, replace(recipe, equalize=False)):
        coded = compress(model, how)
        back = [tensor(expand_tensor(t), t.name) for t in coded.tensors]
        errors.append(float(np.abs(outputs(Model(tuple(back)), x) - wanted).max()))
    assert errors[0] < errors[1] / 5
    lines = {line.name: line for line in report(model, compress(model, recipe))}
    assert (lines["b1"].done, lines["b1"].left_alone, lines["b1"].error) == ("equalized", False, 0)
    assert lines["w1"].error < 0.01 * float(np.abs(ranges(equalized(model))[0]).max())


def test_layers_of_which_one_stays_exact_stay_as_they_are() -> None:
    recipe = recipe_from_json(
        '{"preset":"int8","equalize":true,"layers":[{"match":"w2","method":"exact"}]}'
    )
    coded = {t.name: t for t in compress(net(), recipe).tensors}
    assert coded["b1"].exact
    assert coded["w2"].exact


def test_lossless_equalizes_nothing() -> None:
    with pytest.raises(ConvertError, match="equalize changes numbers"):
        preset_recipe("lossless", equalize=True)


def met(order: tuple[int, ...], means: F64) -> Gram:
    """What meets a weight's columns: in the mean these numbers, (groups, columns)."""
    return Gram(order, len(means), (), means)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 2, 3), (2, 3, 0, 1)])
def test_a_corrected_bias_takes_the_mean_error_back(order: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    stored = weights(6, 5, 3, 3).astype(np.float64)
    data = stored.transpose(np.argsort(order))
    coarse = quantize_affine(data, 3, None, False).reals()
    means = rng.random((1, 45))
    bias = corrected_bias(np.zeros(6), data, coarse, met(order, means))
    wanted, got = (w.transpose(order).reshape(6, 45) @ means[0] for w in (data, coarse))
    assert np.allclose(got + bias, wanted)
    assert not np.allclose(got, wanted)


def test_depthwise_channels_meet_their_own_mean() -> None:
    data, coarse = np.full((3, 1, 2, 2), 1.0), np.full((3, 1, 2, 2), 1.5)
    gram = met((0, 1, 2, 3), np.repeat([[1.0], [2.0], [3.0]], 4, axis=1))
    assert corrected_bias(np.zeros(3), data, coarse, gram).tolist() == [-2.0, -4.0, -6.0]
    assert corrected_bias(np.zeros((1, 3)), data, coarse, gram).tolist() == [[-2.0, -4.0, -6.0]]
    with pytest.raises(ValueError, match="3 outputs"):
        corrected_bias(np.zeros(2), data, coarse, gram)
    with pytest.raises(ValueError, match="quantized"):
        corrected_bias(np.zeros(3), data, coarse[:2], gram)
