"""Pruning by units, patterns, damage and across layers: what goes, what stays, and errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import BIAS, CONV, DENSE, LSTM, model, tensor, weights

import dcformat
from dcformat.coded import expand_tensor
from dcformat.compress import Rule, Settings, compress, preset_recipe, recipe_from_json, recipe_json
from dcformat.compress.prune import (
    Axes,
    Cut,
    cut,
    cut_of,
    damage,
    keep_of_each,
    network_cuts,
    small,
    unit_mask,
    unit_scores,
    without,
)
from dcformat.compress.pruning import axes_of, pruned
from dcformat.errors import ConvertError
from dcformat.model import Model, Use

F64 = npt.NDArray[np.float64]
BOTH = Axes(0, 1)


def made() -> F64:
    return weights(6, 5, 3, 3).astype(np.float64)


@pytest.mark.parametrize(
    ("unit", "axis", "count"), [("filter", 0, 6), ("channel", 1, 5), ("kernel", (0, 1), 30)]
)
def test_units_are_scored_by_their_mean_and_go_whole(unit: str, axis: Any, count: int) -> None:
    data = made()
    scores = unit_scores(np.abs(data), unit, BOTH)
    others = tuple(i for i in range(4) if i not in np.atleast_1d(axis))
    assert np.allclose(scores, np.abs(data).mean(axis=others).reshape(-1))
    gone = cut(scores, cut_of(scores, 0.5))
    assert gone.sum() == round(0.5 * count)
    out = without(data, unit_mask(gone, data.shape, unit, BOTH))
    zero = (out == 0).all(axis=others).reshape(-1)
    assert np.array_equal(zero, gone)
    assert np.array_equal(out[out != 0], data[out != 0])
    assert scores[gone].max() <= scores[~gone].min()


def test_units_lie_along_the_axes_that_the_graph_says() -> None:
    data = made()
    for axes in (Axes(1, 0), Axes(3, 2), Axes(2, 0)):
        scores = unit_scores(np.abs(data), "kernel", axes)
        gone = cut(scores, cut_of(scores, 0.4))
        mask = unit_mask(gone, data.shape, "kernel", axes)
        others = tuple(i for i in range(4) if i not in (axes.out, axes.into))
        assert np.array_equal(mask.all(axis=others), mask.any(axis=others))
        order = mask.any(axis=others)
        flat = order if (axes.out or 0) < (axes.into or 0) else order.T
        assert np.array_equal(flat.reshape(-1), gone)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_of_each_neighbours_the_largest_stay(values: list[int], keep: int, more: int) -> None:
    data = np.array([values, values[::-1]], np.float64)
    of = keep + more
    gone = keep_of_each(np.abs(data), keep, of, Axes(0, 1))
    for row, lost in zip(data, gone, strict=True):
        for start in range(0, row.size, of):
            part, out = np.abs(row[start : start + of]), lost[start : start + of]
            assert (~out).sum() == min(keep, part.size)
            assert not out.any() or part[out].max() <= part[~out].min()


def test_patterns_lie_along_the_input_channels_and_keep_the_first_of_equals() -> None:
    data = np.arange(1.0, 17.0).reshape(4, 4)
    assert without(data, keep_of_each(data, 1, 2, Axes(1, 0))).tolist() == [
        [0.0] * 4, [5.0, 6.0, 7.0, 8.0], [0.0] * 4, [13.0, 14.0, 15.0, 16.0]
    ]  # fmt: skip
    assert keep_of_each(np.ones((1, 4)), 2, 4, Axes(0, 1)).tolist() == [[False, False, True, True]]


def test_what_is_small_goes() -> None:
    data = np.array([0.5, -0.5, 0.6, -0.0, 1e-9])
    assert without(data, small(data, 0.5)).tolist() == [0.0, 0.0, 0.6, 0.0, 0.0]
    out = without(data, small(data, 0.0))
    assert out.tolist() == [0.5, -0.5, 0.6, 0.0, 1e-9]
    assert not np.signbit(out[3])


def test_damage_is_the_loss_at_second_order() -> None:
    data, hessian = np.array([[1.0, -2.0], [3.0, 4.0]]), np.array([8.0, 0.5])
    assert damage(data, hessian).tolist() == [[4.0, 1.0], [36.0, 4.0]]
    assert damage(data, np.array([-1.0, 1.0]))[0].tolist() == [0.0, 2.0]
    for bad, words in (
        (np.ones(3), "of shape"),
        (np.array([np.nan, 1.0]), "not finite"),
        (np.array([1e308, 1e308]), "too large"),
    ):
        with pytest.raises(ConvertError, match=words):
            damage(data, bad)


def as_layers(data: Any) -> Any:
    layers = [np.array(layer, np.float64) for layer in data]
    return layers, lambda i: layers[i]


@given(
    st.lists(st.lists(st.floats(0, 1e300), max_size=12), max_size=5),
    st.floats(0, 0.99),
)
def test_a_cut_through_layers_is_a_cut_through_all_of_them_in_a_row(
    data: list[list[float]], ratio: float
) -> None:
    layers, scores_of = as_layers(data)
    cuts = network_cuts(scores_of, [1] * len(layers), ratio)
    gone = [cut(layer, where) for layer, where in zip(layers, cuts, strict=True)]
    whole = np.concatenate([*layers, np.zeros(0)])
    mask = np.concatenate([*gone, np.zeros(0, np.bool_)])
    assert mask.sum() == max(0, min(round(ratio * whole.size), whole.size - 1))
    if mask.any():
        assert whole[mask].max() <= whole[~mask].min()


def test_of_equal_scores_in_layers_the_last_go_first() -> None:
    layers, scores_of = as_layers([[1, 2, 1], [1, 3], [1, 1]])
    cuts = network_cuts(scores_of, [1, 1, 1], 4 / 7)
    gone = [cut(layer, where).tolist() for layer, where in zip(layers, cuts, strict=True)]
    assert gone == [[False, False, True], [True, False], [True, True]]


def test_units_of_layers_count_as_many_as_they_hold() -> None:
    _, scores_of = as_layers([[1, 5], [2, 3, 4]])
    # 2 * 10 + 3 * 2 elements, half are 13: the 10 of score 1 and of score 2 but one more of 2
    cuts = network_cuts(scores_of, [10, 2], 0.5)
    assert [c.equal for c in cuts] == [0, 0]
    assert cut(np.array([1.0, 5.0]), cuts[0]).tolist() == [True, False]
    assert cut(np.array([2.0, 3.0, 4.0]), cuts[1]).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("use", "rank", "axes"),
    [
        (CONV, 4, Axes(0, 1)),
        (DENSE, 2, Axes(1, 0)),
        (Use("t", "ConvTranspose", "weight", 1, (1, 2, 3, 0)), 4, Axes(1, 0)),
        (Use("g", "Gemm", "weight", 0, None), 2, Axes(0, 1)),
        (LSTM, 3, Axes(1, 2)),
        (None, 2, Axes()),
        (Use("x", "Conv", "weight", None, None), 2, Axes()),
    ],
)
def test_axes_come_from_the_order_of_kernels(use: Use | None, rank: int, axes: Axes) -> None:
    assert axes_of(use, rank) == axes


def zeros(coded: Any) -> F64:
    return np.asarray(expand_tensor(coded) == 0)


def test_recipes_prune_units_and_keep_one() -> None:
    data = Model((tensor(made(), "conv"),), uses={"conv": CONV})
    for unit, others in (("filter", (1, 2, 3)), ("channel", (0, 2, 3)), ("kernel", (2, 3))):
        for share in (0.5, 0.99):
            recipe = preset_recipe("int8", prune=share, prune_unit=unit)
            (coded,) = compress(data, recipe).tensors
            lost = zeros(coded).all(axis=others)
            assert lost.sum() == min(round(share * lost.size), lost.size - 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"prune": 0.4, "prune_unit": "filter"},
        {"prune_pattern": "2:4"},
        {"prune": 0.5, "prune_unit": "channel"},
    ],
)
def test_what_needs_axes_says_so_where_there_are_none(settings: dict[str, Any]) -> None:
    with pytest.raises(ConvertError, match=r"^w: .*no axis is known to count (in|out)put channels"):
        pruned(tensor(made()), None, Settings(**settings))


def test_a_recipe_prunes_the_network_as_a_whole() -> None:
    net = model()
    recipe = preset_recipe("deep", prune=0.5, prune_scope="network")
    coded = {t.name: t for t in compress(net, recipe).tensors}
    data = {n: np.abs(net[n].data.astype(np.float64)) for n in ("conv.weight", "fc.weight")}
    lost = {name: zeros(coded[name]) for name in data}
    whole = np.concatenate([d.reshape(-1) for d in data.values()])
    assert sum(mask.sum() for mask in lost.values()) == round(0.5 * whole.size)
    score = np.sort(whole)[round(0.5 * whole.size) - 1]
    for name, mask in lost.items():
        assert np.array_equal(mask, data[name] <= score)
    assert recipe_from_json(recipe_json(recipe)) == recipe


def test_a_share_of_its_own_is_left_out_of_the_networks() -> None:
    recipe = preset_recipe("deep", prune=0.9, prune_scope="network")
    recipe = replace(recipe, rules=(Rule("fc*", {"prune": 0.25}),))
    coded = {t.name: t for t in compress(model(), recipe).tensors}
    assert zeros(coded["fc.weight"]).sum() == round(0.25 * 96 * 40)
    assert zeros(coded["conv.weight"]).sum() == round(0.9 * 24 * 8 * 9)


def test_a_recipe_prunes_by_damage_with_a_hessian_and_says_so_without() -> None:
    data = Model((tensor(weights(40, 30), "fc"),), uses={"fc": DENSE})
    hessian = np.random.default_rng(1).random((40, 30))
    recipe = preset_recipe("int8", prune=0.5, prune_by="damage")
    (coded,) = compress(data, recipe, hessians={"fc": hessian}).tensors
    scores = damage(data["fc"].data.astype(np.float64), hessian)
    assert scores[zeros(coded)].max() <= scores[~zeros(coded)].min()
    with pytest.raises(ConvertError, match="fc: the recipe prunes by damage"):
        compress(data, recipe)
    network = replace(recipe, prune_scope="network")
    with pytest.raises(ConvertError, match="fc: the recipe prunes by damage"):
        compress(data, network)
    assert zeros(compress(data, network, hessians={"fc": hessian}).tensors[0]).sum() == 600


def test_small_weights_and_patterns_go_before_the_share() -> None:
    data = tensor(np.array([[4.0, 3.0, 2.0, 0.1], [1.0, 5.0, 6.0, 0.05]]))
    use = Use("fc", "Gemm", "weight", 0, None)
    asked = Settings(prune=0.75, prune_below=0.1, prune_pattern="2:4")
    assert pruned(data, use, asked).tolist() == [[0.0, 0, 0, 0], [0, 5.0, 6.0, 0]]
    assert pruned(data, use, replace(asked, prune=0.0)).tolist() == [[4.0, 3, 0, 0], [0, 5, 6, 0]]
    assert pruned(data, BIAS, Settings(prune_below=2.0))[0].tolist() == [4.0, 3.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prune_pattern": "4:2"}, 'prune_pattern = "4:2": expected "N:M", N below M'),
        ({"prune_pattern": "1:33"}, "M at most 32"),
        ({"prune_pattern": "a"}, "expected"),
        ({"prune_below": -1}, "prune_below = -1: expected a number from 0 on"),
        ({"prune_below": float("inf")}, "prune_below"),
        ({"prune_unit": "row"}, "element, kernel, filter, channel"),
        ({"prune_scope": "model"}, "layer, network"),
        ({"prune_by": "luck"}, "magnitude, damage"),
    ],
)
def test_bad_settings_name_the_key(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConvertError) as caught:
        preset_recipe("int8", **settings)
    assert words in str(caught.value)


def test_what_only_the_whole_recipe_may_say_is_no_setting_of_a_layer() -> None:
    text = '{"preset":"int8","layers":[{"match":"*","prune_scope":"network"}]}'
    with pytest.raises(ConvertError, match="layer 1: unknown key 'prune_scope'"):
        recipe_from_json(text)


def test_lossless_prunes_nothing() -> None:
    for settings in ({"prune_below": 0.1}, {"prune_pattern": "2:4"}):
        with pytest.raises(ConvertError, match="prune and bits"):
            dcformat.compress(model(), "lossless", **settings)


def test_a_cut_of_nothing_cuts_nothing() -> None:
    scores = np.array([0.0, 1.0])
    assert cut_of(scores, 0.0) == Cut(0.0, 0)
    assert not cut(scores, Cut(0.0, 0)).any()
