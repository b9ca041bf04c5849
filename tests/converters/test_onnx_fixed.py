"""Fixed-point models: where numbers become fixed, and onnxruntime against integers in NumPy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dcformat
from dcformat.compress import Recipe, compress
from dcformat.compress.fixed_point import to_fixed
from dcformat.converters.onnx_fixed import Graph, graph_of, trial_model
from dcformat.converters.onnx_qdq import to_qdq
from dcformat.converters.onnx_simulate import simulate
from dcformat.converters.onnx_trial import watched
from dcformat.errors import ConvertError
from dcformat.model import LayerFormat
from dcformat.tools._fixed_point import FixedPoint, Search, fixed_point
from dcformat.tools._search_goal import FixedGoal

ort = pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def saved(
    folder: Path, nodes: list[Any], shape: list[Any], opset: int = 17, **weights: Array
) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "k"])
    held = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


def network(folder: Path, opset: int = 17) -> Path:
    """Two convolutions, one with its bias in an Add, a residual Add, pools and a dense layer."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("MaxPool", ["r1"], ["p1"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2"], ["c2"], "conv2", pads=[1, 1, 1, 1], group=2),
        node("Add", ["c2", "b2"], ["a2"], "bias2"),
        node("Add", ["a2", "p1"], ["s"], "sum"),
        node("Relu", ["s"], ["r2"], "relu2"),
        node("GlobalAveragePool", ["r2"], ["g"], "mean"),
        node("Flatten", ["g"], ["f"], "flat"),
        node("Gemm", ["f", "w3", "b3"], ["y"], "fc"),
    ]
    weights = {
        "w1": normal(4, 2, 3, 3, seed=1), "b1": normal(4, seed=2),
        "w2": normal(4, 2, 3, 3, seed=3), "b2": normal(1, 4, 1, 1, seed=4),
        "w3": normal(4, 5, seed=5), "b3": normal(5, seed=6),
    }  # fmt: skip
    return saved(folder, nodes, ["N", 2, 8, 8], opset, **weights)


def calib(folder: Path, *shape: int) -> Path:
    np.savez(folder / "c.npz", x=normal(*shape))
    return folder / "c.npz"


def layers_in_onnxruntime(
    graph: Graph, layers: tuple[LayerFormat, ...], model: bytes, x: Array, plain: bool
) -> dict[str, Array]:
    """The integers that each layer gives, back from the floats of the model."""
    options = ort.SessionOptions()
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    names = [layer.output for layer in graph.layers]
    session = ort.InferenceSession(watched(model, names), options, ["CPUExecutionProvider"])
    found = session.run(names, {"x": x})
    numbers = {}
    for layer, own, value in zip(graph.layers, layers, found, strict=True):
        scaled = np.ldexp(np.asarray(value, np.float64), own.output_fraction)
        assert np.array_equal(scaled, np.rint(scaled))
        numbers[layer.name] = scaled.astype(np.int64)
    return numbers


def check_to_the_last_bit(fixed: FixedPoint, x: Array) -> None:
    model = to_qdq(fixed.graph, fixed.layers, fixed.numbers)
    _, wanted = simulate(fixed.graph, fixed.layers, fixed.numbers, {"x": x})
    for plain in (True, False):
        got = layers_in_onnxruntime(fixed.graph, fixed.layers, model, x, plain)
        for name, numbers in wanted.items():
            np.testing.assert_array_equal(got[name], numbers, name)


def test_layers_and_places(tmp_path: Path) -> None:
    graph = graph_of(network(tmp_path))
    shown = [(n.name, n.bias, n.source, n.output, n.measured, n.last) for n in graph.layers]
    assert shown == [
        ("conv1", "b1", "x", "c1", "r1", False),
        ("conv2", "b2", "c1", "a2", "a2", False),
        ("fc", "b3", "f", "y", "y", True),
    ]
    assert graph.places == {"x": "x", "c1": "r1", "a2": "a2", "f": "f"}


def test_a_trial_model_changes_nothing_as_it_stands(tmp_path: Path) -> None:
    path = network(tmp_path)
    made, knobs = trial_model(graph_of(path))
    assert set(knobs) == {"x", "c1", "a2", "f"}
    x = normal(3, 2, 8, 8)
    outputs = [
        ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for model in (path.read_bytes(), made)
    ]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-6, atol=1e-6)


def test_trials_say_what_the_model_of_integers_does(tmp_path: Path) -> None:
    path, x = network(tmp_path), normal(40, 2, 8, 8)
    with Search(path, calib(tmp_path, 40, 2, 8, 8), None, FixedGoal(8)) as search:
        choice = search.start()
        found = search.divergence(choice)
        fixed = search.done(choice)
    model = to_qdq(fixed.graph, fixed.layers, fixed.numbers)
    wanted, got = (
        ort.InferenceSession(m, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for m in (path.read_bytes(), model)
    )
    noise = np.sum((got.astype(float) - wanted) ** 2) / np.sum(wanted.astype(float) ** 2)
    assert found.noise == pytest.approx(noise, rel=1e-4)
    assert 0 < noise < 0.01


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize("opset", [9, 17])
def test_integers_agree_with_onnxruntime_to_the_last_bit(
    bits: int, opset: int, tmp_path: Path
) -> None:
    path = network(tmp_path, opset)
    fixed = fixed_point(path, calib(tmp_path, 40, 2, 8, 8), bits)
    onnx.checker.check_model(to_qdq(fixed.graph, fixed.layers, fixed.numbers))
    check_to_the_last_bit(fixed, 2 * normal(5, 2, 8, 8, seed=7))


@pytest.mark.parametrize("opset", [17, 21])
def test_sixteen_bits_are_int16_in_the_model(opset: int, tmp_path: Path) -> None:
    path, x = network(tmp_path, opset), normal(5, 2, 8, 8, seed=7)
    fixed = fixed_point(path, calib(tmp_path, 40, 2, 8, 8), 16, refine=False)
    model = to_qdq(fixed.graph, fixed.layers, fixed.numbers)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs, _ = simulate(fixed.graph, fixed.layers, fixed.numbers, {"x": x})
    np.testing.assert_allclose(session.run(None, {"x": x})[0], outputs["y"], atol=2e-3)
    domains = {n.domain for n in onnx.load_from_string(model).graph.node
               if n.op_type == "QuantizeLinear"}  # fmt: skip
    assert domains == ({""} if opset == 21 else {"com.microsoft"})


@pytest.mark.parametrize("columns", [1032, 1031])
@pytest.mark.parametrize("kind", ["largest", "random"])
def test_sums_of_1032_products_are_exact_in_binary32(
    columns: int, kind: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(columns)
    weight = random.integers(-127, 128, (columns, 8)).astype(np.float32)
    x = random.integers(-128, 128, (16, columns)).astype(np.float32)
    if kind == "largest":
        weight = np.where(weight < 0, -127, 127).astype(np.float32)
        weight[:, 0], x[0] = -127, -128
        weight[1, 0] = -126
    path = saved(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"], "mm")],
                 ["N", columns], w=weight)  # fmt: skip
    layer = LayerFormat("mm", "w", None, 0, 8, 0, 8, 0, 0, 0, 32, 1)
    fixed = FixedPoint(graph_of(path), (layer,), {}, Recipe())
    numbers = {"w": weight.astype(np.int8)}
    model = to_qdq(fixed.graph, fixed.layers, numbers)
    wanted = x.astype(np.int64) @ weight.astype(np.int64)
    if kind == "largest":
        assert wanted.max() == 127 * 128 * columns - 128 < 1 << 24
    _, found = simulate(fixed.graph, fixed.layers, numbers, {"x": x})
    np.testing.assert_array_equal(found["mm"], wanted)
    for plain in (True, False):
        got = layers_in_onnxruntime(fixed.graph, fixed.layers, model, x, plain)
        np.testing.assert_array_equal(got["mm"], wanted)


def test_norms_between_layers_are_as_the_graph_says(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "one"),
        helper.make_node("BatchNormalization", ["a", "s", "b", "m", "v"], ["n"], momentum=0.9),
        helper.make_node("MatMul", ["n", "u"], ["y"], "two"),
    ]
    weights = {"w": normal(6, 4), "u": normal(4, 3), "s": normal(4, seed=1),
               "b": normal(4, seed=2), "m": normal(4, seed=3),
               "v": np.abs(normal(4, seed=4)) + 1}  # fmt: skip
    path = saved(tmp_path, nodes, ["N", 6], 9, **weights)
    fixed = fixed_point(path, calib(tmp_path, 50, 6), 8)
    assert [layer.source for layer in fixed.graph.layers] == ["x", "n"]
    check_to_the_last_bit(fixed, normal(9, 6, seed=5))


def test_a_file_keeps_formats_and_numbers(tmp_path: Path) -> None:
    path = network(tmp_path)
    fixed = fixed_point(path, calib(tmp_path, 40, 2, 8, 8), 8)
    made = compress(dcformat.read(path), fixed.recipe, grams=fixed.grams)
    dcformat.save(made, tmp_path / "m.dcf", target="mcu")
    file = dcformat.load(tmp_path / "m.dcf")
    assert file.layers == fixed.layers
    for name, numbers in fixed.numbers.items():
        np.testing.assert_array_equal(file.coded(name).symbols, numbers)
    x = normal(5, 2, 8, 8, seed=7)
    dcformat.write(file.coded_model(), tmp_path / "q.onnx", "qdq")
    made = (tmp_path / "q.onnx").read_bytes()
    _, wanted = simulate(fixed.graph, fixed.layers, fixed.numbers, {"x": x})
    got = layers_in_onnxruntime(fixed.graph, fixed.layers, made, x, plain=False)
    for name, numbers in wanted.items():
        np.testing.assert_array_equal(got[name], numbers)
    assert dcformat.verify(tmp_path / "m.dcf").ok


def test_what_has_no_formats_or_no_layers(tmp_path: Path) -> None:
    path = network(tmp_path)
    plain = dcformat.compress(dcformat.read(path))
    with pytest.raises(ConvertError, match=r"q.onnx: layer 'conv1' has no fixed-point format"):
        dcformat.write(plain, tmp_path / "q.onnx", "qdq")
    fixed = fixed_point(path, calib(tmp_path, 40, 2, 8, 8), 8, refine=False)
    whole = compress(dcformat.read(path), fixed.recipe)
    mixed = replace(plain, layers=whole.layers)
    with pytest.raises(ConvertError, match="'w1' is not in the fixed-point format of its layer"):
        dcformat.write(mixed, tmp_path / "q.onnx", "qdq")
    bitless = replace(whole.layers[0], input_bits=0)
    with pytest.raises(ConvertError, match="'conv1' has a fixed-point format without its bits"):
        dcformat.write(replace(whole, layers=(bitless, *whole.layers[1:])), tmp_path / "q", "qdq")
    assert not (tmp_path / "q.onnx").exists()
    bare = saved(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], ["N", 2])
    with pytest.raises(ConvertError, match="no Conv, Gemm or MatMul"):
        graph_of(bare)


def test_refining_never_makes_it_worse_and_is_the_same_each_time(tmp_path: Path) -> None:
    path, x = network(tmp_path), normal(40, 2, 8, 8)
    x[7, 1, 2, 3] = 9.0  # the one number for which all others would be rounded coarsely
    np.savez(tmp_path / "c.npz", x=x)
    found = []
    for _ in range(2):
        with Search(path, tmp_path / "c.npz", None, FixedGoal(6)) as search:
            start = search.start()
            better = search.refined(start)
            noises = [search.divergence(c).noise for c in (search.static(start), start, better)]
            found.append((better, noises))
    assert found[0] == found[1]
    assert noises[2] < noises[1] < noises[0]


def test_numbers_of_a_choice_are_nearest(tmp_path: Path) -> None:
    path = network(tmp_path)
    fixed = fixed_point(path, calib(tmp_path, 40, 2, 8, 8), 8, refine=False)
    for layer in fixed.layers:
        assert layer.weight is not None
        own = fixed.graph.weights[layer.weight]
        wanted = to_fixed(own, layer.weight_fraction, 8)
        np.testing.assert_array_equal(fixed.numbers[layer.weight], wanted)
        assert layer.bias_shift >= 0
