"""dcconvert --external: two files that go together, and where that cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

pytest_plugins = ["command_fixtures"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def dcf(run: Any, net: Path, tmp_path: Path) -> Path:
    path = tmp_path / "net.dcf"
    assert run("dcconvert", net, "-o", path, "--preset", "lossless", "-q").exit_code == 0
    return path


def test_numbers_stand_beside_the_model_and_come_back(
    run: Any, net: Path, dcf: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    result = run("dcconvert", dcf, "-o", made / "a.onnx", "--external", "--json")
    assert result.exit_code == 0, result.stderr
    assert names(made) == ["a.onnx", "a.onnx.data"]
    sizes = [path.stat().st_size for path in made.iterdir()]
    assert json.loads(result.stdout)["files"][0]["stored_bytes"] == sum(sizes)
    onnx.checker.check_model(made / "a.onnx", full_check=True)
    back = tmp_path / "back.onnx"
    assert run("dcconvert", made / "a.onnx", "-o", back, "-q").exit_code == 0
    assert back.read_bytes() == net.read_bytes()


def test_a_foreign_model_goes_outside_too(run: Any, net: Path, tmp_path: Path) -> None:
    assert run("dcconvert", net, "-o", tmp_path / "b.onnx", "--external").exit_code == 0
    assert onnx.load(tmp_path / "b.onnx").graph.initializer[0].name == "conv1.weight"


def test_a_folder_takes_several_pairs(run: Any, dcf: Path, tmp_path: Path) -> None:
    (tmp_path / "other.dcf").write_bytes(dcf.read_bytes())
    folder = tmp_path / "made"
    result = run(
        "dcconvert", dcf, tmp_path / "other.dcf", "-o", f"{folder}/", "--to", "onnx", "--external"
    )
    assert result.exit_code == 0, result.stderr
    assert names(folder) == ["net.onnx", "net.onnx.data", "other.onnx", "other.onnx.data"]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("-", "-o wants the name of a file"),
        ("/dev/null", "-o wants the name of a file"),
        ("a.npz", "--external is for writing .onnx"),
        ("a.dcf", "--external is for writing .onnx"),
    ],
)
def test_one_stream_or_another_format_is_wrong_usage(
    run: Any, dcf: Path, tmp_path: Path, output: str, reason: str
) -> None:
    kind = ["--to", "onnx"] if output in ("-", "/dev/null") else []
    place = output if kind else tmp_path / output
    before = names(tmp_path)
    result = run("dcconvert", dcf, "-o", place, *kind, "--external")
    assert result.exit_code == 2
    assert reason in result.stderr
    assert names(tmp_path) == before


def test_the_data_is_never_an_input_nor_another_output(run: Any, dcf: Path, tmp_path: Path) -> None:
    (tmp_path / "a.onnx.data").write_bytes(dcf.read_bytes())
    result = run(
        "dcconvert",
        tmp_path / "a.onnx.data",
        "--from",
        "dcf",
        "-o",
        tmp_path / "a.onnx",
        "--external",
    )
    assert result.exit_code == 1
    assert "a.onnx.data: the output would replace an input" in result.stderr
    assert (tmp_path / "a.onnx.data").read_bytes() == dcf.read_bytes()


def test_an_interrupt_leaves_the_old_pair(net: Path, tmp_path: Path) -> None:
    for name in ("a.onnx", "a.onnx.data"):
        (tmp_path / name).write_bytes(b"old")
    script = (
        "import sys, time\n"
        "def payload(*arguments):\n"
        "    print('now', flush=True)\n"
        "    time.sleep(60)\n"
        "from dcformat.converters import write_onnx\n"
        "write_onnx.payload = payload\n"
        "from dcformat.tools.dcconvert import main\n"
        f"main([{str(net)!r}, '-o', {str(tmp_path / 'a.onnx')!r}, '--external', '-q'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"now\n"
        assert any(name.endswith(".part") for name in names(tmp_path))
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(30) == 130
    assert names(tmp_path) == ["a.onnx", "a.onnx.data", "net.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "a.onnx.data").read_bytes() == b"old"


@pytest.mark.parametrize("named", [("b.onnx", "--external"), ("b.onnx.data", "--to=dcf")])
def test_data_of_the_input_is_never_replaced(
    run: Any, dcf: Path, tmp_path: Path, named: tuple[str, str]
) -> None:
    folder = tmp_path / "pair"
    folder.mkdir()
    assert run("dcconvert", dcf, "-o", folder / "b.onnx", "--external").exit_code == 0
    (folder / "b.onnx").rename(folder / "a.onnx")  # its numbers are in b.onnx.data
    before = (folder / "b.onnx.data").read_bytes()
    result = run("dcconvert", folder / "a.onnx", "-o", folder / named[0], named[1])
    assert result.exit_code == 1
    assert "b.onnx.data: the output would replace data of the input" in result.stderr
    assert (folder / "b.onnx.data").read_bytes() == before
    assert names(folder) == ["a.onnx", "b.onnx.data"]
