"""Rounding to a grid, with and without error feedback."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dcformat
from dcformat.coded import Affine
from dcformat.compress import Gram, compress, recipe_from_json
from dcformat.compress.feedback import DAMPING, factor, round_to_grid
from dcformat.errors import ConvertError
from dcformat.ids import DType
from dcformat.model import Model, Tensor, Use


def _gram(seed: int, columns: int, groups: int = 1, order=(0, 1), cuts=()) -> Gram:
    """Return the second moments of inputs that are much alike, and of some noise."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(500, 3)) @ rng.normal(size=(3, columns))
    x = common + rng.normal(size=(groups, 500, columns)) * 0.3
    moments = np.stack([one.T @ one / 500 for one in x])
    edges = [0, *cuts, columns]
    spans = [slice(a, b) for a, b in itertools.pairwise(edges)]
    return Gram(order, groups, tuple(moments[:, s, s] for s in spans), x.mean(1))


def _output_error(lost, moments) -> float:
    return float(np.einsum("ri,ij,rj->", lost, moments, lost))


@given(st.integers(0, 1000), st.integers(1, 12))
def test_a_factor_makes_the_moments_again(seed, columns):
    moments = _gram(seed, columns).blocks[0][0]
    found = factor(moments)
    ordered = moments[np.ix_(found.columns, found.columns)]
    ordered = ordered + np.eye(columns) * DAMPING * np.trace(moments) / columns
    # D is what makes U D U^T of it
    inner = np.linalg.solve(found.upper, ordered)
    diagonal = np.linalg.solve(found.upper, inner.T)
    assert np.allclose(diagonal, np.diag(np.diag(diagonal)), atol=1e-8 * np.trace(moments))
    assert np.array_equal(found.upper, np.triu(found.upper))
    assert sorted(found.columns) == list(range(columns))


def test_without_moments_each_weight_goes_to_the_nearest():
    weights = np.array([[0.24, 0.26, -0.76], [100.0, -100.0, 0.0]])
    assert round_to_grid(weights, 0.5).tolist() == [[0, 1, -2], [127, -127, 0]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cuts", [(), (7,), (4, 13)])
def test_feedback_lowers_the_error_of_the_output(seed, cuts):
    gram = _gram(seed, 20, cuts=cuts)
    moments = _gram(seed, 20).blocks[0][0]
    weights = np.random.default_rng(seed).normal(size=(30, 20))
    plain = weights - round_to_grid(weights, 0.5) * 0.5
    fed = weights - round_to_grid(weights, 0.5, gram) * 0.5
    if not cuts:
        assert _output_error(fed, moments) < 0.3 * _output_error(plain, moments)
    for block, start in zip(gram.blocks, (0, *cuts), strict=True):
        here = slice(start, start + block.shape[1])
        assert _output_error(fed[:, here], block[0]) < _output_error(plain[:, here], block[0])


def test_uncorrelated_inputs_leave_nothing_to_hand_on():
    weights = np.random.default_rng(1).normal(size=(4, 6))
    gram = Gram((0, 1), 1, (np.diag(np.arange(6.0))[None],), np.zeros((1, 6)))
    assert np.array_equal(round_to_grid(weights, 0.25, gram), round_to_grid(weights, 0.25))


def test_inputs_that_are_always_zero_leave_the_weights_alone():
    weights = np.random.default_rng(1).normal(size=(4, 6))
    gram = Gram((0, 1), 1, (np.zeros((1, 6, 6)),), np.zeros((1, 6)))
    assert np.array_equal(round_to_grid(weights, 0.25, gram), round_to_grid(weights, 0.25))


def test_groups_and_axes_go_where_the_gram_says():
    gram = _gram(3, 6, groups=2, order=(1, 0, 2))
    weights = np.random.default_rng(3).normal(size=(3, 4, 2))  # in, out, kernel: 2 groups of 2 rows
    found = round_to_grid(weights, 0.4, gram)
    rows = weights.transpose(1, 0, 2).reshape(2, 2, 6)
    for g in range(2):
        one = Gram((0, 1), 1, (gram.blocks[0][g : g + 1],), gram.means[g : g + 1])
        wanted = round_to_grid(rows[g], 0.4, one)
        assert np.array_equal(found.transpose(1, 0, 2).reshape(2, 2, 6)[g], wanted)
    assert found.shape == weights.shape


def _model() -> Model:
    data = np.random.default_rng(5).normal(size=(16, 20)).astype(np.float32)
    use = Use("fc", "Gemm", "weight", 0, None)
    return Model((Tensor("w", DType.FLOAT, data),), uses={"w": use})


def _recipe(**layer):
    rule = {"match": "w", "method": "grid", "step": 0.3, **layer}
    return recipe_from_json(json.dumps({"preset": "int8", "method": "exact", "layers": [rule]}))


def test_a_recipe_with_feedback_needs_moments_of_the_same_shape():
    with pytest.raises(ConvertError, match=r"w: .*calibration data"):
        compress(_model(), _recipe(feedback=True))
    with pytest.raises(ConvertError, match="another shape"):
        compress(_model(), _recipe(feedback=True), grams={"w": _gram(1, 3)})


def test_the_recipe_makes_the_same_tensor_again(tmp_path):
    gram = {"w": _gram(9, 20)}
    (coded,) = compress(_model(), _recipe(feedback=True), grams=gram).tensors
    (again,) = compress(_model(), _recipe(feedback=True), grams={"w": _gram(9, 20)}).tensors
    assert coded == again
    assert isinstance(coded.values, Affine)
    assert coded.values.scale == np.float32(0.3)
    (plain,) = compress(_model(), _recipe()).tensors
    assert not np.array_equal(coded.symbols, plain.symbols)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ({"step": 0.0}, "step = 0.0: expected a number above 0"),
        ({"step": True}, "expected a number above 0"),
        ({"step": float("nan")}, "expected a number above 0"),
        ({"step": 1e39}, "expected a number above 0"),
        ({"method": "int8"}, "go together"),
        ({"feedback": 1}, "true or false"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(layer, problem):
    with pytest.raises(ConvertError, match=problem):
        _recipe(**layer)


def test_the_verifier_follows_what_needs_no_data(tmp_path):
    model = _model()
    path = tmp_path / "w.npz"
    coded = compress(model, _recipe(feedback=True), grams={"w": _gram(9, 20)})
    dcformat.save(coded, tmp_path / "w.dcf")
    dcformat.write(model, path)
    checks = {c.name: c for c in dcformat.verify(tmp_path / "w.dcf").checks}
    assert all(check.status != "failed" for check in checks.values())
