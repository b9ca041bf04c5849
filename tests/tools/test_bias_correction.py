"""`bias_correction = true` in a recipe: biases make up for what weights add to the mean output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from click.testing import CliRunner
from evaluation import mnist_task
from onnx import TensorProto, helper, numpy_helper

import dcformat
from dcformat.compress import compress, preset_recipe
from dcformat.errors import ConvertError
from dcformat.file import model_of
from dcformat.tools.dcconvert import main

ort = pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]
TEXT = """version = 1

[defaults]
method = "affine"
bits = 4
scales = "tensor"
"""


def recipe(folder: Path, *more: str) -> Path:
    path = folder / f"recipe{len(more)}.toml"
    path.write_text("\n".join((TEXT, *more)))
    return path


def normal(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """Two dense layers: one has its bias in an Add, the other is a Gemm."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m"], "one"),
        helper.make_node("Add", ["m", "b1"], ["a"], "add"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], "two"),
    ]
    weights = {"w1": normal(24, 32, seed=1), "b1": normal(32, seed=2),
               "w2": normal(32, 12, seed=3), "b2": normal(12, seed=4)}  # fmt: skip
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", k])
            for n, k in (("x", 24), ("y", 12))]  # fmt: skip
    held = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=3 + normal(400, 24, seed=5))
    return tmp_path / "m.onnx"


def convert(source: Path, how: Path, calib: Path | None, code: int = 0) -> Path:
    out = how.with_suffix(".dcf")
    data = () if calib is None else ("--calib", str(calib))
    words = [str(source), "-o", str(out), "--recipe", str(how), *data]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code, result.output
    return out


def outputs(source: Path, file: Path, x: dict[str, Array]) -> tuple[Array, Array]:
    """What the source says, and what the file says, as ONNX again."""
    back = file.with_suffix(".onnx")
    dcformat.write(model_of(dcformat.load(file)), back)
    sessions = [ort.InferenceSession(str(p), providers=["CPUExecutionProvider"])
                for p in (source, back)]  # fmt: skip
    ((key, samples),) = x.items()
    wanted, got = (
        np.concatenate([one.run(None, {key: sample[None]})[0] for sample in samples])
        for one in sessions
    )
    return wanted, got


def test_the_mean_of_what_a_layer_gives_stays(net: Path, tmp_path: Path) -> None:
    calib = tmp_path / "c.npz"
    plain = convert(net, recipe(tmp_path), None)
    better = convert(net, recipe(tmp_path, "bias_correction = true"), calib)
    first = dcformat.load(better)
    source = dcformat.read(net)
    with np.load(calib) as arrays:
        x = arrays["x"].astype(np.float64)
    w1, b1 = source["w1"].data.astype(float), source["b1"].data.astype(float)
    wanted = (x @ w1 + b1).mean(axis=0)
    got = (x @ np.asarray(first["w1"], float) + np.asarray(first["b1"], float)).mean(axis=0)
    np.testing.assert_allclose(got, wanted, atol=2e-3)
    assert not np.array_equal(first["w1"], source["w1"].data)
    np.testing.assert_array_equal(dcformat.load(plain)["w1"], first["w1"])
    np.testing.assert_array_equal(dcformat.load(plain)["b1"], source["b1"].data)


def test_a_verifier_follows_the_rest_and_the_data_are_noted(net: Path, tmp_path: Path) -> None:
    better = convert(net, recipe(tmp_path, "bias_correction = true"), tmp_path / "c.npz")
    found = dcformat.verify(better, against=net)
    assert found.ok
    (check,) = (c for c in found.checks if c.name == "recipe")
    assert "but for 2 tensors made with calibration data" in check.detail
    assert '"calibration":"' in check.detail


def test_the_summary_calls_them_corrected(net: Path, tmp_path: Path) -> None:
    how = recipe(tmp_path, "bias_correction = true")
    words = [str(net), "-o", str(tmp_path / "m.dcf"), "--recipe", str(how), "--json"]
    result = CliRunner().invoke(main, [*words, "--calib", str(tmp_path / "c.npz")])
    (file,) = json.loads(result.stdout)["files"]
    done = {line["name"]: (line["done"], line["reason"]) for line in file["tensor_lines"]}
    assert done["b1"] == done["b2"] == ("corrected", "")


def test_other_data_are_refused_and_none_are_not_enough(net: Path, tmp_path: Path) -> None:
    other = recipe(tmp_path, "bias_correction = true", f'calibration = "{"0" * 64}"')
    out = convert(net, other, tmp_path / "c.npz", code=1)
    assert not out.exists()
    made = preset_recipe("int8", bias_correction=True)
    with pytest.raises(ConvertError, match="bias_correction needs calibration data"):
        compress(dcformat.read(net), made)
    with pytest.raises(ConvertError, match="bias_correction changes numbers"):
        preset_recipe("lossless", bias_correction=True)


@pytest.mark.realdata
def test_four_bits_of_a_real_network_lose_less(data_dir: Path, tmp_path: Path) -> None:
    task = mnist_task(data_dir, tmp_path)
    with np.load(task.calib) as arrays:
        ((key, images),) = arrays.items()
    np.savez(tmp_path / "c.npz", **{key: images[:256]})
    x = {key: images[256:512]}
    noises = []
    for more in ((), ("bias_correction = true",)):
        made = convert(task.model, recipe(tmp_path, *more), tmp_path / "c.npz")
        wanted, got = outputs(task.model, made, x)
        noises.append(np.sum((got - wanted) ** 2) / np.sum(wanted**2))
    print(noises)
    assert noises[1] < 0.9 * noises[0]
