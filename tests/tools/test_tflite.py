"""The commands on .tflite files: there and back, checked, run, and where the bytes are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import ROOT
from tflite_files import dense, every_kind, layers, quantized

pytest_plugins = ["command_fixtures"]


@pytest.fixture(params=[dense, quantized, every_kind])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "net.tflite").write_bytes(request.param())
    return tmp_path / "net.tflite"


def test_there_and_back_and_checked(run: Any, path: Path, tmp_path: Path) -> None:
    made, back = tmp_path / "net.dcf", tmp_path / "back.tflite"
    assert run("dcconvert", path, "-o", made, "--preset", "lossless").exit_code == 0
    assert run("dcconvert", made, "-o", back).exit_code == 0
    assert back.read_bytes() == path.read_bytes()
    result = run("dcverify", made, "--against", path)
    assert result.exit_code == 0
    assert "tflite built back is the source, byte for byte" in result.stdout
    assert run("dcconvert", path, "-o", tmp_path / "copy.tflite").exit_code == 0
    assert (tmp_path / "copy.tflite").read_bytes() == path.read_bytes()


def test_what_was_done_to_quantized_tensors_is_said(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(quantized())
    result = run("dcconvert", path, "-o", tmp_path / "net.dcf", "--json")
    (file,) = json.loads(result.stdout)["files"]
    lines = {line["name"]: line for line in file["tensor_lines"]}
    assert lines["conv"]["done"] == "int8 per channel"
    assert lines["conv"]["reason"] == "INT8 already"
    assert lines["conv"]["op"] == "Conv2D"
    assert lines["table"]["done"] == "uint8 per tensor"
    assert file["largest_error"] == 0
    assert file["weight_bytes"] == 8 * 36 + 4 * 8 + 72 + 80


def test_dcverify_runs_both_in_litert(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs pip install 'dcformat[tflite]'")
    path, made = tmp_path / "net.tflite", tmp_path / "net.dcf"
    path.write_bytes(dense())
    for preset, words in (("lossless", "identical"), ("int8", "largest error")):
        run("dcconvert", path, "-o", made, "--preset", preset)
        result = run("dcverify", made, "--against", path, "--run")
        assert result.exit_code == 0
        (line,) = [line for line in result.stdout.splitlines() if " outputs " in line]
        assert line.split()[0] == "ok"
        assert words in line


def test_without_litert_the_way_out_is_told(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = tmp_path / "net.tflite", tmp_path / "net.dcf"
    path.write_bytes(dense())
    run("dcconvert", path, "-o", made)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("dcverify", made, "--against", path, "--run")
    assert result.exit_code == 1
    assert "ai-edge-litert: pip install 'dcformat[tflite]'" in result.stderr


def test_dcaudit_says_where_the_bytes_are(run: Any, path: Path, tmp_path: Path) -> None:
    result = run("dcaudit", path, "--json", "--preset", "lossless")
    assert result.exit_code == 0
    doc = json.loads(result.stdout)
    schema = json.loads((ROOT / "spec" / "audit.schema.json").read_text())
    jsonschema.validate(doc, schema)
    assert doc["source"]["format"] == "tflite"
    assert sum(part["bytes"] for part in doc["source"]["parts"]) == path.stat().st_size
    assert all(row["op"] for row in doc["tensors"])
    own = [row for row in doc["tensors"] if row["tied_to"] is None]
    assert [row["largest_error"] for row in own] == [0] * len(own)
    assert doc["compute"]["macs"] > 0
    assert doc["compute"]["layers"][0]["name"] in {row["name"] for row in doc["layers"]}
    assert "tables " in run("dcaudit", path).stdout


def test_dcaudit_of_a_dcf_names_the_layers(run: Any, tmp_path: Path) -> None:
    path, made = tmp_path / "net.tflite", tmp_path / "net.dcf"
    path.write_bytes(quantized())
    run("dcconvert", path, "-o", made)
    doc = json.loads(run("dcaudit", made, "--json", "--against", path).stdout)
    assert {row["name"] for row in doc["layers"]} == {"Conv2D_0", "DepthwiseConv2D_1", "Gather_2"}
    assert doc["compute"]["macs"] == 4 * 4 * 8 * 36 + 2 * 2 * 8 * 9
    for name in ("--markdown", "--html", "--csv"):
        assert run("dcaudit", made, name, tmp_path / "out").exit_code == 0
    assert run("dcaudit", made, "--shape", "x=1").exit_code == 1
    result = run("dcaudit", made, "--calib", tmp_path / "none.npz")
    assert result.exit_code == 1
    assert "--calib runs ONNX graphs" in result.stderr


def test_c_is_written_with_the_scales(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(quantized())
    result = run("dcconvert", path, "-o", tmp_path / "net.c", "--c-form", "dense")
    assert result.exit_code == 0, result.stderr
    assert "int8_t" in (tmp_path / "net.c").read_text() + (tmp_path / "net.h").read_text()


def test_a_file_for_tflite_micro_says_what_is_decoded(run: Any, tmp_path: Path) -> None:
    path, made = tmp_path / "net.tflite", tmp_path / "net.dcf"
    path.write_bytes(layers("zeros"))
    run("dcconvert", path, "-o", made)
    result = run("dcconvert", made, "-o", tmp_path / "net.tflm")
    assert result.exit_code == 0, result.stderr
    line = next(line for line in result.stdout.splitlines() if line.split()[0] == "decoded")
    assert line.split()[:3] == ["decoded", "3", "weights"]
    assert line.endswith("prune (3)")
    assert f"{32 * 3 * 3 * 16:,} B for the decoded weights of one layer" in result.stdout
    size = (tmp_path / "net.tflm").stat().st_size
    assert size < path.stat().st_size
    doc = json.loads(run("dcconvert", path, "-o", tmp_path / "b.tflm", "--json").stdout)
    assert (doc["files"][0]["stored_bytes"], doc["files"][0]["decoded_tensors"]) == (size, 3)
    assert (tmp_path / "b.tflm").read_bytes() == (tmp_path / "net.tflm").read_bytes()
    refused = run("dcconvert", path, "-o", tmp_path / "c.tflm", "--preset", "deep")
    assert refused.exit_code == 2


def test_the_arena_is_printed_before_and_after(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro", reason="needs pip install 'dcformat[tflite]'")
    path, made = tmp_path / "net.tflite", tmp_path / "net.tflm"
    path.write_bytes(layers("zeros"))
    result = run("dcconvert", path, "-o", made, "--arena", "--json")
    arena = json.loads(result.stdout)["files"][0]["arena"]
    assert 0 < arena["before"] < arena["after"]
    text = run("dcconvert", path, "-o", made, "--arena").stdout
    assert f"arena before: {arena['before']:,} B, after: {arena['after']:,} B" in text
    refused = run("dcconvert", path, "-o", tmp_path / "net.dcf", "--arena")
    assert refused.exit_code == 2
    assert "--arena is for writing .tflm" in refused.stderr


def test_of_a_baseline_operators_are_layers_too(run: Any, tmp_path: Path) -> None:
    """A limit names the operator whose tensor is gone, whichever way the baseline is given."""
    old, new, budget = (tmp_path / name for name in ("old.dcf", "new.dcf", "budget.toml"))
    for make, made in ((quantized, old), (dense, new)):
        (tmp_path / "net.tflite").write_bytes(make())
        run("dcconvert", tmp_path / "net.tflite", "-o", made, "-q")
    kept = tmp_path / "old.json"
    kept.write_text(run("dcaudit", old, "--json").stdout)
    before = {t["layer"] for t in json.loads(kept.read_text())["tensors"]}
    after = {t["layer"] for t in json.loads(run("dcaudit", new, "--json").stdout)["tensors"]}
    gone = min(before - after - {None})
    budget.write_text(f'version = 1\n[[layer]]\nmatch = "{gone}"\ngrowth = 0\n')
    for baseline in (old, kept):
        result = run("dcaudit", new, "--baseline", baseline, "--budget", budget, "--json")
        (limit,) = json.loads(result.stdout)["budget"]["limits"]
        assert limit["bytes"] < 0


def test_activations_are_of_onnx_graphs(run: Any, path: Path) -> None:
    result = run("dcaudit", path, "--calib", path.with_name("x.npz"))
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line == f"dcaudit: {path}: --calib runs ONNX graphs; this one is another"
