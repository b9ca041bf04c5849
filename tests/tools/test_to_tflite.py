"""dcconvert from ONNX to .tflite: directly, of a .dcf, and what is said where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dcformat.converters.tflite_schema import parse

pytest_plugins = ["command_fixtures"]


def converted(run: Any, *arguments: Any) -> dict[str, Any]:
    result = run("dcconvert", *arguments, "--json")
    assert result.exit_code == 0
    (file,) = json.loads(result.stdout)["files"]
    found: dict[str, Any] = file
    return found


def test_onnx_becomes_tflite(run: Any, digits: Path, tmp_path: Path) -> None:
    made = tmp_path / "x.tflite"
    file = converted(run, digits / "digits.onnx", "-o", made)
    graph = parse(made.read_bytes()).subgraphs[0]
    assert file["stored_bytes"] == made.stat().st_size
    assert file["operators"] == len(graph.operators)
    assert file["transposes"] == sum(one.op == "Transpose" for one in graph.operators)
    assert file["assumptions"] == ["input 'image': dimension 'N' taken as 1"]
    shown = run("dcconvert", digits / "digits.onnx", "-o", made).stdout
    assert f"operators      {file['operators']}, {file['transposes']} of them transposes" in shown


def test_a_dcf_of_the_same_numbers_gives_the_same_file(
    run: Any, digits: Path, tmp_path: Path
) -> None:
    source, made = digits / "digits.onnx", tmp_path / "x.dcf"
    assert run("dcconvert", source, "-o", made, "--preset", "lossless").exit_code == 0
    for path, output in ((source, "a.tflite"), (made, "b.tflite")):
        assert run("dcconvert", path, "-o", tmp_path / output).exit_code == 0
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A model with two nodes that TFLite has not."""
    nodes = [helper.make_node("NonZero", ["x"], ["y"], "first"),
             helper.make_node("Hardmax", ["x"], ["z"], "second")]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, kind, None)
            for name, kind in (("y", TensorProto.INT64), ("z", TensorProto.FLOAT))]  # fmt: skip
    starts = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])]
    graph = helper.make_graph(nodes, "odd", starts, ends)
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "odd.onnx")
    return tmp_path / "odd.onnx"


def test_all_that_cannot_be_is_one_line(run: Any, odd: Path, tmp_path: Path) -> None:
    result = run("dcconvert", odd, "-o", tmp_path / "x.tflite")
    assert result.exit_code == 1
    (line,) = [one for one in result.stderr.splitlines() if "cannot" in one]
    assert line.endswith("2 nodes cannot be written as TFLite: "
                         "'first' (NonZero): not an operator that TFLite has; "
                         "'second' (Hardmax): not an operator that TFLite has")  # fmt: skip
    assert list(tmp_path.glob("*.tflite*")) == []


def test_weights_and_batch_are_chosen(run: Any, digits: Path, tmp_path: Path) -> None:
    sizes = [converted(run, digits / "digits.onnx", "-o", tmp_path / "x.tflite", "--weights", kind)
             ["stored_bytes"] for kind in ("float32", "float16", "int8", "int4")]  # fmt: skip
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[3] < sizes[0] / 5
    said = run(
        "dcconvert", digits / "digits.onnx", "-o", tmp_path / "x.tflite", "--weights", "int4"
    )
    assert said.stdout.startswith("lossy: weights become int4, but for those that are integers")
    converted(run, digits / "digits.onnx", "-o", tmp_path / "x.tflite", "--batch", 8)
    graph = parse((tmp_path / "x.tflite").read_bytes()).subgraphs[0]
    assert graph.tensors[graph.inputs[0]].shape[0] == 8
    converted(run, digits / "digits.onnx", "-o", tmp_path / "x.tflite", "--shape", "image=3,1,8,8")
    graph = parse((tmp_path / "x.tflite").read_bytes()).subgraphs[0]
    assert graph.tensors[graph.inputs[0]].shape == (3, 1, 8, 8)


def test_options_of_tflite_are_for_tflite(run: Any, digits: Path, tmp_path: Path) -> None:
    for option in (("--weights", "int8"), ("--batch", "2"), ("--shape", "image=1,1,8,8")):
        result = run("dcconvert", digits / "digits.onnx", "-o", tmp_path / "x.dcf", *option)
        assert result.exit_code == 2
        assert f"{option[0]} is for writing .tflite" in result.stderr


@pytest.fixture
def calib(digits: Path, tmp_path: Path) -> Path:
    with np.load(digits / "digits_test.npz") as held:
        np.savez(tmp_path / "calib.npz", image=held["images"][:50])
    return tmp_path / "calib.npz"


def test_a_model_in_integers(run: Any, digits: Path, calib: Path, tmp_path: Path) -> None:
    made, path = tmp_path / "x.tflite", tmp_path / "x.dcf"
    assert run("dcconvert", digits / "digits.onnx", "-o", path).exit_code == 0
    for source in (digits / "digits.onnx", path):
        file = converted(run, source, "-o", made, "--integer", "--calib", calib)
        assert file["real_operators"] == {}
        graph = parse(made.read_bytes()).subgraphs[0]
        ends = (*graph.inputs, *graph.outputs)
        assert [graph.tensors[index].type for index in ends] == [9, 9]
        assert [graph.tensors[index].name for index in ends] == ["image", "logits"]
        first = made.read_bytes()
        shown = run("dcconvert", source, "-o", made, "--integer", "--calib", calib).stdout
        assert shown.startswith("lossy: all becomes int8, by ranges seen on the calibration data")
        assert "in float32     nothing: all in integers" in shown
        assert made.read_bytes() == first


def test_integers_want_inputs_of_the_model(
    run: Any, digits: Path, calib: Path, tmp_path: Path
) -> None:
    source, made = digits / "digits.onnx", tmp_path / "x.tflite"
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, picture=np.zeros((2, 1, 8, 8), np.float32))
    for arguments, code, words in (
        (("--integer",), 2, "--integer wants inputs to see ranges on: --calib FILE.npz"),
        (("--integer", "--calib", calib, "--weights", "int8"), 2, "not for --integer"),
        (("--calib", calib), 2, "--calib is for writing .dcf or C"),
        (("--integer", "--calib", wrong), 1, "no array 'image'"),
        (("--integer", "--calib", tmp_path / "none.npz"), 1, "cannot read"),
    ):
        result = run("dcconvert", source, "-o", made, *arguments)
        assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    result = run("dcconvert", source, "-o", tmp_path / "x.dcf", "--integer", "--calib", calib)
    assert result.exit_code == 2
    assert "--integer is for writing .tflite" in result.stderr
    assert not made.exists()
