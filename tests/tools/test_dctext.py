"""python -m dcformat: texts of files and files of texts, by path and by pipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import ROOT

from dcformat.tools import dctext

VECTOR = ROOT / "tests" / "vectors" / "valid" / "everything_mcu.dcf"
BROKEN = ROOT / "tests" / "vectors" / "invalid" / "TRUNCATED-inside_section_table.dcf"


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(dctext.main, [str(a) for a in arguments], input=stdin)


@pytest.mark.parametrize("source", [VECTOR, BROKEN], ids=["whole", "broken"])
def test_a_file_goes_to_text_and_back(tmp_path: Path, source: Path) -> None:
    text, again = tmp_path / "x.txt", tmp_path / "x.dcf"
    first, second = run("dump", source, "-o", text), run("build", text, "-o", again)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert again.read_bytes() == source.read_bytes()
    assert first.stdout.startswith(f"{text}: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.dcf", "x.txt"]


def test_both_directions_take_pipes() -> None:
    text = run("dump", "-", stdin=VECTOR.read_bytes())
    assert (text.exit_code, text.stderr) == (0, "")
    assert text.stdout_bytes == run("dump", VECTOR).stdout_bytes
    data = run("build", "-", "-o", "-", stdin=text.stdout_bytes)
    assert (data.exit_code, data.stdout_bytes) == (0, VECTOR.read_bytes())


def test_a_process_of_its_own_does_the_same() -> None:
    command = [sys.executable, "-m", "dcformat"]
    text = subprocess.run([*command, "dump", str(VECTOR)], capture_output=True, check=True).stdout
    done = subprocess.run([*command, "build", "-", "-o", "-"], input=text, stdout=-1, check=True)
    assert done.stdout == VECTOR.read_bytes()


def test_all_prints_every_field() -> None:
    plain, full = run("dump", VECTOR).stdout, run("dump", VECTOR, "--all").stdout
    assert "header_crc" not in plain
    assert "  header_crc auto  # 0x" in full
    assert run("build", "-", "-o", "-", stdin=full.encode()).stdout_bytes == VECTOR.read_bytes()


def test_alone_it_shows_its_help() -> None:
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == run("--help").stdout
    assert "python -m dcformat dump model.dcf" in result.stdout


def test_an_error_in_a_text_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    text, out = tmp_path / "x.txt", tmp_path / "x.dcf"
    text.write_text("dcformat text 1\nheader\n  minor one\n")
    out.write_bytes(b"before")
    result = run("build", text, "-o", out)
    assert (result.exit_code, result.stdout) == (1, "")
    reason = "'minor' cannot be 'one'"
    assert result.stderr == f"python -m dcformat: {text} / line 3: {reason}\n"
    assert out.read_bytes() == b"before"


def test_quiet_prints_nothing(tmp_path: Path) -> None:
    result = run("dump", "-q", VECTOR, "-o", tmp_path / "x.txt")
    assert (result.exit_code, result.output) == (0, "")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = run("dump", tmp_path / "no.dcf")
    assert result.exit_code == 1
    assert result.stderr.endswith("no.dcf: No such file or directory\n")
    assert run("build", tmp_path / "x.txt").exit_code == 2


def test_what_never_ends_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dctext, "MAX_FILE", 1 << 16)
    result = run("dump", "/dev/zero")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("python -m dcformat: /dev/zero: more than 65,536 B")
    result = run("build", "/dev/zero", "-o", "-")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "line 1: line of more than" in result.stderr
