"""Which layer feeds which, and that factors between them change no bit of a network's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import dcformat
from dcformat.compress.equalize import equalized

RNG = np.random.default_rng(7)


def array(name: str, *shape: int) -> Any:
    factors = np.geomspace(0.01, 100, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return numpy_helper.from_array((RNG.normal(size=shape) * factors).astype(np.float32), name)


def model_of(
    nodes: list[Any], tensors: list[Any], outputs: tuple[str, ...] = ("y",), shape: Any = None
) -> Any:
    wanted = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    source = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or [1, 3, 8, 8])]
    graph = helper.make_graph(nodes, "g", source, wanted, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(tmp_path: Path, model: Any) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return path


def feeds(tmp_path: Path, model: Any) -> list[tuple[str, str | None, str, int, int]]:
    found = dcformat.read(saved(tmp_path, model)).feeds
    return [(f.first, f.bias, f.second, f.out_axis, f.in_axis) for f in found]


def conv(x: str, y: str, w: str, *bias: str, **more: Any) -> Any:
    return helper.make_node("Conv", [x, w, *bias], [y], pads=[1, 1, 1, 1], **more)


def chain(*between: Any) -> list[Any]:
    """Two convolutions with nodes between h and i."""
    return [conv("x", "h", "w1", "b1"), *between, conv("i", "y", "w2")]


TENSORS = [array("w1", 16, 3, 3, 3), array("b1", 16), array("w2", 8, 16, 3, 3)]
RELU = helper.make_node("Relu", ["h"], ["i"])


def test_a_convolution_feeds_the_next_through_a_relu_and_a_pooling(tmp_path: Path) -> None:
    pool = helper.make_node("MaxPool", ["j"], ["i"], kernel_shape=[2, 2])
    relu = helper.make_node("Relu", ["h"], ["j"])
    for nodes in (chain(RELU), chain(relu, pool)):
        assert feeds(tmp_path, model_of(nodes, TENSORS)) == [("w1", "b1", "w2", 0, 1)]


@pytest.mark.parametrize(
    "between",
    [
        [helper.make_node("Sigmoid", ["h"], ["i"])],
        [helper.make_node("Clip", ["h", "", "six"], ["i"])],
        [RELU, helper.make_node("Neg", ["i"], ["z"])],
        [helper.make_node("Softmax", ["h"], ["i"], axis=1)],
    ],
)
def test_what_notices_a_factor_or_reads_it_too_is_no_feed(tmp_path: Path, between: Any) -> None:
    six = numpy_helper.from_array(np.array(6, np.float32), "six")
    outputs = ("y", "z") if len(between) > 1 else ("y",)
    assert feeds(tmp_path, model_of(chain(*between), [*TENSORS, six], outputs)) == []


def test_outputs_of_the_graph_and_shared_parameters_are_no_feed(tmp_path: Path) -> None:
    assert feeds(tmp_path, model_of(chain(RELU), TENSORS, ("y", "h"))) == []
    both = [conv("x", "h", "w1", "b1"), RELU, conv("i", "j", "w2", "b1"), conv("j", "y", "w3")]
    more = [array("w1", 16, 3, 3, 3), array("b1", 16), array("w2", 16, 16, 3, 3)]
    assert (
        feeds(tmp_path, model_of(both, [*more, array("w3", 8, 16, 3, 3)]))
        == [("w2", "b1", "w3", 0, 1)][:0]
    )


def test_a_name_that_an_inner_graph_reads_is_no_feed(tmp_path: Path) -> None:
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    inner = helper.make_graph([helper.make_node("Abs", ["h"], ["o"])], "inner", [], [out])
    true = numpy_helper.from_array(np.array(True), "true")
    branch = helper.make_node("If", ["true"], ["z"], then_branch=inner, else_branch=inner)
    nodes = [*chain(RELU), branch]
    assert feeds(tmp_path, model_of(nodes, [*TENSORS, true], ("y", "z"))) == []


def test_parameters_that_callers_may_replace_are_no_feed(tmp_path: Path) -> None:
    model = model_of(chain(RELU), TENSORS)
    model.graph.input.append(helper.make_tensor_value_info("w1", TensorProto.FLOAT, [16, 3, 3, 3]))
    assert feeds(tmp_path, model) == []


def test_depthwise_and_dense_layers_have_axes_of_their_own(tmp_path: Path) -> None:
    nodes = [
        conv("x", "a", "w1", "b1"),
        conv("a", "b", "d", "b2", group=16),
        helper.make_node("Relu", ["b"], ["c"]),
        conv("c", "y", "w2"),
    ]
    tensors = [*TENSORS, array("d", 16, 1, 3, 3), array("b2", 16)]
    assert feeds(tmp_path, model_of(nodes, tensors)) == [
        ("w1", "b1", "d", 0, 0), ("d", "b2", "w2", 0, 1)
    ]  # fmt: skip
    dense = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["i"]),
        helper.make_node("MatMul", ["i", "w2"], ["y"]),
    ]
    tensors = [array("w1", 20, 30), array("b1", 20), array("w2", 20, 10)]
    assert feeds(tmp_path, model_of(dense, tensors, shape=[1, 30])) == [("w1", "b1", "w2", 0, 0)]


def run(path: Path, x: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return session.run(None, {name: x})


@pytest.mark.parametrize("kind", ["Relu", "LeakyRelu", "MaxPool", "AveragePool"])
def test_an_equalized_network_gives_the_same_bits(tmp_path: Path, kind: str) -> None:
    more = {"kernel_shape": [2, 2]} if "Pool" in kind else {}
    nodes = chain(helper.make_node(kind, ["h"], ["i"], **more))
    path = saved(tmp_path, model_of(nodes, TENSORS))
    model = dcformat.read(path)
    equal = equalized(model)
    assert [a is b for a, b in zip(model.tensors, equal.tensors, strict=True)] == [False] * 3
    dcformat.write(equal, tmp_path / "equal.onnx")
    x = RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)
    (wanted,), (got,) = run(path, x), run(tmp_path / "equal.onnx", x)
    assert np.array_equal(wanted, got)


def test_the_verifier_follows_a_recipe_that_equalizes(tmp_path: Path) -> None:
    path = saved(tmp_path, model_of(chain(RELU), TENSORS))
    coded = dcformat.compress(dcformat.read(path), "int8", method="affine", equalize=True)
    dcformat.save(coded, tmp_path / "net.dcf")
    report = dcformat.verify(tmp_path / "net.dcf", against=path, run=True)
    assert report.ok, report
    model = model_of(chain(RELU), [array("w1", 16, 3, 3, 3), *TENSORS[1:]])
    other = tmp_path / "other.onnx"
    onnx.save(model, other)
    assert not dcformat.verify(tmp_path / "net.dcf", against=other).ok


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "count"), [("yunet_n_320", 40), ("fastestdet", 41)])
def test_real_networks_are_the_same_after_it(
    data_dir: Path, tmp_path: Path, name: str, count: int
) -> None:
    path = data_dir / "onnx" / f"{name}.onnx"
    model = dcformat.read(path)
    assert len(model.feeds) == count
    dcformat.write(equalized(model), tmp_path / "equal.onnx")
    shape = [d.dim_value or 1 for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    x = RNG.random(shape).astype(np.float32) * 255
    for wanted, got in zip(run(path, x), run(tmp_path / "equal.onnx", x), strict=True):
        assert np.array_equal(wanted, got)


def test_a_node_without_outputs_feeds_nothing(tmp_path: Path) -> None:
    nodes = chain(RELU)
    del nodes[0].output[:]
    assert feeds(tmp_path, model_of(nodes, TENSORS)) == []
