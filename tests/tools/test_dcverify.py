"""dcverify: one line a check, and an exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_nets import make_net

import dcformat
from dcformat.compress import compress, preset_recipe
from dcformat.tools.dcverify import main
from dcformat.verify import FILE_CHECKS

pytest_plugins = ["command_fixtures"]


@pytest.fixture
def made(run: Any, net: Path) -> Path:
    """The network as net.dcf, int8."""
    path = net.with_suffix(".dcf")
    assert run("dcconvert", net, "-o", path, "-q").exit_code == 0
    return path


def test_a_good_file_gets_a_line_a_check(run: Any, made: Path) -> None:
    result = run("dcverify", made)
    assert (result.exit_code, result.stderr) == (0, "")
    head, *lines = result.stdout.splitlines()
    assert head == f"{made}: ok"
    assert [line[8:20].rstrip() for line in lines] == list(FILE_CHECKS)
    assert {line[:8] for line in lines} <= {"  ok    ", "  skip  "}


def test_a_changed_file_gets_a_place_and_1(run: Any, made: Path) -> None:
    data = bytearray(made.read_bytes())
    data[-30] ^= 1
    made.write_bytes(data)
    result = run("dcverify", made)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{made}: FAILED\n")
    assert (
        "  FAIL  checksums     section PAYLOAD: stored bytes changed (CHECKSUM)\n" in result.stdout
    )


def test_quiet_tells_only_what_failed(run: Any, made: Path) -> None:
    result = run("dcverify", made, "-q")
    assert (result.exit_code, result.output) == (0, "")
    made.write_bytes(made.read_bytes()[:-1])
    result = run("dcverify", made, "-q")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"dcverify: {made}: structure: header: file ends at ")


def test_json_tells_status_checks_and_error(run: Any, net: Path, made: Path) -> None:
    result = run("dcverify", made, "--against", net, "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert (answer["command"], answer["status"]) == ("dcverify", "ok")
    (file,) = answer["files"]
    assert file["file"] == str(made)
    assert 0 < file["largest_error"] < 0.1
    assert {check["status"] for check in file["checks"]} <= {"ok", "skipped"}
    assert [check["name"] for check in file["checks"]][: len(FILE_CHECKS)] == list(FILE_CHECKS)
    made.write_bytes(b"")
    result = run("dcverify", made, "--json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (1, "failed")


def test_against_and_run_add_lines(run: Any, net: Path, made: Path) -> None:
    result = run("dcverify", made, "--against", net, "--run", "--runs", "2", "-v")
    assert result.exit_code == 0
    assert "  ok    tensors       2 of 4 identical to the bit; largest error " in result.stdout
    assert "          fc.weight: largest error " in result.stdout
    assert "  ok    outputs       2 random inputs, 2 outputs: largest error " in result.stdout


def test_a_source_that_is_another_fails(run: Any, made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(make_net("conv9.weight").SerializeToString())
    result = run("dcverify", made, "--against", other)
    assert result.exit_code == 1
    assert "  FAIL  source " in result.stdout


def test_a_missing_source_is_an_error(run: Any, made: Path, tmp_path: Path) -> None:
    result = run("dcverify", made, "--against", tmp_path / "no.onnx", "--json")
    assert result.exit_code == 1
    assert "no.onnx" in result.stderr
    assert json.loads(result.stdout)["status"] == "error"


def test_run_without_onnxruntime_tells_the_way_out(
    run: Any, net: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("dcverify", made, "--against", net, "--run")
    assert result.exit_code == 1
    assert result.stderr.endswith("pip install 'dcformat[run]'\n")
    assert result.stderr.count("\n") == 1


HOSTILE = "\x1b[2J[bold]evil[/]\r\n:boom:\u202e"


def test_hostile_names_reach_no_terminal(run: Any, tmp_path: Path) -> None:
    net, made = tmp_path / "net.onnx", tmp_path / "net.dcf"
    net.write_bytes(make_net(HOSTILE).SerializeToString())
    shown = [run("dcconvert", net, "-o", made, "-v").output]
    shown.append(run("dcverify", made, "--against", net, "-v").output)
    for text in shown:
        assert "\\x1b[2J[bold]evil[/]\\x0d\\x0a:boom:\\u202e" in text
        assert not {"\x1b", "\r", "\u202e"} & set(text)
    answer = json.loads(run("dcconvert", net, "-o", made, "--json").stdout)
    assert HOSTILE in {line["name"] for line in answer["files"][0]["tensor_lines"]}


def test_the_command_says_what_the_api_says(run: Any, net: Path, made: Path) -> None:
    coded = compress(dcformat.read(net), preset_recipe("int8"))
    again = made.with_name("api.dcf")
    assert dcformat.save(coded, again) == made.stat().st_size
    assert again.read_bytes() == made.read_bytes()
    answer = json.loads(run("dcverify", made, "--json").stdout)
    checks = [(c.name, c.status) for c in dcformat.verify(made).checks]
    assert [(c["name"], c["status"]) for c in answer["files"][0]["checks"]] == checks


def test_a_command_of_its_own_starts_and_ends(start: Any, net: Path, made: Path) -> None:
    done = start("dcverify", made, "--against", net)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(f"{made}: ok\n".encode())


def test_every_option_has_help() -> None:
    assert [p.name for p in main.params if not getattr(p, "help", None)] == ["files"]
