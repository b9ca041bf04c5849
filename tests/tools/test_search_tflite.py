"""dcconvert model.tflite --fit and --max-drop: LiteRT runs the trials."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from click.testing import CliRunner
from evaluation import lite_task
from onnx import TensorProto, helper, numpy_helper

import dcformat
from dcformat.errors import ConvertError
from dcformat.model import Tensor
from dcformat.tools._trials import Trials
from dcformat.tools.dcconvert import main

Array = npt.NDArray[Any]
needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="LiteRT is not installed"
)


def normal(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a convolution and a dense layer, as ONNX and as TFLite, and data."""
    made = tmp_path_factory.mktemp("lite")
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], "mean"),
        helper.make_node("Flatten", ["g"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], "fc", transB=1),
    ]
    weights = {"w1": normal(24, 3, 3, 3, seed=1), "b1": normal(24, seed=2),
               "w2": normal(16, 24, seed=3), "b2": normal(16, seed=4)}  # fmt: skip
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
            for n, s in (("x", [1, 3, 6, 6]), ("y", [1, 16]))]  # fmt: skip
    held = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), made / "m.onnx")
    dcformat.write(dcformat.read(made / "m.onnx"), made / "m.tflite")
    return made


def samples(folder: Path, count: int = 40) -> dict[str, Array]:
    """What the input of the TFLite file is called, and samples in its shape."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    (one,) = Interpreter(str(folder / "m.tflite")).get_input_details()
    return {one["name"]: normal(count, *one["shape"][1:], seed=5)}


def run(folder: Path, *arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(folder / "m.tflite"), *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


@needs_litert
def test_the_best_that_fits_and_its_recipe(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", **samples(folder))
    first, second, recipe = (tmp_path / name for name in ("a.dcf", "b.dcf", "r.toml"))
    size = (folder / "m.tflite").stat().st_size // 3
    data = ("--calib", tmp_path / "c.npz")
    said = run(folder, "-o", first, "--fit", size, *data, "--save-recipe", recipe, "--json")
    (file,) = json.loads(said)["files"]
    assert 0.97 * size <= first.stat().st_size <= size
    assert 0 < file["measured"]["noise"] < 0.1
    assert len(file["measured"]["sensitivity"]) == 2
    run(folder, "-o", second, "--recipe", recipe, *data)
    assert first.read_bytes() == second.read_bytes()
    assert dcformat.verify(first, against=folder / "m.tflite", run=True).ok


@needs_litert
def test_noise_and_decisions_are_those_of_litert(folder: Path, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    given = samples(folder)
    np.savez(tmp_path / "c.npz", **given)
    model = dcformat.read(folder / "m.tflite")
    (dense,) = (n for n, use in model.uses.items() if use.op == "FullyConnected"
                and use.role == "weight")  # fmt: skip
    coarse = np.round(model[dense].data * 2) / np.float32(2)
    with Trials(folder / "m.tflite", [dense], tmp_path / "c.npz") as trials:
        assert trials.samples == 40
        assert trials.divergence({}).noise == 0
        found = trials.divergence({dense: coarse})
    back = tmp_path / "coarse.tflite"
    tensors = (Tensor(t.name, t.dtype, coarse) if t.name == dense else t for t in model.tensors)
    dcformat.write(replace(model, tensors=tuple(tensors)), back)
    (x,) = given.values()
    outputs = []
    for path in (folder / "m.tflite", back):
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
        rows = []
        for one in x:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], one[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
        outputs.append(np.concatenate(rows).astype(np.float64))
    wanted, got = outputs
    assert found.noise == pytest.approx(np.sum((got - wanted) ** 2) / np.sum(wanted**2), rel=1e-4)
    assert found.changed == int((got.argmax(1) != wanted.argmax(1)).sum())


@needs_litert
def test_what_cannot_be_varied(folder: Path) -> None:
    with pytest.raises(ConvertError, match="the model has no tensor 'other'"):
        Trials(folder / "m.tflite", ["other"], None)
    with (
        Trials(folder / "m.tflite", [], None) as trials,
        pytest.raises(ConvertError, match="'other' is none of the weights of these trials"),
    ):
        trials.divergence({"other": normal(3, seed=1)})


def test_without_litert_it_is_said_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "litert" in name else plain(name)
    )
    out = run(folder, "-o", tmp_path / "m.dcf", "--fit", "2KiB", code=1)
    assert "running a model needs ai-edge-litert: pip install 'dcformat[tflite]'" in out
    assert not (tmp_path / "m.dcf").exists()


@needs_litert
def test_fixed_point_is_for_onnx(folder: Path, tmp_path: Path) -> None:
    out = run(folder, "-o", tmp_path / "m.dcf", "--fixed-point", "8", code=1)
    assert "has no ONNX graph to run" in out


@needs_litert
def test_second_moments_are_those_of_what_a_weight_meets(tmp_path: Path) -> None:
    """Of a convolution with strides, a depthwise one and a dense layer, gathered here by hand."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], "conv", pads=[0, 0, 1, 1], strides=[2, 2]),
        helper.make_node("Conv", ["c", "w2"], ["d"], "deep", group=8),
        helper.make_node("Relu", ["d"], ["r"], "relu"),
        helper.make_node("Flatten", ["r"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w3"], ["y"], "fc", transB=1),
    ]
    weights = {"w1": normal(8, 3, 3, 3, seed=1), "w2": normal(8, 1, 3, 3, seed=2),
               "w3": normal(9, 8, seed=3)}  # fmt: skip
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
            for n, s in (("x", [1, 3, 6, 6]), ("y", [1, 9]))]  # fmt: skip
    held = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    model = dcformat.read(tmp_path / "m.onnx")
    dcformat.write(model, tmp_path / "m.tflite")
    given = samples(tmp_path)
    (x,) = given.values()
    np.savez(tmp_path / "lite.npz", **given)
    np.savez(tmp_path / "onnx.npz", x=x)
    lite = {use.op: n for n, use in dcformat.read(tmp_path / "m.tflite").uses.items()
            if use.role == "weight"}  # fmt: skip
    pairs = [("Conv2D", "w1"), ("DepthwiseConv2D", "w2"), ("FullyConnected", "w3")]
    with (
        Trials(tmp_path / "m.tflite", list(lite.values()), tmp_path / "lite.npz", batch=1) as ours,
        Trials(tmp_path / "m.onnx", list(weights), tmp_path / "onnx.npz", batch=1) as theirs,
    ):
        for op, weight in pairs:
            got, wanted = ours.gram(lite[op]), theirs.gram(weight)
            assert got is not None
            assert wanted is not None
            assert got.groups == wanted.groups
            np.testing.assert_allclose(got.means, wanted.means, atol=1e-5)
            np.testing.assert_allclose(got.blocks[0], wanted.blocks[0], atol=1e-4)
            stored = dcformat.read(tmp_path / "m.tflite")[lite[op]].data.transpose(got.order)
            plain = weights[weight].transpose(wanted.order)
            np.testing.assert_array_equal(stored.reshape(-1), plain.reshape(-1))


@needs_litert
@pytest.mark.realdata
def test_a_real_network_gets_right_what_it_does(data_dir: Path, tmp_path: Path) -> None:
    task = lite_task(data_dir, tmp_path)
    with Trials(task.model, [], task.calib, task.test) as trials:
        found = trials.evaluate({})
    assert (round(found.value * 761), found.samples, found.changed) == (673, 761, 0)


@needs_litert
@pytest.mark.realdata
@pytest.mark.slow
def test_a_real_network_at_an_eighth(data_dir: Path, tmp_path: Path) -> None:
    task = lite_task(data_dir, tmp_path)
    floats = sum(t.size * 4 for t in dcformat.read(task.model).tensors)
    out, data = tmp_path / "m.dcf", ("--calib", task.calib, "--eval", task.test)
    words = [task.model, "-o", out, "--fit", floats // 8, *data, "--json"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    (file,) = json.loads(result.stdout)["files"]
    found = file["measured"]
    assert found["samples"] == 761
    assert 0.99 * floats / 8 <= out.stat().st_size <= floats / 8
    assert found["changed"] <= 30
    assert found["before"] - found["after"] <= 0.015
