"""dcconvert --fixed-point: what becomes of weights, biases and activations, and that it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import dcformat
from dcformat.coded import Fixed
from dcformat.compress.fixed_point import to_fixed
from dcformat.converters.onnx_fixed import graph_of
from dcformat.converters.onnx_simulate import simulate
from dcformat.ids import Meta
from dcformat.tools.dcconvert import main

ort = pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]
WEIGHTS, BIASES = ("w1", "w2"), ("b1", "b2")


def normal(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution with a bias of its own, a dense layer with a bias in an Add, and data."""
    made = tmp_path_factory.mktemp("fixed")
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c"], "conv", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], "relu"),
        node("Flatten", ["r"], ["f"], "flat"),
        node("MatMul", ["f", "w2"], ["m"], "fc"),
        node("Add", ["m", "b2"], ["y"], "add"),
    ]
    weights = {"w1": normal(6, 2, 3, 3, seed=1), "b1": normal(6, seed=2),
               "w2": normal(96, 5, seed=3), "b2": normal(5, seed=4)}  # fmt: skip
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
            for n, s in (("x", ["N", 2, 4, 4]), ("y", ["N", 5]))]  # fmt: skip
    held = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), made / "m.onnx")
    for name, seed in (("calib", 5), ("eval", 6)):
        np.savez(made / f"{name}.npz", x=np.abs(normal(150, 2, 4, 4, seed=seed)))
    return made


def run(folder: Path, *arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(folder / "m.onnx"), *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def fixed(folder: Path, out: Path, bits: int, *more: object) -> dict[str, Any]:
    """Convert with calibration data; return what --json says of the file."""
    calib = ("--calib", folder / "calib.npz")
    said = run(folder, "-o", out, "--fixed-point", bits, *calib, "--json", *more)
    (found,) = json.loads(said)["files"]
    return dict(found)


@pytest.mark.parametrize(("bits", "kind"), [(4, "int8"), (8, "int8"), (16, "int16")])
def test_weights_and_biases_are_integers_and_layers_have_formats(
    bits: int, kind: str, folder: Path, tmp_path: Path
) -> None:
    fixed(folder, tmp_path / "m.dcf", bits)
    file = dcformat.load(tmp_path / "m.dcf")
    for name in (*WEIGHTS, *BIASES):
        tensor = file.coded(name)
        assert isinstance(tensor.values, Fixed)
        assert (tensor.symbols.dtype, tensor.values.fraction.shape) == (np.dtype(kind), ())
        assert np.abs(tensor.symbols.astype(int)).max() <= 1 << (bits - 1)
    conv, dense = file.layers
    assert (conv.name, conv.weight, conv.bias) == ("conv", "w1", "b1")
    assert (dense.name, dense.weight, dense.bias) == ("fc", "w2", "b2")
    assert (conv.input_bits, conv.output_bits, dense.output_bits) == (bits, bits, 32)
    assert (dense.shift, dense.input_fraction) == (0, conv.output_fraction)


def test_the_saved_recipe_makes_the_same_file_and_the_file_is_what_the_source_says(
    folder: Path, tmp_path: Path
) -> None:
    first, second, recipe = (tmp_path / name for name in ("a.dcf", "b.dcf", "r.toml"))
    fixed(folder, first, 4, "--save-recipe", recipe)
    run(folder, "-o", second, "--recipe", recipe, "--calib", folder / "calib.npz")
    assert first.read_bytes() == second.read_bytes()
    report = dcformat.verify(first, against=folder / "m.onnx", run=True)
    assert report.ok
    (check,) = (c for c in report.checks if c.name == "recipe")
    assert "but for 2 tensors made with calibration data" in check.detail
    out = run(folder, "-o", second, "--recipe", recipe, code=1)
    assert "r.toml: rounds with calibration data: give --calib" in out


def test_unrefined_numbers_are_the_nearest_and_need_no_data_to_follow(
    folder: Path, tmp_path: Path
) -> None:
    first, second, recipe = (tmp_path / name for name in ("a.dcf", "b.dcf", "r.toml"))
    found = fixed(folder, first, 8, "--no-refine", "--save-recipe", recipe)
    assert found["measured"]["fixed_point"]["refined"] is False
    run(folder, "-o", second, "--recipe", recipe)
    assert first.read_bytes() == second.read_bytes()
    file, source = dcformat.load(first), dcformat.read(folder / "m.onnx")
    for name in (*WEIGHTS, *BIASES):
        tensor = file.coded(name)
        assert isinstance(tensor.values, Fixed)
        wanted = to_fixed(source[name].data, int(tensor.values.fraction), 8)
        np.testing.assert_array_equal(tensor.symbols, wanted)
    (check,) = (c for c in dcformat.verify(first, folder / "m.onnx").checks if c.name == "recipe")
    assert check.detail.startswith("followed again, the same: ")


def test_what_was_measured_is_in_the_file_and_in_json(folder: Path, tmp_path: Path) -> None:
    found = fixed(folder, tmp_path / "m.dcf", 8, "--eval", folder / "eval.npz")["measured"]
    file = dcformat.load(tmp_path / "m.dcf")
    assert json.loads(file.metadata[Meta.EVIDENCE]) == found
    assert (found["metric"], found["samples"], found["calibration"]) == ("top1", 150, "data")
    said = found["fixed_point"]
    assert (said["bits"], said["refined"], set(said["noise"])) == (8, True, {"conv", "fc"})
    assert all(0 < noise < found["noise"] * 2 for noise in said["noise"].values())


def test_refining_leaves_less_noise(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.dcf"
    plain = fixed(folder, out, 4, "--no-refine")["measured"]["noise"]
    assert fixed(folder, out, 4)["measured"]["noise"] < 0.6 * plain


def test_the_model_with_quantizers_has_the_same_integers(folder: Path, tmp_path: Path) -> None:
    fixed(folder, tmp_path / "m.dcf", 8)
    back = [str(tmp_path / "m.dcf"), "--to", "qdq", "-o", str(tmp_path / "q.onnx")]
    assert CliRunner().invoke(main, back).exit_code == 0
    file, graph = dcformat.load(tmp_path / "m.dcf"), graph_of(folder / "m.onnx")
    numbers = {name: np.asarray(file.coded(name).symbols) for name in (*WEIGHTS, *BIASES)}
    x = np.abs(normal(9, 2, 4, 4, seed=8))
    wanted, _ = simulate(graph, file.layers, numbers, {"x": x})
    session = ort.InferenceSession(str(tmp_path / "q.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], wanted["y"])
    held = {t.name: numpy_helper.to_array(t)
            for t in onnx.load(tmp_path / "q.onnx").graph.initializer}  # fmt: skip
    for name in WEIGHTS:
        np.testing.assert_array_equal(held[f"{name}/numbers"], numbers[name])


def test_c_has_the_formats_of_layers(folder: Path, tmp_path: Path) -> None:
    calib = ("--calib", folder / "calib.npz", "--c-form", "dense")
    run(folder, "-o", tmp_path / "m.c", "--fixed-point", 8, "--no-refine", *calib)
    fixed(folder, tmp_path / "m.dcf", 8, "--no-refine")
    conv = dcformat.load(tmp_path / "m.dcf").layers[0]
    header = (tmp_path / "m.h").read_text()
    for word, number in (("INPUT_FRACTION", conv.input_fraction), ("RIGHT_SHIFT", conv.shift),
                         ("BIAS_LEFT_SHIFT", conv.bias_shift)):  # fmt: skip
        assert f"#define M_W1_{word} {number}\n" in header


def test_equal_ranges_and_corrected_biases_go_before(folder: Path, tmp_path: Path) -> None:
    first, second, recipe = (tmp_path / name for name in ("a.dcf", "b.dcf", "r.toml"))
    base = tmp_path / "base.toml"
    base.write_text("version = 1\n[defaults]\nequalize = true\nbias_correction = true\n")
    fixed(folder, first, 4, "--recipe", base, "--save-recipe", recipe)
    run(folder, "-o", second, "--recipe", recipe, "--calib", folder / "calib.npz")
    assert first.read_bytes() == second.read_bytes()
    assert dcformat.verify(first, against=folder / "m.onnx").ok
    text = recipe.read_text()
    assert "equalize = true" in text
    assert "bias_correction = true" in text


def test_without_data_seeded_inputs_serve_and_it_is_said(folder: Path, tmp_path: Path) -> None:
    assert "seeded random inputs" in run(folder, "-o", tmp_path / "m.dcf", "--fixed-point", "8")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--fixed-point", "8", "--fit", "9KiB"), "--fit and --fixed-point do not go together"),
        (("--fixed-point", "8", "--preset", "deep"), "--preset and --fixed-point do not go"),
        (("--fixed-point", "8", "--plot", "p.png"), "--plot and --fixed-point do not go together"),
        (("--no-refine",), "--refine is for --fixed-point"),
    ],
)
def test_options_that_do_not_go_together(
    options: tuple[str, ...], says: str, folder: Path, tmp_path: Path
) -> None:
    assert says in run(folder, "-o", tmp_path / "m.dcf", *options, code=2)


@pytest.mark.parametrize(
    ("text", "key"),
    [("[defaults]\nprune = 0.5", "prune"), ('[[layer]]\nmatch = "w1"\nbits = 4', "layer")],
)
def test_a_recipe_says_only_what_goes_before(
    text: str, key: str, folder: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base.toml"
    base.write_text(f"version = 1\n{text}\n")
    out = run(folder, "-o", tmp_path / "m.dcf", "--fixed-point", 8, "--recipe", base, code=1)
    assert f"base.toml: states {key}: fixed point leaves a recipe preset, target" in out
    assert not (tmp_path / "m.dcf").exists()
