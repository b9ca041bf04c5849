"""Models in integers: LiteRT (ai_edge_litert) gives about what onnxruntime gives in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from evaluation import MNIST, cifar_task, mnist_task
from onnx import helper
from tflite_runs import Array, Lite, in_onnxruntime, model_of, numbers

import dcformat
from dcformat.converters.tflite_out import Wanted, Written, tflite_of, translated
from dcformat.converters.tflite_out_integer import rounded, scale_of
from dcformat.converters.tflite_schema import parse
from dcformat.errors import ConvertError
from dcformat.scaled import with_integers
from dcformat.tools._ranges import ranges_of
from dcformat.tools._ranges_run import run as ranges_in

IMAGE = numbers(1, 4, 9, 8)
INT8, INT32 = 9, 2
_CONV = {"w": numbers(4, 4, 3, 3, low=-0.5, high=0.5), "b": numbers(4)}


def in_integers(model: bytes, feeds: dict[str, Array], folder: Path) -> Written:
    """Return a model in integers, by ranges of the inputs that it is fed with."""
    (folder / "m.onnx").write_bytes(model)
    np.savez(folder / "calib.npz", **feeds)
    ranges = ranges_in(folder / "m.onnx", folder / "calib.npz")
    return translated(model, Wanted(ranges=ranges))


def near(model: bytes, feeds: dict[str, Array], folder: Path, within: float = 0.03) -> Written:
    """Check that outputs differ by a small part of their range."""
    written = in_integers(model, feeds, folder)
    wanted = in_onnxruntime(model, feeds)
    for own_kernels in (False, True):
        found = Lite(written.data, own_kernels).in_integers(feeds)
        for name, real in wanted.items():
            assert np.abs(found[name] - real).max() <= within * np.ptp(real), name
    return written


BETWEEN: list[tuple[str, dict[str, Any], list[Array]]] = [
    ("Relu", {}, []),
    ("Clip", {}, [np.array(0, np.float32), np.array(6, np.float32)]),
    ("LeakyRelu", {"alpha": 0.2}, []),
    ("PRelu", {}, [numbers(4, 1, 1, low=0.1, high=0.4)]),
    ("HardSwish", {}, []),
    ("Sigmoid", {}, []),
    ("Tanh", {}, []),
    ("Softmax", {"axis": 1}, []),
    ("Add", {}, [numbers(4, 1, 1)]),
    ("Mul", {}, [numbers(4, 1, 1)]),
    ("Max", {}, [numbers(4, 1, 1)]),
    ("Div", {}, [numbers(4, 1, 1, low=0.5)]),
    ("MaxPool", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}, []),
    ("AveragePool", {"kernel_shape": [2, 2]}, []),
    ("GlobalAveragePool", {}, []),
    ("ReduceMean", {"axes": [2], "keepdims": 0}, []),
    ("Transpose", {"perm": [0, 3, 2, 1]}, []),
    ("Reshape", {}, [np.array([1, 2, 2, 7, 6])]),
    ("Slice", {}, [*map(np.array, ([1], [3], [1]))]),
    ("Pad", {}, [np.array([0, 1, 2, 3, 0, 0, 1, 0])]),
    ("Resize", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor"}, [np.array([], np.float32), np.float32([1, 1, 2, 2])]),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attributes", "more"), BETWEEN)
def test_operators_have_integers(
    op: str, attributes: dict[str, Any], more: list[Array], tmp_path: Path
) -> None:
    names = [f"more{i}" if one.size else "" for i, one in enumerate(more)]
    held = {**_CONV, **{name: one for name, one in zip(names, more, strict=True) if name}}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"]),
        helper.make_node(op, ["a", *names], ["y"], **attributes),
    ]
    model = model_of(nodes, {"x": IMAGE}, {"y": np.float32}, held)
    assert near(model, {"x": IMAGE}, tmp_path).real == ()


def test_layers_and_joins_have_integers(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "v"], ["c"], group=4, pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["a", "c"], ["d"], axis=1),
        helper.make_node("Add", ["a", "c"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "u"], ["y"]),
        helper.make_node("Relu", ["d"], ["z"]),
    ]
    held = {**_CONV, "v": numbers(4, 1, 3, 3), "u": numbers(288, 5, low=-0.1, high=0.1)}
    model = model_of(nodes, {"x": IMAGE}, dict.fromkeys("yz", np.float32), held)
    written = near(model, {"x": IMAGE}, tmp_path)
    assert written.real == ()
    graph = parse(written.data).subgraphs[0]
    (layer,) = [one for one in graph.operators if one.op == "FullyConnected"]
    kinds = [graph.tensors[index].type for index in (*layer.inputs, *layer.outputs)]
    assert kinds == [INT8, INT8, INT32, INT8]
    assert {graph.tensors[index].type for index in (*graph.inputs, *graph.outputs)} == {INT8}


def test_one_axis_has_integers(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1]),
        helper.make_node("BatchNormalization", ["a", *"simv"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("BatchNormalization", ["c", *"simv"], ["y"]),
    ]
    held = {name: numbers(5, seed=seed) for seed, name in enumerate("sim")}
    held |= {"w": numbers(5, 4, 3), "v": np.abs(numbers(5)) + np.float32(0.5)}
    feeds = {"x": numbers(1, 4, 9)}
    model = model_of(nodes, feeds, {"y": np.float32}, held)
    assert near(model, feeds, tmp_path).real == ()


GROWN: list[dict[str, Any]] = [
    {},
    {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"strides": [2, 2], "pads": [1, 0, 0, 1]},
    {"group": 2},
]


@pytest.mark.parametrize("attributes", GROWN)
@pytest.mark.parametrize("biased", [True, False])
def test_transposed_convolutions_have_integers(
    attributes: dict[str, Any], biased: bool, tmp_path: Path
) -> None:
    names = ["x", "w", "b"] if biased else ["x", "w"]
    node = helper.make_node("ConvTranspose", names, ["y"], **attributes)
    outputs = 2 * attributes.get("group", 1)
    held = {"w": numbers(4, 2, 4, 4), "b": numbers(outputs)}
    model = model_of([node], {"x": IMAGE}, {"y": np.float32}, {n: held[n] for n in names[1:]})
    assert near(model, {"x": IMAGE}, tmp_path).real == ()


def test_what_has_no_integers_stays_real_and_is_said(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"]),
        helper.make_node("LayerNormalization", ["a", "s"], ["n"]),
        helper.make_node("Conv", ["n", "w", "b"], ["y"]),
    ]
    model = model_of(nodes, {"x": IMAGE}, {"y": np.float32}, {**_CONV, "s": numbers(6)})
    written = near(model, {"x": IMAGE}, tmp_path, within=0.05)
    assert "Rsqrt" in written.real
    assert "Conv2D" not in written.real


def test_a_large_bias_gets_a_scale_that_holds_it(tmp_path: Path) -> None:
    weight = numbers(4, 4, 3, 3)
    weight[2] *= 1e-9
    for bias in (50, 1.6062471, 1.0477571):
        held = {"w": weight, "b": np.float32([1, 1, bias, 1])}
        node = helper.make_node("Conv", ["x", "w", "b"], ["y"])
        model = model_of([node], {"x": IMAGE}, {"y": np.float32}, held)
        assert near(model, {"x": IMAGE}, tmp_path).real == ()


def test_an_input_without_a_range_is_refused() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model = model_of([node], {"x": IMAGE}, {"y": np.float32})
    with pytest.raises(ConvertError, match="input 'x' has no range"):
        translated(model, Wanted(ranges={}))


def test_zero_is_a_number_of_its_own() -> None:
    for low, high in ((0.1, 3.0), (-5.0, -1.0), (-1.0, 2.0), (0.0, 0.0)):
        scale = scale_of(low, high)
        assert rounded(np.zeros(1, np.float32), scale) == scale.zero_point
        ends = rounded(np.float32([min(low, 0), max(high, 0)]), scale).astype(np.float64)
        real = (ends - scale.zero_point) * scale.scale
        assert np.abs(real - [min(low, 0), max(high, 0)]).max() <= scale.scale[0]


def answers(task: Any, key: str, folder: Path, count: int | None) -> tuple[float, float]:
    """Return shares of right answers, in float32 and in integers."""
    with np.load(task.calib) as held:
        np.savez(folder / "few.npz", **{key: held[key][:500]})
    model = dcformat.read(task.model)
    written = tflite_of(model, Wanted(ranges=ranges_of(model, folder / "few.npz")))
    assert written.real == ()
    session = onnxruntime.InferenceSession(task.model.read_bytes())
    lite, right = Lite(written.data), np.zeros(2)
    with np.load(task.test) as held:
        images, labels = held[key][:count], held["labels"][:count]
    for image, label in zip(images, labels, strict=True):
        feeds = {key: image[None]}
        (found,) = lite.in_integers(feeds).values()
        right += [session.run(None, feeds)[0].argmax() == label, found.argmax() == label]
    first, second = right / len(labels)
    return float(first), float(second)


def agree(pair: tuple[float, float]) -> None:
    assert pair[0] > 0.9
    assert abs(pair[0] - pair[1]) <= 0.01


@pytest.mark.realdata
@pytest.mark.parametrize("name", MNIST)
def test_mnist_loses_less_than_a_point(name: str, data_dir: Path, tmp_path: Path) -> None:
    agree(answers(mnist_task(data_dir, tmp_path, name), MNIST[name][0], tmp_path, 1000))


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("name", MNIST)
def test_all_of_mnist_loses_less_than_a_point(name: str, data_dir: Path, tmp_path: Path) -> None:
    agree(answers(mnist_task(data_dir, tmp_path, name), MNIST[name][0], tmp_path, None))


@pytest.mark.realdata
def test_cifar_loses_less_than_a_point(data_dir: Path, tmp_path: Path) -> None:
    agree(answers(cifar_task(data_dir, tmp_path, "resnet20"), "input", tmp_path, 400))


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "resnet32"])
def test_all_of_cifar_loses_less_than_a_point(name: str, data_dir: Path, tmp_path: Path) -> None:
    agree(answers(cifar_task(data_dir, tmp_path, name), "input", tmp_path, None))


def test_integers_of_a_dcf_stay_what_they_are(digits: Path, tmp_path: Path) -> None:
    dcformat.save(dcformat.compress(dcformat.read(digits / "digits.onnx"), "int8"), tmp_path / "m")
    model = with_integers(dcformat.load(tmp_path / "m").coded_model())
    with np.load(digits / "digits_test.npz") as held:
        np.savez(tmp_path / "c.npz", image=held["images"][:100])
    written = tflite_of(model, Wanted(ranges=ranges_of(model, tmp_path / "c.npz")))
    own = np.asarray(model["conv2.weight"].data)
    assert own.dtype == np.int8
    assert own.transpose(0, 2, 3, 1).tobytes() in written.data
    assert written.real == ()


def test_tflite_micro_runs_it_too(digits: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="extra [tflite]"
    )
    with np.load(digits / "digits_test.npz") as held:
        images, labels = held["images"][:100], held["labels"][:100]
    np.savez(tmp_path / "c.npz", image=images)
    model = dcformat.read(digits / "digits.onnx")
    written = tflite_of(model, Wanted(ranges=ranges_of(model, tmp_path / "c.npz")))
    (tmp_path / "m.tflite").write_bytes(written.data)
    micro = runtime.Interpreter.from_file(str(tmp_path / "m.tflite"))
    details, right = micro.get_input_details(0), 0
    scale, point = (details["quantization_parameters"][n][0] for n in ("scales", "zero_points"))
    for image, label in zip(images, labels, strict=True):
        numbers = np.clip(np.rint(image[None] / scale) + point, -128, 127)
        micro.set_input(numbers.astype(np.int8), 0)
        micro.invoke()
        right += micro.get_output(0).argmax() == label
    assert right >= 97
