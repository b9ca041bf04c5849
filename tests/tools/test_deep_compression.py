"""The commands with networks released with Deep Compression: there, onwards, and mixed up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from deep_compression_files import decoded, write

pytest_plugins = ["command_fixtures"]


def test_files_that_are_mixed_up_are_named(tmp_path: Path, run: Any) -> None:
    net, prototxt = write(tmp_path)
    swapped = run("dcconvert", prototxt, "--prototxt", net, "-o", tmp_path / "x.dcf")
    assert "it seems to be a text; a .prototxt belongs to --prototxt" in swapped.stderr
    twice = run("dcconvert", net, "--prototxt", net, "-o", tmp_path / "x.dcf")
    assert f"prototxt {net}" in twice.stderr
    assert (swapped.exit_code, twice.exit_code) == (1, 1)
    other = run(
        "dcconvert", net, "--from", "onnx", "--prototxt", prototxt, "-o", tmp_path / "x.dcf"
    )
    assert other.exit_code == 2
    assert "--prototxt is for reading a .net of Deep Compression" in other.stderr


def test_commands_take_it_there_and_onwards(tmp_path: Path, run: Any) -> None:
    net, prototxt = write(tmp_path)
    named = net.rename(tmp_path / "n.bin")  # --prototxt says what it is
    there = tmp_path / "n.dcf"
    made = run("dcconvert", named, "--prototxt", prototxt, "-o", there, "--preset", "lossless")
    assert made.exit_code == 0, made.stderr
    assert run("dcconvert", there, "-o", tmp_path / "n.npz").exit_code == 0
    with np.load(tmp_path / "n.npz") as arrays:
        assert {k: v.tobytes() for k, v in arrays.items()} == decoded(named.read_bytes())
    net = named.rename(tmp_path / "n.net")
    prototxt.rename(tmp_path / "n.prototxt")
    assert run("dcverify", there, "--against", net).exit_code == 0
    audit = json.loads(run("dcaudit", there, "--against", net, "--json").stdout)
    assert audit["status"] == "ok"
    assert run("dcaudit", net).exit_code == 0
