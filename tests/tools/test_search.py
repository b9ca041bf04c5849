"""dcconvert --fit, --max-drop and --quality: what was asked for is met, or it is said why not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import dcformat
from dcformat.ids import Meta
from dcformat.tools.dcconvert import main

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CLASSES, WIDTH = 5, 24


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A network that tells clusters apart, with samples for calibration and for evaluation."""
    folder = tmp_path_factory.mktemp("task")
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(CLASSES, WIDTH)) * 1.2
    one = rng.normal(size=(WIDTH, 64)) / 5
    hidden = np.maximum(centres @ one, 0)
    two = np.linalg.lstsq(hidden, np.eye(CLASSES), rcond=None)[0]
    _save(folder / "net.onnx", one, two + rng.normal(size=two.shape) * 0.005)
    for name, count in (("calib", 300), ("eval", 400)):
        labels = rng.integers(0, CLASSES, count)
        x = (centres[labels] + rng.normal(size=(count, WIDTH))).astype(np.float32)
        arrays = {"x": x, "labels": labels} if name == "eval" else {"x": x}
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


def _save(path, one, two):
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = [
        numpy_helper.from_array(w.astype(np.float32), n) for n, w in (("a", one), ("b", two))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    real = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", real, ["n", WIDTH])],
        [helper.make_tensor_value_info("y", real, ["n", CLASSES])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)


def run(task, *arguments, model="net.onnx", code=0):
    words = [str(task / model), *map(str, arguments)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code, result.output
    return result.output


def data(task):
    return "--calib", task / "calib.npz", "--eval", task / "eval.npz"


def test_the_file_is_never_larger_than_asked_and_nearly_as_large(task, tmp_path):
    out = tmp_path / "net.dcf"
    for size in (1500, 2000):
        run(task, "-o", out, "--fit", size, *data(task))
        assert 0.98 * size <= out.stat().st_size <= size  # 1 % of 1,500 bytes is one layer's step


def test_the_saved_recipe_makes_the_same_file(task, tmp_path):
    first, second, recipe = (tmp_path / n for n in ("a.dcf", "b.dcf", "r.toml"))
    run(task, "-o", first, "--fit", "1800", "--save-recipe", recipe, *data(task))
    run(task, "-o", second, "--recipe", recipe, "--calib", task / "calib.npz")
    assert first.read_bytes() == second.read_bytes()
    evidence = json.loads(dcformat.load(first).metadata[Meta.EVIDENCE])
    assert evidence["metric"] == "top1"
    assert evidence["samples"] == 400
    assert set(evidence["sensitivity"]) == {"a", "b"}
    assert dcformat.verify(first, against=task / "net.onnx").ok


def test_a_recipe_wants_the_data_that_it_was_made_with(task, tmp_path):
    recipe = tmp_path / "r.toml"
    run(task, "-o", tmp_path / "a.dcf", "--fit", "1800", "--save-recipe", recipe, *data(task))
    out = run(task, "-o", tmp_path / "b.dcf", "--recipe", recipe, code=1)
    assert "r.toml: rounds with calibration data: give --calib" in out
    other = ("--recipe", recipe, "--calib", task / "eval.npz")
    assert "other calibration data" in run(task, "-o", tmp_path / "b.dcf", *other, code=1)
    assert not (tmp_path / "b.dcf").exists()


def test_the_smallest_that_holds_a_bound(task, tmp_path):
    sizes = []
    for drop in ("0.25%", "5%"):
        out = tmp_path / "net.dcf"
        said = run(task, "-o", out, "--max-drop", drop, "--json", *data(task))
        (file,) = json.loads(said)["files"]
        found = file["measured"]
        assert found["before"] - found["after"] <= float(drop[:-1]) / 100 + 1e-9
        sizes.append(out.stat().st_size)
    assert sizes[1] < sizes[0]


def test_quality_is_held_in_decibels(task, tmp_path):
    out = tmp_path / "net.dcf"
    said = run(task, "-o", out, "--quality", "30", "--json", "--calib", task / "calib.npz")
    (file,) = json.loads(said)["files"]
    assert 10 * np.log10(file["measured"]["noise"]) <= -30


def test_without_data_seeded_inputs_serve_and_it_is_said(task, tmp_path):
    outs = [tmp_path / "a.dcf", tmp_path / "b.dcf"]
    for out in outs:
        said = run(task, "-o", out, "--fit", "1800")
    assert "seeded random inputs, no data" in said
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_what_cannot_fit_says_by_how_much(task, tmp_path):
    out = run(task, "-o", tmp_path / "net.dcf", "--fit", "300", *data(task), code=1)
    assert "nothing fits" in out
    assert "B too many" in out
    assert not (tmp_path / "net.dcf").exists()


def test_size_and_bound_that_exclude_each_other(task, tmp_path):
    wishes = ("--fit", "1000", "--quality", "45")
    out = run(task, "-o", tmp_path / "net.dcf", *wishes, *data(task), code=1)
    assert "nothing fits: 45 dB at least takes" in out


def test_a_bound_that_8_bits_cannot_hold(task, tmp_path):
    out = run(task, "-o", tmp_path / "net.dcf", "--quality", "300", *data(task), code=1)
    assert "300 dB at least cannot be held" in out


def test_flash_of_c_is_counted_for_c(task, tmp_path):
    out = tmp_path / "net.c"
    said = run(task, "-o", out, "--fit", "1500", "--fit-for", "c", "--json", *data(task))
    (file,) = json.loads(said)["files"]
    assert 0.98 * 1500 <= file["stored_bytes"] <= 1500


def test_what_was_measured_is_not_measured_again(task, tmp_path, monkeypatch):
    state = tmp_path / "state.json"
    first, second = tmp_path / "a.dcf", tmp_path / "b.dcf"
    run(task, "-o", first, "--fit", "1800", "--search-state", state, *data(task))
    monkeypatch.setattr("dcformat.tools._search.Search.sensitivity", None)
    run(task, "-o", second, "--fit", "1800", "--search-state", state, *data(task))
    assert first.read_bytes() == second.read_bytes()
    out = run(task, "-o", second, "--fit", "1800", "--search-state", state, code=1)
    assert "state.json: is of another model or other data" in out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--fit", "lots"), "--fit lots: not a size"),
        (("--max-drop", "much"), "--max-drop much: not a loss"),
        (("--quality", "nan"), "--quality is a number of dB above 0"),
        (("--metric", "top1"), "--metric is for --fit, --max-drop, --quality and --fixed-point"),
        (("--fit-for", "c", "--quality", "9"), "--fit-for is for --fit"),
    ],
)
def test_options_that_cannot_be_meant(task, tmp_path, arguments, problem):
    assert problem in run(task, "-o", tmp_path / "net.dcf", *arguments, code=2)


def test_nothing_is_written_in_the_place_of_the_input(task, tmp_path):
    mine = ("--fit", "1800", "--save-recipe", task / "net.onnx")
    assert "a file that this run has already" in run(task, "-o", tmp_path / "n.dcf", *mine, code=2)


@pytest.mark.parametrize(
    ("name", "text"),
    [("nothing", ""), ("a list", "[1]"), ("numbers", '{"version":1,"key":"","noise":{"a":-1}}')],
)
def test_a_state_that_is_none(task, tmp_path, name, text):
    state = tmp_path / "state.json"
    state.write_text(text)
    out = run(
        task,
        "-o",
        tmp_path / "n.dcf",
        "--fit",
        "1800",
        "--search-state",
        state,
        *data(task),
        code=1,
    )
    assert "state.json: holds no state of a search" in out


def test_a_model_without_an_onnx_graph_cannot_be_run(task, tmp_path):
    model = dcformat.read(task / "net.onnx")
    dcformat.write(model, tmp_path / "w.safetensors")
    out = run(tmp_path, "-o", tmp_path / "n.dcf", "--fit", "1800", model="w.safetensors", code=1)
    assert "w.safetensors: has no ONNX or TFLite graph to run" in out


def test_the_first_line_says_what_is_searched_for(task, tmp_path):
    wishes = ("--fit", "1800", "--max-drop", "50%")
    out = run(task, "-o", tmp_path / "n.dcf", *wishes, *data(task))
    first = "a search: lossy, 1,800 B (1.8 KiB) at most and a loss of 0.5 of top1 at most; use"
    assert out.startswith(first)


def test_curves_are_drawn_and_told(task, tmp_path):
    pytest.importorskip("matplotlib")
    wishes = ("--fit", "1800", "--plot", tmp_path / "front.png", "--json")
    (file,) = json.loads(run(task, "-o", tmp_path / "n.dcf", *wishes, *data(task)))["files"]
    curves = file["curves"]
    for noises in curves["layers"].values():
        assert noises == sorted(noises)  # coarser steps, more noise
    front = curves["front"]
    assert [p["size"] for p in front] == sorted((p["size"] for p in front), reverse=True)
    assert front[0]["noise"] < front[-1]["noise"]
    picture = (tmp_path / "front.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    run(task, "-o", tmp_path / "n.dcf", *wishes[:4], *data(task))
    assert (tmp_path / "front.png").read_bytes() == picture
    odd = ("--fit", "1800", "--plot", tmp_path / "front.odd")
    assert "front.odd: no picture" in run(task, "-o", tmp_path / "o.dcf", *odd, *data(task), code=1)


def test_what_pruning_does_to_each_layer_is_kept(task, tmp_path):
    """The curves are in the state, and are read from there."""
    pytest.importorskip("matplotlib")
    state = tmp_path / "state.json"
    wishes = ("--fit", "1800", "--plot", tmp_path / "f.png", "--search-state", state, "--json")

    def curves():
        found = run(task, "-o", tmp_path / "n.dcf", *wishes, *data(task))
        return json.loads(found)["files"][0]["curves"]

    first = curves()
    assert set(first["pruned"]) == set(first["layers"])
    for noises in first["pruned"].values():
        assert len(noises) == len(first["ratios"])
        assert 0 < noises[0] < noises[-1]
    kept = json.loads(state.read_text())
    assert [list(c.values()) for c in kept["pruned"].values()] == list(first["pruned"].values())
    kept["pruned"]["a"]["0.5"] = 7.5
    state.write_text(json.dumps(kept))
    assert curves()["pruned"]["a"][first["ratios"].index(0.5)] == 7.5
    kept["pruned"]["a"]["0.5"] = -1
    state.write_text(json.dumps(kept))
    assert "holds no state of a search" in run(
        task, "-o", tmp_path / "n.dcf", *wishes[:6], *data(task), code=1
    )


def test_a_search_keeps_that_the_graph_shall_shrink(task, tmp_path):
    saved = tmp_path / "saved.toml"
    wishes = ("--fit", "1800", "--save-recipe", saved, "--shrink")
    assert "shrunk" in run(task, "-o", tmp_path / "n.dcf", *wishes, *data(task))
    assert "shrink = true" in saved.read_text()
    run(task, "-o", tmp_path / "again.dcf", "--recipe", saved, *data(task)[:2])
    assert (tmp_path / "again.dcf").read_bytes() == (tmp_path / "n.dcf").read_bytes()


def test_layers_that_the_recipe_keeps_stay_exact(task, tmp_path):
    recipe, out = tmp_path / "r.toml", tmp_path / "net.dcf"
    recipe.write_text('version = 1\n[[layer]]\nmatch = "b"\nmethod = "exact"\n')
    run(task, "-o", out, "--fit", "3000", "--recipe", recipe, *data(task))
    coded = {t.name: t for t in dcformat.load(out).coded_model().tensors}
    source = {t.name: t for t in dcformat.read(task / "net.onnx").tensors}
    assert dcformat.expand(dcformat.load(out).coded_model()).tensors[1].data.tobytes() == (
        source["b"].data.tobytes()
    )
    assert coded["a"].numbers().dtype == np.int8


@pytest.mark.parametrize("key", ["equalize", "bias_correction"])
def test_what_a_search_would_leave_out_is_refused(task, tmp_path, key):
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"version = 1\n[defaults]\n{key} = true\n")
    out = run(task, "-o", tmp_path / "n.dcf", "--fit", "1800", "--recipe", recipe, code=1)
    assert f"states {key}, which goes with --fixed-point" in out
