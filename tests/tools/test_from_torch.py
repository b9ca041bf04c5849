"""dcconvert and dcverify on files of PyTorch: no graph, and a line for what was left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_files as made

import dcformat

pytest_plugins = ["command_fixtures"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A legacy checkpoint of a network of 9 kB, with a weight that has two names."""
    rng = np.random.default_rng(1)
    fc, bias = rng.normal(0, 0.1, (40, 50)).astype("<f4"), rng.normal(0, 1, 40).astype("<f4")
    weight = made.plain("0", fc, [b"N"])
    state = {"fc.weight": weight, "fc.bias": made.plain("1", bias, [b"N"]), "tied.weight": weight}
    value = made.mapping({"epoch": made.integer(3), "state_dict": made.mapping(state)})
    storages = {"0": (fc.size, fc.tobytes()), "1": (bias.size, bias.tobytes())}
    path = tmp_path / "net.th"
    path.write_bytes(made.legacy(made.pickle(value), storages))
    return path


def test_a_checkpoint_goes_to_dcf_losslessly(run: Any, checkpoint: Path, tmp_path: Path) -> None:
    result = run("dcconvert", checkpoint, "-o", tmp_path / "net.dcf", "--preset", "lossless")
    assert result.exit_code == 0, result.stderr
    assert "note           the model is state_dict; left out: epoch" in result.stdout
    model, file = dcformat.read(checkpoint), dcformat.load(tmp_path / "net.dcf")
    for one in model.tensors:
        assert file[one.name].tobytes() == one.data.tobytes()
    checked = run("dcverify", tmp_path / "net.dcf", "--against", checkpoint, "--run", "--json")
    assert checked.exit_code == 0, checked.stdout
    (report,) = json.loads(checked.stdout)["files"]
    details = {check["name"]: check["detail"] for check in report["checks"]}
    assert details["graph"] == "none"
    assert details["same graph"] == "the source has none"
    assert details["outputs"] == "the source has no graph"
    assert details["tensors"] == "3 of 3 identical to the bit"


def test_presets_and_formats(run: Any, checkpoint: Path, tmp_path: Path) -> None:
    for name, options in (
        ("a.dcf", []), ("b.dcf", ["--preset", "deep", "--prune", "0.5"]), ("c.npz", []),
        ("d.dcf", ["--target", "host", "--row-access"]), ("e.dcf", ["--no-names"]),
    ):  # fmt: skip
        result = run("dcconvert", checkpoint, "-o", tmp_path / name, *options, "-q")
        assert result.exit_code == 0, result.stderr
        if name.endswith(".dcf"):
            checked = run("dcverify", tmp_path / name, "--against", checkpoint, "-q")
            assert checked.exit_code == 0, checked.stdout
    assert run("dcconvert", tmp_path / "a.dcf", "-o", tmp_path / "f.npz", "-q").exit_code == 0
    for source in (checkpoint, tmp_path / "a.dcf"):
        result = run("dcconvert", source, "-o", tmp_path / "g.onnx")
        assert result.exit_code == 1
        assert "has no graph" in result.stderr


def test_a_dump_is_built_again(run: Any, checkpoint: Path, tmp_path: Path) -> None:
    from dcformat.text import build_file, dump_file  # noqa: PLC0415

    run("dcconvert", checkpoint, "-o", tmp_path / "net.dcf", "-q")
    data = (tmp_path / "net.dcf").read_bytes()
    text = "".join(dump_file(data, False))
    assert build_file(text.encode().split(b"\n")) == data


def test_another_file_by_that_name(run: Any, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"GGUF" + bytes(40))
    result = run("dcconvert", tmp_path / "pytorch_model.bin", "-o", tmp_path / "x.dcf")
    assert result.exit_code == 1
    assert "does not look like torch: it seems to be a GGUF file" in result.stderr


def test_a_pickle_that_would_run_code_makes_one_line(run: Any, tmp_path: Path) -> None:
    value = made.call("os.system", [made.text("touch proof")])
    (tmp_path / "x.pt").write_bytes(made.Archive(made.pickle(value)).bytes())
    result = run("dcconvert", tmp_path / "x.pt", "-o", tmp_path / "x.dcf")
    assert result.exit_code == 1
    assert "it names 'os.system', which is refused" in result.stderr
    assert not (tmp_path / "x.dcf").exists()
