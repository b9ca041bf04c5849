"""dcconvert with files of weights: there and back, what is said of it, and where it goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

pytest_plugins = ["command_fixtures"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of two layers, one of them twice."""
    random = np.random.default_rng(4)
    first = random.standard_normal((40, 30)).astype("f4")
    arrays = {"fc1.weight": first, "fc2.weight": first, "fc1.bias": first[:, 0].copy()}
    save_file(arrays, tmp_path / "w.safetensors", {"format": "pt"})
    return tmp_path / "w.safetensors"


def notes(run: Any, *arguments: object) -> list[str]:
    result = run("dcconvert", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found: list[str] = json.loads(result.stdout)["files"][0]["notes"]
    return found


def test_there_and_back_is_the_source_byte_for_byte(
    run: Any, weights: Path, tmp_path: Path
) -> None:
    there, back = tmp_path / "w.dcf", tmp_path / "back.safetensors"
    assert run("dcconvert", weights, "-o", there, "--preset", "lossless").exit_code == 0
    said = notes(run, there, "-o", back)
    assert said == ["equal tensors are written again: 'fc2.weight' (as 'fc1.weight')"]
    assert back.read_bytes() == weights.read_bytes()
    assert run("dcverify", there, "--against", weights).exit_code == 0


def test_a_graph_that_is_left_out_is_told(run: Any, net: Path, tmp_path: Path) -> None:
    there = net.with_suffix(".dcf")
    assert run("dcconvert", net, "-o", there).exit_code == 0
    for suffix in ("safetensors", "npz"):
        result = run("dcconvert", there, "-o", tmp_path / f"x.{suffix}")
        assert "the graph is left out: the file holds weights only" in result.stdout
    wanted = ["conv1.weight", "conv1.bias", "fc.weight", "fc.bias"]
    assert sorted(load_file(tmp_path / "x.safetensors")) == sorted(wanted)


def test_standard_streams_carry_weights(start: Any, weights: Path) -> None:
    data = weights.read_bytes()
    options = ["--from", "safetensors", "--preset", "lossless", "-q"]
    there = start("dcconvert", "-", "-o", "-", *options, input=data)
    back = start("dcconvert", "-", "--from", "dcf", "--to", "safetensors", "-o", "-", "-q",
                 input=there.stdout)  # fmt: skip
    assert back.stdout == data


def test_files_in_a_folder_are_named_by_the_suffix_of_their_kind(
    run: Any, weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="needs pip install 'dcformat[torch]'")
    assert run("dcconvert", weights, "-o", f"{tmp_path}/new/", "--to", "torch").exit_code == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["w.pt"]


def test_weights_without_a_graph_do_not_become_onnx(
    run: Any, weights: Path, tmp_path: Path
) -> None:
    result = run("dcconvert", weights, "-o", tmp_path / "x.onnx")
    assert result.exit_code == 1
    assert "has no graph" in result.stderr
    assert ".safetensors or .npz" in result.stderr
    assert len(result.stderr.splitlines()) == 1
