"""Trials: against onnxruntime on models with the numbers put in, and second moments by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dcformat
from dcformat.errors import ConvertError
from dcformat.tools._trials import Trials

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


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def saved(path: Path, **arrays: Array) -> Path:
    np.savez(path, **arrays)
    return path


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
    np.testing.assert_allclose(gram.matrix[0], x.T.astype(float) @ x / 50, atol=5e-3)
    np.testing.assert_allclose(gram.mean[0], x.mean(axis=0), atol=5e-3)


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
