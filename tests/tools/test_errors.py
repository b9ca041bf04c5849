"""Everything that can go wrong is one line, an exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from dcformat.tools import dcconvert
from dcformat.tools._convert import Outcome

pytest_plugins = ["command_fixtures"]


def check_one_line(result: Any, command: str, *words: str) -> None:
    """Check exit code 1 and one line on stderr with the command's name and these words."""
    lines = result.stderr.splitlines()
    assert result.exit_code == 1, result.stderr
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{command}: ")
    assert [word for word in words if word not in lines[0]] == []


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_missing_file_is_named(run: Any, tmp_path: Path) -> None:
    missing = tmp_path / "no.onnx"
    check_one_line(
        run("dcconvert", missing, "-o", tmp_path / "x.dcf"), "dcconvert", f"{missing}: no such file"
    )
    check_one_line(run("dcverify", missing), "dcverify", f"{missing}: cannot read: No such file")
    check_one_line(
        run("dcconvert", tmp_path / "no.dcf", "-o", tmp_path / "x.onnx"),
        "dcconvert",
        "no such file",
    )
    assert files(tmp_path) == []


def test_a_folder_is_no_file(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a.onnx"
    folder.mkdir()
    check_one_line(
        run("dcconvert", folder, "-o", tmp_path / "x.dcf"), "dcconvert", f"{folder}: is a directory"
    )
    check_one_line(run("dcverify", folder), "dcverify", "cannot read: Is a directory")


@pytest.mark.parametrize("content", [b"", b"hello, world\n", b"PK\3\4" + bytes(60), bytes(100)])
def test_what_is_not_onnx_is_refused(run: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    result = run("dcconvert", path, "-o", tmp_path / "x.dcf")
    check_one_line(result, "dcconvert", f"{path}: ")
    assert "onnx" in result.stderr.lower().replace(str(path).lower(), "")
    assert files(tmp_path) == ["a.onnx"]


@pytest.mark.parametrize("part", [0.02, 0.5, 0.97, 0.9999])
def test_a_truncated_model_is_refused(run: Any, net: Path, tmp_path: Path, part: float) -> None:
    whole = net.read_bytes()
    net.write_bytes(whole[: int(part * len(whole))])
    result = run("dcconvert", net, "-o", tmp_path / "x.dcf")
    check_one_line(result, "dcconvert", f"{net}: not an ONNX model")
    assert files(tmp_path) == ["net.onnx"]


def test_a_dcf_that_is_none_is_refused(run: Any, net: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "a.dcf"
    renamed.write_bytes(net.read_bytes())
    result = run("dcconvert", renamed, "-o", tmp_path / "x.onnx")
    check_one_line(result, "dcconvert", f"{renamed}: ", "not a .dcf file")


def test_unknown_suffixes_are_told_with_what_is_known(run: Any, net: Path, tmp_path: Path) -> None:
    result = run("dcconvert", net, "-o", tmp_path / "x.xyz")
    check_one_line(result, "dcconvert", "x.xyz", "*.xyz", "npz", "onnx")
    net.rename(tmp_path / "net.pb")
    result = run("dcconvert", tmp_path / "net.pb", "-o", tmp_path / "x.dcf")
    check_one_line(result, "dcconvert", "net.pb", "*.pb", "onnx")


def test_an_output_that_cannot_be_written_is_named(run: Any, net: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "no" / "x.dcf", net / "x.dcf", Path("/proc/x.dcf")):
        check_one_line(run("dcconvert", net, "-o", out), "dcconvert", str(out), "cannot write")
    assert files(tmp_path) == ["net.onnx"]


def test_an_output_is_never_an_input(run: Any, net: Path) -> None:
    before = net.read_bytes()
    result = run("dcconvert", net, "-o", net, "--to", "dcf")
    check_one_line(result, "dcconvert", f"{net}: the output would replace an input")
    assert net.read_bytes() == before


def test_external_data_that_is_missing_is_named(
    run: Any, external_net: Path, tmp_path: Path
) -> None:
    (external_net.parent / "weights.bin").unlink()
    result = run("dcconvert", external_net, "-o", tmp_path / "x.dcf")
    check_one_line(result, "dcconvert", f"{external_net}: ", "weights.bin")
    assert not (tmp_path / "x.dcf").exists()


@pytest.mark.parametrize("kind", ["absolute", "parent", "link"])
def test_external_data_outside_the_folder_is_refused(
    run: Any, external_net: Path, tmp_path: Path, kind: str
) -> None:
    weights = external_net.parent / "weights.bin"
    outside = tmp_path / "outside.bin"
    weights.rename(outside)
    location = {"absolute": str(outside), "parent": "../outside.bin", "link": "weights.bin"}[kind]
    if kind == "link":
        weights.symlink_to(outside)
    model = onnx.load(external_net, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    external_net.write_bytes(model.SerializeToString())
    result = run("dcconvert", external_net, "-o", tmp_path / "x.dcf")
    check_one_line(result, "dcconvert", f"{external_net}: ")
    assert not (tmp_path / "x.dcf").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 1\n[defaults]\nbitz = 3\n", ["unknown key 'bitz'"]),
        ("version = 1\n[[layer]]\nmatch = 'nothing*'\n", ["'nothing*'", "matches no tensor"]),
        ("version = 2\n", ["version = 1"]),
        ("version = = 1\n", ["not a TOML recipe"]),
        ("version = 1\n[defaults]\nprune = 2\n", ["prune = 2"]),
    ],
)
def test_recipes_that_cannot_be_used_are_named(
    run: Any, net: Path, tmp_path: Path, text: str, words: list[str]
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(text)
    result = run("dcconvert", net, "-o", tmp_path / "x.dcf", "--recipe", recipe)
    check_one_line(result, "dcconvert", str(recipe), *words)
    assert files(tmp_path) == ["net.onnx", "r.toml"]


def test_a_missing_recipe_is_an_error(run: Any, net: Path, tmp_path: Path) -> None:
    result = run("dcconvert", net, "-o", tmp_path / "x.dcf", "--recipe", tmp_path / "no.toml")
    check_one_line(result, "dcconvert", "no.toml: No such file")


@pytest.mark.parametrize(
    "arguments",
    [
        ["dcconvert"],
        ["dcconvert", "a.onnx"],
        ["dcconvert", "a.onnx", "-o", "a.dcf", "--preset", "best"],
        ["dcconvert", "a.onnx", "-o", "a.dcf", "--bits", "9"],
        ["dcconvert", "a.onnx", "-o", "a.dcf", "--bits", "4"],
        ["dcconvert", "a.onnx", "-o", "a.dcf", "--prune", "1"],
        ["dcconvert", "a.onnx", "-o", "a.dcf", "--preset", "lossless", "--prune", "0.5"],
        ["dcconvert", "a.onnx", "b.onnx", "-o", "a.dcf"],
        ["dcconvert", "a.onnx", "-o", "a.dcf", "--from", "tar"],
        ["dcconvert", "-", "-o", "a.dcf"],
        ["dcconvert", "a.dcf", "-o", "b.dcf", "--preset", "int8"],
        ["dcconvert", "a.dcf", "-o", "b.onnx", "--no-names"],
        ["dcconvert", "a.onnx", "-o", "a.dcf", "--what"],
        ["dcverify"],
        ["dcverify", "a.dcf", "--run"],
        ["dcverify", "a.dcf", "--runs", "0"],
    ],
)
def test_wrong_usage_ends_with_2_and_no_traceback(run: Any, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: dc" in result.stderr
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "out of memory"),
        (RecursionError("too deep"), "internal error: RecursionError: too deep"),
        (OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_errors_that_nobody_foresaw_are_one_line_too(
    run: Any,
    net: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    words: str,
) -> None:
    def fail(*_: object) -> Outcome:
        raise error

    monkeypatch.setattr(dcconvert, "convert", fail)
    result = run("dcconvert", net, "-o", tmp_path / "x.dcf")
    check_one_line(result, "dcconvert", f"{net}: ", words)
    monkeypatch.setattr(dcconvert, "plan", fail)
    check_one_line(run("dcconvert", net, "-o", tmp_path / "x.dcf"), "dcconvert", words)


def test_an_error_while_writing_leaves_the_old_output(
    run: Any, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.dcf"
    out.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    result = run("dcconvert", net, "-o", out)
    check_one_line(result, "dcconvert", f"{out}: cannot write: No space left on device")
    assert out.read_bytes() == b"old"
    assert files(tmp_path) == ["net.onnx", "x.dcf"]


def test_names_in_errors_are_escaped(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\nb.onnx"
    path.write_bytes(b"hello")
    result = run("dcconvert", path, "-o", tmp_path / "x.dcf")
    check_one_line(result, "dcconvert", "a\\x1b[31m\\x0ab.onnx")


def test_names_of_files_that_are_not_utf8_do_not_hurt(start: Any, net: Path) -> None:
    odd = os.fsdecode(os.fsencode(net.parent) + b"/n\xff.onnx")
    net.rename(odd)
    done = start("dcconvert", odd, "-o", f"{net.parent}/new/")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"n\\udcff.onnx -> " in done.stdout


def test_a_terminal_of_ascii_gets_escapes(net: Path, tmp_path: Path) -> None:
    renamed = net.rename(tmp_path / "ünet.onnx")
    done = subprocess.run(
        [sys.executable, "-m", "dcformat.tools.dcconvert", renamed, "-o", tmp_path / "x.dcf"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xfcnet.onnx -> " in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_a_full_disk_is_told(start: Any, net: Path, quiet: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = start("dcconvert", net, "-o", "-", "-q", stdout=full)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith(
            b"standard output: cannot write: No space left on device"
        )
        summary = start("dcconvert", net, "-o", net.with_suffix(".dcf"), *quiet, stdout=full)
        assert summary.returncode == (0 if quiet else 1)
        assert b"Traceback" not in summary.stderr
        assert b"Exception" not in summary.stderr
        assert summary.stderr.count(b"\n") == (0 if quiet else 1)
    device = start("dcconvert", net, "-o", "/dev/full", "--to", "dcf", "-q")
    assert device.returncode == 1
    assert b"/dev/full: cannot write: No space left on device" in device.stderr
    assert Path("/dev/full").is_char_device()


def test_a_device_is_written_to_and_stays_one(start: Any, net: Path) -> None:
    for kind in ("dcf", "npz"):
        done = start("dcconvert", net, "-o", "/dev/null", "--to", kind, "-q")
        assert (done.returncode, done.stderr) == (0, b"")
        assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("out", ["-", "file"])
def test_a_closed_pipe_ends_the_command_as_others_do(
    start: Any, net: Path, tmp_path: Path, out: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = start("dcconvert", net, "-o", "-" if out == "-" else tmp_path / "x.dcf", stdout=writer)
    os.close(writer)
    assert done.returncode == 141
    for word in (b"Traceback", b"Exception", b"dcconvert: "):
        assert word not in done.stderr


def test_dcverify_goes_on_after_an_error(run: Any, net: Path, tmp_path: Path) -> None:
    good = tmp_path / "x.dcf"
    run("dcconvert", net, "-o", good)
    result = run("dcverify", tmp_path / "no.dcf", good, "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["status"] == "error"
    assert [file["status"] for file in answer["files"]] == ["error", "ok"]
    assert "No such file" in answer["files"][0]["error"]
