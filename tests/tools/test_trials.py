"""Trials: against onnxruntime on models with the numbers put in, and second moments by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from trial_models import normal, saved

import dcformat
from dcformat.converters.onnx_trial import trial_of
from dcformat.errors import ConvertError
from dcformat.tools._trials import Trials
from dcformat.tools._trials_data import samples_of
from dcformat.tools._trials_gram import Moments, Picker
from dcformat.tools._trials_model import Grams, TrialModel

ort = pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]


def value(name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def built(nodes: list[Any], inputs: list[Any], **weights: Array) -> bytes:
    tensors = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    outputs = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return bytes(model.SerializeToString())


def outputs_of(model: bytes, weights: Mapping[str, Array], feed: Mapping[str, Array]) -> Array:
    """The first output of the model with other initializers, in onnxruntime."""
    proto = onnx.load_from_string(model)
    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feed))[0], np.float64)


def dense(rows: int = 4, columns: int = 6) -> bytes:
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "fc", transB=1)]
    x = value("x", ["N", columns])
    return built(nodes, [x], w=normal(rows, columns, seed=1), b=normal(rows, seed=2))


def test_divergence_is_that_of_the_model_with_other_numbers(tmp_path: Path) -> None:
    model, x = dense(), normal(45, 6)
    weight = normal(4, 6, seed=1) + normal(4, 6, seed=3) * np.float32(0.3)
    wanted, got = (outputs_of(model, w, {"x": x}) for w in ({}, {"w": weight}))
    with Trials(model, ["w", "b"], saved(tmp_path / "c.npz", x=x), batch=7) as trials:
        found = trials.divergence({"w": weight})
        first = trials.divergence({"w": weight}, most=8)
        assert trials.divergence({}) == trials.divergence({"w": normal(4, 6, seed=1)})
        assert trials.divergence({}).noise == 0
    assert found.noise == pytest.approx(np.sum((got - wanted) ** 2) / np.sum(wanted**2), rel=1e-5)
    assert found.changed == int((got.argmax(1) != wanted.argmax(1)).sum()) > 0
    assert (found.samples, first.samples) == (45, 14)
    assert not trials.synthetic


def test_moments_of_a_dense_layer(tmp_path: Path) -> None:
    x = normal(50, 6)
    with Trials(dense(), ["w", "b"], saved(tmp_path / "c.npz", x=x)) as trials:
        gram = trials.gram("w")
        assert trials.gram("b") is None
    assert gram is not None
    assert (gram.groups, gram.order) == (1, (0, 1))
    np.testing.assert_allclose(gram.blocks[0][0], x.T.astype(float) @ x / 50, atol=5e-3)
    np.testing.assert_allclose(gram.means[0], x.mean(axis=0), atol=5e-3)


def moments(model: bytes, folder: Path, name: str, batch: int = 3, **arrays: Array) -> Any:
    """Do in this process what the child does for a gram."""
    (folder / "m.onnx").write_bytes(model)
    trial = TrialModel(folder / "m.onnx", [name])
    samples = samples_of(saved(folder / "c.npz", **arrays), trial.inputs, batch, labelled=False)
    return Grams(trial, samples, None).of(name)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ((4, 3, 3, 3), (3, 8, 9), {}),
    "strides and pads": ((4, 3, 3, 2), (3, 8, 9), {"strides": [2, 3], "pads": [1, 0, 2, 1]}),
    "dilations": ((2, 3, 3, 3), (3, 9, 9), {"dilations": [2, 3], "pads": [2, 2, 2, 2]}),
    "groups": ((6, 2, 3, 3), (4, 6, 6), {"group": 2}),
    "depthwise": ((4, 1, 3, 3), (4, 6, 6), {"group": 4, "pads": [1, 1, 1, 1]}),
    "upper": ((2, 3, 4, 3), (3, 7, 8), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "lower": ((2, 3, 4, 3), (3, 7, 8), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    "valid": ((2, 3, 2, 2), (3, 5, 5), {"auto_pad": "VALID"}),
    "one axis": ((4, 3, 5), (3, 20), {"strides": [2], "pads": [1, 2]}),
    "three axes": ((2, 2, 3, 2, 2), (2, 5, 4, 6), {"pads": [1, 0, 0, 1, 0, 1]}),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_moments_of_a_convolution_give_the_power_of_its_outputs(kind: str, tmp_path: Path) -> None:
    """Of any weight w the sum of squared outputs is w^T H w, the sum of outputs w^T mean."""
    weight, size, attributes = CONVOLUTIONS[kind]
    shape: list[int | str] = ["N", *size]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "conv", **attributes)]
    model = built(nodes, [value("x", shape)], w=normal(*weight))
    x = np.random.default_rng(0).integers(-3, 4, (7, *size)).astype(np.float32)
    found = moments(model, tmp_path, "w", x=x)
    other = np.random.default_rng(1).integers(-2, 3, weight).astype(np.float32)
    y = np.moveaxis(outputs_of(model, {"w": other}, {"x": x}), 1, 0).reshape(weight[0], -1)
    assert found.count == y.shape[1]
    rows = other.reshape(found.groups, weight[0] // found.groups, -1).astype(np.float64)
    power = np.einsum("gri,gij,grj->gr", rows, found.blocks[0], rows).reshape(-1)
    np.testing.assert_allclose(power, np.mean(y * y, axis=1), rtol=1e-9)
    sums = np.einsum("gri,gi->gr", rows, found.mean).reshape(-1)
    np.testing.assert_allclose(sums, np.mean(y, axis=1), rtol=1e-9, atol=1e-9)


def dense_cases() -> dict[str, tuple[Any, tuple[int, int], Array]]:
    x, upright = normal(10, 6), normal(6, 10)
    gemm, matmul = "Gemm", "MatMul"
    return {
        "right": (helper.make_node(gemm, ["x", "w"], ["y"]), (6, 4), x),
        "right turned": (helper.make_node(gemm, ["x", "w"], ["y"], transB=1), (4, 6), x),
        "alpha": (helper.make_node(gemm, ["x", "w"], ["y"], alpha=0.5), (6, 4), x),
        "upright": (helper.make_node(gemm, ["x", "w"], ["y"], transA=1), (6, 4), upright),
        "left": (helper.make_node(gemm, ["w", "x"], ["y"]), (4, 6), upright),
        "left turned": (helper.make_node(gemm, ["w", "x"], ["y"], transA=1), (6, 4), upright),
        "both": (helper.make_node(gemm, ["w", "x"], ["y"], transA=1, transB=1), (6, 4), x),
        "product": (helper.make_node(matmul, ["x", "w"], ["y"]), (6, 4), normal(5, 3, 6)),
        "product left": (helper.make_node(matmul, ["w", "x"], ["y"]), (4, 6), normal(5, 6, 3)),
    }


@pytest.mark.parametrize("kind", dense_cases())
def test_moments_of_products_give_the_power_of_their_outputs(kind: str, tmp_path: Path) -> None:
    node, shape, x = dense_cases()[kind]
    model = built([node], [value("x", [*x.shape])], w=normal(*shape))
    found = moments(model, tmp_path, "w", x=x)
    other = normal(*shape, seed=5)
    y = outputs_of(model, {"w": other}, {"x": x})
    rows = other.transpose(order_of(model)).astype(np.float64)
    power = np.einsum("ri,ij,rj->", rows, found.blocks[0][0], rows) * found.count
    assert power == pytest.approx(np.sum(y * y), rel=1e-2)


def order_of(model: bytes) -> tuple[int, ...]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "m.onnx").write_bytes(model)
        return trial_of(Path(folder) / "m.onnx", ["w"]).varied[0].meetings[0].order


def test_rows_are_picked_evenly_over_positions_and_batches() -> None:
    picker = Picker(rows=7)
    picked = np.concatenate([picker.pick(n * 100, 100) + 100 * at for at, n in
                             [(0, 3), (3, 5), (8, 92)]])  # fmt: skip
    assert set(np.diff(picked)) == {picker.stride}
    assert len(picked) == pytest.approx(700, rel=0.4)
    assert np.bincount(picked % 100, minlength=100).min() >= 5


def test_moments_do_not_depend_on_the_order_of_sums() -> None:
    rows = np.random.default_rng(0).standard_normal((5000, 1, 40))
    both = [Moments(1, 40), Moments(1, 40)]
    both[0].add(rows)
    both[1].add(rows[::-1])
    assert both[0].products[0].tobytes() == both[1].products[0].tobytes()
    assert both[0].sums.tobytes() == both[1].sums.tobytes()


def test_what_is_no_plain_product_has_no_moments_and_wide_ones_have_blocks(tmp_path: Path) -> None:
    two = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "w"], ["y"]),
    ]
    model = built(two, [value("x", [6, 6])], w=normal(6, 6))
    assert moments(model, tmp_path, "w", x=normal(6, 6)) is None
    wide = built([helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 2049])],
                 w=normal(2049, 2))  # fmt: skip
    found = moments(wide, tmp_path, "w", x=normal(2, 2049))
    assert [block.shape for block in found.blocks] == [(1, 683, 683)] * 3  # none between blocks
    x = normal(2, 2049).astype(float)[:, 683:1366]
    np.testing.assert_allclose(found.blocks[1][0], x.T @ x / 2, atol=1e-2)


def test_a_weight_behind_a_transpose_and_one_of_two_layers(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "t"], ["y"]),
    ]
    model, x = built(nodes, [value("x", ["N", 4])], w=normal(4, 4)), normal(6, 4)
    found = moments(model, tmp_path, "w", x=x)
    after = np.maximum(x @ normal(4, 4).T, 0)
    wanted = (x.T.astype(float) @ x + after.T.astype(float) @ after) / 12
    np.testing.assert_allclose(found.blocks[0][0], wanted, atol=1e-2)
    assert order_of(model) == (0, 1)


@pytest.mark.realdata
def test_a_real_model_with_other_weights(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "onnx" / "mnist_cnn_bn_burn.onnx"
    model = dcformat.read(path)
    weight = np.round(np.asarray(model["conv2.weight"].data) * 16) / np.float32(16)
    x = normal(20, 1, 28, 28)
    answers = [
        np.concatenate([outputs_of(path.read_bytes(), w, {"input.1": one[None]}) for one in x])
        for w in ({}, {"conv2.weight": weight})
    ]
    noise = np.sum((answers[1] - answers[0]) ** 2) / np.sum(answers[0] ** 2)
    calib = saved(tmp_path / "c.npz", **{"input.1": x})
    with Trials(path, ["conv2.weight"], calib) as trials:
        assert trials.divergence({"conv2.weight": weight}).noise == pytest.approx(noise, rel=1e-4)


def test_a_name_that_the_model_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="no weight 'v'"):
        Trials(dense(), ["v"], saved(tmp_path / "c.npz", x=normal(2, 6)))
